"""Tar archives of matched files, as GetFileTAR streams them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator

from pachmount.localpfs import paths
from pachmount.localpfs.content import Content
from pachmount.localpfs.pages import Entry, Item

_PIECE = 1024 * 1024


def archive(content: Content, items: Iterable[Item]) -> Iterator[bytes]:
    """The bytes of an archive with absolute names, mode 0 and time 0, in pieces of about 1 to 2 MiB."""
    held: list[bytes] = []
    size = 0
    for part in _parts(content, items):
        held.append(part)
        size += len(part)
        if size >= _PIECE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _parts(content: Content, items: Iterable[Item]) -> Iterator[bytes]:
    for key, entry in items:
        yield _header(key, entry)
        if entry.is_dir:
            continue
        yield from content.pieces(entry, 0, _PIECE)
        padding = -entry.size % tarfile.BLOCKSIZE
        if padding:
            yield bytes(padding)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(key: bytes, entry: Entry) -> bytes:
    name = key if entry.is_dir else paths.split_key(key)[0]
    info = tarfile.TarInfo(name.decode())
    info.mode = 0
    if entry.is_dir:
        info.type = tarfile.DIRTYPE
    else:
        info.size = entry.size
    return info.tobuf(tarfile.PAX_FORMAT)
