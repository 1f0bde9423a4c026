"""Committing staged changes into another repo, branch or cluster than those that they were made on, as whole files."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from pachmount.cache.pages import Block
from pachmount.errors import BusyError, DataError, InvalidPathError, NotFoundError, PachmountError
from pachmount.mounts.committing import Committed, CommitWish, Progress, require_committable
from pachmount.mounts.comparing import some
from pachmount.mounts.ignoring import ignoring
from pachmount.mounts.mount import Mount, MountSpec
from pachmount.mounts.resolve import require_writable
from pachmount.mounts.staged_places import way_out
from pachmount.mounts.writing import Writing
from pachmount.names import DEFAULT_BRANCH, Source, parse_source, unstorable_reason
from pachmount.overlay import snapshot
from pachmount.overlay.difference import Difference, Refused, difference
from pachmount.overlay.names import Base, BaseNode
from pachmount.overlay.snapshot import StagedDirectory, StagedFile
from pachmount.overlay.staged_work import Look, StagedWork, as_difference, items_of
from pachmount.pfs.client import PfsClient
from pachmount.pfs.commits import FINISH_SECONDS, Attempt, make_commit, usable_branch
from pachmount.pfs.model import BranchInfo, CommitInfo, CommitRef, CommitState, RepoRef
from pachmount.pfs.upload import ensure_repo
from pachmount.vfs.statistics import MountStatistics

log = logging.getLogger(__name__)

Bytes = Callable[[StagedFile], Iterator[Block]]


@dataclass
class _Taken:
    """Staged changes at one moment. `base`: the commit below them, None if it cannot be read."""

    name: str
    source: Source | None
    root: StagedDirectory
    bytes: Bytes
    found: Difference
    base: Base | None = None


@dataclass(frozen=True)
class Elsewhere:
    """Commits staged changes, be they mounted or not, to any branch of the cluster in use."""

    writing: Writing

    def is_there(self, source: Source | None, cluster: str) -> bool:
        """Whether the cluster in use has a commit. Raises ClusterUnreachableError."""
        if source is None or (cluster and cluster != self.writing.cluster.cluster_id()):
            return False
        if not source.commit:
            return True  # an empty one: the branch did not exist
        try:
            repo = RepoRef(source.project, source.repo)
            self._client.inspect_commit(CommitRef(repo, source.commit, source.branch))
        except NotFoundError:
            return False
        return True

    def states(self, looks: list[Look]) -> list[str]:
        """For each staged directory whether its commit is "there", "gone", or of "other cluster"; "" if unknown."""
        found = []
        is_known = True
        for look in looks:
            state = ""
            try:
                if is_known and not look.damaged:
                    state = self._state(look)
            except PachmountError:
                is_known = False  # the cluster does not answer, or does not know us
            found.append(state)
        return found

    def _state(self, look: Look) -> str:
        self.writing.cluster.identity()  # fails at once while the cluster is known not to answer
        if look.cluster and look.cluster != self.writing.cluster.cluster_id():
            return "other cluster"
        source = parse_source(look.source).at(look.commit) if look.source else None
        return "there" if self.is_there(source, look.cluster) else "gone"

    def commit(self, name: str, mount: Mount | None, target: Source, wish: CommitWish) -> Committed | None:
        """Commit what is staged under a name, and give it up there; None if there are no changes.

        The caller holds the name. InvalidPathError names what cannot be committed, before anything is sent.
        """
        if mount is not None and mount.overlay is not None:
            return self._of_mount(mount, target, wish)
        place = self.writing.places.of(name)
        with self._of_place(StagedWork.read(place)) as taken:
            made = self._send(taken, target, wish)
            if made is None:
                return None
            if taken.found.refused:
                return replace(made, is_staged_still=True)
        self.writing.places.clear(name)
        return made

    def _of_mount(self, mount: Mount, target: Source, wish: CommitWish) -> Committed | None:
        overlay = mount.overlay
        assert overlay is not None  # noqa: S101  # for the type checker
        if not wish.allow_open:
            overlay.closing.wait()
        generation = overlay.generation()
        root = overlay.snapshot(copy=wish.allow_open)
        try:
            source = mount.spec.source if mount.spec.complete else replace(mount.spec.source, commit="")
            if self.is_there(source, ""):
                found = self.writing.difference_of(mount, root)
                taken = _Taken(mount.spec.name, source, root, overlay.bytes.frozen, found, overlay.base)
            else:
                taken = self._without_commit(mount.spec.name, source, root, overlay.bytes.frozen)
            made = self._send(taken, target, wish)
        finally:
            snapshot.release(root)
        if made is None:
            return None
        if taken.found.refused or taken.found.being_written or overlay.generation() != generation:
            return replace(made, is_staged_still=True)
        self.writing.discard_all(mount)
        return made

    @contextlib.contextmanager
    def _of_place(self, work: StagedWork) -> Iterator[_Taken]:
        """What is staged in a directory that no mount shows."""
        if not work.noted or not self.is_there(work.source, work.cluster):
            yield self._without_commit(work.name, work.source, work.root, work.content)
            return
        spec = MountSpec.from_dict(json.loads(work.noted))
        view = self.writing.mounter.view(spec, MountStatistics())
        try:
            work = StagedWork.read(work.place, view)
            ignored = ignoring(work.root, view, _head(work.content), self.writing.ignore_file)
            where = os.fsencode(spec.mountpoint)

            def read(file: StagedFile) -> bytes:
                return b"".join(bytes(piece) for piece in work.content(file))

            found = difference(work.root, view, mountpoint=where, is_ignored=ignored, read=read)
            source = work.source if spec.complete or work.source is None else replace(work.source, commit="")
            yield _Taken(work.name, source, work.root, work.content, found, view)
        finally:
            view.close()

    def _without_commit(self, name: str, source: Source | None, root: StagedDirectory, content: Bytes) -> _Taken:
        """The changes of which all bytes are staged; the others are refused."""
        ignored = ignoring(root, None, _head(content), self.writing.ignore_file)
        items = items_of(root)
        found = as_difference(item for item in items if not item.needs_commit and item.kind != "link")
        for item in items:
            if item.kind == "link":
                found.refused.append(
                    Refused(item.path, "what a link leads to is found out from the commit, which is gone")
                )
            elif item.needs_commit:
                found.refused.append(
                    Refused(item.path, "bytes of it are in the commit that was changed, which is gone")
                )
        kept = []
        for change in found.changes:
            path, reason = change.path, unstorable_reason(os.fsdecode(change.path))
            if change.kind == "A" and any(ignored(place, place != path) for place in _places(path)):
                found.ignored.append(path)
            elif reason:
                found.refused.append(Refused(path, reason))
            else:
                kept.append(change)
        found.changes = kept
        found.refused.sort(key=lambda refused: refused.path)
        return _Taken(name, source, root, content, found)

    def _send(self, taken: _Taken, target: Source, wish: CommitWish) -> Committed | None:
        self._require(taken, wish)
        changes = taken.found.changes
        if not changes:
            return None
        client, repo = self._client, RepoRef(target.project, target.repo)
        branch = target.branch or DEFAULT_BRANCH
        with contextlib.suppress(NotFoundError):  # it is made below
            require_writable(client, repo, "the changes stay staged")
        ensure_repo(client, repo)
        before = usable_branch(client, repo, branch)
        progress = Progress("upload", 0, len(changes), 0, sum(change.size for change in changes))
        with client.create_file_set() as writer:
            for path in self._removed(taken, before):
                writer.delete_file(path)
            for change in changes:
                progress.check()
                path, content = os.fsdecode(change.path), change.content
                if content is None:
                    continue
                writer.delete_file(path)
                if isinstance(content, BaseNode):
                    writer.copy_file(_commit_of(taken.source), os.fsdecode(content.path), path)
                else:
                    writer.add_file(path, taken.bytes(content))
        parent = before.head.id if before is not None else ""
        attempt = Attempt(branch, parent, before is None, wish.message)
        info: CommitInfo = make_commit(client, repo, attempt, writer.file_set)
        if info.state is not CommitState.FINISHED:
            why = f"the cluster was not done with it within {FINISH_SECONDS:.0f} s; all stays staged"
            raise BusyError(f"commit {info.commit.id} is not finished yet", why, "pachmount staged list")
        log.info("committed what is staged under %s to %s as %s", taken.name, target, info.commit)
        return Committed(info, len(changes))

    def _require(self, taken: _Taken, wish: CommitWish) -> None:
        """Raise what keeps the changes from being committed."""
        found = taken.found
        if found.refused and not wish.skip_invalid:
            reasons = [f"{os.fsdecode(refused.path)}: {refused.reason}" for refused in found.refused]
            what = f"{len(reasons)} path{'s' if len(reasons) > 1 else ''} cannot be committed"
            hint = f"{way_out(taken.name)}; --skip-invalid commits the others"
            raise InvalidPathError(what, some(reasons), hint)
        require_committable(replace(found, refused=[]), wish)

    def _removed(self, taken: _Taken, before: BranchInfo | None) -> Iterable[str]:
        """The files that go: those that were deleted or renamed, as the target has them."""
        for change in taken.found.changes:
            old = change.path if change.kind == "D" else change.old_path
            if not old:
                continue
            if taken.base is not None:
                yield os.fsdecode(old)
            elif before is not None:  # it may be a directory, of which file sets cannot delete the tree
                with contextlib.suppress(NotFoundError):
                    for entry in self._client.walk(before.head, os.fsdecode(old)):
                        if not entry.is_dir:
                            yield entry.path

    @property
    def _client(self) -> PfsClient:
        return self.writing.cluster.client


def _head(content: Bytes) -> Callable[[StagedFile, int], bytes]:
    def head(file: StagedFile, size: int) -> bytes:
        found = bytearray()
        for piece in content(file):
            found += piece
            if len(found) >= size:
                break
        return bytes(found[:size])

    return head


def _places(path: bytes) -> Iterator[bytes]:
    """A path and the directories that it is in."""
    yield path
    while b"/" in path[1:]:
        path = path[: path.rindex(b"/")]
        yield path


def _commit_of(source: Source | None) -> CommitRef:
    if source is None:
        raise DataError("nothing tells which commit was changed")
    return CommitRef(RepoRef(source.project, source.repo), source.commit, source.branch)
