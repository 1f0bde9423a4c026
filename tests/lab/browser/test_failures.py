"""What goes wrong is told in the panel, with the way out, and no longer than it lasts."""

from __future__ import annotations

import os
import signal

from playwright.sync_api import expect

from tests.integration.box import Box
from tests.lab.browser.lab_page import LabPage

POLLS_MS = 20_000
"""Some polls, and a confirmation."""


def test_a_daemon_that_was_killed_comes_back_by_a_click_with_its_mounts(lab: LabPage, box: Box) -> None:
    repo = box.repo()
    box.put(repo, {"/a.txt": b"a\n"})
    path = box.mount(repo)["mountpoint"]
    lab.open_path(repo)
    expect(lab.file("a.txt")).to_be_visible()
    os.kill(box.pid, signal.SIGKILL)
    banner = lab.by_id("Banner")
    expect(banner).to_contain_text("daemon", timeout=POLLS_MS)
    lab.by_id("Banner__remedy").click()
    expect(banner).to_be_hidden(timeout=POLLS_MS)
    lab.open_path(repo)
    expect(lab.file("a.txt")).to_be_visible(timeout=POLLS_MS)
    assert lab.new_notebook().run(f"print(open('{path}/a.txt').read())") == "a"


def test_a_daemon_that_comes_back_by_itself_takes_the_banner_away(lab: LabPage, box: Box) -> None:
    os.kill(box.pid, signal.SIGKILL)
    expect(lab.by_id("Banner")).to_be_visible(timeout=POLLS_MS)
    box.ok("daemon", "start")
    expect(lab.by_id("Banner")).to_be_hidden(timeout=POLLS_MS)
