"""The view of one commit: what a mount shows, without FUSE. Look up, iterate, read, describe."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from hashlib import blake2b

from pachmount.cache.pages import Block
from pachmount.errors import ClusterTimeoutError, NotFoundError
from pachmount.names import Source
from pachmount.pfs.model import CommitReader, CommitRef, RepoRef
from pachmount.vfs.content import Contents
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.hashes import VERIFIABLE_BYTES
from pachmount.vfs.last_used import LastUsed
from pachmount.vfs.listed import ListedDirectory
from pachmount.vfs.listing import Listing
from pachmount.vfs.listings import SavedListing
from pachmount.vfs.neighbours import Neighbours
from pachmount.vfs.statistics import MountStatistics
from pachmount.vfs.stream import Origin
from pachmount.vfs.tree import Node, Tree

XATTR_PREFIX = "user.pachmount."
ROOT_INODE = 1


class WaitGate:
    """Bounds how many file operations wait for the cluster at once: libfuse would start a thread for each.

    One more waits for a place until `timeout` seconds are over.
    """

    def __init__(self, limit: int, timeout: float) -> None:
        self.limit = limit
        self.waiting = 0
        self.timeout = timeout
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self.waiting < self.limit, self.timeout):
                raise ClusterTimeoutError("too many file operations wait for the cluster", f"{self.limit} already do")
            self.waiting += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self.waiting -= 1
            self._changed.notify()


class CommitView:
    """An immutable view of a finished commit. Paths are bytes with a leading slash, b"/" the root.

    `time` (seconds since the epoch) is the modification time of everything in it.
    """

    def __init__(
        self,
        reader: CommitReader,
        source: Source,
        time: float,
        path_filter: PathFilter,
        contents: Contents,
        gate: WaitGate,
        timeout: float,
        statistics: MountStatistics,
        saved: SavedListing | None = None,
        owner: tuple[int, int] | None = None,
    ) -> None:
        """`source.commit` is the id of the commit; `timeout` (s) bounds the wait for a listing.

        `owner`: user and group id of everything, by default those of this process.
        """
        self.owner = owner or (os.getuid(), os.getgid())
        self.source = source
        self.time = time
        self.commit = _commit_ref(source)
        self.tree = Tree(reader, self.commit, path_filter, timeout, saved)
        self.statistics = statistics
        roots = tuple(path.encode() for path in path_filter.paths)
        self._neighbours = Neighbours(reader, self.commit, self.tree, contents.bundles, roots)
        self._reader = reader
        self._contents = contents
        self._gate = gate
        self._inode_key = source.commit.encode()
        self.listed: LastUsed[ListedDirectory] = LastUsed()

    def find(self, path: bytes) -> Node | None:
        """The node at `path`, or None. Raises a PachmountError if the cluster does not tell."""
        if self.tree.listing is not None:
            return self.tree.find(path)
        with self._gate:
            return self.tree.find(path)

    def children(self, path: bytes) -> Iterator[tuple[bytes, bool]]:
        """Name and is-directory of the entries of a directory."""
        if self.tree.listing is not None:
            return self.tree.children(path)
        with self._gate:
            return self.tree.children(path)

    def directory(self, path: bytes, is_enough: Callable[[Listing], bool]) -> tuple[Listing, int]:
        """As `Tree.directory`."""
        if self.tree.listing is not None:
            return self.tree.directory(path)
        with self._gate:
            return self.tree.directory(path, is_enough)

    def read(self, path: bytes, offset: int, size: int) -> Block:
        """The bytes [offset, offset + size) of a file, fewer only at its end."""
        node = self.find(path)
        if node is None:
            raise NotFoundError(f"no file '{path.decode()}'")
        if node.is_dir:
            raise IsADirectoryError(errno.EISDIR, f"'{path.decode()}' is a directory")
        return self.read_node(node, offset, size)

    def read_node(self, node: Node, offset: int, size: int) -> Block:
        """The same of a file that was found before; also when the view is closed."""
        digest, origin = self.content(node, with_neighbours=True)
        data = self._contents.read(digest, origin, offset, size, self._gate)
        self.statistics.read_bytes += len(data)
        return data

    def content(self, node: Node, *, with_neighbours: bool = False) -> tuple[bytes, Origin]:
        """The name of a file's content in the cache, and where its bytes can be had.

        `with_neighbours`: a small file may come with those around it that are likely to be read as well.
        """
        has_hash = any(node.digest)
        digest = node.digest
        if not has_hash:  # a name that no hash can have: 31 bytes
            digest = blake2b(node.path.encode(), digest_size=31, key=self._inode_key).digest()
        neighbours = self._neighbours if with_neighbours and has_hash and node.size < VERIFIABLE_BYTES else None
        return digest, Origin(self._reader, self.commit, node.path, node.size, has_hash, self.statistics, neighbours)

    def inode(self, path: bytes) -> int:
        """A stable inode number: a hash of commit and path, the same after every remount."""
        if path == b"/":
            return ROOT_INODE
        return int.from_bytes(blake2b(path, digest_size=8, key=self._inode_key).digest(), "big") | 2

    def xattrs(self, path: bytes) -> dict[str, bytes]:
        """The extended attributes of a node: where it comes from, and its hash if it is a file."""
        node = self.find(path)
        if node is None:
            raise NotFoundError(f"no file '{path.decode()}'")
        source = self.source
        attributes = {"project": source.project, "repo": source.repo, "branch": source.branch, "commit": source.commit}
        if not node.is_dir:
            attributes["hash"] = node.digest.hex()
        return {XATTR_PREFIX + name: value.encode() for name, value in attributes.items() if value}

    def close(self) -> None:
        self._neighbours.close()
        self.tree.close()


def _commit_ref(source: Source) -> CommitRef:
    return CommitRef(RepoRef(source.project, source.repo), source.commit, source.branch)
