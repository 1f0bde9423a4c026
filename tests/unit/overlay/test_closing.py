"""The moment between `close` in a program and RELEASE from the kernel."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachmount.overlay.closing import CLOSING_SECONDS, ClosingFiles
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.staging import Staging
from tests.unit.overlay.base import MemoryBase
from tests.unit.overlay.test_overlay import OWNER, overlay_of


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Overlay]:
    store = Staging(tmp_path / "staged")
    yield overlay_of(MemoryBase({}), store)
    store.close()


def test_a_file_that_was_just_closed_is_not_open(overlay: Overlay) -> None:
    handle = overlay.create(b"/new", 0o644, os.O_WRONLY, OWNER)
    overlay.write(handle, 0, b"new")
    overlay.flush(handle)
    release = threading.Timer(0.1, overlay.release, [handle])
    release.start()
    assert overlay.being_written() == 0
    release.join()


def test_a_file_that_is_still_written_to_after_a_close_is_open_without_a_wait(overlay: Overlay) -> None:
    handle = overlay.create(b"/new", 0o644, os.O_WRONLY, OWNER)
    overlay.flush(handle)  # a descriptor that was inherited or duplicated is closed
    overlay.write(handle, 0, b"new")
    started = time.monotonic()
    assert overlay.being_written() == 1
    assert time.monotonic() - started < CLOSING_SECONDS / 2


def test_a_file_that_another_descriptor_keeps_open_is_waited_for_no_longer_than_the_limit(overlay: Overlay) -> None:
    handle = overlay.create(b"/new", 0o644, os.O_WRONLY, OWNER)
    overlay.flush(handle)
    assert overlay.being_written() == 1
    files = ClosingFiles()
    files.flushed(handle)
    files.wait(0.01)
