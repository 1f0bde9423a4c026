"""Listings on disk: a file for each commit and part of it, never changed, bounded together, the oldest used first out.

A file is a magic number, a checksum, the lengths of its sections, and the sections. It is renamed into place when it is
complete; what is damaged, unreadable or of another version counts as not there. Several daemons may share a directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from pachmount.cache.disk import FREE_SPACE_FLOOR
from pachmount.paths import make_dirs, open_private

log = logging.getLogger(__name__)

SUFFIX = ".listing"
_MAGIC = b"pachls1" + sys.byteorder[:1].encode()
_HEAD = struct.Struct("<8sII")  # magic, number of sections, checksum of their lengths and bytes

ListingKey = tuple[str, ...]
"""What identifies a listing for ever: cluster, project, repo, commit, paths."""
Section = bytes | bytearray | memoryview


class ListingFiles:
    """Listings in `directory`, together never larger than `limit` bytes. Faults of the disk cost speed only."""

    def __init__(self, directory: Path, limit: int) -> None:
        self.directory = directory
        self.limit = limit
        self.bytes_used = sum(size for _, size, _ in self._files())
        self._complained = False

    def load(self, key: ListingKey) -> list[bytearray] | None:
        """The sections saved under `key`, or None."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                sections = _read(file.fileno(), path.stat().st_size)
            if sections is None:
                log.warning("dropping a damaged listing of the cache: %s", path.name)
                path.unlink(missing_ok=True)
                return None
            os.utime(path)
            return sections
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(error)
            return None

    def save(self, key: ListingKey, sections: Sequence[Section]) -> None:
        """Keep sections under `key`; nothing happens if there is no room for them."""
        size = _HEAD.size + 8 * len(sections) + sum(len(section) for section in sections)
        path = self._path(key)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            make_dirs(self.directory)
            if not self._make_room(size):
                return
            with open(temporary, "wb", opener=open_private) as file:
                lengths = struct.pack(f"<{len(sections)}Q", *map(len, sections))
                checksum = zlib.crc32(lengths)
                for section in sections:
                    checksum = zlib.crc32(section, checksum)
                file.write(_HEAD.pack(_MAGIC, len(sections), checksum) + lengths)
                for section in sections:
                    file.write(section)
            temporary.rename(path)
            self.bytes_used = sum(size for _, size, _ in self._files())
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            self._complain(error)

    def _make_room(self, size: int) -> bool:
        """Remove the oldest until `size` more bytes fit; False if they cannot."""
        disk = shutil.disk_usage(self.directory)
        if size > self.limit or disk.free - size < disk.total * FREE_SPACE_FLOOR:
            return False
        files = sorted(self._files())
        used = sum(size for _, size, _ in files)
        for _, old, path in files:
            if used + size <= self.limit:
                break
            path.unlink(missing_ok=True)
            used -= old
        return True

    def _files(self) -> list[tuple[float, int, Path]]:
        """Last use, size and place of each listing."""
        found = []
        with contextlib.suppress(OSError):  # not there yet, or of no use: then nothing is kept
            for path in self.directory.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
        return found

    def _path(self, key: ListingKey) -> Path:
        name = hashlib.blake2b(json.dumps(key).encode(), digest_size=20).hexdigest()
        return self.directory / (name + SUFFIX)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            log.warning("listings are not kept in %s: %s", self.directory, error.strerror or error)


def _read(descriptor: int, size: int) -> list[bytearray] | None:
    """The sections of a file of `size` bytes; None if it is not what was written."""
    head = os.read(descriptor, _HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, count, checksum = _HEAD.unpack(head)
    if magic != _MAGIC or _HEAD.size + 8 * count > size:
        return None
    packed = os.read(descriptor, 8 * count)
    if len(packed) < 8 * count:
        return None
    lengths = struct.unpack(f"<{count}Q", packed)
    if _HEAD.size + 8 * count + sum(lengths) != size:
        return None
    sections, actual = [], zlib.crc32(packed)
    for length in lengths:
        section = bytearray(length)
        view, filled = memoryview(section), 0
        while filled < length:
            received = os.readv(descriptor, [view[filled:]])
            if not received:
                return None
            filled += received
        actual = zlib.crc32(section, actual)
        sections.append(section)
    return sections if actual == checksum else None
