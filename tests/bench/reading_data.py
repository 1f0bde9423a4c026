"""The repos that `scripts/bench reading` reads: made from a seed on any server, on demand, in one commit each."""

from __future__ import annotations

import hashlib
import random
import sys
import time
from collections.abc import Iterable, Iterator

from pachmount.errors import NotFoundError
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitInfo, CommitRef, RepoRef
from tests.bench.reading_targets import (
    CHANGE_FILES,
    CHANGED_SHARE,
    MIB,
    SMALL_BYTES,
    SMALL_PER_DIRECTORY,
    Sizes,
)

_VERSION = 1
_Files = Iterable[tuple[str, int]]


class Data:
    """Commits of one server. Without `keep` their repos have names of this run alone and `remove` deletes them."""

    def __init__(self, address: str, sizes: Sizes, seed: int, keep: bool) -> None:
        self._client = PfsClient(address, call_timeout=60)
        self._sizes = sizes
        self._seed = seed
        self._keep = keep
        self._unique = "" if keep else f"-{time.time_ns():x}"
        self._made: list[RepoRef] = []

    def remove(self) -> None:
        """Delete what was made for this run alone."""
        for repo in [] if self._keep else self._made:
            self._client.delete_repo(repo, force=True)
        self._client.close()

    def listing(self) -> CommitRef:
        """Many files of some bytes, in `listed_directories` directories."""
        sizes = self._sizes
        return self._single("listing", (sizes.listed_files, sizes.listed_directories))

    def many(self) -> CommitRef:
        """As many files as memory is measured with, 1,000 in a directory."""
        return self._single("many", (self._sizes.memory_files, self._sizes.memory_files // 1000))

    def small(self) -> CommitRef:
        """Files of 4 KiB, 100 in a directory."""
        count = self._sizes.small_files
        return self._single("small", (count, count // SMALL_PER_DIRECTORY, SMALL_BYTES))

    def big(self) -> CommitRef:
        """One big file, /big."""
        return self._single("big", [("/big", self._sizes.big_bytes)])

    def pair(self) -> CommitRef:
        """Two files, /a and /b."""
        return self._single("pair", [(path, self._sizes.file_bytes) for path in ("/a", "/b")])

    def change(self) -> tuple[CommitRef, CommitRef]:
        """Two commits of 1,000 files, of which the second has 1 % anew."""
        size = self._sizes.changed_file_bytes
        repo = self._repo("change", f"{CHANGE_FILES} {size}")
        head = self._head(repo)
        if head is None:
            files = list(_spread(CHANGE_FILES, 10, size))
            first = self._write(repo, files)
            head = self._write(repo, files[::CHANGED_SHARE], replace=True)
            return first.commit, head.commit
        return CommitRef(repo, head.parent), head.commit

    def _single(self, kind: str, shape: tuple[int, ...] | list[tuple[str, int]]) -> CommitRef:
        repo = self._repo(kind, repr(shape))
        head = self._head(repo)
        if head is None:
            head = self._write(repo, shape if isinstance(shape, list) else _spread(*shape))
        return head.commit

    def _repo(self, kind: str, content: str) -> RepoRef:
        digest = hashlib.sha256(f"{_VERSION} {self._seed} {kind} {content}".encode()).hexdigest()[:8]
        return RepoRef("default", f"bench-{kind}-{digest}{self._unique}")

    def _head(self, repo: RepoRef) -> CommitInfo | None:
        """The finished head of a repo that is there already: commits are made as a whole."""
        try:
            head = self._client.inspect_commit(self._client.inspect_branch(repo).head, wait="finished", timeout=600)
        except NotFoundError:
            return None
        return None if head.error else head

    def _write(self, repo: RepoRef, files: _Files, *, replace: bool = False) -> CommitInfo:
        start = time.monotonic()
        print(f"making {repo.name} … ", end="", file=sys.stderr, flush=True)
        self._client.create_repo(repo, update=True)
        self._made.append(repo)
        seed = f"{self._seed} {'second' if replace else 'first'}"
        with self._client.modify_file(CommitRef(repo, "", "master")) as change:
            for path, size in files:
                if replace:
                    change.delete_file(path)
                change.add_file(path, _content(f"{seed} {path}", size))
        head = self._client.inspect_branch(repo).head
        info = self._client.inspect_commit(head, wait="finished", timeout=600)
        print(f"{time.monotonic() - start:.1f} s", file=sys.stderr)
        return info


def _spread(count: int, directories: int, size: int = 16) -> Iterator[tuple[str, int]]:
    each = -(-count // directories)
    for number in range(count):
        yield f"/d{number // each:04}/f{number:07}", size


def _content(seed: str, size: int) -> Iterator[bytes]:
    """Random bytes: nothing that a server could store once only, or compress."""
    source = random.Random(seed)
    for start in range(0, size, MIB):
        yield source.randbytes(min(MIB, size - start))
