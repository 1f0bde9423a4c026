"""The pictures of the panel in docs/images: `scripts/screenshots`."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import expect

from tests.integration.box import Box
from tests.lab.browser.jupyter import JupyterLab
from tests.lab.browser.lab_page import LabPage, chromium

IMAGES = Path(__file__).resolve().parents[3] / "docs" / "images"
SIZE = {"width": 1280, "height": 860}
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


def main() -> int:
    IMAGES.mkdir(exist_ok=True)
    box = Box()
    try:
        box.start()
        jupyter = JupyterLab(box)
        try:
            with chromium() as browser:
                lab = LabPage(browser.new_page(viewport=SIZE), jupyter.url)  # type: ignore[arg-type]
                _take_all(lab, box)
        finally:
            jupyter.stop()
    finally:
        box.close()
    return 0


def _take_all(lab: LabPage, box: Box) -> None:
    box.put("images", {f"/cats/{number:02}.png": b"\0" * 40_000 * number for number in range(1, 20)})
    box.put("labels", {"/labels.csv": b"file,label\n01.png,tabby\n02.png,siamese\n"})
    box.put("models", {"/edges.txt": b"model"})
    box.mount("images")
    box.mount("labels", mode="rw")
    box.put("images", {"/cats/20.png": b"\0" * 800_000})
    box.path("labels", "labels.csv").write_text("file,label\n01.png,tabby\n02.png,birman\n")
    lab.by_id("Repos__refresh").click()
    notebook = lab.new_notebook()
    shown = notebook.run("from pathlib import Path\n\nprint(Path('~/pfs/labels/labels.csv').expanduser().read_text())")
    assert "birman" in shown
    lab.open_path("images", "cats")
    expect(lab.file("01.png")).to_be_visible()
    lab.mount_row("labels").get_by_test_id("ListItem__commit").click(timeout=20_000)
    expect(lab.by_id("Commit__changes")).to_contain_text("labels.csv")
    for view in ("Explore", "Publish", "Settings"):
        lab.show(view)
        _take(lab, view)
    lab.show("Explore")
    lab.by_id("Commit__close").click()
    lab.show("Test")
    lab.by_id("Datum__inputSpecInput").fill("pfs:\n  repo: images\n  glob: /cats/*\n")
    lab.by_id("Datum__mountDatums").click()
    expect(lab.by_id("Datum__position")).to_be_visible()
    expect(lab.file("images")).to_be_visible()
    _take(lab, "Test")


def _take(lab: LabPage, view: str) -> None:
    for name, theme in THEMES.items():
        lab.set_theme(theme)
        lab.page.mouse.move(0, 0)
        lab.page.screenshot(path=IMAGES / f"lab-{view.lower()}-{name}.png", animations="disabled")


if __name__ == "__main__":
    sys.exit(main())
