"""JupyterLab's panel: what its polling costs the daemon, with a visible and with a hidden page."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from playwright.sync_api import Page

from tests.bench.report import Report, Row
from tests.integration.box import Box
from tests.lab.browser.jupyter import JupyterLab
from tests.lab.browser.lab_page import LabPage, chromium

TARGET_PERCENT = 1.0
SETTLE_SECONDS = 10.0
"""For what a page does once after it is opened, or hidden."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench lab", description=__doc__)
    parser.add_argument("--mounts", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each measurement lasts")
    options = parser.parse_args()
    report = Report("lab")
    report.print_header()
    box = Box()
    try:
        box.start()
        measure(box, report, options.mounts, options.seconds)
    finally:
        box.close()
    print(f"stored as {report.save()}")
    return 0 if report.holds else 1


def measure(box: Box, report: Report, mounts: int, seconds: float) -> None:
    """Add the rows for so many mounts."""
    box.put("images", {f"/{number}": b"content" for number in range(10)})
    for number in range(mounts):
        box.mount("images", f"images-{number}")
    time.sleep(SETTLE_SECONDS)
    idle = _percent(box, seconds)
    jupyter = JupyterLab(box)
    try:
        with chromium() as browser:
            page = browser.new_page()
            polls = _polls(page)
            LabPage(page, jupyter.url)
            time.sleep(SETTLE_SECONDS)
            for state in ("visible", "hidden"):
                _make(page, state)
                page.wait_for_timeout(SETTLE_SECONDS * 1000)
                before, polled = _cpu_seconds(box), len(polls)
                page.wait_for_timeout(seconds * 1000)
                percent = (_cpu_seconds(box) - before) / seconds * 100
                row = Row(f"{mounts} mounts, a {state} page", percent, "%", "no page", idle)
                row.target, row.holds = f"< {TARGET_PERCENT:g}", percent - idle < TARGET_PERCENT
                report.add(row)
                asked = Row("  requests", float(len(polls) - polled), "")
                if state == "hidden":
                    asked.target, asked.holds = "0", len(polls) == polled
                report.add(asked)
    finally:
        jupyter.stop()


def _polls(page: Page) -> list[str]:
    """The requests to our routes, as they are made."""
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url) if "/pachyderm/v2/" in request.url else None)
    return urls


def _make(page: Page, state: str) -> None:
    """Tell the page that it is visible or hidden; a headless browser has no tabs that could be covered."""
    page.evaluate(
        """state => {
          Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
          Object.defineProperty(document, 'hidden', { value: state === 'hidden', configurable: true });
          document.dispatchEvent(new Event('visibilitychange'));
        }""",
        state,
    )


def _percent(box: Box, seconds: float) -> float:
    """Of a core that the daemon uses."""
    before = _cpu_seconds(box)
    time.sleep(seconds)
    return (_cpu_seconds(box) - before) / seconds * 100


def _cpu_seconds(box: Box) -> float:
    fields = Path(f"/proc/{box.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
