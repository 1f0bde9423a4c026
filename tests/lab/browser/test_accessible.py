"""axe-core finds nothing wrong with the panel, in any view and in both themes, nor with what opens above it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.integration.box import Box
from tests.lab.browser.lab_page import VIEWS, LabPage

POLLS_MS = 20_000
MENU = ".lm-Menu"
pytestmark = pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])


def test_every_view_is_accessible(lab: LabPage, box: Box, theme: str) -> None:
    lab.set_theme(theme)
    repo = box.repo()
    box.put(repo, {"/a.txt": b"a\n", "/d/b": b"b"})
    box.mount(repo, mode="rw")
    box.path(repo, "new").write_text("new")
    lab.open_path(repo)
    expect(lab.file("a.txt")).to_be_visible()
    lab.new_notebook()
    found = {}
    for view in VIEWS:
        lab.show(view)
        found[view] = lab.violations()
    assert {view: problems for view, problems in found.items() if problems} == {}


def test_datums_are_accessible(lab: LabPage, box: Box, theme: str) -> None:
    lab.set_theme(theme)
    repo = box.repo()
    box.put(repo, {"/a": b"a", "/b": b"b"})
    lab.show("Test")
    lab.by_id("Datum__inputSpecInput").fill(f"pfs: {{repo: {repo}, glob: /*}}")
    lab.by_id("Datum__mountDatums").click()
    expect(lab.by_id("Datum__position")).to_be_visible()
    assert lab.violations() == []


def test_forms_and_menus_are_accessible(lab: LabPage, box: Box, theme: str) -> None:
    lab.set_theme(theme)
    repo = box.repo()
    box.put(repo, {"/a.txt": b"a\n"})
    box.mount(repo, mode="rw")
    box.path(repo, "new").write_text("new")
    lab.open_path(repo)
    found = {}

    mount = lab.mount_row(repo)
    mount.get_by_test_id("ListItem__commit").click(timeout=POLLS_MS)
    expect(lab.by_id("Commit__changes")).to_contain_text("new")
    found["commit form"] = lab.violations()
    lab.by_id("Commit__close").click()

    mount.get_by_test_id("ListItem__unmount").click()
    expect(lab.by_id("Unmount__question")).to_be_visible()
    found["unmount question"] = lab.violations()
    lab.by_id("Unmount__questionCancel").click()

    lab.panel.get_by_role("button", name=f"More actions for {repo}").click()
    found["menu of a mount"] = _menu_violations(lab)

    lab.file("a.txt").click(button="right")
    found["menu of a file"] = _menu_violations(lab)
    assert {part: problems for part, problems in found.items() if problems} == {}


def test_a_banner_is_accessible(lab: LabPage, box: Box, theme: str) -> None:
    lab.set_theme(theme)
    box.ok("daemon", "stop")
    expect(lab.by_id("Banner")).to_be_visible(timeout=POLLS_MS)
    assert lab.violations() == []
    lab.by_id("Banner__remedy").click()
    expect(lab.by_id("Banner")).to_be_hidden(timeout=POLLS_MS)


def _menu_violations(lab: LabPage) -> list[str]:
    menu: Locator = lab.page.locator(MENU)
    expect(menu).to_be_visible()
    found = lab.violations(MENU)
    lab.page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    return found
