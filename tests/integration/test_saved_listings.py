"""A commit that was listed once is never listed again: not by another mount, not by another daemon."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.integration.box import Box, wait_until

FILES = {f"/dir{number % 7}/sub{number % 3}/file{number}": b"%d" % number for number in range(60)}


def listing_calls(box: Box) -> int:
    """Calls of this daemon that list files."""
    calls = json.loads(box.ok("stats", "--json"))["daemon"]["calls"]
    return sum(calls.get(method, 0) for method in ("WalkFile", "ListFile", "InspectFile", "GlobFile", "DiffFile"))


def names(box: Box, mount: str) -> list[str]:
    return sorted(os.path.join(folder, name) for folder, _, files in os.walk(box.mount_dir / mount) for name in files)


def test_another_mount_and_another_daemon_make_no_listing_call(box: Box) -> None:
    repo = box.repo("listed")
    box.put(repo, FILES)
    box.mount(repo, "one")
    expected = names(box, "one")
    assert len(expected) == len(FILES)
    wait_until(lambda: box.status()["cache"]["listings_bytes"] > 0, "the listing is saved")
    before = listing_calls(box)
    box.mount(repo, "two")
    assert len(names(box, "two")) == len(FILES)
    assert listing_calls(box) == before
    box.ok("daemon", "stop")
    box.ok("daemon", "start")
    assert names(box, "one") == expected
    assert (box.mount_dir / "two/dir1/sub1/file1").read_bytes() == b"1"
    assert listing_calls(box) == 0


def test_a_damaged_or_deleted_listing_is_fetched_again(box: Box) -> None:
    repo = box.repo("damaged")
    box.put(repo, FILES)
    box.mount(repo, "one")
    expected = names(box, "one")
    wait_until(lambda: box.status()["cache"]["listings_bytes"] > 0, "the listing is saved")
    cache = box.status()["cache"]["directory"]
    box.ok("daemon", "stop")
    for saved in Path(cache).parent.glob("listings/*.listing"):
        saved.write_bytes(saved.read_bytes()[:-1] + b"?")
    box.ok("daemon", "start")
    assert names(box, "one") == expected
    assert listing_calls(box) > 0
