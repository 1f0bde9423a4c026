"""axe-core finds nothing wrong with the panel, in any view and in both themes."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.integration.box import Box
from tests.lab.browser.lab_page import VIEWS, LabPage


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
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


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_datums_are_accessible(lab: LabPage, box: Box, theme: str) -> None:
    lab.set_theme(theme)
    repo = box.repo()
    box.put(repo, {"/a": b"a", "/b": b"b"})
    lab.show("Test")
    lab.by_id("Datum__inputSpecInput").fill(f"pfs: {{repo: {repo}, glob: /*}}")
    lab.by_id("Datum__mountDatums").click()
    expect(lab.by_id("Datum__position")).to_be_visible()
    assert lab.violations() == []
