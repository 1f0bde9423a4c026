"""Trees whose commit has an error: which requests fail, and at which entry.

pachd compares each file that it goes through with the one before it, also those that the request does not ask for: all
whose path begins with the text of the asked path or with the fixed part of a pattern, or all within a page's bounds.
For a directory it goes on until it meets the next entry that it asks for behind the directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pachmount.localpfs import paths, tree
from pachmount.localpfs.filetree import Problem, files
from pachmount.localpfs.pages import Item
from pachmount.localpfs.status import unknown
from pachmount.localpfs.tree import PageReader

Following = Callable[[bytes], Item | None]


@dataclass(frozen=True)
class Scope:
    """The paths that pachd goes through: those with a prefix, or those in [low, high) (an empty `high` is no bound)."""

    prefix: str = ""
    low: str = ""
    high: str = ""

    def problem(self, problems: Iterable[Problem]) -> Problem | None:
        """The first problem, in the order of paths, whose two files are both gone through."""
        return next((one for one in problems if self._has(one)), None)

    def refuse(self, problems: Iterable[Problem]) -> None:
        """Fail as a request does that goes through all of the paths."""
        found = self.problem(problems)
        if found is not None:
            raise unknown(found.text)

    def _has(self, problem: Problem) -> bool:
        position = problem.position
        first = position if problem.is_duplicate else position[: position.index("/", len(problem.directory))]
        return first.startswith(self.prefix) and first >= self.low


@dataclass(frozen=True)
class Check:
    """Checks the entries of one answer. `following` finds the first asked entry whose key is not below a key."""

    pages: PageReader
    root: int
    scope: Scope
    problems: tuple[Problem, ...]
    following: Following

    def entries(self, items: Iterable[Item]) -> Iterator[Item]:
        """`items`, with the error at the place where pachd notices it."""
        problem = self.scope.problem(self.problems)
        return iter(items) if problem is None else self._checked(items, problem)

    def _checked(self, items: Iterable[Item], problem: Problem) -> Iterator[Item]:
        position = problem.position.encode()
        computed = previous = b""  # pachd has gone through everything up to the first key
        for key, entry in items:
            path = key.partition(b"\0")[0]
            if key >= computed:
                if entry.is_dir:
                    computed = paths.subtree_end(key)
                    within = position.startswith(key) or position < key
                    behind = None if within else self.following(computed)
                    if within or behind is None or self._is_behind(problem, behind):
                        raise unknown(problem.text)
                elif self._is_behind(problem, (key, entry)) or path == previous == position:
                    raise unknown(problem.text)
            previous = path
            yield key, entry
        if self._ends_behind(problem):
            raise unknown(problem.text)

    def _is_behind(self, problem: Problem, item: Item) -> bool:
        """Whether pachd meets the problem on its way to this entry; to a directory it comes with its first file."""
        key, entry = item
        if entry.is_dir:
            below = files(tree.scan(self.pages, self.root, key, paths.subtree_end(key)))
            key = next(below, item)[0]
        path, position = key.partition(b"\0")[0], problem.position.encode()
        return path > position or (path == position and not problem.is_duplicate)

    def _ends_behind(self, problem: Problem) -> bool:
        """Whether pachd meets the problem on its way to the end: it reads one file behind the upper bound."""
        high = self.scope.high.encode()
        if not high or problem.position.encode() < high:
            return True
        last = next(files(tree.scan(self.pages, self.root, high, b"\xff")), None)
        return last is not None and self._is_behind(problem, last)
