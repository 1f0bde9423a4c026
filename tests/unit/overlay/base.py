"""A commit in memory for the overlay to stand on, and the same tree as a directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from zlib import crc32

from pachmount.vfs.hashes import content_hash
from pachmount.vfs.tree import ROOT, Node

TREE = {
    "a/one": b"first",
    "a/two": bytes(range(256)) * 40,
    "a/deep/three": b"",
    "b/four": b"4" * 70_000,
    "five": b"five\n",
}


class MemoryBase:
    """Files by their path without a leading slash. `calls` counts the questions."""

    time = 1_700_000_000.0

    def __init__(self, files: Mapping[str, bytes] = TREE) -> None:
        self._files = {b"/" + path.encode(): content for path, content in files.items()}
        self._directories = {b"/"}
        for path in self._files:
            while path := path[: path.rindex(b"/")]:
                self._directories.add(path)
        self.read_bytes = 0

    def find(self, path: bytes) -> Node | None:
        if path == b"/":
            return ROOT
        if path in self._directories:
            return Node(path.decode(), True, 0, bytes(32))
        content = self._files.get(path)
        return None if content is None else Node(path.decode(), False, len(content), content_hash(content))

    def children(self, path: bytes) -> Iterator[tuple[bytes, bool]]:
        for other in sorted([*self._directories - {b"/"}, *self._files]):
            above, _, name = other.rpartition(b"/")
            if (above or b"/") == path:
                yield name, other in self._directories

    def inode(self, path: bytes) -> int:
        return 1 if path == b"/" else crc32(path) << 2 | 2

    def read(self, path: bytes, offset: int, size: int) -> bytes:
        data = self._files[path][offset : offset + size]
        self.read_bytes += len(data)
        return data

    def files(self) -> dict[str, bytes]:
        """A copy of its files."""
        return {path[1:].decode(): content for path, content in self._files.items()}

    def write_to(self, directory: Path) -> None:
        """The same tree on disk."""
        for path, content in self._files.items():
            file = directory / path[1:].decode()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
