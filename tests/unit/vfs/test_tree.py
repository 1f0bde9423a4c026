"""The tree answers from the listing, from single directories while that loads, and again after a fault."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import pytest

from pachmount.errors import ClusterUnreachableError, NotFoundError
from pachmount.pfs.model import FileEntry
from pachmount.vfs import tree as tree_module
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.tree import Tree
from tests.fakes import COMMIT, FakeCluster

FILES = {"/a/b/file": b"12345", "/a/other": b"", "/top": b"x", "/top10": b"y"}


def make_tree(cluster: FakeCluster, *paths: str, timeout: float = 5.0) -> Tree:
    return Tree(cluster, COMMIT, PathFilter(paths), timeout)


def children(tree: Tree, path: bytes) -> list[tuple[bytes, bool]]:
    return list(tree.children(path))


def test_answers_from_the_listing() -> None:
    cluster = FakeCluster(FILES)
    tree = make_tree(cluster)
    tree.start()
    assert tree.wait_complete(5)
    node = tree.find(b"/a/b/file")
    assert node is not None
    assert (node.path, node.is_dir, node.size) == ("/a/b/file", False, 5)
    assert tree.find(b"/a/nope") is None
    assert children(tree, b"/") == [(b"a", True), (b"top", False), (b"top10", False)]
    assert children(tree, b"/a/b") == [(b"file", False)]
    with pytest.raises(NotFoundError):
        tree.children(b"/top")
    assert (cluster.walks, cluster.lists) == (1, [])


def test_a_filter_limits_what_is_seen() -> None:
    cluster = FakeCluster(FILES)
    tree = make_tree(cluster, "/top", "/a/b")
    tree.start()
    assert tree.wait_complete(5)
    assert children(tree, b"/") == [(b"a", True), (b"top", False)]
    assert children(tree, b"/a") == [(b"b", True)]
    assert tree.find(b"/top10") is None
    assert tree.find(b"/a/other") is None


def test_a_filter_that_matches_nothing_shows_nothing() -> None:
    tree = make_tree(FakeCluster(FILES), "/absent")
    tree.start()
    assert tree.wait_complete(5)
    assert children(tree, b"/") == []


@pytest.mark.parametrize("paths", [(), ("/a/b",)])
def test_a_directory_answers_while_the_listing_is_on_its_way(
    paths: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "FIRST_PATIENCE", 0.01)
    release = threading.Event()
    cluster = FakeCluster(FILES)
    cluster.on_walk = lambda _: release.wait(10) and None
    tree = make_tree(cluster, *paths)
    tree.start()
    node = tree.find(b"/a/b/file")
    assert node is not None
    assert node.size == 5
    assert tree.find(b"/a/b/nope") is None
    expected = [(b"a", True)] if paths else [(b"a", True), (b"top", False), (b"top10", False)]
    assert children(tree, b"/") == expected
    assert tree.find(b"/") is not None
    assert tree.state == "loading"
    asked = len(cluster.lists)
    tree.find(b"/a/b/file")
    assert len(cluster.lists) == asked, "a directory that was listed is not asked for again"
    release.set()
    assert tree.wait_complete(5)
    assert tree.find(b"/a/b/file") is not None


class PacedCluster(FakeCluster):
    """Its walk stops before the entries that were not released yet."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.released = threading.Semaphore(0)
        self.held_up_at = ""
        self.on_walk = self.wait_for_release

    def wait_for_release(self, entry: FileEntry) -> None:
        self.held_up_at = entry.path
        self.released.acquire()

    def release(self, count: int) -> None:
        """Let the walk go on by some entries; returns when it stops again."""
        before = self.held_up_at
        self.released.release(count)
        _until(lambda: self.held_up_at != before and self.released._value == 0)


def _until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.001)


CHASED = {f"/d{number}/{name}": b"x" * number for number in range(4) for name in "abc"}


def test_what_the_walk_has_passed_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "FIRST_PATIENCE", 60.0)
    monkeypatch.setattr(tree_module, "PATIENCE", (60.0, 60.0))
    cluster = PacedCluster(CHASED)
    tree = make_tree(cluster)
    tree.start()
    cluster.release(9)  # /d0 and /d1 with all in them, /d2
    assert children(tree, b"/d1") == [(b"a", False), (b"b", False), (b"c", False)]
    assert tree.find(b"/d1/b") is not None
    assert tree.find(b"/d0/none") is None
    with pytest.raises(NotFoundError):
        tree.children(b"/d0/none")
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(tree.find(b"/d2/a"))),
        threading.Thread(target=lambda: found.extend(children(tree, b"/d2"))),
    ]
    for thread in threads:
        thread.start()
    cluster.release(1)
    threads[0].join(5)
    assert not threads[0].is_alive()
    assert threads[1].is_alive(), "/d2 is not complete"
    cluster.release(3)
    threads[1].join(5)
    assert len(found) == 4
    assert tree.state == "loading"
    assert cluster.lists == []
    cluster.on_walk = None
    cluster.released.release(100)
    assert tree.wait_complete(5)
    assert children(tree, b"/") == [(b"d0", True), (b"d1", True), (b"d2", True), (b"d3", True)]
    assert (cluster.walks, cluster.lists) == (1, [])


def test_a_directory_far_ahead_of_the_walk_is_asked_for_once() -> None:
    cluster = PacedCluster(CHASED)
    tree = make_tree(cluster)
    tree.start()
    cluster.release(2)
    threads = [threading.Thread(target=tree.find, args=(f"/d3/{name}".encode(),)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert cluster.lists == ["/d3"]
    assert children(tree, b"/d3") == [(b"a", False), (b"b", False), (b"c", False)]
    assert cluster.lists == ["/d3"]
    cluster.on_walk = None
    cluster.released.release(100)


def test_filters_whose_names_sort_differently_as_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "FIRST_PATIENCE", 60.0)
    monkeypatch.setattr(tree_module, "PATIENCE", (60.0, 60.0))
    cluster = FakeCluster({"/a/x": b"", "/a-b": b"", "/z": b""})
    tree = make_tree(cluster, "/a", "/a-b")
    gate = threading.Event()
    seen: list[object] = []

    def pause(entry: FileEntry) -> None:
        if cluster.walks == 2:
            gate.wait(10)

    cluster.on_walk = pause
    tree.start()
    _until(lambda: cluster.walks == 2)
    asking = threading.Thread(target=lambda: seen.extend([tree.find(b"/a/x"), tree.find(b"/a-b")]))
    asking.start()
    gate.set()
    asking.join(5)
    assert None not in seen
    assert len(seen) == 2
    assert tree.wait_complete(5)
    assert sorted(children(tree, b"/")) == [(b"a", True), (b"a-b", False)]


def test_a_bounded_number_of_single_directories_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "FIRST_PATIENCE", 0.001)
    monkeypatch.setattr(tree_module, "MAX_ENTRIES_HELD", 8)
    cluster = PacedCluster(CHASED)
    tree = make_tree(cluster)
    tree.start()
    for number in range(4):
        assert tree.find(f"/d{number}/a".encode()) is not None
    assert cluster.lists == ["/d0", "/d1", "/d2", "/d3"]
    tree.find(b"/d3/b")
    tree.find(b"/d2/b")
    assert len(cluster.lists) == 4
    tree.find(b"/d0/b")
    assert len(cluster.lists) == 5, "the oldest was given up"
    cluster.on_walk = None
    cluster.released.release(100)


def test_after_a_fault_the_next_access_lists_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "RETRY_PAUSE", 0.0)

    def refuse(_: object) -> None:
        raise ClusterUnreachableError("no cluster")

    cluster = FakeCluster(FILES)
    cluster.on_walk = cluster.on_list = refuse
    tree = make_tree(cluster)
    tree.start()
    assert not tree.wait_complete(5)
    assert tree.state == "failed"
    with pytest.raises(ClusterUnreachableError):
        tree.find(b"/top")
    cluster.on_walk = cluster.on_list = None
    node = tree.find(b"/top")
    assert node is not None
    assert tree.error is None


def test_waiting_for_a_directory_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "FIRST_PATIENCE", 0.01)
    release = threading.Event()
    cluster = FakeCluster(FILES)

    def wait(_: FileEntry | str) -> None:
        release.wait(20)

    cluster.on_walk = cluster.on_list = wait
    tree = make_tree(cluster, timeout=0.2)
    tree.start()
    first = threading.Thread(target=lambda: _ignore(lambda: tree.find(b"/top")))
    first.start()
    while not cluster.lists:
        time.sleep(0.001)
    with pytest.raises(ClusterUnreachableError):
        tree.find(b"/top10")
    release.set()
    first.join(5)


def _ignore(call: Callable[[], object]) -> None:
    with contextlib.suppress(ClusterUnreachableError):
        call()
