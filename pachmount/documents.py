"""JSON documents that this program wrote: each says its kind and version, and ends with a checksum of its text.

    {"kind": "mounts",
    "version": 2,
    …
    "checksum": "…"
    }

A document is written in one step, then written again as a copy (`NAME.copy.json`), which serves when the first one is
damaged. A damaged one is renamed (`NAME.damaged-DATE.json`), never overwritten and never removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pachmount.beneath import Beneath, Spot

log = logging.getLogger(__name__)

T = TypeVar("T")

_END = re.compile(rb',\n"checksum": "([0-9a-f]{32})"\n\}\n')
_END_BYTES = 64
_DAMAGED = re.compile(r".+\.damaged-\d{8}-\d{6}(-\d+)?\.json")
_MOST_ASIDE = 1000


class DamagedError(Exception):
    """A document that cannot be used; its text says why."""


@dataclass(frozen=True)
class Kind:
    """`legacy` is the version that the program wrote before documents had a checksum, None if that had none."""

    name: str
    version: int
    legacy: int | None
    limit: int
    """Bytes; a larger one is taken for damage, and never written."""
    mode: int = 0o600


MOUNTS = Kind("mounts", version=2, legacy=None, limit=16 << 20)
"""The table of mounts of a daemon."""


@dataclass(frozen=True)
class Found:
    """How a document was found. `is_copy`: the first one was missing, or damaged as `damage` says."""

    is_copy: bool = False
    damage: str = ""


class Document:
    """A document `STEM.json` in a directory that is open, and its copy. All methods raise OSError."""

    def __init__(self, directory: Beneath, stem: str, kind: Kind) -> None:
        self.kind = kind
        self._stem = stem
        self.first = directory.at(f"{stem}.json")
        self.copy = directory.at(f"{stem}.copy.json")

    def write(self, content: Mapping[str, Any], *, with_copy: bool = True) -> None:
        """Replace it; durable when it returns."""
        data = encode(self.kind, content)
        if len(data) > self.kind.limit:
            raise OSError(27, f"it would have more than {self.kind.limit >> 20} MiB", str(self.first))
        self.first.replace(data, self._stem, self.kind.mode)
        if with_copy:
            self.copy.replace(data, self._stem, self.kind.mode)

    def read(self, parse: Callable[[dict[str, Any]], T]) -> tuple[T, Found] | None:
        """What `parse` makes of it, or else of its copy; None if there is neither. It changes nothing.

        `parse` may raise ValueError, LookupError and TypeError. Raises DamagedError if neither can be used.
        """
        damage = ""
        for spot in (self.first, self.copy):
            try:
                data = _bytes_of(spot, self.kind.limit)
                if data is not None:
                    return parsed(parse, decode(self.kind, data)), Found(spot is self.copy, damage)
            except DamagedError as error:
                damage = damage or str(error)
        if damage:
            raise DamagedError(damage)
        return None

    def set_first_aside(self) -> str:
        """Rename the first one, whose copy serves; the new name."""
        return self._rename(self.first)

    def set_aside(self) -> list[str]:
        """Rename what is there of it and of its copy; the new names."""
        return [self._rename(spot) for spot in (self.first, self.copy) if spot.look() is not None]

    def _rename(self, spot: Spot) -> str:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        for number in range(_MOST_ASIDE):
            name = f"{self._stem}.damaged-{stamp}{f'-{number}' if number else ''}.json"
            with contextlib.suppress(FileExistsError):
                spot.move_aside(name)
                return str(spot.beside(name))
        raise FileExistsError(17, "no name is free to set it aside", str(spot))


def aside_in(directory: Path) -> list[Path]:
    """Documents in a directory that were damaged and set aside."""
    try:
        return sorted(directory / name for name in os.listdir(directory) if _DAMAGED.fullmatch(name))
    except OSError:
        return []


def encode(kind: Kind, content: Mapping[str, Any]) -> bytes:
    """A document as it is written."""
    document = {"kind": kind.name, "version": kind.version, **content}
    data = json.dumps(document, ensure_ascii=False, indent=0).encode("utf-8", "surrogateescape").removesuffix(b"\n}")
    return b'%b,\n"checksum": "%b"\n}\n' % (data, _digest(data))


def decode(kind: Kind, data: bytes) -> dict[str, Any]:
    """What a document has. Raises DamagedError."""
    data = data.rstrip(b" ")  # one that was written over a longer one
    end = _END.search(data, max(0, len(data) - _END_BYTES))
    is_whole = end is not None and end.end() == len(data) and end[1] == _digest(data[: end.start()])
    document = parse_json(data)
    if not isinstance(document, dict):
        raise DamagedError("it is no document of this program")
    if "kind" in document or "checksum" in document:
        if document.get("kind") != kind.name and is_whole:
            raise DamagedError(f"it is a document of another kind ({str(document.get('kind'))[:40]!a})")
        if not is_whole:
            raise DamagedError("its checksum is wrong: it was damaged, or changed by hand")
        if document.get("version") != kind.version:
            raise DamagedError(f"its version is {document.get('version')!a:.40}, this program knows {kind.version}")
    elif document.get("version") != kind.legacy:
        raise DamagedError(f"its version is {document.get('version')!a:.40}, this program knows {kind.version}")
    return document


def parse_json(data: bytes) -> Any:
    """JSON in bytes, whatever they are. Raises DamagedError."""
    if not data.strip(b"\0 \t\r\n"):
        raise DamagedError("it is empty")
    try:
        return json.loads(data.decode("utf-8", "surrogateescape"))
    except RecursionError:
        raise DamagedError("it is nested too deeply") from None
    except MemoryError:
        raise DamagedError("it takes more memory than there is") from None
    except ValueError as error:
        raise DamagedError(f"it is no JSON: {error}") from None


def _bytes_of(spot: Spot, limit: int) -> bytes | None:
    """The content of a regular file, None if there is none. Raises DamagedError."""
    try:
        descriptor = spot.open_file()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedError(error.strerror or str(error)) from error
    with open(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size > limit:
            raise DamagedError(f"it has {size:,} bytes, more than such a document can have")
        try:
            return file.read(limit + 1)
        except OSError as error:
            raise DamagedError(error.strerror or str(error)) from error


def parsed(parse: Callable[[dict[str, Any]], T], content: dict[str, Any]) -> T:
    """What `parse` makes of a document. Raises DamagedError."""
    try:
        return parse(content)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        why = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise DamagedError(why) from error


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).hexdigest().encode()
