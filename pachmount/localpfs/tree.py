"""The file tree of a commit: a persistent B+tree, where a change makes new pages and shares all others.

A tree is known by the id of its root page; 0 is the empty tree. Pages never change, so readers need no lock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from pachmount.localpfs.pages import Entry, Inner, Item, Leaf, Page, encode_inner, encode_leaf

EMPTY = 0
LEAF_ITEMS = 48  # a change writes whole pages anew, so small ones keep scattered changes small; four fill one of SQLite
LEAF_BYTES = 48 * 1024
INNER_ITEMS = 128
_SMALL = 12  # a page with fewer items is joined with its neighbour

Change = tuple[bytes, Entry | None]


class PageReader(Protocol):
    """Where pages come from."""

    def load(self, page_id: int) -> Page: ...


class PageWriter(PageReader, Protocol):
    """Where new pages go; `load` gives them back."""

    def save(self, data: bytes) -> int: ...


class _Child(NamedTuple):
    first: bytes
    page: int
    items: int  # 0 = not known, because the page was not touched


class _Changes:
    """Changes in the order of their keys, with a look at the next one."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._rest = iter(changes)
        self.next = next(self._rest, None)

    def waiting(self, bound: bytes | None) -> bool:
        """Whether the next change is for a key before `bound` (None = no bound)."""
        return self.next is not None and (bound is None or self.next[0] < bound)

    def take(self) -> Change:
        change = self.next
        if change is None:
            raise IndexError("no change is left")
        self.next = next(self._rest, None)
        return change


def get(pages: PageReader, root: int, key: bytes) -> Entry | None:
    """The entry with exactly this key, or None."""
    if root == EMPTY:
        return None
    page = pages.load(root)
    while isinstance(page, Inner):
        page = pages.load(page.children[max(bisect_right(page.keys, key) - 1, 0)])
    at = page.position(key)
    return page.entry(at) if at < len(page.keys) and page.keys[at] == key else None


def leaves(pages: PageReader, root: int, low: bytes, high: bytes | None = None) -> Iterator[tuple[Leaf, int, int]]:
    """The leaves that have keys in [low, high), each with the range of indexes that lie in it."""
    if root == EMPTY:
        return
    page = pages.load(root)
    if isinstance(page, Inner):
        start = max(bisect_right(page.keys, low) - 1, 0)
        stop = len(page.keys) if high is None else bisect_left(page.keys, high)
        for at in range(start, stop):
            yield from leaves(pages, page.children[at], low, high)
        return
    start = page.position(low)
    stop = len(page.keys) if high is None else page.position(high)
    if start < stop:
        yield page, start, stop


def scan(pages: PageReader, root: int, low: bytes = b"", high: bytes | None = None) -> Iterator[Item]:
    """All entries with keys in [low, high), in order."""
    for leaf, start, stop in leaves(pages, root, low, high):
        for at in range(start, stop):
            yield leaf.item(at)


def scan_back(pages: PageReader, root: int, low: bytes, high: bytes | None) -> Iterator[Item]:
    """All entries with keys in [low, high), the last one first."""
    if root == EMPTY:
        return
    page = pages.load(root)
    if isinstance(page, Inner):
        start = max(bisect_right(page.keys, low) - 1, 0)
        stop = len(page.keys) if high is None else bisect_left(page.keys, high)
        for at in range(stop - 1, start - 1, -1):
            yield from scan_back(pages, page.children[at], low, high)
        return
    start = page.position(low)
    stop = len(page.keys) if high is None else page.position(high)
    for at in range(stop - 1, start - 1, -1):
        yield page.item(at)


def update(pages: PageWriter, root: int, changes: Iterable[Change]) -> int:
    """The root of the tree after `changes`: pairs in the order of their keys, None for an entry that goes."""
    queue = _Changes(changes)
    if queue.next is None:
        return root
    level = _update_leaf(pages, [], queue, None) if root == EMPTY else _update(pages, root, queue, None)
    while len(level) > 1:
        level = _save_inner(pages, level)
    if not level:
        return EMPTY
    top = level[0].page
    page = pages.load(top)
    while isinstance(page, Inner) and len(page.keys) == 1:
        top = page.children[0]
        page = pages.load(top)
    return top


def _update(pages: PageWriter, page_id: int, queue: _Changes, bound: bytes | None) -> list[_Child]:
    page = pages.load(page_id)
    if isinstance(page, Leaf):
        return _update_leaf(pages, page.items(), queue, bound)
    children: list[_Child] = []
    for at, child in enumerate(page.children):
        until = page.keys[at + 1] if at + 1 < len(page.keys) else bound
        if queue.waiting(until):
            children.extend(_update(pages, child, queue, until))
        else:
            children.append(_Child(page.keys[at], child, 0))
    return _save_inner(pages, _join_small(pages, children))


def _update_leaf(pages: PageWriter, old: list[Item], queue: _Changes, bound: bytes | None) -> list[_Child]:
    made: list[_Child] = []
    new: list[Item] = []
    at = 0
    while queue.waiting(bound):
        key, entry = queue.take()
        while at < len(old) and old[at][0] < key:
            new.append(old[at])
            at += 1
        if at < len(old) and old[at][0] == key:
            at += 1
        if entry is not None:
            new.append((key, entry))
        if len(new) >= 4 * LEAF_ITEMS:  # a long run of new entries must not be held in memory
            made.extend(_save_leaves(pages, new[: 2 * LEAF_ITEMS]))
            del new[: 2 * LEAF_ITEMS]
    new.extend(old[at:])
    made.extend(_save_leaves(pages, new))
    return made


def _save_leaves(pages: PageWriter, items: list[Item]) -> list[_Child]:
    parts = -(-len(items) // LEAF_ITEMS)
    made = []
    for part in range(parts):
        piece = items[part * len(items) // parts : (part + 1) * len(items) // parts]
        for run in _within_bytes(piece):
            made.append(_Child(run[0][0], pages.save(encode_leaf(run)), len(run)))
    return made


def _within_bytes(items: list[Item]) -> Iterator[list[Item]]:
    run: list[Item] = []
    held = 0
    for item in items:
        if run and held + len(item[0]) > LEAF_BYTES:
            yield run
            run, held = [], 0
        run.append(item)
        held += len(item[0])
    if run:
        yield run


def _save_inner(pages: PageWriter, children: list[_Child]) -> list[_Child]:
    parts = -(-len(children) // INNER_ITEMS)
    made = []
    for part in range(parts):
        piece = children[part * len(children) // parts : (part + 1) * len(children) // parts]
        data = encode_inner([(child.first, child.page) for child in piece])
        made.append(_Child(piece[0].first, pages.save(data), len(piece)))
    return made


def _join_small(pages: PageWriter, children: list[_Child]) -> list[_Child]:
    """Join each freshly made page that is nearly empty with a neighbour, so that deletions do not thin out the tree."""
    at = 0
    while at < len(children) and len(children) > 1:
        if not 0 < children[at].items < _SMALL:
            at += 1
            continue
        start = at - 1 if at else 0
        left, right = pages.load(children[start].page), pages.load(children[start + 1].page)
        if isinstance(left, Leaf) and isinstance(right, Leaf):
            items = left.items() + right.items()
            joined = _save_leaves(pages, items)
            if len(joined) > 1 and sum(len(key) for key, _ in items) > LEAF_BYTES:
                at += 1  # long keys fill a page with few items; joining would not help
                continue
        elif isinstance(left, Inner) and isinstance(right, Inner):
            below = [_Child(k, p, 0) for page in (left, right) for k, p in zip(page.keys, page.children, strict=True)]
            joined = _save_inner(pages, below)
        else:
            raise TypeError("pages of one level differ in kind")
        children[start : start + 2] = joined
        at = start + len(joined)
    return children
