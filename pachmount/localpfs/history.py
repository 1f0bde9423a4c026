"""What changes branches and commits: starting, finishing, dropping and squashing."""

from __future__ import annotations

import sqlite3
import time
import uuid

from pachmount.localpfs import model, tree
from pachmount.localpfs.database import mark_garbage
from pachmount.localpfs.handles import require_repo
from pachmount.localpfs.model import AUTO, USER, Branch, RepoName, Revision
from pachmount.localpfs.pagestore import PageBatch, PageStore
from pachmount.localpfs.status import unknown


def start(
    db: sqlite3.Connection, repo: RepoName, branch_name: str, parent: Revision | None, description: str = ""
) -> Revision:
    """A new open commit on a branch, which is made if need be. Without `parent` its head is the parent."""
    repo_key = require_repo(db, repo).key
    branch = model.find_branch(db, repo, branch_name)
    if parent is None and branch is not None:
        parent = model.revision(db, branch.head)
    if parent is not None and parent.finished is None:
        raise unknown(f"parent commit {parent} has not been finished")
    made = _insert(db, repo_key, parent, USER, description)
    set_head(db, repo_key, branch, branch_name, made, owns=True)
    return model.revision(db, made)


def create_branch(db: sqlite3.Connection, repo: RepoName, name: str, head: Revision | None) -> None:
    """Make a branch or move its head. A new branch without a head gets an empty finished commit."""
    repo_key = require_repo(db, repo).key
    branch = model.find_branch(db, repo, name)
    if head is not None:
        set_head(db, repo_key, branch, name, head.key, owns=False)
    elif branch is None:
        made = _insert_empty(db, repo_key)
        set_head(db, repo_key, None, name, made, owns=True)


def set_head(db: sqlite3.Connection, repo_key: int, branch: Branch | None, name: str, head: int, *, owns: bool) -> None:
    """Point a branch at a commit; `owns`: the commit was made on this branch."""
    now = time.time_ns()
    if branch is None:
        made = db.execute(
            "INSERT INTO branch (repo, name, head, created, updated) VALUES (?, ?, ?, ?, ?)",
            (repo_key, name, head, now, now),
        ).lastrowid
    else:
        made = branch.key
        db.execute("UPDATE branch SET head = ?, updated = ? WHERE key = ?", (head, now, made))
    if owns:
        db.execute("UPDATE revision SET branch = ? WHERE key = ?", (made, head))


def finish(
    db: sqlite3.Connection, pages: PageStore, revision: Revision, description: str = "", error: str = ""
) -> None:
    """Close an open commit. Its size and the check of its files are ready at once."""
    if revision.finished is not None:
        raise unknown(f"commit {revision} has already finished")
    now = time.time_ns()
    size = 0 if error else tree_size(db, pages, revision.root)
    if not error and revision.problems:
        error = revision.problems[0].text
    db.execute(
        "UPDATE revision SET finished = ?, updated = ?, description = ?, error = ?, size = ? WHERE key = ?",
        (now, now, description or revision.description, error, size, revision.key),
    )


def tree_size(db: sqlite3.Connection, pages: PageStore, root: int) -> int:
    """Bytes of all files of a tree, that of the path "/" included."""
    batch = PageBatch(pages, db)
    entries = [tree.get(batch, root, key) for key in (b"/", b"")]
    return sum(entry.size for entry in entries if entry is not None)


def clear(db: sqlite3.Connection, revision: Revision) -> None:
    """Throw away what was written into an open commit."""
    if revision.finished is not None:
        raise unknown("cannot clear finished commit")
    # The tree it started from has no problems, since a commit with any ends with an error and passes on no files.
    db.execute(
        "UPDATE revision SET root = base, problems = '[]', updated = ? WHERE key = ?", (time.time_ns(), revision.key)
    )
    mark_garbage(db)


def drop(db: sqlite3.Connection, doomed: list[Revision]) -> None:
    """Remove commits for good; branches fall back to the parent. Children must be removed as well."""
    keys = {revision.key for revision in doomed}
    for revision in doomed:
        if any(child.key not in keys for child in model.children(db, revision.key)):
            raise unknown(f"cannot drop a commit that has children: {revision}")
    for revision in sorted(doomed, key=lambda one: -one.key):
        _remove(db, revision)


def squash(db: sqlite3.Connection, doomed: list[Revision]) -> None:
    """Remove commits whose content lives on in their children."""
    for revision in doomed:
        if not model.children(db, revision.key):
            raise unknown(
                "cannot squash a commit that has no children as that would cause data loss, "
                f"use the drop operation instead: {revision}"
            )
        for child in model.children(db, revision.key):
            if child.finished is None:
                raise unknown(f"cannot squash until child commit {child} is finished")
    for revision in doomed:
        current = model.revision(db, revision.key)
        db.execute("UPDATE revision SET parent = ? WHERE parent = ?", (current.parent, current.key))
        _remove(db, current)


def _remove(db: sqlite3.Connection, revision: Revision) -> None:
    for branch in model.branches_at(db, revision.key):
        parent = None if revision.parent is None else model.revision(db, revision.parent)
        if parent is not None and parent.repo == branch.repo:
            set_head(db, revision.repo_key, branch, branch.name, parent.key, owns=False)
        else:
            made = _insert_empty(db, revision.repo_key)
            set_head(db, revision.repo_key, branch, branch.name, made, owns=True)
    db.execute("DELETE FROM revision WHERE key = ?", (revision.key,))
    mark_garbage(db)


def _insert_empty(db: sqlite3.Connection, repo_key: int) -> int:
    made = _insert(db, repo_key, None, AUTO, "")
    now = time.time_ns()
    db.execute("UPDATE revision SET finished = ?, updated = ? WHERE key = ?", (now, now, made))
    return made


def _insert(db: sqlite3.Connection, repo_key: int, parent: Revision | None, origin: int, description: str) -> int:
    origin_of_files = model.nearest_good(db, parent)
    root = tree.EMPTY if origin_of_files is None else origin_of_files.root
    now = time.time_ns()
    row = (uuid.uuid4().hex, repo_key, parent.key if parent else None, origin, description, now, root, root, "[]", now)
    made = db.execute(
        "INSERT INTO revision (id, repo, parent, origin, description, started, base, root, problems, updated)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    ).lastrowid
    if made is None:
        raise LookupError("the database gave the new commit no key")
    return made
