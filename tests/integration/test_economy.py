"""What things cost: bytes from the cluster, memory of the daemon, time of a listing."""

from __future__ import annotations

import os
import random
import time
import zipfile
from pathlib import Path

import pytest

from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box, wait_until

MIB = 1 << 20
MANY = 200_000
PER_DIRECTORY = 1000


def fetched(box: Box) -> int:
    """Bytes from the cluster since the daemon's start, once no transfer is under way."""
    wait_until(lambda: box.status()["cache"]["streams"] == 0, "the transfers end", timeout=30)
    return int(box.status()["cache"]["fetched_bytes"])


def test_the_beginning_of_a_huge_file_costs_little(box: Box) -> None:
    source = box.root / "huge"
    source.mkdir()
    with (source / "file").open("wb") as file:
        file.truncate(1024 * MIB)
        file.write(random.Random(5).randbytes(65536))
    repo = box.repo("huge")
    box.ok("import", str(source), repo, timeout=120)
    (source / "file").unlink()
    box.mount(repo)
    before = box.status()["cache"]["fetched_bytes"]
    path = box.path(repo, "file")
    assert path.stat().st_size == 1024 * MIB
    started = time.monotonic()
    with path.open("rb", buffering=0) as shown:
        assert shown.read(65536) == random.Random(5).randbytes(65536)
    assert time.monotonic() - started < 3
    with path.open("rb", buffering=0) as shown:
        assert os.pread(shown.fileno(), 100, 700 * MIB) == bytes(100)
    assert fetched(box) - before < 40 * MIB, "a look into the middle does not fetch what is before it"


def test_a_format_with_its_index_at_the_end_costs_little_more_than_what_is_read(box: Box) -> None:
    source = box.root / "archive"
    source.mkdir()
    members = {f"part{number}": random.Random(number).randbytes(8 * MIB) for number in range(12)}
    with zipfile.ZipFile(source / "all.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    repo = box.repo("archive")
    box.ok("import", str(source), repo, timeout=120)
    box.mount(repo)
    before = box.status()["cache"]["fetched_bytes"]
    with zipfile.ZipFile(box.path(repo, "all.zip")) as archive:
        assert archive.namelist() == list(members)
        assert fetched(box) - before < 6 * MIB, "the list of members is at the end"
        assert archive.read("part7") == members["part7"]
    assert fetched(box) - before < 24 * MIB


def test_equal_content_is_fetched_once_whatever_mount_commit_or_name_shows_it(box: Box) -> None:
    repo, content = box.repo("once"), random.Random(6).randbytes(5 * MIB + 1)
    small = random.Random(7).randbytes(10_000)
    first = box.put(repo, {"/a": content, "/small": small})
    box.put(repo, {"/other name": content, "/dir/small": small, "/new": b"new"})
    before = box.status()["cache"]["fetched_bytes"]
    box.mount(f"{repo}@{first}", "old")
    box.mount(repo, "new")
    for _ in range(2):
        for path in ("old/a", "new/a", "new/other name"):
            assert (box.mount_dir / path).read_bytes() == content
        for path in ("old/small", "new/small", "new/dir/small"):
            assert (box.mount_dir / path).read_bytes() == small
    assert fetched(box) - before == len(content) + len(small)
    assert (box.mount_dir / "new/new").read_bytes() == b"new"
    assert fetched(box) - before == len(content) + len(small) + 3


def test_looking_around_fetches_no_content(box: Box) -> None:
    repo = box.repo("look")
    box.put(repo, {f"/d{n}/f": b"x" * 100_000 for n in range(20)})
    box.mount(repo)
    before = box.status()["cache"]["fetched_bytes"]
    assert box.out('find "$1" -type f -ls | wc -l', box.path(repo)).strip() == "20"
    assert box.out('du -sb --apparent-size "$1"', box.path(repo)).split()[0] == "2000000"
    assert fetched(box) == before


@pytest.fixture(scope="module")
def many(shared_box: Box) -> str:
    """A repo of 200,000 empty files."""
    repo, client = shared_box.repo("many"), shared_box.cluster()
    ref = RepoRef("default", repo)
    client.create_repo(ref)
    with client.modify_file(CommitRef(ref, "", "master")) as change:
        for number in range(MANY):
            change.add_file(f"/directory-{number // PER_DIRECTORY:04}/file-{number:08}.parquet", b"")
    client.inspect_commit(client.inspect_branch(ref).head, wait="finished", timeout=120)
    return repo


def test_two_hundred_thousand_files_are_shown_within_bounded_memory(box: Box, many: str) -> None:
    box.mount(many)
    started = time.monotonic()
    assert len(box.out('ls "$1"', box.path(many)).split()) == MANY // PER_DIRECTORY
    assert time.monotonic() - started < 10, "a directory does not wait for the whole listing"
    status = box.listed(many, timeout=90)
    assert status["files"] == MANY + MANY // PER_DIRECTORY
    assert status["listing_bytes"] / MANY < 400
    count = box.out('ls -f "$1"/* | grep -c parquet', box.path(many), timeout=90)
    assert int(count) == MANY
    name = f"directory-0123/file-{123 * PER_DIRECTORY + 7:08}.parquet"
    assert box.path(many, *name.split("/")).stat().st_size == 0
    assert not Path(f"{box.path(many)}/{name}x").exists()
    assert box.status()["rss_bytes"] < 200 * MIB
