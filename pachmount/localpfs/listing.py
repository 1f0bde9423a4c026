"""Looking at the files of a tree: one path, the children of a directory, whole subtrees, matches of a pattern."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pachmount.datums.glob import Glob, clean_path
from pachmount.localpfs import paths, tree
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
            directory = self.marker.encode() + b"/"  # a marker may name a directory without its slash
            items = (item for item in items if item[0] != directory)
        if self.number <= 0:
            yield from items
            return
        for left, item in zip(range(self.number, 0, -1), items, strict=False):
            yield item
            if left == 1:
                return


def find(pages: PageReader, root: int, path: str, datum: str = "") -> Item | None:
    """The file or directory at a clean path; of a file with several datums the first, or the one asked for."""
    for item in file_entries(pages, root, path):
        if datum in ("", paths.split_key(item[0])[1]):
            return item
    directory = paths.directory_key(path)
    entry = tree.get(pages, root, directory)
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


def children(pages: PageReader, root: int, directory: bytes, window: Window) -> Iterator[Item]:
    """The direct children of a directory, as far as the window wants them."""
    low, high = directory + b"\0", paths.subtree_end(directory)
    low, high = (low, window.high(high)) if window.reverse else (window.low(low), high)
    return window.cut(walk(pages, root, low, high, depth=directory.count(b"/"), reverse=window.reverse))


def subtree(pages: PageReader, root: int, directory: bytes, window: Window | None = None) -> Iterator[Item]:
    """A directory and everything below it, as far as the window wants them."""
    window = window or Window()
    low, high = directory, paths.subtree_end(directory)
    low, high = (low, window.high(high)) if window.reverse else (window.low(low), high)
    return window.cut(walk(pages, root, low, high, reverse=window.reverse))


def matches(pages: PageReader, root: int, glob: Glob, pattern: str, low: str = "", high: str = "") -> Iterator[Item]:
    """The entries that match a pattern, in order, with full paths in [low, high)."""
    if glob.literal is not None:
        found = find(pages, root, glob.literal) if glob.matches(glob.literal) else None
        candidates = _all_datums(pages, root, found)
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


def _all_datums(pages: PageReader, root: int, found: Item | None) -> Iterator[Item]:
    if found is None:
        return
    if found[1].is_dir:
        yield found
    else:
        yield from file_entries(pages, root, paths.split_key(found[0])[0].decode())


def checked(items: Iterable[Item], problems: tuple[Problem, ...]) -> Iterator[Item]:
    """`items`, with the error of a broken tree at the place where pachd notices it."""
    if not problems:
        yield from items
        return
    previous = b""
    for key, entry in items:
        path = key.partition(b"\0")[0]
        for problem in problems:
            if entry.is_dir and problem.position.encode().startswith(key):
                raise unknown(problem.text)
            if problem.is_duplicate and path == previous == problem.position.encode():
                raise unknown(problem.text)
        previous = path
        yield key, entry


def check_one(item: Item, problems: tuple[Problem, ...]) -> None:
    """Refuse to answer about a single file or directory that is part of a problem."""
    key, entry = item
    path = key.partition(b"\0")[0]
    for problem in problems:
        position = problem.position.encode()
        below = position.startswith(key if entry.is_dir else path + b"/")
        if below or (problem.is_duplicate and position == path):
            raise unknown(problem.text)
