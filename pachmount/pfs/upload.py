"""Putting a local directory tree into a repo as one commit."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pachmount.errors import (
    AlreadyExistsError,
    DataError,
    NotFoundError,
    PachmountError,
    UsageError,
)
from pachmount.names import DEFAULT_BRANCH, Source
from pachmount.pfs.ancestry import base_of
from pachmount.pfs.client import PfsClient
from pachmount.pfs.commits import Attempt, make_commit, usable_branch
from pachmount.pfs.model import BranchInfo, CommitRef, CommitState, RepoRef
from pachmount.pfs.scan import LocalFile, Scan, Skipped, scan_tree
from pachmount.pfs.writer import CHUNK_BYTES, FileWriter


@dataclass(frozen=True)
class Progress:
    """How far an import is. `phase` is `upload`, then `finish` (waiting for the cluster)."""

    phase: str
    files: int
    total_files: int
    bytes: int
    total_bytes: int


@dataclass(frozen=True)
class ImportResult:
    """What an import made; `own` are files of this program that it left out. `changed` is False when the
    commit has the same files as the one before it; `finished` is False when the cluster was still busy with the commit
    after the longest wait.
    """

    commit: CommitRef
    files: int
    bytes: int
    empty_directories: int
    skipped: tuple[Skipped, ...]
    own: tuple[str, ...]
    created_repo: bool
    changed: bool
    finished: bool


def ignore_progress(progress: Progress) -> None:
    """For callers that show none."""


def import_tree(
    client: PfsClient,
    directory: Path,
    source: Source,
    *,
    description: str = "",
    exclude: Sequence[str] = (),
    skip_invalid: bool = False,
    create_project: bool = False,
    replace: bool = False,
    progress: Callable[[Progress], None] = ignore_progress,
    wait_s: float = 600.0,
) -> ImportResult:
    """Store the files below `directory` in `source` (repo, branch, destination path) as one commit.

    Files with the same path are overwritten; with `replace` everything else below the destination is removed. The repo
    is made when missing, its project only with `create_project`; they stay if the import fails later.

    The commit appears whole or not at all: it is made in a moment, when the cluster has all the data. A process that is
    killed in that moment, or loses its connection, leaves an open commit behind at worst.

    Raises UsageError, InvalidPathError (names that cannot be stored; nothing was sent), NotFoundError, BusyError (the
    branch has an open commit), ClusterError (the cluster rejected the commit), and what the connection may raise. After
    a ClusterTimeoutError or ClusterUnreachableError in the last step it is not known whether the commit was made.
    """
    if source.commit:
        raise UsageError(f"cannot import into {source}", "a commit cannot change: name a branch")
    scan = scan_tree(directory, source.path, exclude, skip_invalid=skip_invalid)
    repo = RepoRef(source.project, source.repo)
    check_import(client, source, create_project=create_project)
    created_repo = ensure_repo(client, repo, create_project=create_project)
    try:
        return _into_repo(
            client,
            scan,
            source,
            description=description,
            replace=replace,
            progress=progress,
            wait_s=wait_s,
            created_repo=created_repo,
        )
    except PachmountError as error:
        if created_repo:
            told = f"the repo {repo} was made and stays"
            error.why = f"{error.why}; {told}" if error.why else told
        raise


def check_import(client: PfsClient, source: Source, *, create_project: bool = False) -> None:
    """See that a branch can take an import, or that its repo can be made, as far as a cluster tells that beforehand.

    Raises NotFoundError for a project that is not there nor to be made, BusyError for a branch with an open commit,
    NotPermittedError for a branch that only a pipeline writes.
    """
    repo = RepoRef(source.project, source.repo)
    try:
        client.inspect_repo(repo)
    except NotFoundError:
        if not create_project:
            _require_project(client, repo.project)
        return
    usable_branch(client, repo, source.branch or DEFAULT_BRANCH)


def _into_repo(
    client: PfsClient,
    scan: Scan,
    source: Source,
    *,
    description: str,
    replace: bool,
    progress: Callable[[Progress], None],
    wait_s: float,
    created_repo: bool,
) -> ImportResult:
    repo, branch = RepoRef(source.project, source.repo), source.branch or DEFAULT_BRANCH
    before = usable_branch(client, repo, branch)
    report = _Reporter(scan, progress)
    with client.create_file_set() as writer:
        for file in scan.files:
            if not replace:
                writer.delete_file(file.stored)
            _send(writer, file, report)
    attempt = Attempt(branch, before.head.id if before is not None else "", before is None, description)
    info = make_commit(
        client,
        repo,
        attempt,
        writer.file_set,
        any_parent=True,
        prune=(source.path or "/") if replace else "",
        on_wait=lambda: report.report("finish"),
        wait_s=wait_s,
    )
    commit = CommitRef(repo, info.commit.id, branch)
    return ImportResult(
        commit=commit,
        files=len(scan.files),
        bytes=report.bytes,
        empty_directories=scan.empty_directories,
        skipped=tuple(scan.skipped),
        own=tuple(scan.own),
        created_repo=created_repo,
        changed=_differs(client, before, commit, replace) if info.state is CommitState.FINISHED else True,
        finished=info.state is CommitState.FINISHED,
    )


class _Reporter:
    """Counts what was sent and passes it on."""

    def __init__(self, scan: Scan, progress: Callable[[Progress], None]) -> None:
        self._total = (len(scan.files), scan.total_bytes)
        self._progress = progress
        self.files = 0
        self.bytes = 0

    def report(self, phase: str) -> None:
        self._progress(Progress(phase, self.files, self._total[0], self.bytes, self._total[1]))


def ensure_repo(client: PfsClient, repo: RepoRef, *, create_project: bool = False) -> bool:
    """Make sure the repo exists, and with `create_project` its project; whether it had to be made.

    Raises NotFoundError without the project.
    """
    try:
        client.inspect_repo(repo)
        return False
    except NotFoundError:
        pass  # made below
    try:
        _require_project(client, repo.project)
    except NotFoundError:
        if not create_project:
            raise
        with contextlib.suppress(AlreadyExistsError):  # somebody else was quicker
            client.create_project(repo.project)
    try:
        client.create_repo(repo)
    except AlreadyExistsError:
        return False
    return True


def _require_project(client: PfsClient, project: str) -> None:
    try:
        client.inspect_project(project)
    except NotFoundError as error:
        raise NotFoundError(f"project '{project}' not found", hint="make it with --create-project") from error


def _send(writer: FileWriter, file: LocalFile, report: _Reporter) -> None:
    try:
        # Without O_NONBLOCK a pipe that took the file's place would block us for ever.
        descriptor = os.open(file.local, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            writer.add_file(file.stored, _pieces(descriptor, file.local, report))
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise NotFoundError(f"{file.local} vanished while it was imported", "nothing was committed") from error
    except OSError as error:
        raise DataError(f"cannot read {file.local}", f"{error.strerror}; nothing was committed") from error
    report.files += 1
    report.report("upload")


def _pieces(descriptor: int, name: str, report: _Reporter) -> Iterator[bytes]:
    """The file's content up to the size it has now: a log that keeps growing has an end for us, too."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"cannot read {name}", "it is no longer a file; nothing was committed")
    left = status.st_size
    while left > 0:
        piece = os.read(descriptor, min(left, CHUNK_BYTES))
        if not piece:
            return  # it became shorter: what was read is what is stored
        left -= len(piece)
        yield piece
        report.bytes += len(piece)
        if left:
            report.report("upload")


def _differs(client: PfsClient, before: BranchInfo | None, after: CommitRef, replace: bool) -> bool:
    """Whether the files of two commits differ.

    The hash of the root covers all contents in path order but no names. Adding or overwriting files always changes it;
    only removing some and adding others (`replace`) may not.
    """
    base = base_of(client, after.repo, before.head.id) if before is not None else ""
    old = CommitRef(after.repo, base)
    old_hash = _root_hash(client, old) if base else b""
    if old_hash != _root_hash(client, after):
        return True
    if not base or not replace:
        return False
    return [entry.path for entry in client.walk(old)] != [entry.path for entry in client.walk(after)]


def _root_hash(client: PfsClient, commit: CommitRef) -> bytes:
    try:
        return client.inspect_file(commit, "/").hash
    except NotFoundError:
        return b""  # an empty commit has no root
