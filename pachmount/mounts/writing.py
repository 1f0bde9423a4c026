"""Read-write mounts: where their changes are staged, how these are compared, committed, given up, moved."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from pachmount.documents import DamagedError, parse_json, parsed
from pachmount.errors import (
    BusyError,
    ConflictError,
    DataError,
    NotPermittedError,
    PachmountError,
    UsageError,
)
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.committing import Committed, CommitWish, Pending, Progress, Upload, files_of, require_committable
from pachmount.mounts.comparing import Newer, compare, refuse_conflicts
from pachmount.mounts.gone import require_same_cluster
from pachmount.mounts.ignoring import ignoring
from pachmount.mounts.mount import BranchPosition, Mount, MountSpec
from pachmount.mounts.mounter import Mounter
from pachmount.mounts.resolve import finish_time, require_writable
from pachmount.mounts.staged_places import StagedPlaces
from pachmount.names import unstorable_reason
from pachmount.overlay import snapshot
from pachmount.overlay.difference import Difference, difference
from pachmount.overlay.kept import repair_hint
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.patch import patch
from pachmount.overlay.snapshot import StagedDirectory, StagedFile
from pachmount.overlay.staging import Staging
from pachmount.overlay.tree import Owner
from pachmount.pfs.ancestry import base_of
from pachmount.pfs.commits import Attempt, settle, usable_branch
from pachmount.pfs.model import BranchInfo, CommitInfo, RepoRef
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.view import CommitView

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS = 5
ATTEMPT_NOTE = "attempt"
"""The key under which a store tells of a commit whose end is not known."""
LISTING_SECONDS = 600.0
"""How long the listing of a commit that a mount is to stand on may take."""


@dataclass(frozen=True)
class Writing:
    """What all read-write mounts share: the places of what is staged, at most `limit` bytes each.

    `ignore_file`: patterns of the user, of what stays local in all of them.
    """

    cluster: Cluster
    mounter: Mounter
    places: StagedPlaces
    limit: int
    ignore_file: Path

    def overlay(self, view: CommitView, store: Staging) -> Overlay:
        return Overlay(view, store, Owner(*view.owner), self.limit)

    def has_changes_of(self, mount: Mount) -> bool:
        """Whether changes are staged in a mount, be it shown or not."""
        return mount.overlay.is_changed if mount.overlay is not None else self.places.has_changes(mount.spec.name)

    def is_unsettled(self, mount: Mount) -> bool:
        """Whether it is not known what became of a commit of a mount."""
        return mount.overlay is not None and bool(mount.overlay.noted(ATTEMPT_NOTE))

    def difference(self, mount: Mount, paths: Collection[bytes] = ()) -> Difference:
        """What a commit of a mount would change, at some paths and below (none = all)."""
        return self._look(mount, lambda taken: self._difference(mount, taken).at(paths))

    def difference_of(self, mount: Mount, taken: StagedDirectory) -> Difference:
        """What a commit of a snapshot of a mount would change."""
        return self._difference(mount, taken)

    def patch(self, mount: Mount, paths: Collection[bytes]) -> tuple[Difference, str]:
        """The same, and as a patch. Raises UsageError if that is too large."""
        overlay = _overlay(mount)

        def look(taken: StagedDirectory) -> tuple[Difference, str]:
            found = self._difference(mount, taken).at(paths)
            return found, patch(found, overlay.base, overlay.bytes)

        return self._look(mount, look, copy=True)

    def discard(self, mount: Mount, paths: Collection[bytes]) -> None:
        """Give up staged changes at some paths and below."""
        if b"/" in paths:
            self.discard_all(mount)
            return
        renamed = {change.old_path for change in self.difference(mount).changes if change.path in paths}
        given_up = [*paths, *(path for path in renamed if path)]
        _overlay(mount).discard(given_up)
        _forget(mount, given_up)

    def discard_all(self, mount: Mount) -> None:
        """Give up all that is staged, also in a mount that cannot be shown."""
        if mount.overlay is not None:
            with self._snapshot(mount) as taken:
                staged = [b"/" + name for name in taken.entries]
            mount.overlay.discard([b"/"])
            _forget(mount, staged)
        elif mount.spec.mode == "rw" or self.places.has_changes(mount.spec.name):
            self.places.clear(mount.spec.name)
        else:
            _overlay(mount)

    def drop_attributes(self, mount: Mount) -> None:
        """Forget modes, times and the like if nothing else is left of what was staged."""
        left = self.difference(mount)
        if not (left.changes or left.refused or left.ignored or left.empty_directories):
            self.discard_all(mount)

    def commit(self, mount: Mount, wish: CommitWish) -> Committed | None:
        """Commit what is staged; the commit, on which the mount stands now, or None if there are no changes.

        Raises ConflictError, BusyError, InvalidPathError and what the cluster may raise; then all stays staged.
        """
        settled = self.settle(mount)
        progress = mount.progress = mount.progress or Progress()
        for _ in range(ATTEMPTS):
            progress.check()
            if not wish.allow_open:
                _overlay(mount).closing.wait()
            generation = _overlay(mount).generation()
            with self._snapshot(mount, copy=wish.allow_open) as taken:
                found = self._difference(mount, taken)
                require_committable(found, wish)
                if not found.changes:
                    return Committed(settled) if settled is not None else None
                attempt = self._attempt(mount, wish)
                head = files_of(self.cluster.client, _repo(mount.spec), _commit(mount.spec), attempt)
                if head == _commit(mount.spec):
                    info = self._send(mount, found, taken, attempt)
                    self._advance(mount, info, attempt.branch, taken, found)
                    return Committed(info, len(found.changes))
                newer = self._compare(mount, head, found)
                if newer.is_ours:
                    info = self._finished(mount, head)
                    self._advance(mount, info, attempt.branch, taken, found)
                    return Committed(info, len(found.changes))
            if not wish.ours and not self._take_theirs(mount, newer, wish):
                refuse_conflicts(newer.conflicts, head, mount.spec.name)
            if wish.ours:
                _overlay(mount).hold(newer.paths)
                generation = _overlay(mount).generation()
            self._move(mount, head, attempt.branch, generation, newer)
        raise BusyError(
            f"cannot commit '{mount.spec.name}'", "its branch or its files change all the time", "try again"
        )

    def refresh(self, mount: Mount) -> None:
        """Put a mount with its staged changes on the newest commit; ConflictError if that changed the same."""
        require_same_cluster(self.cluster, mount.spec)
        self.settle(mount)
        for _ in range(ATTEMPTS):
            generation = _overlay(mount).generation()
            with self._snapshot(mount) as taken:
                found = self._difference(mount, taken)
            branch = mount.spec.source.branch
            info = self._branches(mount).get(branch)
            if info is None or info.head.id == _commit(mount.spec):
                return
            head = base_of(self.cluster.client, _repo(mount.spec), self._finished(mount, info.head.id).commit.id)
            if head == _commit(mount.spec):
                return
            newer = self._compare(mount, head, found)
            refuse_conflicts(newer.conflicts, head, mount.spec.name)
            if self._move(mount, head, branch, generation, newer):
                return
        raise BusyError(f"cannot refresh '{mount.spec.name}'", "its files change all the time", "try again")

    def catch_up(self, mount: Mount) -> None:
        """Put a new mount on the newest commit if all that is staged in it, from before, is what is never committed."""
        try:
            found = self.difference(mount)
            if not found.changes and not found.refused:
                self.refresh(mount)
        except PachmountError as error:
            log.info("%s stays at the commit where it was: %s", mount.spec.name, error)

    def settle(self, mount: Mount) -> CommitInfo | None:
        """Find out what became of a commit that was cut off; if it exists the mount stands on it, and it is returned.

        Until that is known nothing else may be committed: that might make it twice.
        """
        overlay = _overlay(mount)
        noted = overlay.noted(ATTEMPT_NOTE)
        pending, info = mount.pending, None
        if noted:
            attempt = _attempt(noted, mount.spec.name)
            if attempt.commit != mount.spec.source.commit:
                info = settle(self.cluster.client, _repo(mount.spec), attempt)
            if info is not None:
                log.info("commit %s of %s turned out to be made", info.commit, mount.spec.name)
                if pending is not None:
                    self._advance(mount, info, attempt.branch, pending.taken, pending.found)
                else:
                    self._stand_on_own(mount, info, attempt.branch)
            overlay.note(ATTEMPT_NOTE, "")
        mount.pending = None
        return info

    # --- inside

    def _stand_on_own(self, mount: Mount, info: CommitInfo, branch: str) -> None:
        """Stand on a commit of ours that a former daemon made; what was changed since then stays staged over it."""
        for _ in range(ATTEMPTS):
            with self._snapshot(mount) as taken:
                found = self._difference(mount, taken)
                newer = self._compare(mount, info.commit.id, found)
                if newer.is_ours:
                    self._advance(mount, info, branch, taken, found)
                    return
            _overlay(mount).hold(newer.paths)
            if self._move(mount, info.commit.id, branch, _overlay(mount).generation(), newer):
                return
        raise BusyError(f"cannot move '{mount.spec.name}'", "its files change all the time", "try again")

    def _send(self, mount: Mount, found: Difference, taken: StagedDirectory, attempt: Attempt) -> CommitInfo:
        overlay = _overlay(mount)

        def remember(attempt: Attempt | None) -> None:
            overlay.note(ATTEMPT_NOTE, json.dumps(asdict(attempt)) if attempt is not None else "")
            mount.pending = Pending(taken, found, attempt.branch) if attempt is not None else None

        progress = mount.progress or Progress()
        return Upload(self.cluster.client, mount.spec.source, overlay, progress).send(found, attempt, remember)

    def _attempt(self, mount: Mount, wish: CommitWish) -> Attempt:
        """Where to commit: on the head of the branch, or of a branch that begins at the mount's commit.

        Raises ConflictError if the mount's branch is gone, NotPermittedError, BusyError if it cannot take a commit.
        """
        source, client, repo = mount.spec.source, self.cluster.client, _repo(mount.spec)
        branch, base = wish.branch or source.branch, _commit(mount.spec)
        elsewhere = f"pachmount commit {mount.spec.name} --branch NEW"
        require_same_cluster(self.cluster, mount.spec)
        require_writable(client, repo, f"the changes stay staged in {mount.spec.mountpoint}")
        if branch not in self._branches(mount) and not wish.branch and base:
            why = f"the changes were made on commit {base[:8]}; they stay staged"
            what = f"branch '{branch}' does not exist any more" if branch else "no branch is mounted to commit to"
            raise ConflictError(what, why, elsewhere)
        try:
            info = usable_branch(client, repo, branch)
        except NotPermittedError as error:
            raise NotPermittedError(error.what, f"{error.why}; the changes stay staged", elsewhere) from error
        if info is None:
            return Attempt(branch, base, is_new=True, description=wish.message)
        return Attempt(branch, info.head.id, description=wish.message)

    def _take_theirs(self, mount: Mount, newer: Newer, wish: CommitWish) -> bool:
        """Give up what is staged at the paths that the wish gives away; whether that solves all conflicts."""
        wanted = [os.fsencode(path).rstrip(b"/") for path in wish.theirs]

        def given_away(path: bytes) -> bool:
            return any((path + b"/").startswith(place + b"/") for place in wanted)

        left = []
        mine: set[bytes] = set()
        for conflict in newer.conflicts:
            if given_away(conflict.path) or all(map(given_away, conflict.ours)):
                mine.update(conflict.ours)
                mine.update(place for place in wanted if (conflict.path + b"/").startswith(place + b"/"))
            else:
                left.append(conflict)
        if left:
            return False
        if mine:
            self.discard(mount, mine)
        return bool(mine)

    @contextmanager
    def _snapshot(self, mount: Mount, *, copy: bool = False) -> Iterator[StagedDirectory]:
        taken = _overlay(mount).snapshot(copy=copy)
        try:
            yield taken
        finally:
            snapshot.release(taken)

    def _look(self, mount: Mount, look: Callable[[StagedDirectory], T], *, copy: bool = False) -> T:
        """What a look at a snapshot tells; at a newer one if bytes of it were committed or given up meanwhile."""
        failure: OSError | None = None
        for _ in range(ATTEMPTS):
            try:
                with self._snapshot(mount, copy=copy) as taken:
                    return look(taken)
            except OSError as error:
                failure = error
        raise DataError(
            f"cannot read what is staged in '{mount.spec.name}'", str(failure), "pachmount doctor"
        ) from failure

    def _difference(self, mount: Mount, taken: StagedDirectory) -> Difference:
        overlay, visible = _overlay(mount), PathFilter(mount.spec.paths)

        def refusal(path: str) -> str:
            reason = unstorable_reason(path)
            return reason or ("" if visible.visible(path) else "it is outside of the mounted paths")

        def read(staged: StagedFile) -> bytes:
            return b"".join(bytes(piece) for piece in overlay.bytes.frozen(staged))

        where = os.fsencode(mount.spec.mountpoint)
        ignored = ignoring(taken, overlay.base, overlay.bytes.head, self.ignore_file)
        return difference(taken, overlay.base, mountpoint=where, is_ignored=ignored, refusal=refusal, read=read)

    def _branches(self, mount: Mount) -> dict[str, BranchInfo]:
        return {info.name: info for info in self.cluster.client.list_branches(_repo(mount.spec))}

    def _compare(self, mount: Mount, head: str, found: Difference) -> Newer:
        self._finished(mount, head)
        shown = _view(mount).commit
        base, newest = replace(shown, id=_commit(mount.spec)), replace(shown, id=head)
        return compare(self.cluster.client, base, newest, found, _overlay(mount).bytes.frozen)

    def _finished(self, mount: Mount, commit: str) -> CommitInfo:
        return self.cluster.client.inspect_commit(replace(_view(mount).commit, id=commit), wait="finished")

    def _move(self, mount: Mount, head: str, branch: str, generation: int, newer: Newer) -> bool:
        """Put a mount on another commit with all that is staged. False if something was changed meanwhile."""
        spec = _at(mount.spec, self._finished(mount, head), branch)
        view = self._listed(mount, spec, len(newer.paths))
        if not _overlay(mount).move(view, generation, json.dumps(spec.to_dict())):
            view.close()
            return False
        self._stands_on(mount, spec, view)
        _forget(mount, newer.paths)
        return True

    def _advance(self, mount: Mount, info: CommitInfo, branch: str, taken: StagedDirectory, found: Difference) -> None:
        spec = _at(mount.spec, info, branch)
        view = self._listed(mount, spec, len(found.changes))
        _overlay(mount).advance(view, taken, found.committed(taken), json.dumps(spec.to_dict()))
        self._stands_on(mount, spec, view)
        _overlay(mount).note(ATTEMPT_NOTE, "")
        mount.pending = None

    def _listed(self, mount: Mount, spec: MountSpec, changes: int) -> CommitView:
        """The view of a commit, once its listing is complete; about so many files differ from the mount's commit."""
        former, listing = _view(mount), _view(mount).tree.listing
        is_near = mount.spec.complete and listing is not None and changes < len(listing) // 2
        view = self.mounter.view(spec, mount.statistics, former if is_near else None)
        view.tree.wait_complete(LISTING_SECONDS)
        if view.tree.listing is None:
            view.close()
            raise view.tree.error or BusyError("the listing of the commit takes long", "", "try again")
        return view

    def _stands_on(self, mount: Mount, spec: MountSpec, view: CommitView) -> None:
        former = _view(mount)
        mount.spec, mount.view = spec, view
        mount.position = BranchPosition(spec.source.commit)
        if mount.session is not None:
            mount.session.view = view
        former.close()


def require_clean(mount: Mount) -> None:
    """BusyError if a program has a file of a mount open for writing."""
    written = _overlay(mount).being_written()
    if written:
        what = f"cannot unmount '{mount.spec.name}'"
        raise BusyError(what, f"{written} file{'s are' if written > 1 else ' is'} open for writing", "close them")


def _attempt(noted: str, name: str) -> Attempt:
    """The commit that was cut off, as it was noted. Raises DataError: nothing may be committed before it is known."""
    try:
        return parsed(Attempt.from_dict, parse_json(noted.encode(errors="surrogatepass")))
    except DamagedError as error:
        why = f"what is staged is damaged: its note on a commit that was cut off cannot be used ({error})"
        raise DataError(f"cannot commit '{name}'", why, repair_hint(name)) from error


def _commit(spec: MountSpec) -> str:
    """The id of the commit that a mount stands on, "" while there is none."""
    return spec.source.commit if spec.complete else ""


def _repo(spec: MountSpec) -> RepoRef:
    return RepoRef(spec.source.project, spec.source.repo)


def _at(spec: MountSpec, info: CommitInfo, branch: str) -> MountSpec:
    """The same mount on another commit, and on its branch."""
    moved = spec.at(info.commit.id, finish_time(info), complete=True, pinned=False)
    return replace(moved, source=replace(moved.source, branch=branch))


def _forget(mount: Mount, paths: Iterable[bytes]) -> None:
    """Let programs see what is at some paths now."""
    if mount.session is not None:
        mount.session.forget(paths)


def _overlay(mount: Mount) -> Overlay:
    if mount.overlay is None:
        if mount.spec.mode == "rw":
            raise BusyError(f"mount '{mount.spec.name}' is not mounted", str(mount.error or ""), "pachmount status")
        why = "it was mounted read-only"
        raise UsageError(f"mount '{mount.spec.name}' has no staged changes", why, "pachmount mount SOURCE --rw")
    return mount.overlay


def _view(mount: Mount) -> CommitView:
    if mount.view is None:
        raise BusyError(f"mount '{mount.spec.name}' is not mounted", "", f"pachmount mount {mount.spec.source} --rw")
    return mount.view
