"""A person with a box, JupyterLab and a browser. A problem of ours on the page or in a log fails the test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.integration.box import Box
from tests.lab.browser.jupyter import JupyterLab
from tests.lab.browser.lab_page import LabPage, chromium

KEPT = Path(__file__).resolve().parents[3] / "build" / "browser"
"""A picture and a trace (`playwright show-trace FILE`) of every test that failed."""
_REPORT = pytest.StashKey[pytest.TestReport]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report: pytest.TestReport = yield
    if report.when == "call":
        item.stash[_REPORT] = report
    return report


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def shared_box(fuse: None) -> Iterator[Box]:
    box = Box()
    try:
        box.start()
        yield box
    finally:
        box.close()


@pytest.fixture(scope="module")
def jupyter(shared_box: Box) -> Iterator[JupyterLab]:
    jupyter = JupyterLab(shared_box)
    try:
        yield jupyter
    finally:
        jupyter.stop()


@pytest.fixture
def box(shared_box: Box) -> Iterator[Box]:
    yield shared_box
    shared_box.clean()
    assert shared_box.mounts_in_kernel() == []
    assert shared_box.log_problems() == []


@pytest.fixture
def lab(box: Box, jupyter: JupyterLab, browser: Browser, request: pytest.FixtureRequest) -> Iterator[LabPage]:
    """A page with the panel open."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.tracing.start(screenshots=True, snapshots=True)
    page = context.new_page()
    try:
        lab = LabPage(page, jupyter.url)
        yield lab
        report = request.node.stash.get(_REPORT, None)
        failed = report is None or report.failed
        assert lab.problems == []
        assert jupyter.problems() == []
    except BaseException:
        failed = True
        raise
    finally:
        if failed:
            name = re.sub(r"\W+", "-", request.node.name)
            page.screenshot(path=KEPT / f"{name}.png")
            context.tracing.stop(path=KEPT / f"{name}.zip")
        context.close()
