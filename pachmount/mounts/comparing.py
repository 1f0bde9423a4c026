"""Staged changes beside a newer commit: what others changed at the same place, and whether they did the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from pachmount.cache.pages import Block
from pachmount.errors import ConflictError
from pachmount.overlay.difference import Change, Difference
from pachmount.overlay.names import BaseNode, above
from pachmount.overlay.snapshot import StagedFile
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, FileEntry
from pachmount.vfs.hashes import VERIFIABLE_BYTES, content_hash

SHOWN = 10
HASH_DIGITS = 12
DELETED = "deleted"

Content = Callable[[StagedFile], Iterator[Block]]
"""Gives the bytes of a staged file."""


@dataclass(frozen=True)
class Conflict:
    """A path that a newer commit changed where something is staged: at it, above it, or below it.

    `ours` are the staged paths; `staged` and `theirs` say what is there: a hash in hex, or in words.
    """

    path: bytes
    ours: tuple[bytes, ...]
    staged: str
    theirs: str


@dataclass
class Newer:
    """What newer commits changed (`paths`), beside what is staged.

    `is_ours` tells that they did exactly what is staged: a commit of ours whose confirmation was lost, most likely.
    """

    conflicts: list[Conflict] = field(default_factory=list)
    paths: set[bytes] = field(default_factory=set)
    is_ours: bool = False


def compare(client: PfsClient, base: CommitRef, head: CommitRef, found: Difference, content: Content) -> Newer:
    """Compare staged changes with what differs between the commits `base` (without an id: an empty one) and `head`."""
    return _Comparison(client, head, found, content).run(base)


class _Comparison:
    def __init__(self, client: PfsClient, head: CommitRef, found: Difference, content: Content) -> None:
        self._client = client
        self._head = head
        self._content = content
        self._changes = {change.path: change for change in found.changes}
        self._renamed = {change.old_path: change.path for change in found.changes if change.old_path}
        self._ours = self._changes.keys() | self._renamed.keys()
        self._local = {*found.ignored, *(refused.path for refused in found.refused)}
        self._hidden = {*found.hidden, *self._ours, *self._local}
        self._empty = set(found.empty_directories)
        self._below: dict[bytes, list[bytes]] = {}
        for path in self._ours | self._local | self._empty:
            for place in above(path):
                self._below.setdefault(place, []).append(path)

    def run(self, base: CommitRef) -> Newer:
        client, head = self._client, self._head
        pairs = client.diff(head, base) if base.id else ((entry, None) for entry in client.walk(head))
        result = Newer()
        done: set[bytes] = set()
        for theirs, before in pairs:
            entry = theirs or before
            if entry is None or entry.is_dir:
                continue
            path = os.fsencode(entry.path)
            result.paths.add(path)
            if path in self._ours and self._is_applied(path, theirs):
                done.add(path)
                continue
            ours = self._colliding(path)
            if ours:
                said = DELETED if theirs is None else theirs.hash.hex()
                result.conflicts.append(Conflict(path, ours, self._said(path), said))
        for old, new in self._renamed.items():
            if old in done and new not in done:  # deleted there, and to be kept under another name here
                result.conflicts.append(Conflict(old, (old, new), self._said(old), DELETED))
        result.is_ours = not result.conflicts and len(done) == len(self._ours) == len(result.paths)
        return result

    def _colliding(self, path: bytes) -> tuple[bytes, ...]:
        """The staged paths that cannot stand beside a change of `path`."""
        if path in self._hidden or path in self._empty:
            return (path,)
        hiding = next((place for place in above(path) if place in self._hidden), None)
        return tuple(self._below.get(path, ())) if hiding is None else (hiding,)

    def _said(self, path: bytes) -> str:
        change = self._changes.get(path)
        if change is None:
            if path in self._ours:
                return "renamed"
            local = self._local | self._empty
            return "kept local" if any(place in local for place in (path, *above(path))) else "in use"
        if change.content is None:
            return DELETED
        if isinstance(change.content, BaseNode):
            return change.content.node.digest.hex()
        if change.size < VERIFIABLE_BYTES:
            return self._hash(change.content).hex()
        return f"{change.size} bytes"

    def _hash(self, staged: StagedFile) -> bytes:
        return content_hash(b"".join(bytes(piece) for piece in self._content(staged)))

    def _is_applied(self, path: bytes, theirs: FileEntry | None) -> bool:
        """Whether the commit did to a path what is staged for it, be it to delete it or to rename it away."""
        change: Change | None = self._changes.get(path)
        if theirs is None or change is None or change.content is None:
            return theirs is None and (change is None or change.content is None)
        if theirs.size != change.size:
            return False
        if isinstance(change.content, BaseNode):
            return theirs.hash == change.content.node.digest
        if theirs.size < VERIFIABLE_BYTES:
            return theirs.hash == self._hash(change.content)
        stream = self._client.open(self._head, theirs.path)
        try:
            return _fingerprint(stream) == _fingerprint(self._content(change.content))
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
        listed = some(
            f"{os.fsdecode(conflict.path)} (ours: {_short(conflict.staged)}, theirs: {_short(conflict.theirs)})"
            for conflict in found
        )
        hint = f"pachmount commit {name} with --branch NEW, --ours to replace theirs, or --theirs PATH to take theirs"
        raise ConflictError(what, f"{listed}; nothing was committed, all stays staged", hint)


def some(texts: Iterable[str]) -> str:
    """The first few of many, for a sentence."""
    every = list(texts)
    more = f"; and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return "; ".join(every[:SHOWN]) + more


def _short(said: str) -> str:
    return said if " " in said else said[:HASH_DIGITS]
