"""Looking at the files of a tree: one path, the children of a directory, whole subtrees, matches of a pattern."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pachmount.datums.glob import Glob, clean_path
from pachmount.localpfs import paths, tree
from pachmount.localpfs.broken import Check, Scope
from pachmount.localpfs.filetree import Problem
from pachmount.localpfs.pages import Item
from pachmount.localpfs.status import unknown
from pachmount.localpfs.tree import PageReader

_MAX_PAGE = 100_000
_UNBOUNDED = ("**", "+(", "*(", "!(", "[!", "[^")  # what may match a slash, or a pattern with one any number of times


@dataclass(frozen=True)
class Window:
    """Which part of a listing a request wants: `number` entries (0 = all) behind `marker`, or before it."""

    marker: str = ""
    number: int = 0
    reverse: bool = False

    def __post_init__(self) -> None:
        if self.number > _MAX_PAGE:
            raise unknown(f"cannot return more than {_MAX_PAGE} files at a time")
        if self.reverse and self.number <= 0:
            raise unknown("number must be > 0 when reverse is true")

    def low(self, low: bytes) -> bytes:
        """The first key of a listing forwards that begins at `low`: behind the marker, in whatever datum."""
        return max(low, self.marker.encode() + b"\1") if self.marker else low

    def high(self, high: bytes) -> bytes:
        """The end of a listing backwards that ends at `high`."""
        return min(high, self.marker.encode()) if self.marker else high

    def cut(self, items: Iterable[Item]) -> Iterator[Item]:
        if self.marker:
            marker = self.marker.encode()
            directory = marker + b"/"  # a marker may name a directory without its slash
            items = (item for item in items if item[0] != directory and item[0].partition(b"\0")[0] != marker)
        if self.number <= 0:
            yield from items
            return
        items = iter(items)
        for left, item in zip(range(self.number, 0, -1), items, strict=False):
            yield item
            if left == 1:
                if not item[1].is_dir:
                    next(items, None)  # as pachd does, which may meet the error of a broken tree there
                return

    def holds(self, key: bytes) -> bool:
        """Whether a path lies on the wanted side of the marker, or at it in a listing forwards."""
        marker = self.marker.encode()
        return not marker or (key < marker if self.reverse else key >= marker)

    def scope(self, prefix: str) -> Scope:
        """The paths that pachd goes through for this part of a listing."""
        if not self.marker:
            return Scope(prefix)
        return Scope(high=self.marker) if self.reverse else Scope(low=self.marker)


def find(pages: PageReader, root: int, path: str, datum: str = "") -> Item | None:
    """The file or directory at a clean path; of a file with several datums the first, or the one asked for."""
    directory = paths.directory_key(path)
    entry = tree.get(pages, root, directory)
    if entry is not None and not datum:
        return directory, entry  # as with pachd, if there is a file of that name too
    for item in file_entries(pages, root, path):
        if datum in ("", paths.split_key(item[0])[1]):
            return item
    return (directory, entry) if entry is not None else None


def file_entries(pages: PageReader, root: int, path: str) -> Iterator[Item]:
    """The file at a clean path, once for each datum that wrote it."""
    if path == "/":
        return iter(())
    key = path.encode()
    return tree.scan(pages, root, key, key + b"\1")


def walk(
    pages: PageReader, root: int, low: bytes, high: bytes, *, depth: int | None = None, reverse: bool = False
) -> Iterator[Item]:
    """The entries with keys in [low, high) whose path has at most `depth` elements (None = any number)."""
    if depth is None:
        yield from tree.scan_back(pages, root, low, high) if reverse else tree.scan(pages, root, low, high)
    elif reverse:
        yield from _shallow_back(pages, root, low, high, depth)
    else:
        yield from _shallow(pages, root, low, high, depth)


def _shallow(pages: PageReader, root: int, low: bytes, high: bytes, depth: int) -> Iterator[Item]:
    start: bytes | None = low
    while start is not None:
        resume: bytes | None = None
        for leaf, first, stop in tree.leaves(pages, root, start, high):
            at = first
            while at < stop:
                key = leaf.keys[at]
                top = _top(key, depth)
                if top is None or top == key:
                    yield leaf.item(at)
                at += 1
                if top is not None:  # skip what lies below
                    behind = paths.subtree_end(top)
                    at = leaf.position(behind)
                    resume = behind if at >= stop else None
            if resume is not None:
                break
        start = resume


def _shallow_back(pages: PageReader, root: int, low: bytes, high: bytes, depth: int) -> Iterator[Item]:
    stop: bytes | None = high
    while stop is not None:
        resume: bytes | None = None
        for key, entry in tree.scan_back(pages, root, low, stop):
            top = _top(key, depth)
            if top is None or top == key:
                yield key, entry
                continue
            directory = tree.get(pages, root, top) if top >= low else None
            if directory is not None:
                yield top, directory
            resume = top
            break
        stop = resume


def _top(key: bytes, depth: int) -> bytes | None:
    """The key of the directory at the last level that is wanted, if this entry is that directory or lies below it."""
    if key.count(b"/") <= depth:
        return None
    at = 0
    for _ in range(depth + 1):
        at = key.index(b"/", at) + 1
    return key[:at]


def children(
    pages: PageReader, root: int, path: str, window: Window, problems: tuple[Problem, ...] = ()
) -> Iterator[Item]:
    """The file at a clean path and the direct children of the directory there, as far as the window wants them."""
    directory = paths.directory_key(path)
    entries = [item for item in file_entries(pages, root, path) if window.holds(path.encode())]
    depth = directory.count(b"/")
    return _below(pages, root, directory + b"\0", window, path, problems, depth=depth, entries=entries)


def subtree(
    pages: PageReader, root: int, directory: bytes, window: Window | None = None, problems: tuple[Problem, ...] = ()
) -> Iterator[Item]:
    """A directory and everything below it, as far as the window wants them."""
    return _below(pages, root, directory, window or Window(), directory[:-1].decode(), problems)


def file_and_subtree(
    pages: PageReader, root: int, path: str, window: Window, problems: tuple[Problem, ...]
) -> Iterator[Item] | None:
    """The file at a clean path and what lies below the directory there; None if the window has nothing of it."""
    entries = [item for item in file_entries(pages, root, path) if window.holds(path.encode())]
    directory = paths.directory_key(path)
    low, end = directory, paths.subtree_end(directory)
    low, end = (low, window.high(end)) if window.reverse else (max(low, window.marker.encode()), end)
    if path != "/" and not entries and next(tree.scan(pages, root, low, end), None) is None:
        for _ in _below(pages, root, end, window, path, problems):
            pass  # the error of a broken tree comes before that
        return None
    prefix = "" if path == "/" else path
    return _below(pages, root, directory, window, prefix, problems, entries=entries)


def _below(
    pages: PageReader,
    root: int,
    start: bytes,
    window: Window,
    prefix: str,
    problems: tuple[Problem, ...],
    *,
    depth: int | None = None,
    entries: Iterable[Item] = (),
) -> Iterator[Item]:
    """`entries` and the keys of a directory from `start` on, as far as the window wants them and pachd reads them."""
    end = paths.subtree_end(start.rstrip(b"\0"))
    low, high = (start, window.high(end)) if window.reverse else (window.low(start), end)
    check = Check(
        pages,
        root,
        window.scope(prefix),
        problems,
        lambda key: next(walk(pages, root, key, end, depth=depth), None),
    )
    forwards = check.entries(itertools.chain(entries, walk(pages, root, low, high, depth=depth)))
    if not window.reverse:
        return window.cut(forwards)
    if problems:
        for _ in forwards:
            pass  # pachd reads forwards and answers in the end
    backwards = itertools.chain(walk(pages, root, low, high, depth=depth, reverse=True), reversed(list(entries)))
    return window.cut(backwards)


def matches(
    pages: PageReader,
    root: int,
    glob: Glob,
    pattern: str,
    within: Scope,
    problems: tuple[Problem, ...] = (),
) -> Iterator[Item]:
    """The entries that match a pattern, in order, with full paths in [low, high) of `within`."""
    scope = within if within.low or within.high else Scope(glob.prefix)
    check = Check(
        pages,
        root,
        scope,
        problems,
        lambda key: next(_matches(pages, root, glob, pattern, key.decode(), ""), None),
    )
    return check.entries(_matches(pages, root, glob, pattern, within.low, within.high))


def _matches(pages: PageReader, root: int, glob: Glob, pattern: str, low: str, high: str) -> Iterator[Item]:
    if glob.literal is not None:
        candidates = _at(pages, root, glob.literal) if glob.matches(glob.literal) else iter(())
    else:
        prefix = glob.prefix.encode()
        start = max(prefix, low.encode())
        end = min(prefix[:-1] + bytes((prefix[-1] + 1,)), high.encode() or b"\xff")
        bounded = not any(sign in pattern for sign in _UNBOUNDED)
        depth = clean_path(pattern).count("/") if bounded else None
        candidates = walk(pages, root, start, end, depth=depth)
    for key, entry in candidates:
        full = key.decode() if entry.is_dir else paths.split_key(key)[0].decode()
        if full < low or (high and full >= high):
            continue
        if glob.literal is not None or glob.matches(full[:-1] if entry.is_dir and len(full) > 1 else full):
            yield key, entry


def _at(pages: PageReader, root: int, path: str) -> Iterator[Item]:
    """The file at a clean path, once for each datum that wrote it, and the directory there."""
    yield from file_entries(pages, root, path)
    directory = paths.directory_key(path)
    entry = tree.get(pages, root, directory)
    if entry is not None:
        yield directory, entry
