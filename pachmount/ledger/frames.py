"""The log files of a ledger: frames whose checksum covers the frame before as well, so that none can go unnoticed."""

from __future__ import annotations

import enum
import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import xxhash

from pachmount.files import write_all

FORMAT = "pachmount-ledger-1"
SNAPSHOT_NAME = re.compile(r"[0-9]+\.db")
LOG_NAME = re.compile(r"([0-9]+)\.log")
_HEAD = struct.Struct("<IBQQQ")  # length of the payload, kind, generation, catalog sum, last durable generation
_CHECKSUM = struct.Struct("<Q")
_OVERHEAD = _HEAD.size + _CHECKSUM.size


class Kind(enum.IntEnum):
    """HEADER opens a file. PARTs and the COMMIT behind them are one transaction.

    BOOT notes in which run of the machine the ledger is used from here on.
    """

    HEADER = 1
    PART = 2
    COMMIT = 3
    BOOT = 4


class Flaw(enum.Enum):
    """How a log file ends: behind a whole frame, within a frame, or with something that is no frame."""

    NONE = "none"
    SHORT = "short"
    BAD = "bad"


@dataclass(frozen=True)
class Frame:
    """`total` is the catalog sum after the transaction, `durable` the last generation that was synced by then."""

    kind: Kind
    generation: int
    total: int
    durable: int
    payload: bytes
    end: int
    checksum: int

    def content(self) -> Any:
        """The decoded payload. Raises ValueError for what no ledger writes."""
        return decode(self.payload)


@dataclass(frozen=True)
class Header:
    """The beginning of a log file: the store, and the snapshot of the database with which the log begins."""

    store: str
    generation: int
    total: int
    snapshot: str
    snapshot_size: int
    snapshot_hash: bytes
    boot: str

    def payload(self) -> bytes:
        return encode([FORMAT, self.store, self.snapshot, self.snapshot_size, self.snapshot_hash, self.boot])

    @classmethod
    def of(cls, frame: Frame) -> Header:
        """Raises ValueError if the frame is not the header of a ledger of this format."""
        content = frame.content()
        kinds = [str, str, str, int, bytes, str]
        if frame.kind is not Kind.HEADER or not isinstance(content, list) or list(map(type, content)) != kinds:
            raise ValueError("not the header of a ledger")
        name, store, snapshot, size, digest, boot = content
        if name != FORMAT or not SNAPSHOT_NAME.fullmatch(snapshot):
            raise ValueError("the header of a ledger of another version")
        return cls(store, frame.generation, frame.total, snapshot, size, digest, boot)


def encode(content: Any) -> bytes:
    packed: bytes = msgpack.packb(content, use_bin_type=True)
    return packed


def decode(payload: bytes) -> Any:
    try:
        return msgpack.unpackb(payload, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError("a frame of the ledger cannot be decoded") from error


class LogReader:
    """Reads a log file from its beginning; after the iteration `flaw` and `end` tell how it ends. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.flaw = Flaw.NONE
        self.end = 0
        self.checksum = 0
        self.size = 0

    def __iter__(self) -> Iterator[Frame]:
        with open(self.path, "rb", buffering=1 << 20) as file:
            self.size = os.fstat(file.fileno()).st_size
            while self.end < self.size:
                frame = self._next(file.read)
                if frame is None:
                    return
                self.end, self.checksum = frame.end, frame.checksum
                yield frame

    def _next(self, read: Callable[[int], bytes]) -> Frame | None:
        left = self.size - self.end
        head = read(_HEAD.size) if left >= _OVERHEAD else b""
        length, kind, generation, total, durable = _HEAD.unpack(head) if head else (0, 0, 0, 0, 0)
        if not head or (left < _OVERHEAD + length and kind in tuple(Kind)):
            self.flaw = Flaw.SHORT
            return None
        if kind not in tuple(Kind) or left < _OVERHEAD + length:
            self.flaw = Flaw.BAD
            return None
        payload = read(length)
        (checksum,) = _CHECKSUM.unpack(read(_CHECKSUM.size))
        if checksum != _chained(self.checksum, head, payload):
            self.flaw = Flaw.BAD
            return None
        end = self.end + _OVERHEAD + length
        return Frame(Kind(kind), generation, total, durable, payload, end, checksum)


class LogWriter:
    """Appends to a log file whose frames are known to be whole up to `end`. Raises OSError."""

    def __init__(self, path: Path, end: int = 0, checksum: int = 0) -> None:
        self.path = path
        self.end = end
        self.is_torn = False  # whether a frame that could not be written whole may lie behind the end
        self._checksum = checksum
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def append(self, kind: Kind, generation: int, total: int, durable: int, payload: bytes) -> None:
        head = _HEAD.pack(len(payload), kind, generation, total, durable)
        checksum = _chained(self._checksum, head, payload)
        self.is_torn = True
        self.end = write_all(self._file, [head, payload, _CHECKSUM.pack(checksum)], self.end)
        self.is_torn = False
        self._checksum = checksum

    def sync(self) -> None:
        os.fdatasync(self._file)

    def place(self) -> tuple[int, int]:
        """Where the log ends now, for `back_to`."""
        return self.end, self._checksum

    def back_to(self, place: tuple[int, int]) -> None:
        """Undo what was appended since, as durably as it may have been written."""
        os.ftruncate(self._file, place[0])
        os.fdatasync(self._file)
        self.end, self._checksum = place
        self.is_torn = False

    def close(self) -> None:
        os.close(self._file)


def _chained(previous: int, head: bytes, payload: bytes) -> int:
    made = xxhash.xxh3_64(_CHECKSUM.pack(previous))
    made.update(head)
    made.update(payload)
    return int(made.intdigest())
