"""From what a request says about a repo, branch or commit to what the store has."""

from __future__ import annotations

import re
import sqlite3
import time
from dataclasses import dataclass

from google.protobuf.message import Message

from pachmount.localpfs import model
from pachmount.localpfs.filetree import Problem
from pachmount.localpfs.model import Branch, RepoName, Revision
from pachmount.localpfs.status import not_found, unknown
from pachmount.pfs.proto import pfs_pb2

DEFAULT_PROJECT = "default"
FILESETS_REPO = "__filesets__"
REPO_TYPES = ("user", "meta", "spec")

_COMMIT_ID = re.compile("[0-9a-f]{12}4[0-9a-f]{19}")
_NAME = re.compile("[a-zA-Z0-9_-]+")
_FILESET_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class FileView:
    """A tree of files that a call reads: that of a commit or of a file set.

    `commit` is the handle that answers carry, `committed` the finishing time in nanoseconds or None.
    """

    root: int
    problems: tuple[Problem, ...]
    commit: pfs_pb2.Commit
    committed: int | None
    revision: Revision | None


def is_commit_id(text: str) -> bool:
    return _COMMIT_ID.fullmatch(text) is not None


def check_name(name: str) -> None:
    """Refuse what is no name of a repo or branch."""
    if not _NAME.fullmatch(name):
        raise unknown(f"name ({name}) invalid: only alphanumeric characters, underscores, and dashes are allowed")


def check_branch_name(name: str) -> None:
    check_name(name)
    if is_commit_id(name):
        raise unknown("branch name cannot be a UUID V4")


def full_name(repo: pfs_pb2.Repo) -> RepoName:
    """The full name that a request means, without looking at the type."""
    return RepoName(repo.project.name or DEFAULT_PROJECT, repo.name, repo.type)


def repo_name(repo: pfs_pb2.Repo) -> RepoName:
    """The full name that a request means. The type must be one that exists."""
    name = full_name(repo)
    if name.type not in REPO_TYPES:
        raise unknown(f'ERROR: invalid input value for enum pfs.repo_type: "{name.type}" (SQLSTATE 22P02)')
    return name


def require_repo(db: sqlite3.Connection, name: RepoName) -> model.Repo:
    repo = model.find_repo(db, name)
    if repo is None:
        raise not_found(f"repo {name} not found")
    return repo


def require_branch(db: sqlite3.Connection, repo: RepoName, name: str) -> Branch:
    branch = model.find_branch(db, repo, name)
    if branch is None:
        raise not_found(_missing_branch(db, repo, name))
    return branch


def commit_repo(commit: pfs_pb2.Commit) -> RepoName:
    """The repo of a commit handle, which may stand in its branch only."""
    if commit.HasField("repo"):
        return full_name(commit.repo)
    if commit.branch.HasField("repo"):
        return full_name(commit.branch.repo)
    raise unknown("commit must have a repo")


def commit_repos(commit: pfs_pb2.Commit) -> list[RepoName]:
    """All repos that a commit handle names: what it means is in the first, or in that of its branch."""
    named = [commit_repo(commit)]
    if commit.branch.repo.name and full_name(commit.branch.repo) not in named:
        named.append(full_name(commit.branch.repo))
    return named


def require(message: Message, field: str, text: str) -> None:
    """Refuse a request that lacks a field."""
    if not message.HasField(field):
        raise unknown(text)


def resolve(db: sqlite3.Connection, commit: pfs_pb2.Commit) -> Revision:
    """The commit that a handle means: by id, branch, branch name as id, each with ancestry (`^`, `^2`, `~2`, `.1`)."""
    repo = commit_repo(commit)
    repo_name(pfs_pb2.Repo(name=repo.name, type=repo.type))
    start, ancestry = split_ancestry(commit.id)
    if commit.branch.name and start and not is_commit_id(start):
        raise unknown(f"invalid commit ID given with a branch ({repo}@{commit.branch.name}): {commit.id}\n")
    if is_commit_id(start):
        found = model.find_revision(db, repo, start)
        if found is None:
            raise not_found(f"commit {repo}@{commit.id} not found")
    elif start:
        found = model.revision(db, require_branch(db, repo, start).head)
    elif commit.branch.name:
        branch_repo = repo_name(commit.branch.repo)
        found = model.revision(db, require_branch(db, branch_repo, commit.branch.name).head)
    elif commit.id:
        raise unknown("resolve commit: branch cannot be nil")
    else:
        raise unknown("cannot resolve commit with no ID or branch")
    ancestor = _ancestor(db, found, ancestry)
    if ancestor is None:
        raise not_found(f"commit {repo}@{commit.id} not found")
    return ancestor


def split_ancestry(commit_id: str) -> tuple[str, int]:
    """The part of an id before `^`, `~` or `.`, and how many parents to go back (negative: counted from the first)."""
    place = next((at for at, character in enumerate(commit_id) if character in "^~."), None)
    if place is None:
        return commit_id, 0
    start, separator, rest = commit_id[:place], commit_id[place], commit_id[place + 1 :]
    if re.fullmatch(r"[+-]?[0-9]+", rest):
        return start, -int(rest) if separator == "." else int(rest)
    for character in rest:
        if character != separator:
            raise unknown(f'invalid ancestry syntax "{commit_id}", cannot mix {separator} and {character} characters')
    return start, len(rest) + 1


def view(db: sqlite3.Connection, commit: pfs_pb2.Commit) -> FileView:
    """The files that a commit handle means."""
    repo = commit_repo(commit)
    if repo.name == FILESETS_REPO:
        return _fileset_view(db, repo, commit.id)
    found = resolve(db, commit)
    handle = pfs_pb2.Commit(id=found.id, repo=repo_message(found.repo))
    return FileView(found.root, found.problems, handle, found.finished, found)


def fileset_row(db: sqlite3.Connection, fileset_id: str) -> tuple[int, str, str] | None:
    """Root, problems and deletions of a file set that still lives."""
    check_fileset_id(fileset_id)
    row: tuple[int, str, str] | None = db.execute(
        "SELECT root, problems, deletions FROM fileset WHERE id = ? AND expires > ?", (fileset_id, time.time_ns())
    ).fetchone()
    return row


def check_fileset_id(fileset_id: str) -> None:
    if not _FILESET_ID.fullmatch(fileset_id.replace("-", "")):
        raise unknown(f"parsing fileset.ID: too short to be ID len={len(fileset_id)}")


def repo_message(name: RepoName) -> pfs_pb2.Repo:
    return pfs_pb2.Repo(name=name.name, type=name.type, project=pfs_pb2.Project(name=name.project))


def _fileset_view(db: sqlite3.Connection, repo: RepoName, fileset_id: str) -> FileView:
    row = fileset_row(db, fileset_id)
    if row is None:
        raise unknown("path does not exist")
    handle = pfs_pb2.Commit(id=fileset_id, repo=repo_message(repo))
    return FileView(row[0], model.load_problems(row[1]), handle, None, None)


def _ancestor(db: sqlite3.Connection, start: Revision, ancestry: int) -> Revision | None:
    if ancestry >= 0:
        found: Revision | None = start
        for _ in range(ancestry):
            if found is None or found.parent is None:
                return None
            found = model.revision(db, found.parent)
        return found
    line = [start.key]
    parent = start.parent
    while parent is not None:
        line.append(parent)
        (parent,) = db.execute("SELECT parent FROM revision WHERE key = ?", (parent,)).fetchone()
    return model.revision(db, line[ancestry]) if -ancestry <= len(line) else None


def _missing_branch(db: sqlite3.Connection, repo: RepoName, name: str) -> str:
    lines = []
    if not model.project_exists(db, repo.project):
        lines.append(f'get project by name: project "{repo.project}" not found')
    if model.find_repo(db, repo) is None:
        lines.append(f"repo (id=0, project={repo.project}, name={repo.name}, type={repo.type}) not found")
    lines.append(f"branch (id=0, branch={repo}@{name}) not found")
    lines.append(f'branch "{name}" not found in repo {repo}')
    return "\n".join(lines)
