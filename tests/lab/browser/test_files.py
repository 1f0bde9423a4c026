"""The file browser of the panel with a directory that is larger than a page could bear."""

from __future__ import annotations

import json
import os
import re
import time
import zipfile
from pathlib import Path

from playwright.sync_api import Locator, expect

from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box
from tests.lab.browser.lab_page import LabPage

MANY = 100_000
MOST_ROWS = 200
MOST_REQUESTS = 15
LONG_MS = 60_000
ANSWER_SECONDS = 2.0
NOTEBOOK = {
    "cells": [{"cell_type": "code", "id": "a", "source": "1", "metadata": {}, "outputs": [], "execution_count": None}],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "A Python", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def test_a_hundred_thousand_files_scroll(lab: LabPage, box: Box) -> None:
    repo = box.repo("many")
    client, ref = box.cluster(), RepoRef("default", repo)
    client.create_repo(ref)
    with client.modify_file(CommitRef(ref, "", "master")) as change:
        for number in range(MANY):
            change.add_file(f"/many/{number:06}.txt", b"")
    box.mount(repo)
    lab.open_path(repo, "many")
    expect(lab.by_id("Files__count")).to_contain_text("100,000", timeout=LONG_MS)
    rows, files = lab.by_id("Files__row"), lab.by_id("Files__list")
    requests: list[str] = []
    lab.page.on("request", lambda request: requests.append(request.url) if "/contents/" in request.url else None)
    for part in (0.1, 0.01, 1.0):
        _scroll(files, part)
        expect(lab.file(f"{int((MANY - 1) * part):06}.txt")).to_be_attached(timeout=LONG_MS)
        assert rows.count() < MOST_ROWS
        start = time.monotonic()
        lab.show("Test")
        lab.show("Explore")
        assert time.monotonic() - start < ANSWER_SECONDS
    assert len(requests) <= MOST_REQUESTS
    lab.by_id("Files__filter").fill("077777")
    expect(rows).to_have_count(1)


def test_a_read_only_notebook_does_not_look_changed(lab: LabPage, box: Box) -> None:
    repo = box.repo("books")
    box.put(repo, {"/a.ipynb": json.dumps(NOTEBOOK).encode()})
    box.mount(repo)
    lab.open_path(repo, "a.ipynb")
    expect(lab.page.locator(".jp-CodeCell")).to_be_visible(timeout=LONG_MS)
    notebook = lab.notebook()
    expect(lab.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible(timeout=LONG_MS)
    tab = lab.page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab.jp-mod-current")
    expect(tab).not_to_have_class(re.compile("jp-mod-dirty"))
    assert notebook.run("+ 1") == "2"
    expect(tab).to_have_class(re.compile("jp-mod-dirty"))


def test_a_folder_is_saved_as_zip_and_a_name_that_is_no_text_opens(lab: LabPage, box: Box) -> None:
    repo = box.repo("odd")
    box.put(repo, {"/top/dir/a b.txt": b"one\n"})
    box.mount(repo, mode="rw")
    Path(os.fsdecode(os.fsencode(box.path(repo)) + b"/top/dir/\xff.txt")).write_text("the bytes")
    lab.open_path(repo, "top")
    lab.file("dir").click(button="right")
    with lab.page.expect_download() as saving:
        lab.page.get_by_role("menuitem", name="Download as zip").click()
    assert saving.value.suggested_filename == "dir.zip"
    with zipfile.ZipFile(saving.value.path()) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["dir/", "dir/\\xff.txt", "dir/a b.txt"]
    lab.file("dir").dblclick()
    lab.file("\\xff.txt").dblclick()
    expect(lab.page.locator(".jp-FileEditor .cm-content")).to_have_text("the bytes", timeout=LONG_MS)


def _scroll(files: Locator, part: float) -> None:
    files.evaluate("(list, part) => list.scrollTo(0, part * (list.scrollHeight - list.clientHeight))", part)
