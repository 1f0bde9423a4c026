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
    monkeypatch.setattr(tree_module, "PATIENCE", 0.01)
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


def test_after_a_fault_the_next_access_lists_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "PATIENCE", 0.5)
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
    monkeypatch.setattr(tree_module, "PATIENCE", 0.01)
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
