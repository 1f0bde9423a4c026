"""Comparing two trees: the entries that differ, without a look at pages that the trees share."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pachmount.localpfs import tree
from pachmount.localpfs.pages import Entry, Inner, Item
from pachmount.localpfs.tree import PageReader

Pair = tuple[bytes, Entry | None, Entry | None]


class _Part(NamedTuple):
    """An entry, or a page that is not opened yet, which stands for the entries from `first` on."""

    first: bytes
    entry: Entry | None
    page: int = tree.EMPTY


class _Side:
    """The entries of one tree in [low, high), as a row of pages that are opened when the comparison gets there."""

    def __init__(self, pages: PageReader, root: int, low: bytes, high: bytes) -> None:
        self._pages = pages
        self._low = low
        self._high = high
        self._row = [] if root == tree.EMPTY else [_Part(low, None, root)]  # the next one is the last

    @property
    def front(self) -> _Part | None:
        return self._row[-1] if self._row else None

    def drop(self) -> None:
        self._row.pop()

    def front_is_inner(self) -> bool:
        return isinstance(self._pages.load(self._row[-1].page), Inner)

    def open(self) -> None:
        """Replace the page in front by what it holds."""
        page = self._pages.load(self._row.pop().page)
        if isinstance(page, Inner):
            start = max(bisect_right(page.keys, self._low) - 1, 0)
            stop = bisect_left(page.keys, self._high)
            for at in range(stop - 1, start - 1, -1):
                self._row.append(_Part(max(page.keys[at], self._low), None, page.children[at]))
        else:
            start, stop = page.position(self._low), page.position(self._high)
            self._row.extend(_Part(page.keys[at], page.entry(at)) for at in range(stop - 1, start - 1, -1))


def differences(pages: PageReader, new: int, old: int, low: bytes, high: bytes) -> Iterator[Pair]:
    """For each key in [low, high) at which two trees differ: the key, the new entry and the old one."""
    one, two = _Side(pages, new, low, high), _Side(pages, old, low, high)
    while one.front is not None or two.front is not None:
        left, right = one.front, two.front
        if left is not None and (right is None or left.first < right.first):
            if left.page:
                one.open()
            else:
                one.drop()
                yield left.first, left.entry, None
        elif right is not None and (left is None or right.first < left.first):
            if right.page:
                two.open()
            else:
                two.drop()
                yield right.first, None, right.entry
        elif left is not None and right is not None:
            if left.page and left.page == right.page:
                one.drop()
                two.drop()
            elif left.page or right.page:
                _open_one(one, two)
            else:
                one.drop()
                two.drop()
                if left.entry != right.entry:
                    yield left.first, left.entry, right.entry


def _open_one(one: _Side, two: _Side) -> None:
    """Open a page in front: of two the upper one, since the other may be the same as one below it."""
    left, right = one.front, two.front
    if left is None or right is None:
        raise ValueError("both sides must have something in front")
    if left.page and not (right.page and two.front_is_inner() and not one.front_is_inner()):
        one.open()
    else:
        two.open()


def apart(new: Iterable[Item], old: Iterable[Item]) -> Iterator[Pair]:
    """The same for two different paths: the entries of one that the other has not, or has with another content."""
    come, gone = iter(new), iter(old)
    left, right = next(come, None), next(gone, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            assert left is not None  # noqa: S101  # one of both is there
            yield *left, None
            left = next(come, None)
        elif left is None or right[0] < left[0]:
            yield right[0], None, right[1]
            right = next(gone, None)
        else:
            if left[1].hash != right[1].hash:
                yield *left, right[1]
            left, right = next(come, None), next(gone, None)
