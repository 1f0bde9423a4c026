"""The same wheel in the oldest and in the newest JupyterLab that it is for, each in a clean environment."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.box import Box
from tests.lab.browser.jupyter import JupyterLab
from tests.lab.browser.lab_page import VIEWS, LabPage
from tests.packaging.building import ROOT, build

SPECIFIERS = ("jupyterlab==4.0.13", "jupyterlab>=4.6,<5")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"), "1")[0]


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("specifier", SPECIFIERS)
def test_mount_and_read(fuse: None, wheel: Path, browser: Browser, tmp_path: Path, specifier: str) -> None:
    venv.create(tmp_path, with_pip=True)
    pip = [tmp_path / "bin" / "pip", "--disable-pip-version-check", "install", "-q"]
    subprocess.run([*pip, f"pachmount[lab] @ file://{wheel}", specifier], check=True)
    box = Box()
    try:
        box.start()
        repo = box.repo()
        box.put(repo, {"/a.txt": b"content of a\n"})
        jupyter = JupyterLab(box, tmp_path)
        try:
            lab = LabPage(browser.new_page(), jupyter.url)
            name = lab.mount(repo)
            expect(lab.mount_row(name).get_by_test_id("ListItem__mode")).to_have_text("ro")
            for view in VIEWS:
                lab.show(view)
            lab.show("Explore")
            lab.open_path(name, "a.txt")
            expect(lab.page.locator(".jp-FileEditor")).to_contain_text("content of a")
            assert lab.new_notebook().run(f"print(open('{box.path(name)}/a.txt').read())") == "content of a"
            assert lab.problems == []
            assert jupyter.problems() == []
        finally:
            jupyter.stop()
    finally:
        box.close()
