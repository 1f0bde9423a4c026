"""An open ledger: every transaction of the database goes through it, and is in its log before it is committed."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pachmount.errors import PachmountError, StoreDamagedError
from pachmount.files import sync_directory
from pachmount.ledger import snapshots
from pachmount.ledger.capture import Capture
from pachmount.ledger.compare import Log, Look, ledger_directory, read_row
from pachmount.ledger.frames import Flaw, Header, Kind, LogReader, LogWriter, encode
from pachmount.ledger.lost import LostAndFound
from pachmount.ledger.replay import note

_log = logging.getLogger(__name__)

SMALL_LOG_BYTES = 16 * 1024 * 1024
_MOST = 4  # times the length at which a log is due to be replaced; then somebody has to wait for it


class Ledger:
    """The one writer of a database. Thread-safe. `open_ledger` makes it."""

    def __init__(
        self,
        database: Path,
        db: sqlite3.Connection,
        found: Look,
        unsummed: Collection[str],
        boot: str,
        *,
        is_new: bool,
    ) -> None:
        self._database = database
        self._directory = ledger_directory(database)
        self._db = db
        self._unsummed = frozenset(unsummed)
        self._boot = boot
        self._lock = threading.RLock()
        self._rotating = threading.Lock()
        self._number = found.log.number if found.log else 0
        self._is_broken = self._is_unsynced = False
        row = read_row(db)
        assert row is not None  # noqa: S101 - it was made above
        self._store, self._generation, self._total, self._durable = row.store, row.generation, row.total, row.durable
        self.is_new = is_new or found.log is None
        """Whether it begins with this opening."""
        self._writer: LogWriter | None = None
        if is_new or found.log is None:  # which is `is_new`, for the type checker
            self._begin_anew(found)
        else:
            self._go_on(found, found.log)
        self._capture = Capture(db, unsummed, self._spill)

    @property
    def generation(self) -> int:
        """The number of the last transaction."""
        return self._generation

    @property
    def is_due(self) -> bool:
        """Whether the log is so long that `rotate` is worth while."""
        return self._log_size() > self._bound()

    def figures(self) -> dict[str, int]:
        """Sizes in bytes, and the length of the log at which it is replaced even if somebody has to wait for that."""
        return {
            "generation": self._generation,
            "log_size": self._log_size(),
            "log_due": self._bound(),
            "log_bound": _MOST * self._bound(),
        }

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction, rolled back when the block raises. If it is `durable`, so are all before it when it returns.

        Raises OSError, StorageFullError and sqlite3.Error; then nothing has changed.
        """
        with self._lock:
            self._make_usable()
            self._db.execute("BEGIN IMMEDIATE")
            place = self._log_writer.place()
            try:
                yield self._db
                self._commit(durable)
            except BaseException as error:
                self._roll_back(place)
                failure = self._capture.failure
                self._capture.rolled_back()
                if failure is not None and failure is not error:
                    raise failure from error
                raise

    def sync(self) -> None:
        """Make all transactions durable. Raises OSError."""
        with self._lock:
            if self._is_unsynced:
                self._sync_log()

    def rotate(self) -> None:
        """Begin a new log with a snapshot of the database, in the place of the old ones; writers hardly wait.

        Raises OSError, StorageFullError, sqlite3.Error, DataError; then the old ones stay in use.
        """
        with self._rotating:
            header, snapshot = self._snapshot()
            with self._lock:
                if self._writer is None:  # closed meanwhile
                    snapshot.unlink(missing_ok=True)
                    return
                self._switch(header, snapshot)
                self._remove_old()

    def shrink(self) -> None:
        """Give the space of removed rows back to the disk, and `rotate`. Raises what that raises."""
        with self._lock:
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint (TRUNCATE)")
        self.rotate()

    def close(self) -> None:
        """Close the log and the connection."""
        with self._lock:
            try:
                if self._is_unsynced:
                    self._sync_log()
            finally:
                if self._writer is not None:
                    self._writer.close()
                    self._writer = None
                self._db.close()

    @property
    def _log_writer(self) -> LogWriter:
        if self._writer is None:
            raise StoreDamagedError(f"the store {self._database.parent} is closed")
        return self._writer

    def _log_size(self) -> int:
        writer = self._writer
        return writer.end if writer is not None else 0

    def _bound(self) -> int:
        return max(SMALL_LOG_BYTES, self._database.stat().st_size)

    def _make_usable(self) -> None:
        """Replace a log that could not be written, and one that is much too long."""
        if self._is_broken:
            header, snapshot = self._snapshot()
            self._switch(header, snapshot, with_frames=False)
            self._generation, self._total, self._durable = header.generation, header.total, header.generation
            self._is_broken = False
            self._remove_old()
        elif (
            (size := self._log_size()) > _MOST * SMALL_LOG_BYTES
            and size > _MOST * self._bound()
            and self._rotating.acquire(blocking=False)
        ):
            try:
                self._switch(*self._snapshot())
                self._remove_old()
            except (OSError, sqlite3.Error, PachmountError) as error:
                _log.warning("the ledger of %s grows beyond its bound: %s", self._database, error)
            finally:
                self._rotating.release()

    def _spill(self, payload: bytes) -> None:
        self._log_writer.append(Kind.PART, self._generation + 1, 0, 0, payload)

    def _commit(self, durable: bool) -> None:
        if self._capture.failure is not None:
            raise self._capture.failure
        writer = self._log_writer
        payload = self._capture.finish()
        if not payload and not self._capture.has_spilt:
            self._db.execute("COMMIT")
            self._capture.forget()
            if durable and self._is_unsynced:
                self._sync_log()
            return
        generation, total = self._generation + 1, self._total ^ self._capture.change
        synced = generation if durable else self._durable
        note(self._db, generation, total, synced)
        writer.append(Kind.COMMIT, generation, total, synced, payload)
        if durable:
            self._sync_log()
        self._db.execute("COMMIT")
        self._generation, self._total, self._durable = generation, total, synced
        self._is_unsynced = not durable
        self._capture.forget()

    def _sync_log(self) -> None:
        try:
            self._log_writer.sync()
        except OSError:
            # The system forgets what it could not write, and would say that all is well when asked again.
            self._is_broken = True
            raise
        self._is_unsynced = False

    def _roll_back(self, place: tuple[int, int]) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            row = read_row(self._db)
            if row is None or row.generation != self._generation:
                self._is_broken = True  # it was committed all the same
            if self._log_writer.place() != place or self._log_writer.is_torn:
                self._log_writer.back_to(place)
        except (OSError, sqlite3.Error) as error:
            self._is_broken = True
            _log.error("the ledger of %s cannot be written and has to begin anew: %s", self._database, error)

    def _go_on(self, found: Look, log: Log) -> None:
        """Append to the log that there is, without what a transaction that never ended has left at its end."""
        if log.flaw is Flaw.BAD:
            kept = LostAndFound(self._database.parent).copy_tail(log.path, log.end)
            _log.warning("the ledger of %s has no whole end, as after a power loss; see %s", self._database, kept)
        self._writer = LogWriter(log.path, log.end, log.checksum)
        if log.path.stat().st_size > log.end:
            self._writer.back_to((log.end, log.checksum))
        if found.is_new_boot:
            place = self._writer.place()
            try:
                self._writer.append(Kind.BOOT, self._generation, self._total, self._durable, encode(self._boot))
            except OSError:  # no space; the next start notes it
                self._writer.back_to(place)
        self._remove_old()

    def _begin_anew(self, found: Look) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        sync_directory(self._database.parent)
        if found.problem:
            _log.warning("%s: %s; the ledger begins anew", self._database, found.problem)
        numbers = [int(path.stem) for path in self._directory.glob("*.*") if path.stem.isdecimal()]
        self._number = max(numbers, default=0)
        header, snapshot = self._snapshot()
        self._switch(header, snapshot, with_frames=False)
        self._remove_old(LostAndFound(self._database.parent) if found.problem else None)

    def _snapshot(self) -> tuple[Header, Path]:
        made = snapshots.make(self._database, self._directory, self._number + 1, self._unsummed, self._boot)
        self._settle_database()
        return made

    def _switch(self, header: Header, snapshot: Path, *, with_frames: bool = True) -> None:
        """Use a new log, which begins with a snapshot and goes on with what was written since."""
        number = self._number + 1
        path = self._directory / f"{number}.log.new"
        final = path.with_suffix("")
        path.unlink(missing_ok=True)
        writer = LogWriter(path)
        try:
            os.rename(snapshot, self._directory / header.snapshot)
            writer.append(Kind.HEADER, header.generation, header.total, header.generation, header.payload())
            if with_frames and self._writer is not None:
                for frame in LogReader(self._writer.path):
                    if frame.generation > header.generation and frame.end <= self._writer.end:
                        writer.append(frame.kind, frame.generation, frame.total, frame.durable, frame.payload)
            writer.sync()
            os.rename(path, final)
            sync_directory(self._directory)
        except BaseException:
            writer.close()
            self._is_broken = self._is_broken or final.exists()  # it would be taken for the newest one
            with contextlib.suppress(OSError):
                for made in (path, final, snapshot, self._directory / header.snapshot):
                    made.unlink(missing_ok=True)
            raise
        writer.path = final
        if self._writer is not None:
            self._writer.close()
        self._writer, self._number = writer, number
        self._is_unsynced = False

    def _settle_database(self) -> None:
        """Bring all that the snapshot has into the main file of the database, so that SQLite's log may be lost, too."""
        with closing(sqlite3.connect(self._database, isolation_level=None)) as db:
            db.execute("PRAGMA wal_checkpoint (PASSIVE)")

    def _remove_old(self, lost: LostAndFound | None = None) -> None:
        """Remove logs and snapshots before the one in use, and what a rotation that was cut off has left."""
        try:
            for name in os.listdir(self._directory):
                stem, _, rest = name.partition(".")
                if stem.isdecimal() and rest in ("log", "db", "log.new", "db.new") and int(stem) != self._number:
                    if lost is not None:
                        lost.take(self._directory / name)
                    else:
                        (self._directory / name).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("old files of the ledger of %s cannot be removed: %s", self._database, error)
