"""Sending what is staged in a read-write mount: exactly these changes, as one commit, or none of them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pachmount.cache.pages import Block
from pachmount.errors import BusyError, ConflictError, DataError, InvalidPathError
from pachmount.mounts.comparing import some
from pachmount.names import Source
from pachmount.overlay.difference import Change, Difference
from pachmount.overlay.names import BaseNode
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.snapshot import StagedDirectory, StagedFile
from pachmount.pfs.ancestry import base_of
from pachmount.pfs.client import PfsClient
from pachmount.pfs.commits import FINISH_SECONDS, Attempt, Remember, make_commit
from pachmount.pfs.model import CommitInfo, CommitRef, CommitState, RepoRef
from pachmount.pfs.writer import FileWriter

log = logging.getLogger(__name__)

Phase = Literal["compare", "upload", "finish"]


@dataclass(frozen=True)
class CommitWish:
    """How to commit. `branch`: another one than the mount's; `ours` commits over newer versions of the same files,
    `theirs` are paths at which newer versions take the place of what is staged.
    """

    message: str = ""
    branch: str = ""
    allow_open: bool = False
    skip_invalid: bool = False
    ours: bool = False
    theirs: tuple[str, ...] = ()


def files_of(client: PfsClient, repo: RepoRef, base: str, attempt: Attempt) -> str:
    """The commit whose files a commit will begin with, "" = none: not a parent with an error.

    ConflictError if that is none, but the changes were made on the commit `base`.
    """
    if attempt.is_new or attempt.parent == base:
        return base
    client.inspect_commit(CommitRef(repo, attempt.parent), wait="finished")
    found = base_of(client, repo, attempt.parent)
    if base and not found:
        what = f"the branch '{attempt.branch}' has no commit without an error any more"
        raise ConflictError(what, "all stays staged", "pachmount commit NAME --branch NEW")
    return found


@dataclass
class Progress:
    """How far a commit is; written by one thread, read by others. `stopped` ends it where that harms nothing."""

    phase: Phase = "compare"
    files: int = 0
    total_files: int = 0
    bytes: int = 0
    total_bytes: int = 0
    stopped: bool = False

    def check(self) -> None:
        """BusyError if it is to end."""
        if self.stopped:
            raise BusyError("the commit was given up", "the daemon stops; nothing was committed, all stays staged")


@dataclass(frozen=True)
class Committed:
    """A finished commit, and how many changes it was made of (0: it was made before, and only now heard of).

    `is_staged_still`: the changes were committed elsewhere, and could not be given up here.
    """

    info: CommitInfo
    changes: int = 0
    is_staged_still: bool = False


@dataclass(frozen=True)
class Pending:
    """What a commit was made of whose end is not known: when it turns out to exist, the mount can stand on it."""

    taken: StagedDirectory
    found: Difference
    branch: str


@dataclass
class Upload:
    """One commit of the changes of a snapshot, which were made on `source`."""

    client: PfsClient
    source: Source
    overlay: Overlay
    progress: Progress = field(default_factory=Progress)

    @property
    def repo(self) -> RepoRef:
        return RepoRef(self.source.project, self.source.repo)

    def send(self, found: Difference, attempt: Attempt, remember: Remember) -> CommitInfo:
        """Commit on a branch whose head is the attempt's parent; the finished commit.

        Raises BusyError if the head moved meanwhile, or a file was changed: then nothing was committed.
        """
        progress, started = self.progress, time.monotonic()
        progress.phase = "upload"
        progress.total_files = sum(change.kind != "D" for change in found.changes)
        progress.total_bytes = sum(change.size for change in found.changes)
        with self.client.create_file_set() as writer:
            for path in _replaced(found):
                writer.delete_file(os.fsdecode(path))
            for change in found.changes:
                progress.check()
                self._send(writer, change)
        progress.check()
        seconds = time.monotonic() - started
        log.info("sent %d changes of %s, %d bytes, in %.2f s", len(found.changes), self.source, progress.bytes, seconds)
        progress.phase = "finish"
        info = make_commit(self.client, self.repo, attempt, writer.file_set, remember=remember)
        if info.state is not CommitState.FINISHED:
            why = f"the cluster was not done with it within {FINISH_SECONDS:.0f} s"
            raise BusyError(f"commit {info.commit.id} is not finished yet", why, "commit again later")
        return info

    def _send(self, writer: FileWriter, change: Change) -> None:
        path, content = os.fsdecode(change.path), change.content
        if content is None:
            return
        if isinstance(content, BaseNode):
            base = CommitRef(self.repo, self.source.commit, self.source.branch)
            writer.copy_file(base, os.fsdecode(content.path), path)
        else:
            start = _appended_from(change, content)
            sent = writer.add_file(path, self._counted(self.overlay.bytes.frozen(content, start), path))
            self.progress.bytes += change.size - sent
        self.progress.files += 1

    def _counted(self, pieces: Iterator[Block], path: str) -> Iterator[memoryview | bytes]:
        try:
            for piece in pieces:
                self.progress.check()
                self.progress.bytes += len(piece)
                yield piece
        except BusyError as error:
            if self.progress.stopped:
                raise
            why = "a program wrote to it meanwhile; nothing was committed"
            raise BusyError(f"{path} was changed while it was committed", why, "try again, or --allow-open") from error
        except OSError as error:
            hint = "'pachmount staged export NAME DIR' saves what can be read; then delete that file or write it anew"
            raise DataError(f"what is staged of {path} cannot be read", error.strerror or str(error), hint) from error


def _replaced(found: Difference) -> Iterator[bytes]:
    """The paths that the commit has and that go: deleted, renamed away, or written anew."""
    for change in found.changes:
        if change.kind == "D":
            yield change.path
        elif change.kind == "R":
            yield change.old_path
        elif (
            change.kind == "M" and isinstance(change.content, StagedFile) and not _appended_from(change, change.content)
        ):
            yield change.path


def _appended_from(change: Change, content: StagedFile) -> int:
    """From where on the bytes of a file need to be sent, when all before is in the commit at the same path; else 0."""
    is_appended = content.base == change.path and content.base_size == change.old_size and content.is_appended_to
    return content.base_size if change.kind == "M" and is_appended and change.old_size <= content.size else 0


def require_committable(found: Difference, wish: CommitWish) -> None:
    """Raise what keeps these changes from being committed: InvalidPathError, BusyError."""
    if found.refused and not wish.skip_invalid:
        reasons = [f"{os.fsdecode(refused.path)}: {refused.reason}" for refused in found.refused]
        what = f"{len(reasons)} path{'s' if len(reasons) > 1 else ''} cannot be committed"
        raise InvalidPathError(what, some(reasons), "rename them, or leave them staged with --skip-invalid")
    written = found.being_written
    if written and not wish.allow_open:
        what = f"{len(written)} file{'s are' if len(written) > 1 else ' is'} open for writing"
        raise BusyError(what, some(map(os.fsdecode, written)), "close them, or --allow-open")
