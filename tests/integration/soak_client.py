"""A client of the soak test: makes, changes, reads and ends mounts at random, and judges every answer."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, TypeVar

from pachmount.api import schema
from pachmount.client import DaemonClient
from pachmount.errors import (
    BusyError,
    CannotMountError,
    ClusterUnreachableError,
    ConflictError,
    InvalidPathError,
    NameTakenError,
    NotFoundError,
    PachmountError,
    UsageError,
)
from pachmount.fuse.kernel import mount_table
from tests.integration.soak_slots import KINDS, Kind, Slot, Tally, UnexpectedError
from tests.integration.soak_world import CONSTANT, SIZES, World, version_of

T = TypeVar("T")
CALL_SECONDS = 100.0
"""Within this each answer must be there: 8 workers, 20 clients, calls of 5 s that an outage may double."""
LOOK_SECONDS = 10.0
"""Within this those that the daemon answers from memory."""
PARTS = ["/all/small", "/all/medium", "/more"]
STAGED: tuple[schema.AtUnmount, ...] = ("commit", "commit", "keep", "discard")
READ_ERRORS = (errno.EIO, errno.ETIMEDOUT)
SHARED = (BusyError, InvalidPathError, NotFoundError, NameTakenError, CannotMountError, UsageError, ConflictError)
"""What may come of a request to a mount that others change at the same time."""
HELD = (BusyError,)
"""What may come of a mount for writing whose former one is held open by the mount namespace of any other process, or by
a file that is read ahead in an outage. That this ends is seen in the end."""
NO_MOUNT = (errno.ENOENT, errno.EROFS, errno.ENOTDIR)
"""What a program may meet at a place where others make and end mounts."""


class SoakClient:
    """One connection to the daemon, the slots of its own and those it shares with others."""

    def __init__(self, number: int, seed: int, world: World, own: list[Slot], shared: list[Slot], tally: Tally) -> None:
        self._number = number
        self._rng = random.Random(f"{seed} {number}")
        self._world = world
        self._own, self._shared = own, shared
        self._tally = tally
        self._written = 0
        self.doing = ""
        self._actions: dict[Callable[[DaemonClient], None], int] = {
            self._mount: 14,
            self._unmount: 8,
            self._read: 30,
            self._write: 12,
            self._commit: 8,
            self._discard: 2,
            self._diff: 3,
            self._refresh: 8,
            self._remount: 4,
            self._follow: 5,
            self._warm_up: 4,
            self._look: 6,
        }

    def fill(self, stop: threading.Event) -> None:
        """Mount all that is its own."""
        with DaemonClient(self._world.box.places.socket) as daemon:
            for slot in self._own:
                while not stop.is_set() and slot.known is not True:
                    self._mount_slot(daemon, slot)
            self._look(daemon)

    def run(self, stop: threading.Event) -> None:
        """Do this and that until told to stop."""
        with DaemonClient(self._world.box.places.socket) as daemon:
            while not stop.is_set():
                (action,) = self._rng.choices(list(self._actions), list(self._actions.values()))
                action(daemon)

    # --- asking

    def _ask(
        self, what: str, call: Callable[[], T], *allowed: type[PachmountError], within: float = CALL_SECONDS
    ) -> T | None:
        """The answer; None for an error of a class that is allowed, or that an outage explains."""
        self.doing, began, error = what, time.monotonic(), None
        try:
            return call()
        except PachmountError as caught:
            error = caught
            excused = isinstance(error, ClusterUnreachableError) and self._world.outages.excuse(began)
            if not excused and type(error) not in allowed:
                raise UnexpectedError(f"{what}: {type(error).__name__}: {error}") from error
            return None
        finally:
            seconds, self.doing = time.monotonic() - began, ""
            self._tally.count(what.split()[0], seconds, type(error).__name__ if error is not None else "")
            if seconds > within:
                raise UnexpectedError(f"{what}: took {seconds:.1f} s")

    def _change(self, what: str, slot: Slot, call: Callable[[], T], *allowed: type[PachmountError]) -> T | None:
        """A request that changes a mount: what others change at the same time may meet more errors."""
        return self._ask(f"{what} {slot.name}", call, *(allowed if slot.owned else SHARED))

    def _any(self, *kinds: Kind, known: bool = True) -> Slot:
        """A slot of its own that is (not) mounted, or a shared one, of which that is not known."""
        own = [slot for slot in self._own if slot.known is known and (not kinds or slot.kind in kinds)]
        if own and self._rng.random() < 0.75:
            return self._rng.choice(own)
        return self._rng.choice(self._shared)

    # --- requests

    def _mount(self, daemon: DaemonClient) -> None:
        for slot in self._own:
            if slot.known is None:
                self._learn(daemon, slot)
        slot = self._any(known=False)
        self._mount_slot(daemon, slot)

    def _mount_slot(self, daemon: DaemonClient, slot: Slot) -> None:
        kind = slot.kind if slot.owned else self._rng.choice(KINDS)
        repo = slot.repo if slot.owned else self._rng.choice(self._world.repos)
        entry = schema.MountEntry(name=slot.name, repo=repo, mode="rw" if kind == "rw" else "ro")
        if kind == "parts":
            entry.paths = PARTS
        entry.follow = kind == "follow"
        if slot.place.parent != self._world.box.mount_dir:
            entry.mountpoint = str(slot.place)
        finished = self._world.finished(repo)
        answer = self._change("mount", slot, lambda: daemon.mount([entry]), *(HELD if kind == "rw" else ()))
        if not slot.owned:
            return
        if answer is None:
            self._learn(daemon, slot)
            return
        slot.known, slot.mode, slot.follow = True, "rw" if kind == "rw" else "ro", entry.follow
        self._require_in_kernel(slot, there=True)
        if kind != "rw":
            self._read_slot(slot, at_least=finished)

    def _unmount(self, daemon: DaemonClient) -> None:
        slot = self._any()
        staged: schema.AtUnmount = self._rng.choice(STAGED)
        was = dict(slot.staged)
        answer = self._change("unmount", slot, lambda: daemon.unmount([slot.name], staged=staged), BusyError)
        if not slot.owned:
            return
        if answer is None:
            self._learn(daemon, slot)
            return
        slot.known = False
        self._require_in_kernel(slot, there=False)
        if slot.mode == "rw" and staged == "commit":
            self._note_committed(slot, was)
        if slot.mode == "rw" and staged == "discard":
            slot.staged.clear()

    def _commit(self, daemon: DaemonClient) -> None:
        slot = self._any("rw")
        was = dict(slot.staged)
        request = schema.CommitRequest(mount=slot.name, message=f"client {self._number}")
        answer = self._change("commit", slot, lambda: daemon.commit(request), BusyError)
        if slot.owned and slot.mode == "rw" and answer is not None:
            self._note_committed(slot, was)

    def _note_committed(self, slot: Slot, written: dict[str, bytes]) -> None:
        with self._tally.lock:
            self._tally.committed.update({(slot.repo, path): data for path, data in written.items()})
        for path in written:
            slot.staged.pop(path, None)

    def _discard(self, daemon: DaemonClient) -> None:
        slot = self._any("rw")
        if slot.owned and slot.mode != "rw":
            return
        if self._change("discard", slot, lambda: daemon.discard(slot.name, [])) is not None:
            slot.staged.clear()

    def _diff(self, daemon: DaemonClient) -> None:
        slot = self._any("rw")
        if slot.owned and slot.mode != "rw":
            return
        patch = self._rng.random() < 0.5
        found = self._change("diff", slot, lambda: daemon.diff(slot.name, patch=patch))
        if slot.owned and found is not None:
            missing = set(slot.staged) - {change.path for change in found.changes}
            if missing:
                raise UnexpectedError(f"{slot.name}: what was written is not staged: {sorted(missing)}")

    def _refresh(self, daemon: DaemonClient) -> None:
        slot = self._any()
        finished = self._world.finished(slot.repo)
        entry = schema.RefreshEntry(name=slot.name)
        answer = self._change("refresh", slot, lambda: daemon.refresh([entry]), BusyError)
        if slot.owned and answer is not None:
            self._read_slot(slot, at_least=finished)

    def _remount(self, daemon: DaemonClient) -> None:
        slot = self._any("rw")
        mode: Literal["ro", "rw"] = "ro" if slot.mode == "rw" else "rw"
        answer = self._change("remount", slot, lambda: daemon.remount([slot.name], mode), *HELD)
        if not slot.owned:
            return
        if answer is None:
            self._learn(daemon, slot)
        else:
            slot.mode = mode
            self._require_in_kernel(slot, there=True)

    def _follow(self, daemon: DaemonClient) -> None:
        slot = self._any("ro", "follow")
        on = not slot.follow if slot.owned else self._rng.random() < 0.5
        answer = self._change("follow", slot, lambda: daemon.follow([slot.name], on=on))
        if slot.owned and answer is not None:
            slot.follow = on

    def _warm_up(self, daemon: DaemonClient) -> None:
        slot = self._any("ro", "parts")
        path = self._rng.choice(["/more", "/all/small"])
        answer = self._change(
            "warm_up", slot, lambda: daemon.warm_up([schema.WarmupEntry(name=slot.name, paths=[path])]), BusyError
        )
        if answer is not None and self._rng.random() < 0.3:
            self._ask("cancel_warmup", lambda: daemon.cancel_warmup(answer.id), NotFoundError)

    def _look(self, daemon: DaemonClient) -> None:
        """The questions that change nothing; they are answered in an outage as well."""
        what = self._rng.choice(["mounts", "status", "status", "stats", "health", "repos"])
        if what in ("mounts", "repos"):
            self._ask(what, daemon.mounts if what == "mounts" else daemon.repos)
            return
        self._ask(what, getattr(daemon, what), within=LOOK_SECONDS)
        status = self._ask("status", daemon.status, within=LOOK_SECONDS)
        if status is not None:
            with self._tally.lock:
                shown = sum(mount.state == "mounted" for mount in status.mounts)
                self._tally.most_mounts = max(self._tally.most_mounts, shown)

    def _learn(self, daemon: DaemonClient, slot: Slot) -> None:
        """What became of a slot after a request that failed."""
        slot.known = None
        status = self._ask("status", daemon.status, within=LOOK_SECONDS)
        if status is None:
            return
        found = next((mount for mount in status.mounts if mount.name == slot.name), None)
        if found is None:
            slot.known = False
        elif found.state == "mounted":
            slot.known, slot.mode, slot.follow = True, found.mode, found.follow

    # --- files

    def _require_in_kernel(self, slot: Slot, *, there: bool) -> None:
        found = sum(entry.mountpoint == str(slot.place) for entry in mount_table())
        moving = there and slot.follow and found == 2  # the new commit's mount is put beneath the old one's first
        if found != int(there) and not moving:
            raise UnexpectedError(
                f"{slot.name}: {found} mounts at {slot.place}, which should{' ' if there else ' not '}be"
            )

    def _read(self, daemon: DaemonClient) -> None:
        slot = self._rng.choice(self._shared) if self._rng.random() < 0.3 else self._any()
        self._read_slot(slot)

    def _read_slot(self, slot: Slot, at_least: int = 0) -> None:
        """Some files of one open directory: all of one version, and of none older than `at_least`."""
        with self._files(slot, "read"):
            top = os.open(slot.place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                versions = self._versions(slot, top)
            finally:
                os.close(top)
            if slot.owned and slot.mode == "ro" and len(versions) > 1:
                raise UnexpectedError(f"{slot.name}: files of several commits in one directory: {versions}")
            if slot.owned and versions and min(versions) < at_least:
                raise UnexpectedError(f"{slot.name}: shows version {min(versions)} after {at_least} was committed")

    def _versions(self, slot: Slot, top: int) -> set[int]:
        repo = self._repo_shown(slot, top)
        versions = set()
        names = ["small", "medium"] if slot.kind == "parts" else list(SIZES)
        for name in self._rng.sample(names, self._rng.randint(1, len(names))):
            version = version_of(repo, name, _content_of(f"all/{name}", top))
            if version > self._world.begun(repo):
                raise UnexpectedError(f"{slot.name}: shows version {version}, which was never made")
            versions.add(version)
        path = self._rng.choice(list(CONSTANT))
        if _content_of(path[1:], top) != CONSTANT[path]:
            raise UnexpectedError(f"{slot.name}: {path} is not what it was")
        return versions

    def _repo_shown(self, slot: Slot, top: int) -> str:
        """That of an owned slot is known; that of a shared one fits the content of one of its files."""
        if slot.owned:
            return slot.repo
        data = _content_of("all/small", top)
        for repo in self._world.repos:
            with suppress(AssertionError):
                version_of(repo, "small", data)
                return repo
        raise UnexpectedError(f"{slot.name}: /all/small is that of no repo: {data[:40]!r}, {len(data)} bytes")

    def _write(self, daemon: DaemonClient) -> None:
        slot = self._any("rw")
        if slot.owned and slot.mode != "rw":
            return
        self._written += 1
        name = f"own/client{self._number}-{self._written}"
        data = self._rng.randbytes(self._rng.choice([10, 3000, 200_000]))
        with self._files(slot, "write"):
            top = os.open(slot.place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if os.fstat(top).st_dev == os.stat(self._world.box.root).st_dev:
                    raise FileNotFoundError(errno.ENOENT, "nothing is mounted there")
                _put(top, name, data)
            finally:
                os.close(top)
            slot.staged[f"/{name}"] = data

    @contextmanager
    def _files(self, slot: Slot, what: str) -> Iterator[None]:
        """Errors of files are allowed in an outage, and where others end and make mounts."""
        self.doing, began, error = f"{what} {slot.place}", time.monotonic(), None
        try:
            yield
        except OSError as caught:
            error = caught
            excused = caught.errno in READ_ERRORS and self._world.outages.excuse(began)
            if not excused and (slot.owned or caught.errno not in NO_MOUNT):
                raise UnexpectedError(f"{what} {slot.name}: {caught!r}") from caught
        except AssertionError as caught:
            raise UnexpectedError(f"{what} {slot.name}: {caught}") from caught
        finally:
            seconds, self.doing = time.monotonic() - began, ""
            self._tally.count(what, seconds, errno.errorcode.get(error.errno or 0, "?") if error else "")
            if seconds > CALL_SECONDS:
                raise UnexpectedError(f"{what} {slot.name}: took {seconds:.1f} s")


def _content_of(path: str, directory: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY, dir_fd=directory)
    try:
        pieces = []
        while piece := os.read(descriptor, 1 << 20):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def _put(directory: int, name: str, data: bytes) -> None:
    with suppress(FileExistsError):
        os.mkdir(os.path.dirname(name), dir_fd=directory)
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=directory)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)
