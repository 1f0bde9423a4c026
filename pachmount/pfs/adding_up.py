"""Whether a listing is whole: each directory tells the size and the hash of what must have come below it.

A stream that was cut short on its way, but ended well, is found by that. The hash of a directory is that of the hashes
of its entries, in order; the size is the sum of theirs (wire-api.md section 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from pachmount.errors import IncompleteListingError
from pachmount.pfs.model import CommitRef, FileEntry

HASH_BYTES = 32
Pair = tuple[FileEntry | None, FileEntry | None]


class Sum:
    """What has come of the entries of one directory. `told` is the entry of the directory itself."""

    def __init__(self, told: FileEntry) -> None:
        self.prefix = told.path + "/"
        self._told = told
        self._size = 0
        self._hash: Any = blake2b(digest_size=HASH_BYTES) if len(told.hash) == HASH_BYTES else None

    def add(self, size: int, digest: bytes) -> None:
        """Count one entry of the directory."""
        self._size += size
        if self._hash is not None:
            if len(digest) == HASH_BYTES:
                self._hash.update(digest)
            else:
                self._hash = None  # a server that does not tell hashes: the size must do

    @property
    def adds_up(self) -> bool:
        """The hash decides where there is one: unlike the size it also covers empty files."""
        if self._hash is None:
            return self._size == self._told.size
        return bool(self._hash.digest() == self._told.hash)

    def check(self, commit: CommitRef) -> None:
        """Raise IncompleteListingError if entries are missing."""
        if not self.adds_up:
            why = f"the directory has {self._told.size} bytes, the entries that came have {self._size}"
            raise incomplete(commit, self._told.path, why)


class WalkCheck:
    """Checks the entries of a walk of `path` ("" = root) as they come."""

    def __init__(self, commit: CommitRef, path: str) -> None:
        self._commit = commit
        self._path = "".join(f"/{part}" for part in path.split("/") if part)
        self._above: list[Sum] = []
        self.is_empty = True

    def feed(self, entries: Iterable[FileEntry]) -> None:
        """Raise IncompleteListingError as soon as entries are known to be missing."""
        above = self._above
        for entry in entries:
            path, is_dir, size, digest = entry
            if above:
                below = path[: path.rfind("/") + 1]
                while below != above[-1].prefix:
                    self._leave(path)
                above[-1].add(size, digest)
            elif path != self._path:
                raise incomplete(self._commit, path, "the directory above it did not come")
            self.is_empty = False
            if is_dir:
                above.append(Sum(entry))

    def finish(self) -> None:
        """The stream has ended; raise IncompleteListingError if entries are missing."""
        while self._above:
            self._above.pop().check(self._commit)

    def _leave(self, path: str) -> None:
        """The walk goes on at `path`, which is not in the last directory."""
        last = self._above.pop()
        if path.startswith(last.prefix) or not self._above:
            raise incomplete(self._commit, path, "the directory above it did not come")
        last.check(self._commit)


def checked_pairs(commit: CommitRef, pairs: Iterable[Pair]) -> Iterator[Pair]:
    """The same differences between two commits; IncompleteListingError where sizes show that some are missing.

    By how much a directory grew is the sum of that for its entries. A directory that is not among the differences did
    not grow.
    """
    above: list[list[Any]] = []  # prefix, growth of the directory that is told, growth of the entries that came
    for pair in pairs:
        yield pair
        entry = pair[0] or pair[1]
        if entry is None:
            continue
        grown = (pair[0].size if pair[0] else 0) - (pair[1].size if pair[1] else 0)
        while above and not entry.path.startswith(above[-1][0]):
            _leave(commit, above)
        if entry.path and not above:
            above.append(["/", 0, 0])
        if above:
            while (end := entry.path.find("/", len(above[-1][0]))) >= 0:
                above.append([entry.path[: end + 1], 0, 0])
            above[-1][2] += grown
        if entry.is_dir:
            above.append([entry.path + "/", grown, 0])
    while above:
        _leave(commit, above)


def _leave(commit: CommitRef, above: list[list[Any]]) -> None:
    prefix, told, came = above.pop()
    if told != came:
        why = f"it grew by {told} bytes, its entries that came by {came}"
        raise incomplete(commit, prefix.rstrip("/"), why)


def incomplete(commit: CommitRef, path: str, why: str) -> IncompleteListingError:
    what, hint = f"cannot list {commit}", "try again; if it stays so, look at what is between here and the cluster"
    return IncompleteListingError(what, f"the listing of '{path or '/'}' is incomplete: {why}", hint)
