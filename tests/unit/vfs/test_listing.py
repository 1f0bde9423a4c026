"""The compact listing answers like a dictionary of paths."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachmount.errors import DataError
from pachmount.pfs.model import CommitRef, FileEntry, RepoRef
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.listing import GrowingListing
from pachmount.vfs.listings import Former, SavedListing
from tests.fakes import entries_of

names = st.text(
    st.characters(codec="ascii", exclude_characters="/\0", min_codepoint=32), min_size=1, max_size=8
).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


def without_collisions(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if not any(p.startswith(f"{path}/") for p in files)}


@given(st.dictionaries(paths, st.binary(max_size=3), max_size=40).map(without_collisions), paths)
def test_listing_equals_a_dictionary(files: dict[str, bytes], absent: str) -> None:
    entries = entries_of(files)
    listing = GrowingListing.of(entries)
    assert len(listing) == len(entries)
    assert listing.total_bytes == sum(map(len, files.values()))
    for entry in entries:
        index = listing.find(entry.path.encode())
        assert index is not None
        assert listing.path(index).decode() == entry.path
        assert (listing.is_dir(index), listing.size(index), listing.digest(index)) == (
            entry.is_dir,
            0 if entry.is_dir else entry.size,
            bytes(32) if entry.is_dir else entry.hash,
        )
    if not any(entry.path == absent for entry in entries):
        assert listing.find(absent.encode()) is None
    for directory in [""] + [entry.path for entry in entries if entry.is_dir]:
        index = listing.find(directory.encode() or b"/")
        assert index is not None
        expected = [e.path.rpartition("/")[2] for e in entries if e.path.rpartition("/")[0] == directory]
        assert [name.decode() for name, _ in listing.children(index)] == expected


@settings(deadline=None)
@given(st.dictionaries(paths, st.binary(max_size=3), max_size=20).map(without_collisions), paths)
def test_what_a_growing_listing_knows_is_true(files: dict[str, bytes], other: str) -> None:
    entries = entries_of(files)
    asked = [entry.path.encode() for entry in entries] + [other.encode(), other.encode() + b"/x"]
    whole = GrowingListing.of(entries)
    growing = GrowingListing()
    for entry in entries:
        growing.add(entry.path.encode(), entry.is_dir, entry.size, entry.hash)
        for path in asked:
            found = whole.find(path)
            if growing.knows(path):
                assert growing.find(path) == found
            if growing.knows_children(path) and found is not None and whole.is_dir(found):
                assert list(growing.children(found)) == list(whole.children(found))
        known = [path for path in asked if whole.find(path) is not None and growing.knows(path)]
        assert len(known) >= len(growing), "what has come is known"
    growing.finish()
    assert growing.knows_children(b"/")


def test_a_directory_is_known_once_all_of_it_has_come() -> None:
    growing = GrowingListing()
    growing.add(b"/a/1", False, 1, b"")
    growing.add(b"/a/3", False, 1, b"")
    assert growing.is_in(b"/a")
    assert [growing.knows(path) for path in (b"/a/1", b"/a/2", b"/a/4", b"/a-", b"/b")] == [
        True,
        False,
        False,
        False,
        False,
    ], "that the walk is past a name says nothing: entries may have been lost"
    assert not growing.knows_children(b"/a")
    growing.add(b"/b", True, 0, b"")
    assert growing.knows(b"/a/2")
    assert growing.knows(b"/a/4")
    assert not growing.knows(b"/a-")
    assert growing.knows_children(b"/a")
    assert not growing.knows_children(b"/b")
    assert not growing.knows_children(b"/")


def test_a_walk_that_comes_back_to_a_directory_is_refused() -> None:
    with pytest.raises(DataError, match="in pieces"):
        GrowingListing.of(
            [FileEntry("/a/b", False, 1, b""), FileEntry("/c", False, 1, b""), FileEntry("/a/d", False, 1, b"")]
        )


def test_the_same_entry_again_is_ignored() -> None:
    entries = [FileEntry("/a", True, 2, b""), FileEntry("/a", True, 2, b""), FileEntry("/a/b", False, 1, b"")]
    assert len(GrowingListing.of([*entries, FileEntry("/a/b", False, 1, b"")])) == 2


def test_parents_that_were_not_listed_are_added() -> None:
    listing = GrowingListing.of([FileEntry("/a/b/c", False, 1, b"x" * 32)])
    for directory in (b"/", b"/a", b"/a/b"):
        index = listing.find(directory)
        assert index is not None
        assert listing.is_dir(index)


def test_file_and_directory_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="both a file and a directory"):
        GrowingListing.of([FileEntry("/a", False, 1, b""), FileEntry("/a/b", False, 1, b"")])
    with pytest.raises(DataError, match="both a file and a directory"):
        GrowingListing.of([FileEntry("/a", True, 1, b""), FileEntry("/a", False, 1, b"")])


def test_a_large_listing_stays_compact() -> None:
    count = 50_000
    listing = GrowingListing.of(
        FileEntry(f"/dir{i // 100:04}/file-{i:06}.parquet", False, i, b"h" * 32) for i in range(count)
    )
    assert listing.memory_bytes / count < 130
    index = listing.find(b"/dir0123/file-012345.parquet")
    assert index is not None
    assert listing.size(index) == 12345


@settings(deadline=None)
@given(*[st.dictionaries(paths, st.binary(max_size=3), max_size=20).map(without_collisions)] * 2, st.data())
def test_a_listing_of_a_former_one_and_what_differs(
    before: dict[str, bytes], other: dict[str, bytes], data: st.DataObject
) -> None:
    kept = data.draw(st.sets(st.sampled_from(sorted(before)))) if before else set()
    after = without_collisions({**{path: before[path] for path in kept}, **other})
    entries = {entry.path: entry for entry in entries_of(after) if not entry.is_dir}
    changes = {
        path.encode(): entries.get(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    }
    changed = GrowingListing.changed(GrowingListing.of(entries_of(before)), changes)
    expected = GrowingListing.of(entries_of(after))
    assert changed.total_bytes == expected.total_bytes
    assert [bytes(section) for section in changed.sections()] == [bytes(section) for section in expected.sections()]


def test_a_pair_of_a_file_and_a_directory_takes_the_file_away() -> None:
    """A server may tell of what is at one path as one difference, whatever it is on each side."""
    before, after = entries_of({"/a": b"1", "/b": b"2"}), entries_of({"/a/in": b"3", "/b": b"2"})
    (old,) = [entry for entry in before if entry.path == "/a"]
    new, inside = [entry for entry in after if entry.path.startswith("/a")]
    former = Former(GrowingListing.of(before), lambda: iter([(new, old), (inside, None)]))
    commit = CommitRef(RepoRef("p", "r"), "c")
    derived = SavedListing(Mock(), lambda: "", commit, PathFilter(()), former).derive()
    assert derived is not None
    assert list(derived.files()) == list(GrowingListing.of(after).files())
