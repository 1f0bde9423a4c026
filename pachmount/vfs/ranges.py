"""Planning which ranges of paths bring wanted files of a listing in a few archives, with little else in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MIN_FILES = 3
"""A range with fewer wanted files is not worth an archive."""
UNWANTED_SHARE = 4
"""At most one part in so many of the bytes of a range may be unwanted."""
HEADER_BYTES = 1024
"""What a member costs in an archive besides its content, about. Empty ones are not counted."""


@dataclass(frozen=True)
class Item:
    """An entry of a listing: its path, its size in bytes (a directory's is 0), whether it is wanted."""

    path: bytes
    size: int
    wanted: bool = False


@dataclass(frozen=True)
class PathRange:
    """The wanted files among all those in `directory` (b"" is the root) and below with paths in [lower, upper)."""

    directory: bytes
    lower: bytes
    upper: bytes
    wanted: tuple[bytes, ...]


def plan(items: Iterable[Item], following: bytes | None, roots: tuple[bytes, ...] = ()) -> Iterator[PathRange]:
    """Ranges over consecutive `items` of a listing, in its order; `following` is the path of the entry after them.

    No range holds files below two of the `roots`, since there may be more between them than the listing shows. A
    server gives the whole of each directory that lies in a range, so that none does which should not come as a whole.
    """
    for paths, after in _runs(items, following, roots):
        yield from _whole_directories(paths, after)


def _runs(
    items: Iterable[Item], following: bytes | None, roots: tuple[bytes, ...]
) -> Iterator[tuple[list[bytes], bytes | None]]:
    """Wanted files that follow each other with not too much between them, and the entry that comes after them."""
    run: list[bytes] = []
    useful = useless = gap_bytes = 0
    root = b""
    after: bytes | None = None  # the first entry behind the run
    for item in items:
        if not item.wanted:
            after = after or item.path
            gap_bytes += item.size + HEADER_BYTES if item.size else 0
            continue
        weight = item.size + HEADER_BYTES
        own_root = next((r for r in roots if item.path.startswith(r + b"/")), item.path if roots else b"")
        total = useful + weight + useless + gap_bytes
        near = (useless + gap_bytes) * UNWANTED_SHARE <= total
        if run and near and own_root == root and item.path > run[-1]:
            useless += gap_bytes
        else:
            if run:
                yield run, after or item.path
            run, useful, useless, root = [], 0, 0, own_root
        run.append(item.path)
        useful += weight
        after, gap_bytes = None, 0
    if run:
        yield run, after or following


def _whole_directories(paths: list[bytes], after: bytes | None) -> Iterator[PathRange]:
    """A range for `paths`, or several: none may hold a directory which goes on behind them, in `after`."""
    while paths:
        cut, upper = len(paths), paths[-1] + b" "
        if after is not None:
            for directory in _common_directories(paths[-1], after):
                key = directory + b"/"
                if key > paths[0]:
                    cut, upper = next(index for index, path in enumerate(paths) if path > key), key
                    break
        head, paths = paths[:cut], paths[cut:]
        if len(head) >= MIN_FILES:
            first, last = head[0], head[-1]
            directory = max((b"", *_common_directories(first, last)), key=len)
            yield PathRange(directory, first, upper, tuple(head))


def _common_directories(first: bytes, second: bytes) -> Iterator[bytes]:
    """The directories that hold both paths, outermost first, without the root."""
    at = 0
    while (at := first.find(b"/", at + 1)) > 0 and first[: at + 1] == second[: at + 1]:
        yield first[:at]
