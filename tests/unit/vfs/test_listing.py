"""The compact listing answers like a dictionary of paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachmount.errors import DataError
from pachmount.pfs.model import FileEntry
from pachmount.vfs.listing import Listing
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
    listing = Listing(entries)
    assert len(listing) == len(entries)
    assert listing.total_bytes == sum(map(len, files.values()))
    for entry in entries:
        index = listing.find(entry.path.encode())
        assert index is not None
        assert listing.path(index).decode() == entry.path
        assert (listing.is_dir(index), listing.size(index), listing.digest(index)) == (
            entry.is_dir,
            entry.size,
            entry.hash,
        )
    if not any(entry.path == absent for entry in entries):
        assert listing.find(absent.encode()) is None
    for directory in [""] + [entry.path for entry in entries if entry.is_dir]:
        index = listing.find(directory.encode() or b"/")
        assert index is not None
        expected = [e.path.rpartition("/")[2] for e in entries if e.path.rpartition("/")[0] == directory]
        assert [name.decode() for name, _ in listing.children(index)] == expected


def test_parents_that_were_not_listed_are_added() -> None:
    listing = Listing([FileEntry("/a/b/c", False, 1, b"x" * 32)])
    for directory in (b"/", b"/a", b"/a/b"):
        index = listing.find(directory)
        assert index is not None
        assert listing.is_dir(index)


def test_file_and_directory_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="both a file and a directory"):
        Listing([FileEntry("/a", False, 1, b""), FileEntry("/a/b", False, 1, b"")])


def test_a_large_listing_stays_compact() -> None:
    count = 50_000
    listing = Listing(FileEntry(f"/dir{i // 100:04}/file-{i:06}.parquet", False, i, b"h" * 32) for i in range(count))
    assert listing.memory_bytes / count < 200
    index = listing.find(b"/dir0123/file-012345.parquet")
    assert index is not None
    assert listing.size(index) == 12345
