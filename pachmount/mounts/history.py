"""A commit and its ancestors, in small pages: a cluster computes the size of every commit that it lists."""

from __future__ import annotations

from collections.abc import Iterator

from pachmount.errors import IncompleteListingError
from pachmount.mounts.mount import BranchPosition
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitInfo, RepoRef

HISTORY_LIMIT = 1000
"""Commits looked at to count how far a mount is behind."""
FIRST_PAGE = 2
"""A new head and the one before it: mostly that is all there is to see."""
LARGEST_PAGE = 256


def ancestors(client: PfsClient, repo: RepoRef, start: str, limit: int) -> Iterator[CommitInfo]:
    """The commit `start` (an id) and its ancestors, newest first, `limit` at most; pages double as one goes on.

    IncompleteListingError where the cluster leaves some out, twice.
    """
    number, last = min(FIRST_PAGE, limit), ""
    while number > 0:
        page = _page(client, repo, last or start, number + bool(last))
        found = page[1:] if last else page  # a page begins with the commit that the last one ended with
        yield from found
        if len(found) < number:
            return
        limit -= number
        last = found[-1].commit.id
        number = min(2 * number, LARGEST_PAGE, limit)


def _page(client: PfsClient, repo: RepoRef, start: str, number: int) -> list[CommitInfo]:
    """`start` and the ancestors that follow, `number` in all, or down to the first commit."""
    for _ in range(2):
        page = client.list_commits(repo, to=start, number=number)
        ids = [info.commit.id for info in page]
        parents = [info.parent for info in page]
        if ids[:1] == [start] and parents[:-1] == ids[1:] and (len(page) >= number or not parents[-1]):
            return page
    why = f"commits between {start[:8]} and its ancestors are missing in the list of commits"
    raise IncompleteListingError(f"cannot list the commits of {repo}", why, "try again")


def position(
    client: PfsClient, repo: RepoRef, commit: str, head: str, known: BranchPosition, *, whole: bool
) -> BranchPosition:
    """Where `commit` stands on a branch whose head is now `head`, counted down to it or to the head known before.

    With `whole` the history before the commit is counted, too, once, and only if it is behind at all. A commit that is
    not in the history of the head counts as behind by all of it, as in the original.
    """
    if head == commit:
        return BranchPosition(head, depth=known.depth)
    count = 0
    for info in ancestors(client, repo, head, HISTORY_LIMIT):
        if info.commit.id == commit:
            depth = known.depth or (_depth(client, repo, commit) if whole else None)
            return BranchPosition(head, count, depth and depth + count, depth)
        if info.commit.id == known.latest:
            total = known.total and known.total + count
            return BranchPosition(head, known.behind + count, total, known.depth)
        count += 1
    return BranchPosition(head, count, count if count < HISTORY_LIMIT else None, known.depth)


def _depth(client: PfsClient, repo: RepoRef, commit: str) -> int | None:
    """The length of the history of a commit, itself included; None when that is too long to count."""
    count = sum(1 for _ in ancestors(client, repo, commit, HISTORY_LIMIT))
    return count if count < HISTORY_LIMIT else None
