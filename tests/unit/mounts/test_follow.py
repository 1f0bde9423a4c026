"""What a following mount is moved to, how commits behind are counted, and what that costs the cluster."""

from __future__ import annotations

import pytest

from pachmount.mounts.history import HISTORY_LIMIT, position
from pachmount.mounts.mount import BranchPosition
from pachmount.pfs.ancestry import ancestors, newest_good
from pachmount.pfs.model import CommitInfo, CommitRef, RepoRef

REPO = RepoRef("default", "r")


def name(number: int) -> str:
    return f"{number:032x}"


class Line:
    """A repo with one line of commits, oldest first; counts the commits it lists. `odd`: open or failed ones."""

    def __init__(self, length: int, odd: dict[int, str] | None = None) -> None:
        self.length = length
        self.odd = odd or {}
        self.listed = 0

    def _info(self, number: int) -> CommitInfo:
        odd = self.odd.get(number, "")
        finished = None if odd == "open" else 1.0
        commit, parent = CommitRef(REPO, name(number)), name(number - 1) if number else ""
        return CommitInfo(commit, parent, finished=finished, error=odd if odd != "open" else "")

    def list_commits(self, repo: RepoRef, *, number: int, to: str) -> list[CommitInfo]:
        page = [self._info(n) for n in range(int(to, 16), -1, -1)][:number]
        self.listed += len(page)
        return page

    def inspect_commit(self, commit: CommitRef) -> CommitInfo:
        return self._info(int(commit.id, 16))


@pytest.mark.parametrize("length", [1, 2, 3, 6, 7, 100])
@pytest.mark.parametrize("limit", [1, 2, 3, 50, 1000])
def test_ancestors_come_newest_first_each_once(length: int, limit: int) -> None:
    line = Line(length)
    found = ancestors(line, REPO, name(length - 1), limit)  # type: ignore[arg-type]
    assert [info.commit.id for info in found] == [name(n) for n in range(length - 1, -1, -1)][:limit]


def place(line: Line, commit: int, head: int, known: BranchPosition | None = None) -> BranchPosition:
    return position(line, REPO, name(commit), name(head), known or BranchPosition(), whole=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(("commit", "head", "behind"), [(0, 0, 0), (4, 5, 1), (0, 5, 5), (3, 50, 47)])
def test_commits_behind_are_counted(commit: int, head: int, behind: int) -> None:
    found = place(Line(head + 1), commit, head)
    assert (found.latest, found.behind) == (name(head), behind)
    assert found.total == (head + 1 if behind else None)


def test_a_commit_that_is_not_in_the_history_is_behind_by_all_of_it() -> None:
    found = place(Line(3), 7, 2)
    assert (found.behind, found.total) == (3, 3)


def test_a_long_history_is_not_counted_to_its_end() -> None:
    line = Line(5000)
    found = place(line, 6000, 4999)
    assert (found.behind, found.total) == (HISTORY_LIMIT, None)
    assert line.listed < HISTORY_LIMIT + 20


def test_only_what_is_new_since_the_last_look_is_counted() -> None:
    line = Line(900)
    known = place(line, 0, 800)
    assert (known.behind, known.total) == (800, 801)
    line.listed = 0
    found = place(line, 0, 803, known)
    assert (found.behind, found.total) == (803, 804)
    assert line.listed < 10
    line.listed = 0
    assert place(line, 899, 899).behind == 0
    assert line.listed == 0, "a mount at the head costs nothing"


@pytest.mark.parametrize(
    ("odd", "shown", "found", "says"),
    [
        ({}, 2, 4, ""),
        ({}, 4, None, ""),
        ({4: "open"}, 2, 3, "is not finished"),
        ({4: "open"}, 3, None, "is not finished"),
        ({4: "broken"}, 3, None, "has an error: broken"),
        ({4: "open", 3: "broken"}, 1, 2, "is not finished"),
        ({4: "open", 3: "broken"}, 3, None, "is not finished"),
        (dict.fromkeys(range(5), "open"), 9, None, "is not finished"),
    ],
)
def test_the_newest_commit_that_is_finished_without_an_error(
    odd: dict[int, str], shown: int, found: int | None, says: str
) -> None:
    info, note = newest_good(Line(5, odd), REPO, name(4), name(shown))  # type: ignore[arg-type]
    assert (info.commit.id if info else None) == (name(found) if found is not None else None)
    assert note == (f"commit {name(4)[:8]} {says}" if says else "")
