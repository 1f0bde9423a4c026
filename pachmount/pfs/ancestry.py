"""A commit and its ancestors, and the newest of them whose files can be relied on.

They are listed in small pages: a cluster computes the size of every commit that it lists.
"""

from __future__ import annotations

from collections.abc import Iterator

from pachmount.errors import IncompleteListingError
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitInfo, CommitRef, CommitState, RepoRef

ANCESTORS_SEARCHED = 100
FIRST_PAGE = 2
"""A new head and the one before it: mostly that is all there is to see."""
LARGEST_PAGE = 256
_TEXT_LENGTH = 200


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


def newest_good(client: PfsClient, repo: RepoRef, head: str, shown: str) -> tuple[CommitInfo | None, str]:
    """The newest commit down from `head` that is finished without an error, and a note about those passed over.

    None if `shown` is met before one. A commit with an error lacks files of its parent or cannot be listed, pipelines
    do not run on it either, and the next commit is built on the newest one before it that has none.
    """
    note = ""
    first = client.inspect_commit(CommitRef(repo, head))
    infos = [first] if is_good(first) or head == shown else ancestors(client, repo, head, ANCESTORS_SEARCHED)
    for info in infos:
        if info.commit.id == shown:
            return None, note
        if is_good(info):
            return info, note
        note = note or passed_over(info)
    return None, note


def base_of(client: PfsClient, repo: RepoRef, head: str) -> str:
    """The id of the commit whose files a new commit on `head` begins with; "" if it begins without files."""
    if not client.inspect_commit(CommitRef(repo, head)).error:
        return head
    found, _ = newest_good(client, repo, head, "")
    return found.commit.id if found is not None else ""


def is_good(info: CommitInfo) -> bool:
    return info.state is CommitState.FINISHED and not info.error


def passed_over(info: CommitInfo) -> str:
    """Why a commit is not shown, for people."""
    return f"commit {info.commit.id[:8]} {fault(info)}"


def fault(info: CommitInfo) -> str:
    """What keeps a commit that is not good from being shown."""
    return f"has an error: {error_text(info)}" if info.error else "is not finished"


def error_text(info: CommitInfo) -> str:
    """The error of a commit on one line of bounded length: it may have been written by anybody."""
    text = " ".join("".join(character if character.isprintable() else " " for character in info.error).split())
    return text if len(text) <= _TEXT_LENGTH else f"{text[:_TEXT_LENGTH]}…"
