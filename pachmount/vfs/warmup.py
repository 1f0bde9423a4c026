"""Bringing whole trees into the disk cache ahead of their readers: what is there already is not fetched again.

The fetching goes through `Contents.read` like that of any reader, in few threads, and steps back while file operations
wait for the cluster. A warm-up that was interrupted goes on where it stopped, for it looks at what the cache has.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pachmount.cache.blocks import BLOCK_BYTES, BlockCache
from pachmount.cache.disk import FREE_SPACE_FLOOR, DiskBlocks
from pachmount.errors import ClusterUnreachableError, NotFoundError, PachmountError, StorageFullError
from pachmount.vfs.content import Contents
from pachmount.vfs.tree import ROOT, Node
from pachmount.vfs.view import CommitView, WaitGate

log = logging.getLogger(__name__)

FETCHERS = 4
ROOM_SHARE = 0.9
"""The cache evicts in large steps, and some room is its index's: only so much of it is sure to stay there together."""
BLOCK_COST = 160
"""Bytes that a block takes in the cache's index."""
STEP_BACK_SECONDS = 0.02
PASSES = 3
"""How often the cache is gone through: blocks that were evicted or not written meanwhile are fetched once more."""
WRITE_SECONDS = 30.0
"""How long the cache may take to write what waits for the disk."""
LOOK_SECONDS = 0.5
CHECK_FILES = 10_000
_MIB = 1 << 20

WarmupState = Literal["listing", "fetching", "done", "failed", "cancelled"]


@dataclass
class Part:
    """Some paths (b"/" = all) of what a mount shows. `current` gives its view at the moment, None once it is gone.

    A mount that is moved meanwhile is warmed up at the commit that it showed, if that is listed.
    """

    name: str
    view: CommitView
    paths: tuple[bytes, ...]
    current: Callable[[], CommitView | None]


@dataclass
class Progress:
    """`done_*` counts what the cache has, `found_*` the part of that which it had before."""

    total_files: int = 0
    total_bytes: int = 0
    done_files: int = 0
    done_bytes: int = 0
    found_files: int = 0
    found_bytes: int = 0


class Warmup:
    """One warm-up, in threads of its own.

    `room` tells how many bytes the cache can hold of it, and raises StorageFullError while it takes nothing.
    """

    def __init__(
        self, number: int, parts: Sequence[Part], contents: Contents, gate: WaitGate, room: Callable[[], int]
    ) -> None:
        self.id = str(number)
        self.parts = tuple(parts)
        self.state: WarmupState = "listing"
        self.progress = Progress()
        self.error: PachmountError | None = None
        self.started_at = time.time()
        self.ended_at: float | None = None
        self._contents = contents
        self._cache: BlockCache = contents.cache
        self._gate = gate
        self._room = room
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._failure: PachmountError | None = None

    @property
    def running(self) -> bool:
        return self.ended_at is None

    def start(self) -> None:
        threading.Thread(target=self._run, name="warmup", daemon=True).start()

    def cancel(self) -> None:
        """Stop at the next block. What was fetched stays in the cache."""
        self._cancelled.set()

    def _run(self) -> None:
        outcome: WarmupState = "failed"
        try:
            self._list()
            self._count()
            self.state = "fetching"
            self._fetch_all()
            outcome = "done"
        except _CancelledError:
            outcome = "cancelled"
        except PachmountError as error:
            if isinstance(error, ClusterUnreachableError):
                error.hint = "run it again when the cluster is back: it goes on where it stopped"
            self.error = error
            log.info("a warm-up failed: %s", error)
        except Exception as error:
            self.error = PachmountError("the warm-up failed", str(error))
            log.exception("a warm-up failed")
        self.state = outcome
        self.ended_at = time.time()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise _CancelledError
        for part in self.parts:
            if part.current() is None:
                raise NotFoundError(f"mount '{part.name}' is gone", "it was unmounted meanwhile", "pachmount mount")

    def _list(self) -> None:
        """Wait for the listings; one that fails is tried again as a look-up would, within the same time."""
        for part in self.parts:
            failing_since = 0.0
            while not part.view.tree.wait_complete(LOOK_SECONDS):
                self._check()
                part.view = part.current() or part.view
                error = part.view.tree.error
                if error is None or part.view.tree.state == "loading":
                    continue
                failing_since = failing_since or time.monotonic()
                passing = isinstance(error, ClusterUnreachableError)
                if not passing or time.monotonic() - failing_since > self._contents.timeout:
                    raise error
                self._cancelled.wait(LOOK_SECONDS)
                part.view.tree.start_if_due()

    def _files(self) -> Iterator[tuple[Part, Node]]:
        for part in self.parts:
            for path in part.paths:
                node = ROOT if path == b"/" else part.view.tree.find(path)
                if node is not None:
                    yield from ((part, file) for file in _files_below(part.view, node))

    def _count(self) -> None:
        for _, file in self._files():
            self.progress.total_files += 1
            self.progress.total_bytes += file.size
            if not self.progress.total_files % CHECK_FILES:
                self._check()
        room = self._room()
        overhead = self.progress.total_files * BLOCK_COST + self.progress.total_bytes // BLOCK_BYTES * BLOCK_COST
        if self.progress.total_bytes + overhead <= room:
            return
        sizes = {part.view.content(file)[0]: file.size for part, file in self._files()}  # equal ones are kept once
        wanted = sum(size + BLOCK_COST * (1 + size // BLOCK_BYTES) for size in sizes.values())
        if wanted > room:
            names = ", ".join(dict.fromkeys(part.name for part in self.parts))
            why = f"{wanted / _MIB:,.0f} MiB are wanted, {room / _MIB:,.0f} MiB fit"
            hint = "name some directories, or give it more: PACHMOUNT_CACHE_SIZE, then pachmount daemon restart"
            raise StorageFullError(f"the cache is too small for '{names}'", why, hint)

    def _fetch_all(self) -> None:
        for number in range(PASSES):
            last = number == PASSES - 1
            self._room()
            missing = self._pass(first=number == 0)
            if not missing:
                return
            self._await_writes()
            if last and any(not self._is_stored(part, file) for part, file in self._files()):
                why = "the disk refuses blocks, or other readers need the room"
                raise StorageFullError("the cache does not keep what was fetched", why, "pachmount status")

    def _pass(self, *, first: bool) -> int:
        """Go through all files once, in FETCHERS threads; how many were not in the cache."""
        files, missing = self._files(), [0]
        threads = [
            threading.Thread(target=self._work, args=(files, missing, first), name="warmup-fetch", daemon=True)
            for _ in range(FETCHERS)
        ]
        self._failure = None
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure
        self._check()
        return missing[0]

    def _work(self, files: Iterator[tuple[Part, Node]], missing: list[int], first: bool) -> None:
        try:
            while self._failure is None:
                with self._lock:
                    part, file = next(files, (None, ROOT))
                if part is None:
                    return
                fetched = self._fetch(part, file, first)
                with self._lock:
                    missing[0] += fetched
                    if first:
                        self.progress.done_files += 1
                        self.progress.found_files += not fetched
        except (PachmountError, _CancelledError) as error:
            self._fail(error)
        except Exception as error:
            log.exception("a warm-up failed")
            self._fail(PachmountError("the warm-up failed", str(error)))

    def _fail(self, error: PachmountError | _CancelledError) -> None:
        if isinstance(error, _CancelledError):
            self._cancelled.set()
        with self._lock:
            if self._failure is None and isinstance(error, PachmountError):
                self._failure = error

    def _fetch(self, part: Part, file: Node, first: bool) -> bool:
        """Fetch the blocks of a file that the disk does not have; whether there were any."""
        digest, origin = part.view.content(file)
        fetched = False
        for number in range(origin.blocks):
            size = origin.block_size(number)
            found = self._cache.stored((digest, number))
            if not found:
                self._check()
                if self._gate.waiting:
                    time.sleep(STEP_BACK_SECONDS)
                data = self._contents.read(digest, origin, number * BLOCK_BYTES, size, _NO_GATE)
                if not first:  # it may never have reached the disk
                    self._cache.put((digest, number), data)
                fetched = True
            if first:
                with self._lock:
                    self.progress.done_bytes += size
                    self.progress.found_bytes += size * found
        return fetched

    def _is_stored(self, part: Part, file: Node) -> bool:
        digest, origin = part.view.content(file)
        return all(self._cache.stored((digest, number)) for number in range(origin.blocks))

    def _await_writes(self) -> None:
        """Give the cache time to write what waits for the disk; blocks that it takes from there count as stored."""
        deadline = time.monotonic() + WRITE_SECONDS
        while self._cache.queued_writes and time.monotonic() < deadline:
            self._check()
            self._cancelled.wait(0.05)
        self._cancelled.wait(LOOK_SECONDS)  # the last batch


class _CancelledError(Exception):
    """Somebody cancelled the warm-up."""


_NO_GATE = contextlib.nullcontext()


def _files_below(view: CommitView, node: Node) -> Iterator[Node]:
    """All files of a directory and what is below it, in the order of the listing; or the one file."""
    if not node.is_dir:
        yield node
        return
    path = node.path.encode()
    above = b"" if path == b"/" else path
    for name, _ in view.tree.children(path):
        child = view.tree.find(above + b"/" + name)
        if child is not None:
            yield from _files_below(view, child)


def disk_room(disk: DiskBlocks) -> int:
    """Bytes that a disk cache can be trusted to hold together; raises StorageFullError while it is off."""
    if disk.disabled_reason or not disk.limit:
        raise StorageFullError("the block cache is off", disk.disabled_reason or "cache_size is 0", "pachmount status")
    directory = disk.directory
    while not directory.exists():  # the cache may be deleted at any time
        directory = directory.parent
    usage = shutil.disk_usage(directory)
    free = usage.free - int(usage.total * FREE_SPACE_FLOOR)
    return int(max(0, min(disk.limit, disk.bytes_used + free)) * ROOM_SHARE)
