"""How far a mounted commit is behind its branch."""

from __future__ import annotations

from dataclasses import replace

from pachmount.mounts.mount import BranchPosition
from pachmount.pfs.ancestry import ancestors, is_good, passed_over
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitInfo, CommitState, RepoRef

HISTORY_LIMIT = 1000
"""Commits looked at to count how far a mount is behind."""


def position(
    client: PfsClient, repo: RepoRef, commit: str, head: str, known: BranchPosition, *, whole: bool
) -> BranchPosition:
    """Where `commit` stands on a branch whose head is now `head`, counted down to it or to the head known before.

    Commits with an error do not count: no mount is moved to them. With `whole` the history before the commit is
    counted, too, once, and only if it is behind at all. A commit that is not in the history of the head counts as
    behind by all of it, as in the original.
    """
    if head == commit:
        return BranchPosition(head, depth=known.depth)
    newer: list[CommitInfo] = []
    for info in ancestors(client, repo, head, HISTORY_LIMIT):
        if info.commit.id == commit:
            depth = known.depth or (_depth(client, repo, commit) if whole else None)
            return _counted(head, newer, info, 0, depth and depth + len(newer), depth)
        if info.commit.id == known.latest and known.is_settled:
            total = known.total and known.total + len(newer)
            found = _counted(head, newer, info, known.behind, total, known.depth)
            return found if found.newest else replace(found, newest=known.newest, note=found.note or known.note)
        newer.append(info)
    return _counted(head, newer, None, 0, len(newer) if len(newer) < HISTORY_LIMIT else None, known.depth)


def _counted(
    head: str, newer: list[CommitInfo], last: CommitInfo | None, behind: int, total: int | None, depth: int | None
) -> BranchPosition:
    """The position of a mount that is `behind` the commit `last`, which has `newer` ones up to the head."""
    every = [*newer, last] if last is not None else newer
    good = next((number for number, info in enumerate(every) if is_good(info)), None)
    return BranchPosition(
        head,
        behind + sum(not info.error for info in newer),
        total,
        depth,
        newest=every[good].commit.id if good is not None else "",
        note=passed_over(every[0]) if every and good != 0 else "",
        is_settled=not every or every[0].state is CommitState.FINISHED,
    )


def _depth(client: PfsClient, repo: RepoRef, commit: str) -> int | None:
    """The length of the history of a commit, itself included; None when that is too long to count."""
    count = sum(1 for _ in ancestors(client, repo, commit, HISTORY_LIMIT))
    return count if count < HISTORY_LIMIT else None
