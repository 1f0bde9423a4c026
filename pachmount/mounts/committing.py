"""Committing what is staged in a read-write mount: exactly these changes, as one commit, or none of them.

The branch may have moved on since. Then the mount is first put on its newest commit, if nothing that is staged was
changed there as well; a commit never replaces what its author has not seen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from pachmount.cache.pages import Block
from pachmount.errors import BusyError, ClusterError, ConflictError, InvalidPathError, NotFoundError
from pachmount.names import Source
from pachmount.overlay.difference import Change, Difference
from pachmount.overlay.names import BaseNode
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.snapshot import StagedFile
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitInfo, CommitRef, CommitState, FileEntry, RepoRef
from pachmount.pfs.upload import commit_on, usable_branch, wait_finished, withdraw
from pachmount.pfs.writer import FileWriter
from pachmount.vfs.hashes import VERIFIABLE_BYTES, content_hash

SHOWN = 5
FINISH_SECONDS = 600.0
"""How long the cluster may take to finish a commit."""


@dataclass(frozen=True)
class CommitWish:
    """How to commit. `branch`: another one than the mount's; `ours` commits over newer versions of the same files."""

    message: str = ""
    branch: str = ""
    allow_open: bool = False
    skip_invalid: bool = False
    ours: bool = False


@dataclass
class Progress:
    """How far an upload is; written by one thread, read by others."""

    files: int = 0
    total_files: int = 0
    bytes: int = 0
    total_bytes: int = 0


@dataclass(frozen=True)
class Conflict:
    """A path that is staged and was changed in a newer commit as well."""

    path: bytes
    theirs: str


@dataclass
class Upload:
    """One commit of the changes of a snapshot."""

    client: PfsClient
    source: Source
    overlay: Overlay
    wish: CommitWish
    progress: Progress = field(default_factory=Progress)

    @property
    def repo(self) -> RepoRef:
        return RepoRef(self.source.project, self.source.repo)

    def send(self, found: Difference, parent: str) -> CommitInfo:
        """Commit on the branch, whose head is `parent` ("" = there is none); the finished commit.

        Raises BusyError if the head moved meanwhile: nothing was committed.
        """
        branch = self.wish.branch or self.source.branch
        before = usable_branch(self.client, self.repo, branch)
        self._require_head("" if before is None else before.head.id, parent)
        progress = self.progress
        progress.total_files = sum(change.kind != "D" for change in found.changes)
        progress.total_bytes = sum(change.size for change in found.changes)
        with commit_on(self.client, self.repo, branch, self.wish.message, before) as target:
            if target.id:
                self._require_head(self.client.inspect_commit(target).parent, parent)
            with self.client.modify_file(target) as writer:
                for change in found.changes:
                    self._send(writer, change)
                if not target.id:
                    self._require_head(self._head(branch), parent)
        commit = target if target.id else self.client.inspect_branch(self.repo, branch).head
        info = wait_finished(self.client, commit, time.monotonic() + FINISH_SECONDS)
        if info.state is not CommitState.FINISHED:
            raise BusyError(f"commit {commit.id} is not finished yet", "the cluster is busy", "commit again later")
        if info.error:
            withdraw(self.client, commit, before)
            raise ClusterError(f"the cluster rejected the commit into {self.repo}@{branch}", info.error)
        return info

    def _send(self, writer: FileWriter, change: Change) -> None:
        path = os.fsdecode(change.path)
        if change.kind == "D":
            writer.delete_file(path)
            return
        if change.kind == "R":
            writer.delete_file(os.fsdecode(change.old_path))
        content = change.content
        if isinstance(content, BaseNode):
            base = CommitRef(self.repo, self.source.commit, self.source.branch)
            writer.copy_file(base, os.fsdecode(content.path), path)
        elif content is not None:
            start = _appended_from(change, content)
            if change.kind == "M" and not start:
                writer.delete_file(path)
            writer.add_file(path, self._counted(self.overlay.bytes.frozen(content, start), path))
        self.progress.files += 1

    def _counted(self, pieces: Iterator[Block], path: str) -> Iterator[memoryview | bytes]:
        try:
            for piece in pieces:
                self.progress.bytes += len(piece)
                yield piece
        except BusyError as error:
            why = "a program wrote to it meanwhile; nothing was committed"
            raise BusyError(f"{path} was changed while it was committed", why, "try again, or --allow-open") from error

    def _head(self, branch: str) -> str:
        try:
            return self.client.inspect_branch(self.repo, branch).head.id
        except NotFoundError:
            return ""

    def _require_head(self, head: str, expected: str) -> None:
        if head != expected:
            raise BusyError(
                f"{self.repo} got a newer commit meanwhile", f"{head[:8]}; nothing was committed", "try again"
            )


def _appended_from(change: Change, content: StagedFile) -> int:
    """From where on the bytes of a file need to be sent, when all before is in the commit at the same path; else 0."""
    is_appended = content.base == change.path and content.base_size == change.old_size and content.is_appended_to
    return content.base_size if change.kind == "M" and is_appended and change.old_size <= content.size else 0


def require_committable(found: Difference, wish: CommitWish) -> None:
    """Raise what keeps these changes from being committed: InvalidPathError, BusyError."""
    if found.refused and not wish.skip_invalid:
        reasons = [f"{os.fsdecode(refused.path)}: {refused.reason}" for refused in found.refused]
        what = f"{len(reasons)} path{'s' if len(reasons) > 1 else ''} cannot be committed"
        raise InvalidPathError(what, _some(reasons), "rename them, or leave them staged with --skip-invalid")
    written = found.being_written
    if written and not wish.allow_open:
        what = f"{len(written)} file{'s are' if len(written) > 1 else ' is'} open for writing"
        raise BusyError(what, _some(map(os.fsdecode, written)), "close them, or --allow-open")


@dataclass(frozen=True)
class Newer:
    """What newer commits changed, beside what is staged.

    `is_ours` tells that they did exactly what is staged: a commit of ours whose confirmation was lost, most likely.
    """

    conflicts: list[Conflict]
    is_ours: bool


def compare(
    client: PfsClient,
    base: CommitRef,
    head: CommitRef,
    found: Difference,
    content: Callable[[StagedFile], Iterator[Block]],
) -> Newer:
    """Compare staged changes with what differs between the commits `base` (without an id: an empty one) and `head`.

    `content` gives the bytes of a staged file.
    """
    changes = {change.path: change for change in found.changes}
    renamed = {change.old_path for change in found.changes if change.old_path}
    ours = changes.keys() | renamed
    above = {place for path in ours for place in _above(path)}
    hidden = {*found.hidden, *ours}
    pairs = client.diff(head, base) if base.id else ((entry, None) for entry in client.walk(head))
    result: list[Conflict] = []
    done, others = 0, 0
    for theirs, before in pairs:
        entry = theirs or before
        if entry is None or entry.is_dir:
            continue
        path = os.fsencode(entry.path)
        if path in ours and _is_applied(client, head, changes.get(path), theirs, content):
            done += 1
        elif path in hidden or path in above or any(place in hidden for place in _above(path)):
            result.append(Conflict(path, "deleted" if theirs is None else theirs.hash.hex()))
        else:
            others += 1
    return Newer(result, is_ours=not result and not others and done == len(ours))


def _is_applied(
    client: PfsClient,
    head: CommitRef,
    change: Change | None,
    theirs: FileEntry | None,
    content: Callable[[StagedFile], Iterator[Block]],
) -> bool:
    """Whether a commit did to a path what is staged for it; `change` is None for the former path of a renamed file."""
    if theirs is None or change is None or change.content is None:
        return theirs is None and (change is None or change.content is None)
    if theirs.size != change.size:
        return False
    if isinstance(change.content, BaseNode):
        return theirs.hash == change.content.node.digest
    if theirs.size < VERIFIABLE_BYTES:
        return theirs.hash == content_hash(b"".join(bytes(piece) for piece in content(change.content)))
    stream = client.open(head, theirs.path)
    try:
        return _fingerprint(stream) == _fingerprint(content(change.content))
    finally:
        stream.cancel()


def _fingerprint(pieces: Iterable[Block]) -> bytes:
    digest = blake2b(digest_size=32)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def refuse_conflicts(found: list[Conflict], head: str, name: str) -> None:
    """ConflictError if there are any."""
    if found:
        what = f"{len(found)} staged path{'s were' if len(found) > 1 else ' was'} changed in commit {head[:8]} as well"
        listed = _some(f"{os.fsdecode(conflict.path)} (theirs: {conflict.theirs[:12]})" for conflict in found)
        hint = f"pachmount commit {name} --branch NEW, --ours to replace theirs, or pachmount discard {name} PATH"
        raise ConflictError(what, f"{listed}; nothing was committed", hint)


def _above(path: bytes) -> Iterator[bytes]:
    while b"/" in path[1:]:
        path = path[: path.rindex(b"/")]
        yield path


def _some(texts: Iterable[str]) -> str:
    every = list(texts)
    more = f"; and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return "; ".join(every[:SHOWN]) + more
