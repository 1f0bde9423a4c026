"""Paths of a read-write mount: staged directories over those of the commit."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from pachmount.overlay.inodes import BaseReader, Directory, Inode
from pachmount.vfs.tree import Node

NAME_MAX = 255
T = TypeVar("T")


class BaseTree(Protocol):
    """The names of the commit that a mount stands on. Its answers never change."""

    time: float

    def find(self, path: bytes) -> Node | None:
        """The node at a path (b"/" is the root), or None."""

    def children(self, path: bytes) -> Iterator[tuple[bytes, bool]]:
        """Name and is-directory of the entries of a directory."""

    def inode(self, path: bytes) -> int:
        """The inode number of a path."""


class Base(BaseTree, BaseReader, Protocol):
    """The commit that a mount stands on."""


class BaseNode(NamedTuple):
    """An object that is as the commit has it: its path there, and what the commit says."""

    path: bytes
    node: Node


Found = Inode | BaseNode


class _UnknownError(Exception):
    """A fact about the commit is needed, which may take time to learn."""

    def __init__(self, learn: Callable[[BaseTree], None]) -> None:
        super().__init__()
        self.learn = learn


class Facts:
    """What is known of the commit within one operation, so that nobody waits for the cluster with a lock held.

    An operation under the lock asks here, and is begun again once the answer is known. `tree` is the commit.
    """

    def __init__(self, tree: BaseTree) -> None:
        self.tree = tree
        self._nodes: dict[bytes, Node | None] = {}
        self._children: dict[bytes, list[tuple[bytes, bool]]] = {}

    def check(self, tree: BaseTree) -> None:
        """Begin again if they are not about `tree`."""
        if tree is not self.tree:
            raise _UnknownError(lambda _base: None)

    def find(self, path: bytes) -> Node | None:
        if path not in self._nodes:
            raise _UnknownError(lambda base: self._nodes.update({path: base.find(path)}))
        return self._nodes[path]

    def children(self, path: bytes) -> list[tuple[bytes, bool]]:
        if path not in self._children:
            raise _UnknownError(lambda base: self._children.update({path: list(base.children(path))}))
        return self._children[path]


def with_facts(base: Callable[[], BaseTree], operation: Callable[[Facts], T]) -> T:
    """Run an operation again and again, without its lock in between, until it knows all that it needs of the commit."""
    facts = Facts(base())
    while True:
        try:
            return operation(facts)
        except _UnknownError as unknown:
            if base() is not facts.tree:
                facts = Facts(base())
            else:
                unknown.learn(facts.tree)


def parts(path: bytes) -> list[bytes]:
    """The names in a path. Raises OSError ENAMETOOLONG."""
    names = [name for name in path.split(b"/") if name]
    if any(len(name) > NAME_MAX for name in names):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return names


def above(path: bytes) -> Iterator[bytes]:
    """The directories that a path is in, but for the root."""
    while b"/" in path[1:]:
        path = path[: path.rindex(b"/")]
        yield path


def resolve(root: Directory, path: bytes, facts: Facts) -> Found | None:
    """What is at a path; None if nothing is. Raises OSError ENOTDIR, ENAMETOOLONG."""
    found: Found | None = root
    for name in parts(path):
        if found is None:
            return None
        found = child(found, name, facts)
    return found


def child(found: Found, name: bytes, facts: Facts) -> Found | None:
    """The entry of a directory, or None. Raises OSError ENOTDIR if it is no directory."""
    if not is_directory(found):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if isinstance(found, Directory) and name in found.entries:
        return found.entries[name]
    return base_child(found, name, facts)


def base_child(found: Found, name: bytes, facts: Facts) -> BaseNode | None:
    """What the commit has under a name of a directory, hidden or not."""
    base = found.path if isinstance(found, BaseNode) else found.base
    if base is None:
        return None
    path = base.rstrip(b"/") + b"/" + name
    node = facts.find(path)
    return None if node is None else BaseNode(path, node)


def children(found: Found, facts: Facts) -> dict[bytes, Inode | bool]:
    """All entries of a directory: the inode, or whether the commit's object is a directory."""
    if isinstance(found, BaseNode):
        return dict(facts.children(found.path))
    if not isinstance(found, Directory):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    entries: dict[bytes, Inode | bool] = {}
    if found.base is not None:
        entries.update(facts.children(found.base))
    for name, inode in found.entries.items():
        if inode is None:
            entries.pop(name, None)
        else:
            entries[name] = inode
    return entries


def is_directory(found: Found) -> bool:
    """Whether it is one, staged or of the commit."""
    return found.node.is_dir if isinstance(found, BaseNode) else found.is_directory
