"""Changes to the files of a tree: laying a set of deletions and additions over it, and keeping directories right.

Directories are entries of the tree that exist as long as a file lies below them. Their size and hash come from their
direct children, so a change computes them anew for the directories above the changed files, and for no others.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from pachmount.localpfs import paths, tree
from pachmount.localpfs.pages import HASH, Entry, Item
from pachmount.localpfs.tree import Change, PageReader, PageWriter
from pachmount.localpfs.writing import ChunkWriter, FileBuilder

_PLACEHOLDER = Entry(True, 0, bytes(HASH))
_BATCH = 10_000


class Problem(NamedTuple):
    """Two entries that cannot both be: a file and a directory of one name, or one path from two datums.

    `directory` is the key of the directory that holds them, `position` the path at which a walk through the tree
    notices, `text` what it says then.
    """

    directory: str
    position: str
    text: str
    is_duplicate: bool


@dataclass
class Deletions:
    """Keys of files to delete, and directories to delete with everything below (each with one datum, or "" for all)."""

    files: set[bytes] = field(default_factory=set)
    trees: set[tuple[bytes, str]] = field(default_factory=set)

    def covers(self, key: bytes) -> bool:
        """Whether the file with this key is among what is deleted."""
        if key in self.files:
            return True
        if not self.trees:
            return False
        path, datum = paths.split_key(key)
        slashed = path or b"/"
        return any(slashed.startswith(top) and only in ("", datum) for top, only in self.trees)

    def keys(self, pages: PageReader, root: int) -> list[bytes]:
        """The keys of the files in a tree that are to be deleted, in order."""
        found = {key for key in self.files if tree.get(pages, root, key) is not None}
        for top, only in self.trees:
            low = b"" if top == paths.ROOT else top
            for key, entry in tree.scan(pages, root, low, paths.subtree_end(top)):
                if not entry.is_dir and only in ("", paths.split_key(key)[1]):
                    found.add(key)
        return sorted(found)


class Touched:
    """Keys of directories in ascending order; packed, since a change may touch a million of them."""

    _PACK = 1024

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._last: list[bytes] = []

    def note(self, directory: bytes) -> None:
        self._last.append(directory)
        if len(self._last) == self._PACK:
            self._packed.append(b"\0".join(self._last))  # which is in no directory's key
            self._last = []

    def backwards(self) -> Iterator[bytes]:
        yield from reversed(self._last)
        for packed in reversed(self._packed):
            yield from reversed(packed.split(b"\0"))


def files(items: Iterable[Item]) -> Iterator[Item]:
    return (item for item in items if not item[1].is_dir)


def with_directories(changes: Iterable[Change]) -> Iterator[Change]:
    """`changes`, which are in order, with an entry for each directory above a changed file.

    A directory that loses its last file gets one too, or the order of keys would be lost; `settle` removes it.
    """
    above: list[bytes] = []
    for key, entry in changes:
        if key[:1] == paths.ROOT:
            while above and not key.startswith(above[-1]):
                above.pop()
            for directory in _missing(key, above):
                above.append(directory)
                yield directory, _PLACEHOLDER
        yield key, entry


def lay_over(
    pages: PageWriter, root: int, deletions: Deletions, additions: Iterable[Item], writer: ChunkWriter
) -> tuple[int, Touched]:
    """The tree after the deletions and then the additions, which append to files that are there.

    Also the keys of the directories that `settle` has to compute anew.
    """
    touched = Touched()
    changes = with_directories(_merged(pages, root, deletions, additions, writer))
    return tree.update(pages, root, _noting(changes, touched)), touched


def settle(pages: PageWriter, root: int, touched: Touched, problems: Iterable[Problem]) -> tuple[int, list[Problem]]:
    """Compute the touched directories anew. `problems` are those of the tree before; the result has those of now."""
    before = list(problems)
    again = {problem.directory.encode() for problem in before}
    again.intersection_update(touched.backwards() if again else ())
    found = [problem for problem in before if problem.directory.encode() not in again]
    done: dict[bytes, Entry | None] = {}
    for directory in touched.backwards():  # what lies below a directory sorts behind it, so children come first
        done[directory] = _summary(pages, root, directory, done, found)
        if len(done) >= _BATCH:
            root = tree.update(pages, root, sorted(done.items()))
            done.clear()
    root = tree.update(pages, root, sorted(done.items()))
    return root, sorted(found, key=lambda problem: problem.position)


def _missing(key: bytes, above: list[bytes]) -> Iterator[bytes]:
    end = len(key.partition(b"\0")[0])
    at = len(above[-1]) if above else 0
    while (slash := key.find(b"/", at, end)) >= 0:
        at = slash + 1
        yield key[:at]


def _merged(
    pages: PageReader, root: int, deletions: Deletions, additions: Iterable[Item], writer: ChunkWriter
) -> Iterator[Change]:
    if root == tree.EMPTY:
        yield from additions
        return
    gone: list[Change] = [(key, None) for key in deletions.keys(pages, root)]
    held: Change | None = None
    for change in heapq.merge(gone, additions, key=lambda pair: pair[0]):
        if held is not None and held[0] != change[0]:
            yield held
        held = change
        if change[1] is not None and not deletions.covers(change[0]):
            base = tree.get(pages, root, change[0])
            if base is not None:
                held = change[0], appended(writer, base, change[1])
    if held is not None:
        yield held


def appended(writer: ChunkWriter, base: Entry, more: Entry) -> Entry:
    """The entry of a file whose content is that of `base` and then that of `more`."""
    if not base.size:
        return more
    if not more.size:
        return base
    builder = FileBuilder(writer, base)
    builder.extend(more)
    return builder.finish()


def _noting(changes: Iterable[Change], touched: Touched) -> Iterator[Change]:
    """`changes` as they are, with every directory among them noted."""
    for key, entry in changes:
        if entry is _PLACEHOLDER:
            touched.note(key)
        yield key, entry


def _summary(
    pages: PageReader, root: int, directory: bytes, done: dict[bytes, Entry | None], problems: list[Problem]
) -> Entry | None:
    """Size and hash of a directory from its direct children; None if it has none. Notes the problems among them."""
    hashed = blake2b(digest_size=HASH)
    size = 0
    found = False
    previous = b""
    low: bytes | None = directory + b"\0"
    high = paths.subtree_end(directory)
    while low is not None:
        resume: bytes | None = None
        for leaf, start, stop in tree.leaves(pages, root, low, high):
            at = start
            while at < stop:
                next_dir = leaf.kinds.find(1, at, stop)
                run = stop if next_dir < 0 else next_dir
                if run > at:  # files of this directory, since what lies below a child directory is skipped
                    found = True
                    hashed.update(leaf.hashes[at * HASH : run * HASH])
                    size += sum(leaf.sizes[at:run])
                    if leaf.tagged or b"\0" in previous:
                        _note_duplicates(directory, [previous, *leaf.keys[at:run]], problems)
                    previous = leaf.keys[run - 1]
                at = run
                if next_dir >= 0:
                    key = leaf.keys[at]
                    child = done[key] if key in done else leaf.entry(at)
                    if child is not None:
                        found = True
                        hashed.update(child.hash)
                        size += child.size
                        _note_collision(pages, root, directory, key, problems)
                    behind = paths.subtree_end(key)
                    at = leaf.position(behind)
                    resume = behind if at >= stop else None
            if resume is not None:
                break
        low = resume
    return Entry(True, size, hashed.digest()) if found else None


def _note_duplicates(directory: bytes, keys: list[bytes], problems: list[Problem]) -> None:
    for first, second in itertools.pairwise(keys):
        (path, one), (other, two) = paths.split_key(first), paths.split_key(second)
        if first and path == other:
            name = path.decode()
            text = f"duplicate path output by different datums ({name} from {one} and {name} from {two})"
            problems.append(Problem(directory.decode(), name, text, True))


def _note_collision(pages: PageReader, root: int, directory: bytes, child: bytes, problems: list[Problem]) -> None:
    """Note a file that has the name of a directory.

    pachd compares each path with the one before it only: `/d`, `/d-1`, `/d/x` is no error to it.
    """
    name = child[:-1]
    between = name + b"\1"
    if next(tree.scan(pages, root, name, between), None) is None:
        return
    if next(files(tree.scan(pages, root, between, child)), None) is not None:
        return
    below = next(files(tree.scan(pages, root, child, paths.subtree_end(child))))
    position = paths.split_key(below[0])[0].decode()
    problems.append(Problem(directory.decode(), position, f"file / directory path collision ({position})", False))
