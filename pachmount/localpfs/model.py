"""Projects, repos, branches and commits as rows of the database, and the look-ups that all calls share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pachmount.localpfs.filetree import Problem

USER = 1
AUTO = 2


class RepoName(NamedTuple):
    """The full name of a repo; as text the way pachd writes it in its errors."""

    project: str
    name: str
    type: str

    def __str__(self) -> str:
        return f"{self.project}/{self.name}" + ("" if self.type == "user" else f".{self.type}")


@dataclass(frozen=True)
class Repo:
    key: int
    name: RepoName
    description: str
    created: int  # like all times: nanoseconds since 1970


@dataclass(frozen=True)
class Branch:
    key: int
    repo: RepoName
    name: str
    head: int
    created: int
    updated: int


@dataclass(frozen=True)
class Revision:
    """A commit. `branch` is empty when that branch was deleted; `root` is its tree, `base` the one it started from."""

    key: int
    id: str
    repo_key: int
    repo: RepoName
    branch: str
    parent: int | None
    origin: int
    description: str
    started: int
    finished: int | None
    error: str
    base: int
    root: int
    problems: tuple[Problem, ...]
    size: int
    updated: int

    def __str__(self) -> str:
        return f"{self.repo}@{self.id}"


_REVISION = """
SELECT v.key, v.id, v.repo, r.project, r.name, r.type, coalesce(b.name, ''), v.parent, v.origin, v.description,
       v.started, v.finished, v.error, v.base, v.root, v.problems, v.size, v.updated
FROM revision v JOIN repo r ON r.key = v.repo LEFT JOIN branch b ON b.key = v.branch
"""
_BRANCH = """
SELECT b.key, r.project, r.name, r.type, b.name, b.head, b.created, b.updated
FROM branch b JOIN repo r ON r.key = b.repo
"""
_REPO = "SELECT key, project, name, type, description, created FROM repo "


def dump_problems(problems: Iterable[Problem]) -> str:
    return json.dumps(list(problems))


def load_problems(text: str) -> tuple[Problem, ...]:
    return tuple(Problem(*fields) for fields in json.loads(text))


def _revision(row: tuple) -> Revision:  # type: ignore[type-arg]
    key, commit_id, repo_key, project, name, kind, branch, *rest = row
    rest[8] = load_problems(rest[8])
    return Revision(key, commit_id, repo_key, RepoName(project, name, kind), branch, *rest)


def _branch(row: tuple) -> Branch:  # type: ignore[type-arg]
    return Branch(row[0], RepoName(*row[1:4]), *row[4:])


def _repo(row: tuple) -> Repo:  # type: ignore[type-arg]
    return Repo(row[0], RepoName(*row[1:4]), *row[4:])


def project_exists(db: sqlite3.Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM project WHERE name = ?", (name,)).fetchone() is not None


def find_repo(db: sqlite3.Connection, name: RepoName) -> Repo | None:
    row = db.execute(_REPO + "WHERE project = ? AND name = ? AND type = ?", name).fetchone()
    return _repo(row) if row else None


def repos(db: sqlite3.Connection) -> list[Repo]:
    """All repos in the order of project and name."""
    return [_repo(row) for row in db.execute(_REPO + "ORDER BY project, name, type")]


def find_branch(db: sqlite3.Connection, repo: RepoName, name: str) -> Branch | None:
    where = "WHERE r.project = ? AND r.name = ? AND r.type = ? AND b.name = ?"
    row = db.execute(_BRANCH + where, (*repo, name)).fetchone()
    return _branch(row) if row else None


def branches(db: sqlite3.Connection, repo: RepoName | None) -> list[Branch]:
    """The branches of a repo, or all there are, the oldest first."""
    where = "WHERE r.project = ? AND r.name = ? AND r.type = ? " if repo else ""
    return [_branch(row) for row in db.execute(_BRANCH + where + "ORDER BY b.key", repo or ())]


def branches_at(db: sqlite3.Connection, revision: int) -> list[Branch]:
    """The branches whose head is this commit."""
    return [_branch(row) for row in db.execute(_BRANCH + "WHERE b.head = ?", (revision,))]


def find_revision(db: sqlite3.Connection, repo: RepoName, commit_id: str) -> Revision | None:
    where = "WHERE r.project = ? AND r.name = ? AND r.type = ? AND v.id = ?"
    row = db.execute(_REVISION + where, (*repo, commit_id)).fetchone()
    return _revision(row) if row else None


def revision(db: sqlite3.Connection, key: int) -> Revision:
    return _revision(db.execute(_REVISION + "WHERE v.key = ?", (key,)).fetchone())


def revisions_of_set(db: sqlite3.Connection, commit_set: str) -> list[Revision]:
    """The commits of one global id; all commits for the empty id. The oldest first."""
    where = "WHERE v.id = ? " if commit_set else ""
    return [
        _revision(row) for row in db.execute(_REVISION + where + "ORDER BY v.key", (commit_set,) if commit_set else ())
    ]


def revisions(
    db: sqlite3.Connection, repo: RepoName | None, *, after: int = 0, newest_first: bool = False
) -> Iterator[Revision]:
    """The commits of a repo, or all, that were made after the one with key `after`."""
    where = "WHERE v.key > ? " + ("AND r.project = ? AND r.name = ? AND r.type = ? " if repo else "")
    order = "ORDER BY v.key DESC" if newest_first else "ORDER BY v.key"
    for row in db.execute(_REVISION + where + order, (after, *(repo or ()))):
        yield _revision(row)


def children(db: sqlite3.Connection, key: int) -> list[Revision]:
    return [_revision(row) for row in db.execute(_REVISION + "WHERE v.parent = ? ORDER BY v.key", (key,))]


def nearest_good(db: sqlite3.Connection, start: Revision | None) -> Revision | None:
    """The commit whose files a child of `start` begins with: the nearest one without an error, from `start` backwards.

    A commit that ended with an error passes on none of its own changes, but all files of what was before it.
    """
    found = start
    while found is not None and found.error:
        found = None if found.parent is None else revision(db, found.parent)
    return found
