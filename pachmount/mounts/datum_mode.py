"""Datum mode: the mount directory shows what a pipeline's code would see of one datum, and a writable `out`."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pachmount.datums.model import Datum, DatumFile, Input, leaves
from pachmount.errors import BusyError, CannotMountError, UsageError
from pachmount.mounts.datum_list import DatumList, Search
from pachmount.mounts.datum_readers import DatumPart
from pachmount.mounts.gone import find_loss
from pachmount.mounts.mount import MountSpec
from pachmount.mounts.mounter import Mounter
from pachmount.mounts.restoring import bring_back
from pachmount.mounts.sessions import Sessions
from pachmount.mounts.table import MountTable
from pachmount.mounts.writing import require_clean
from pachmount.names import Source
from pachmount.paths import make_dirs, visible_mode
from pachmount.pfs.model import FileEntry

log = logging.getLogger(__name__)

FIRST_SECONDS = 110.0
"""How long the first datum may take: a little less than a request."""
OUT = "out"
_BUSY_SECONDS = 60.0


@dataclass(frozen=True)
class Shown:
    """A datum, its index, and how many datums there are (as far as is known)."""

    datum: Datum
    index: int
    number: int
    all_received: bool


class DatumMode:
    """On or off for all mounts of a daemon. All methods may be called from any thread; one changes it at a time."""

    def __init__(self, table: MountTable, sessions: Sessions, mounter: Mounter, mount_dir: Path, state: Path) -> None:
        """`state`: a directory for the list of datums."""
        self._table = table
        self._sessions = sessions
        self._mounter = mounter
        self._mount_dir = mount_dir
        self._state = state
        self._lock = threading.Lock()
        self._input: Input | None = None
        self._datums: DatumList | None = None
        self._shown: tuple[int, Datum] | None = None
        self._former: list[MountSpec] = []

    # --- looking

    @property
    def is_on(self) -> bool:
        return self._datums is not None

    @property
    def input(self) -> Input | None:
        """The input, with its defaults; None outside of datum mode."""
        return self._input

    @property
    def datums(self) -> DatumList:
        """All datums, as far as they were received. UsageError outside of datum mode."""
        datums = self._datums
        if datums is None:
            raise UsageError("no datums mounted", "", "pachmount datum mount SPEC")
        return datums

    def shown(self) -> Shown:
        """What is shown. UsageError outside of datum mode."""
        datums, shown = self.datums, self._shown
        if shown is None:
            raise UsageError("no datums mounted", "the first one is on its way", "pachmount datum status")
        number = datums.total if datums.total is not None else len(datums)
        return Shown(shown[1], shown[0], number, datums.complete)

    @property
    def directory(self) -> Path:
        """Where files without a name may be made that hold datums."""
        return self._state

    @property
    def out(self) -> Path:
        """The writable directory beside the inputs."""
        return self._mount_dir / OUT

    # --- changing

    def mount(self, source: Input, search: Search, *, wait_for_all: bool) -> Shown:
        """List the datums of an input, then put the first one in the place of all mounts.

        Until there is a datum nothing changes, nor if there is none: raises what `search` raises. What is staged in
        the mounts that go stays staged, and comes back with them.
        """
        with self._changing():
            datums = DatumList(search, self._state)
            try:
                datums.wait(FIRST_SECONDS, complete=wait_for_all)
                datum = datums.at(0)
                if not self.is_on:
                    self._suspend()
            except BaseException:
                datums.close()
                raise
            former, self._datums = self._datums, datums
            self._input, self._shown = source, None
            if former is not None:
                former.close()
            try:
                self._show(0, datum)
            except BaseException:
                self._leave(restore=True)
                raise
            return self.shown()

    def show(self, *, index: int | None = None, datum_id: str = "") -> Shown:
        """Show another datum, by its id or its index. UsageError if there is no such datum (yet)."""
        with self._changing():
            datums = self.datums
            wanted = datums.index(datum_id) if datum_id else index or 0
            self._show(wanted, datums.at(wanted))
            return self.shown()

    def step(self, by: int) -> Shown:
        """Show the next datum (1) or the previous one (-1)."""
        with self._changing():
            datums, wanted = self.datums, self.shown().index + by
            if wanted < 0:
                raise UsageError("already at first datum")
            if wanted >= len(datums):
                if datums.error is not None:
                    raise datums.error
                if not datums.complete:
                    raise BusyError("the next datum is not known yet", "the datums are being listed", "try again")
                raise UsageError("already at last datum")
            self._show(wanted, datums.at(wanted))
            return self.shown()

    def leave(self, *, restore: bool) -> None:
        """Back to what was mounted before, or with `restore` False to nothing. Does nothing outside of datum mode."""
        with self._changing():
            if self.is_on:
                self._leave(restore=restore)

    def close(self) -> None:
        """The daemon ends: what was mounted before is remembered, what was written to `out` stays."""
        datums, self._datums = self._datums, None
        if datums is not None:
            datums.close()
            with suppress(OSError):
                self.out.rmdir()

    # --- inside, with the lock held

    @contextmanager
    def _changing(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_BUSY_SECONDS):
            raise BusyError("datum mode is busy", "another request changes it", "pachmount datum status")
        try:
            yield
        finally:
            self._lock.release()

    def _suspend(self) -> None:
        """Take all mounts away, to be brought back later; all or none."""
        mounts = self._table.all()
        self._make_out()
        try:
            for mount in mounts:
                if mount.overlay is not None:
                    require_clean(mount)
            former = [mount.spec for mount in mounts]
            self._table.remember(former)
        except BaseException:
            self._remove_out()
            raise
        self._former = former
        try:
            for mount in mounts:
                with self._table.operation(mount):
                    self._sessions.take_away(mount)
                    self._table.drop(mount)
        except BaseException:
            self._restore()
            self._remove_out()
            raise

    def _restore(self) -> None:
        """Bring back what was mounted; what fails is in state error, and can be tried again."""
        bring_back(self._table, self._sessions, self._former, partial(find_loss, self._mounter.cluster))
        self._former = []
        self._table.remember(None)

    def _leave(self, *, restore: bool) -> None:
        for mount in self._table.all():
            with self._table.operation(mount):
                self._sessions.take_away(mount)
                self._table.drop(mount)
        try:
            self._remove_out()
        except CannotMountError as error:
            log.warning("%s", error)
        datums, self._datums = self._datums, None
        self._input = self._shown = None
        if datums is not None:
            datums.close()
        if not restore:
            self._former = []
        self._restore()

    def _show(self, index: int, datum: Datum) -> None:
        started = time.monotonic()
        wanted = {spec.name: spec for spec in self._specs(datum)}
        for mount in self._table.all():
            if mount.spec.name not in wanted:
                with self._table.operation(mount):
                    self._sessions.take_away(mount)
                    self._table.drop(mount)
        for name, spec in wanted.items():
            mount, is_new = self._table.reserve(name, lambda spec=spec: spec)  # type: ignore[misc]
            if is_new:
                try:
                    self._sessions.start(mount)
                except BaseException:
                    self._table.drop(mount)
                    raise
                finally:
                    mount.operation.release()
            elif mount.spec != spec:
                with self._table.operation(mount):
                    self._sessions.replace(mount, spec, self._mounter.view(spec, mount.statistics))
        self._make_out()
        self._shown = index, datum
        log.info("datum %d (%s) is shown after %.0f ms", index, datum.id, (time.monotonic() - started) * 1000)

    def _specs(self, datum: Datum) -> Iterator[MountSpec]:
        """One mount for each name: the files of that input, in the datum's commit."""
        by_name: dict[str, list[DatumFile]] = {}
        for file in datum.files:
            by_name.setdefault(file.input, []).append(file)
        inputs = {leaf.name: leaf for leaf in leaves(self._input)} if self._input is not None else {}
        for name, files in by_name.items():
            first = files[0]
            if any(
                (file.project, file.repo, file.commit) != (first.project, first.repo, first.commit) for file in files
            ):
                raise UsageError(f'name "{name}" was used more than once', "for different repos or commits")
            entries = {}
            for file in files:
                path = "" if file.path == "/" else file.path
                entries[path] = FileEntry(path, file.is_dir, file.size_bytes, bytes.fromhex(file.hash))
            empty = name in inputs and inputs[name].empty_files
            yield MountSpec(
                name=name,
                source=Source(first.project, first.repo, first.branch, first.commit),
                mountpoint=self._mount_dir / name,
                paths=() if "" in entries else tuple(sorted(entries)),
                pinned=True,
                datum=DatumPart({path: entry for path, entry in entries.items() if not entry.is_dir}, empty),
            )

    # --- out

    def _make_out(self) -> None:
        """An empty `out`; what was in ours before goes away in the background."""
        if self.is_on and self.out.is_dir():
            self._remove_out()
        try:
            make_dirs(self._mount_dir, visible_mode())
            with suppress(FileExistsError):
                self.out.mkdir(visible_mode())
                self.out.chmod(visible_mode())  # the umask took bits of it
                return
            if self.out.is_symlink() or not self.out.is_dir() or next(self.out.iterdir(), None) is not None:
                why = "something is in it" if self.out.is_dir() else "it is no directory"
                raise CannotMountError(f"cannot use '{self.out}'", why, f"mv {self.out} {self.out}-before")
        except OSError as error:
            raise CannotMountError(f"cannot use '{self.out}'", error.strerror or str(error)) from error

    def _remove_out(self) -> None:
        name = f".pachmount-{OUT}-{os.getpid()}-{time.monotonic_ns()}"
        aside = self._state / name
        try:
            try:
                self.out.rename(aside)
            except FileNotFoundError:
                raise
            except OSError:  # on another disk, or on one that takes nothing
                aside = self._mount_dir / name
                self.out.rename(aside)
        except FileNotFoundError:
            return
        except OSError as error:
            raise CannotMountError(f"cannot empty '{self.out}'", error.strerror or str(error)) from error
        threading.Thread(target=shutil.rmtree, args=(aside, True), name="old out", daemon=True).start()
