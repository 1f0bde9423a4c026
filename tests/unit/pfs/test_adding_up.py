"""What is missing in a listing is found, wherever it is; what is whole is believed."""

from __future__ import annotations

import random
from hashlib import blake2b

import pytest

from pachmount.errors import IncompleteListingError
from pachmount.pfs.adding_up import Pair, WalkCheck, checked_pairs
from pachmount.pfs.model import CommitRef, FileEntry, RepoRef
from pachmount.vfs.hashes import content_hash
from pachmount.vfs.listing import GrowingListing

COMMIT = CommitRef(RepoRef("default", "r"), "c" * 32)
FILES = {
    "/a/b/c": b"123",
    "/a/b/empty": b"",
    "/a-b": b"x",
    "/a/d": b"45",
    "/empty": b"",
    "/e/f/g/h": b"",
    "/z": b"9",
}


def walk(files: dict[str, bytes], top: str = "") -> list[FileEntry]:
    """What a server lists of these files: directories with the sum of what is below them, and its hash."""
    children: dict[str, list[str]] = {}
    for path in files:
        while path:
            above = path.rpartition("/")[0]
            below = children.setdefault(above, [])
            if path not in below:
                below.append(path)
            path = above

    def listed(path: str) -> list[FileEntry]:
        if path in files:
            return [FileEntry(path, False, len(files[path]), content_hash(files[path]))]
        parts = [listed(child) for child in sorted(children[path], key=lambda p: p + "/" * (p in children))]
        digest = blake2b(b"".join(part[0].hash for part in parts), digest_size=32).digest()
        size = sum(part[0].size for part in parts)
        return [FileEntry(path, True, size, digest), *(entry for part in parts for entry in part)]

    return listed(top)


def check(entries: list[FileEntry], top: str = "", batch: int = 3) -> None:
    checker = WalkCheck(COMMIT, top)
    for start in range(0, len(entries), batch):
        checker.feed(entries[start : start + batch])
    checker.finish()


@pytest.mark.parametrize(
    ("top", "path"), [("", ""), ("/", ""), ("/a", "/a"), ("a/", "/a"), ("/e/f", "/e/f"), ("/z", "/z")]
)
def test_a_whole_walk_is_believed(top: str, path: str) -> None:
    check(walk(FILES, path), top)


def test_entries_that_are_missing_are_found_wherever_they_are() -> None:
    entries = walk(FILES)
    for first in range(len(entries)):
        for last in range(first + 1, len(entries) + 1):
            rest = entries[:first] + entries[last:]
            if rest:
                with pytest.raises(IncompleteListingError, match="is incomplete"):
                    check(rest, batch=1 + (first + last) % 4)


def test_without_hashes_the_sizes_decide() -> None:
    entries = [entry._replace(hash=b"") for entry in walk(FILES)]
    check(entries)
    for number, entry in enumerate(entries):
        if entry.size:
            with pytest.raises(IncompleteListingError):
                check(entries[:number] + entries[number + 1 :])


def test_the_root_hash_of_a_listing_is_the_servers() -> None:
    assert GrowingListing.of(walk(FILES)[1:]).root_hash() == walk(FILES)[0].hash
    assert GrowingListing.of(walk({"/x/y/z": b""})[1:]).root_hash() == walk({"/x/y/z": b""})[0].hash


def differences(new: dict[str, bytes], old: dict[str, bytes]) -> list[Pair]:
    def keyed(files: dict[str, bytes]) -> dict[str, FileEntry]:
        return {entry.path + "/" * entry.is_dir: entry for entry in walk(files)} if files else {}

    ours, theirs = keyed(new), keyed(old)
    return [
        (ours.get(key), theirs.get(key))
        for key in sorted({**ours, **theirs})
        if (found := ours.get(key)) is None or (other := theirs.get(key)) is None or found.hash != other.hash
    ]


def test_differences_add_up() -> None:
    dice = random.Random(7)  # the same cases at every run
    names = [f"/{a}/{b}" for a in "ab" for b in ("x", "y/1", "y/2", "z")] + ["/c", "/a.txt"]
    missed = 0
    for _ in range(300):
        new, old = ({n: b"1" * dice.randrange(4) for n in names if dice.random() < 0.6} for _ in range(2))
        pairs = differences(new, old)
        assert list(checked_pairs(COMMIT, pairs)) == pairs
        for number, (ours, theirs) in enumerate(pairs):
            entry = ours or theirs
            assert entry is not None
            grown = (ours.size if ours else 0) - (theirs.size if theirs else 0)
            if grown and not (number == 0 and len(pairs) == 1):
                short = pairs[:number] + pairs[number + 1 :]
                with pytest.raises(IncompleteListingError):
                    list(checked_pairs(COMMIT, short))
                missed += 1
    assert missed > 500


def test_a_file_in_the_place_of_a_directory_adds_up() -> None:
    for new, old in (({"/k": b"12"}, {"/k/x": b"1"}), ({"/k/x": b"1", "/b": b""}, {"/k": b"1234"})):
        pairs = differences(new, old)
        assert list(checked_pairs(COMMIT, pairs)) == pairs
