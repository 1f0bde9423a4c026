"""Pages of directories: the same whether the listing is complete, under way, or of one directory alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pachmount.vfs.tree as tree_module
from pachmount.errors import NotFoundError
from pachmount.names import Source
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.pages import Asked, Entry, Page, entry_of, page_of
from pachmount.vfs.statistics import MountStatistics
from pachmount.vfs.view import CommitView, WaitGate
from tests.fakes import FakeCluster
from tests.unit.vfs.test_listing import paths, without_collisions

WAIT = 5.0


def make_view(cluster: FakeCluster) -> CommitView:
    source = Source("default", "repo", "master", "c" * 32)
    gate = WaitGate(8, WAIT)
    return CommitView(cluster, source, 7.0, PathFilter(), Mock(), gate, WAIT, MountStatistics())


def pages(view: CommitView, path: bytes, number: int, wanted: bytes = b"") -> Iterator[Page]:
    page = page_of(view, path, Asked(b"", number, wanted))
    yield page
    while not page.is_last:
        page = page_of(view, path, Asked(page.entries[-1].key, number, wanted))
        yield page


def expected(files: dict[str, bytes], directory: str) -> dict[str, int]:
    """Names and sizes in a directory."""
    sizes: dict[str, int] = {}
    for path, content in files.items():
        if path.startswith(f"{directory}/"):
            name = path[len(directory) + 1 :].partition("/")[0]
            sizes[name] = sizes.get(name, 0) + len(content)
    return sizes


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(paths, st.binary(max_size=3), min_size=1, max_size=30).map(without_collisions), st.integers(1, 4)
)
def test_pages_have_every_entry_once(files: dict[str, bytes], number: int) -> None:
    view = make_view(FakeCluster(files))
    view.tree.start()
    assert view.tree.wait_complete(WAIT)
    directories = {path[:end] for path in files for end, char in enumerate(path) if char == "/"}
    for directory in directories:
        found = list(pages(view, directory.encode() or b"/", number))
        entries = [entry for page in found for entry in page.entries]
        assert {entry.name.decode(): entry.size for entry in entries} == expected(files, directory)
        assert len(entries) == len(expected(files, directory))
        assert {page.total for page in found} == {len(entries)}
        assert [entry.key for entry in entries] == sorted(entry.key for entry in entries)
        chosen = [e for page in pages(view, directory.encode() or b"/", number, b"a") for e in page.entries]
        assert chosen == [entry for entry in entries if b"a" in entry.name.lower()]


FILES = {f"/d/{name}": b"xy" for name in "abcdef"} | {"/d/sub/x": b"123", "/e/y": b"1", "/z": b""}


def test_a_directory_alone_is_as_in_the_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "FIRST_PATIENCE", 0.01)
    release = threading.Event()
    cluster = FakeCluster(FILES)
    cluster.on_walk = lambda _: release.wait(10) and None
    view = make_view(cluster)
    before = [list(pages(view, path, 3)) for path in (b"/", b"/d", b"/e")]
    node = view.find(b"/d")
    assert node is not None
    told = entry_of(view, node)
    assert view.tree.state == "loading"
    release.set()
    assert view.tree.wait_complete(WAIT)
    assert [list(pages(view, path, 3)) for path in (b"/", b"/d", b"/e")] == before
    assert entry_of(view, node) == told == Entry(b"d", "dir", 15, b"", 7.0)
    root = view.find(b"/")
    assert root is not None
    assert entry_of(view, root).size == sum(map(len, FILES.values()))


def test_a_page_does_not_wait_for_the_rest_of_its_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "FIRST_PATIENCE", WAIT)
    release = threading.Event()
    cluster = FakeCluster(FILES)
    cluster.on_walk = lambda entry: entry.path == "/d/e" and release.wait(10) and None
    view = make_view(cluster)
    first = page_of(view, b"/d", Asked(b"", 2, b""))
    assert ([entry.name for entry in first.entries], first.total, first.is_last) == ([b"a", b"b"], None, False)
    second = page_of(view, b"/d", Asked(b"b", 1, b""))
    assert [entry.name for entry in second.entries] == [b"c"]
    assert view.tree.state == "loading"
    assert not cluster.lists
    release.set()
    last = page_of(view, b"/d", Asked(b"c", 9, b""))
    assert [entry.key for entry in last.entries] == [b"d", b"e", b"f", b"sub/"]
    assert (last.total, last.is_last) == (7, True)


def test_what_is_no_directory_has_no_page() -> None:
    view = make_view(FakeCluster(FILES))
    for path in (b"/no", b"/z", b"/d/a"):
        view.tree.start()
        assert view.tree.wait_complete(WAIT)
        with pytest.raises(NotFoundError):
            page_of(view, path, Asked(b"", 5, b""))
