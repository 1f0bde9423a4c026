"""What a person sees and does in JupyterLab, by the names that the page tells a screen reader, else by test ids."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

LAB = Path(__file__).resolve().parents[3] / "lab"
AXE = LAB / "node_modules" / "axe-core" / "axe.min.js"
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")
VIEWS = ("Explore", "Test", "Publish", "Settings")
START_MS = 60_000
_EXECUTED = re.compile(r"\[\d+\]:")
_ANSWERED = "Failed to load resource"
"""What the browser itself writes about an answer of 400 and above, which may be what a test is about."""
_KERNEL_READY = """async () => {
  const { sessionContext } = window.jupyterapp.shell.currentWidget;
  await sessionContext.ready;
  await sessionContext.session.kernel.info;
}"""
_OURS = ("pachmount-lab", "pachyderm/v2", "pach-")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; none is downloaded."""
    program = shutil.which("chromium")
    assert program, "no chromium; scripts/setup --dev installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_FLAGS])
        yield browser
        browser.close()


class LabPage:
    """A page of JupyterLab with our panel open."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("console", self._on_console)
        page.on("response", lambda answer: answer.status == 500 and self._note(f"{answer.url}: {answer.status_text}"))
        page.on("pageerror", lambda error: self._note(f"uncaught: {error.message}\n{error.stack}"))
        page.goto(url)
        tab = page.locator('.jp-SideBar [data-id="pachyderm-mount"]')
        tab.wait_for(timeout=START_MS)
        self.panel = page.locator("#pachyderm-mount")
        if not self.panel.is_visible():
            tab.click()
        expect(self.panel.get_by_role("tab", name="Explore")).to_be_visible()

    # --- the panel

    def show(self, view: str) -> None:
        """One of VIEWS."""
        tab = self.panel.get_by_role("tab", name=view)
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")

    def by_id(self, test_id: str) -> Locator:
        return self.panel.get_by_test_id(test_id)

    def mount(self, repo: str) -> str:
        """Mount the default branch of a repository of the default project, from the list; the name of the mount."""
        self.by_id("Repos__refresh").click()
        self.by_id("Repos__search").fill(repo)
        self.panel.get_by_role("button", name=f"Mount default/{repo}", exact=True).click()
        self.by_id("Repos__search").fill("")
        return f"default_{repo}"

    def mount_row(self, name: str) -> Locator:
        return self.by_id(f"Mount__{name}")

    def choose(self, name: str, action: str) -> None:
        """An action in the menu of a mount."""
        self.panel.get_by_role("button", name=f"More actions for {name}").click()
        self.page.get_by_role("menuitem", name=action).click()

    # --- the file browser of the panel

    def file(self, name: str) -> Locator:
        return self.by_id("Files__row").filter(has=self.page.get_by_text(name, exact=True))

    def open_path(self, *names: str) -> None:
        """Enter directories from the root on, and open the last one whatever it is."""
        self.panel.get_by_role("navigation", name="Directory").get_by_role("button", name="pfs").click()
        for name in names:
            self.file(name).dblclick()

    # --- JupyterLab

    def command(self, name: str, **arguments: Any) -> None:
        """Run one of JupyterLab's commands and await its end."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args).then(() => null)", [name, arguments]
        )

    def set_theme(self, name: str) -> None:
        """ "JupyterLab Light" or "JupyterLab Dark"."""
        self.command("apputils:change-theme", theme=name)
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", name)

    def new_notebook(self) -> Notebook:
        self.command("notebook:create-new", kernelName="python3")
        return self.notebook()

    def notebook(self) -> Notebook:
        """The one in front, once its kernel runs."""
        return Notebook(self)

    # --- judging

    def violations(self, where: str = "#pachyderm-mount") -> list[str]:
        """What axe-core finds in a part of the page: the rule, what is wrong, and the elements."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("where => window.axe.run(where).then(result => result.violations)", where)
        return [
            f"{one['id']} ({one['impact']}): {one['help']}: {json.dumps([node['html'][:200] for node in one['nodes']])}"
            for one in found
        ]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(_ANSWERED):
            self._note(f"console: {message.text} ({message.location.get('url')})")

    def _note(self, text: str) -> None:
        if any(mark in text for mark in _OURS):
            self.problems.append(text)


class Notebook:
    """The notebook in front."""

    def __init__(self, lab: LabPage) -> None:
        self._page = lab.page
        self._panel = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self._cells = self._panel.locator(".jp-CodeCell")
        self._page.evaluate(_KERNEL_READY)

    def run(self, code: str) -> str:
        """Type code into the last cell and run it; what it shows. Errors of the code show as their traceback."""
        cell = self._cells.nth(self._cells.count() - 1)
        cell.locator(".cm-content").click()
        self._page.keyboard.insert_text(code)
        self._page.keyboard.press("Shift+Enter")
        expect(cell.locator(".jp-InputPrompt")).to_have_text(_EXECUTED, timeout=START_MS)
        outputs = cell.locator(".jp-OutputArea-output")
        return "\n".join(outputs.all_inner_texts()).strip()
