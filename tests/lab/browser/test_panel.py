"""The panel in a real browser."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.integration.box import Box
from tests.lab.browser.lab_page import VIEWS, LabPage


def test_every_view_can_be_shown(lab: LabPage) -> None:
    for view in VIEWS:
        lab.show(view)
        expect(lab.panel.get_by_role("tabpanel", name=view)).to_be_visible()


def test_a_notebook_reads_what_is_mounted(lab: LabPage, box: Box) -> None:
    repo = box.repo()
    box.put(repo, {"/a.txt": b"content of a\n"})
    path = box.mount(repo)["mountpoint"]
    lab.open_path(repo, "a.txt")
    expect(lab.page.locator(".jp-FileEditor")).to_contain_text("content of a")
    assert lab.new_notebook().run(f"print(open('{path}/a.txt').read())") == "content of a"
