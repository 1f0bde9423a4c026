"""The datums of an input as they become known: many take little memory, and any is found at once.

Those that the cluster lists are kept in a file; those that were formed here are put together when they are asked for.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from pachmount.datums.keys import NotWantedError
from pachmount.datums.model import Datum, DatumFile
from pachmount.errors import ConfigurationError, InternalError, PachmountError, StorageFullError, UsageError
from pachmount.mounts.datum_source import DatumBatch, FormedHere, Found, Progress
from pachmount.paths import make_dirs

log = logging.getLogger(__name__)

Search = Callable[[Progress, Callable[[], bool]], Found]
"""`DatumSource.search`."""


class DatumList:
    """Filled by a thread of its own; thread-safe.

    `matched` counts files or datums of which the cluster told so far, `total` is the number of datums once it is known.
    """

    def __init__(self, search: Search, directory: Path) -> None:
        """`directory` is for a file without a name. Raises ConfigurationError if that cannot be made."""
        self.matched = 0
        self.total: int | None = None
        self.complete = False
        self.error: PachmountError | None = None
        self._count = 0
        self._formed: FormedHere | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._store = _store_in(directory)
        threading.Thread(target=self._fill, args=(search,), name="datums", daemon=True).start()

    def __len__(self) -> int:
        """How many datums were received so far."""
        return self._count

    def wait(self, timeout: float, *, complete: bool) -> None:
        """Wait for the first datum, or for all; raises what the listing failed with, if it has no datum."""
        with self._changed:
            self._changed.wait_for(lambda: self.complete or self.error or (self._count and not complete), timeout)
            if self.error is not None and not self._count:
                raise self.error

    def at(self, index: int) -> Datum:
        """The datum at an index. UsageError if there is none (yet)."""
        found = self.page(index, 1) if index >= 0 else []
        if not found or found[0][0] != index:
            raise UsageError(f"there is no datum {index}", f"they are 0 to {self._count - 1}")
        return found[0][1]

    def page(self, start: int, number: int) -> list[tuple[int, Datum]]:
        """At most `number` datums from an index on, each with its index."""
        if self._formed is not None:
            self._require_open()
            return list(enumerate(self._formed[start : start + number], start))
        query = "SELECT position, id, files FROM datums WHERE position >= ? ORDER BY position LIMIT ?"
        return [(position, _datum(found, files)) for position, found, files in self._rows(query, start, number)]

    def index(self, datum_id: str) -> int:
        """The index of the datum with an id. UsageError if there is none (yet)."""
        if self._formed is not None:
            self._require_open()
            index = self._formed.find(datum_id)
        else:
            found = self._rows("SELECT position FROM datums WHERE id = ?", datum_id)
            index = int(found[0][0]) if found else None
        if index is None:
            raise UsageError("specify a valid datum id", f"there is no datum '{datum_id}'")
        return index

    def close(self) -> None:
        """End the listing; nothing is asked of it any more."""
        with self._changed:
            self._closed = True
            self._store.close()

    def _rows(self, query: str, *values: object) -> Sequence[tuple[Any, ...]]:
        with self._changed:
            self._require_open()
            return self._store.execute(query, values).fetchall()

    def _require_open(self) -> None:
        if self._closed:
            raise UsageError("no datums mounted")

    def _fill(self, search: Search) -> None:
        try:
            found = search(self._count_matched, lambda: not self._closed)
            if isinstance(found, FormedHere):
                self._take(found)
            else:
                for batch in found:
                    if not self._add(batch):
                        return
            self._end(None)
        except NotWantedError:
            log.info("the listing of datums was given up")
        except OSError as error:
            why = error.strerror or str(error)
            self._end(StorageFullError("the datums cannot be kept", why, "free some space, then try again"))
        except PachmountError as error:
            log.info("the listing of datums ended: %s", error)
            self._end(error)
        except Exception as error:
            log.exception("the listing of datums failed")
            self._end(InternalError("the datums cannot be listed", repr(error), "see: pachmount daemon logs"))

    def _take(self, formed: FormedHere) -> None:
        with self._changed:
            self._formed = formed
            self._count = self.total = len(formed)

    def _add(self, batch: DatumBatch) -> bool:
        """Keep a batch; False if nobody wants it any more."""
        rows = [(datum.id, json.dumps([astuple(file) for file in datum.files])) for datum in batch.datums]
        with self._changed:
            if self._closed:
                return False
            start = self._count
            self._store.execute("BEGIN")
            self._store.executemany(
                "INSERT INTO datums VALUES (?, ?, ?)", ((start + place, *row) for place, row in enumerate(rows))
            )
            self._store.execute("COMMIT")
            self._count += len(rows)
            self.total = batch.total
            self._changed.notify_all()
        return True

    def _end(self, error: PachmountError | None) -> None:
        with self._changed:
            self.error, self.complete = error, error is None
            self._changed.notify_all()

    def _count_matched(self, number: int) -> None:
        self.matched = number


def _datum(datum_id: str, files: str) -> Datum:
    return Datum(datum_id, tuple(DatumFile(*fields) for fields in json.loads(files)))


def _store_in(directory: Path) -> sqlite3.Connection:
    """An empty database in a file that has no name any more."""
    try:
        make_dirs(directory)
        descriptor, path = tempfile.mkstemp(prefix="datums-", dir=directory)
        os.close(descriptor)
        store = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        os.unlink(path)
        store.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-2000;"
            "CREATE TABLE datums (position INTEGER PRIMARY KEY, id TEXT UNIQUE, files TEXT)"
        )
    except (OSError, sqlite3.Error) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or str(error)
        hint = "make room or let it be written, then try again: pachmount doctor"
        raise ConfigurationError(f"the datums cannot be kept in '{directory}'", why, hint) from error
    return store
