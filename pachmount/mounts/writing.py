"""Read-write mounts: where their changes are staged, how these are compared, committed, given up, moved."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from pachmount.errors import BusyError, CannotMountError, ConflictError, PachmountError, UsageError
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.committing import (
    CommitWish,
    Newer,
    Progress,
    Upload,
    compare,
    refuse_conflicts,
    require_committable,
)
from pachmount.mounts.mount import BranchPosition, Mount, MountSpec
from pachmount.mounts.mounter import Mounter
from pachmount.mounts.resolve import finish_time
from pachmount.names import unstorable_reason
from pachmount.overlay import snapshot
from pachmount.overlay.difference import Difference, difference
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.snapshot import StagedDirectory, StagedFile
from pachmount.overlay.staging import Staging
from pachmount.overlay.standing import BASE_NOTE
from pachmount.overlay.tree import Owner
from pachmount.pfs.model import CommitInfo, RepoRef
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.view import CommitView

log = logging.getLogger(__name__)

ATTEMPTS = 5
LISTING_SECONDS = 60.0
"""How long the listing of a commit that a mount is to stand on may take."""
IGNORED = (".DS_Store", "*~", ".nfs*", "__pycache__", ".ipynb_checkpoints", ".*.sw?", ".fuse_hidden*")
"""Names that stay local unless the commit has them."""


@dataclass(frozen=True)
class Writing:
    """What all read-write mounts share: a directory for each below `directory`, at most `limit` staged bytes each."""

    cluster: Cluster
    mounter: Mounter
    directory: Path
    limit: int

    def open(self, spec: MountSpec) -> tuple[MountSpec, Staging]:
        """The store of a mount, and the mount on the commit that the changes in it were made on.

        CannotMountError if there are changes to another source.
        """
        place = self.place(spec.name)
        if place.exists() and not _has_changes(place):
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = Staging(place)
        try:
            noted = store.about(BASE_NOTE)
            if noted:
                known = MountSpec.from_dict(json.loads(noted))
                if _identity(known) != _identity(spec):
                    why = f"there are staged changes to {known.source} under that name"
                    hint = f"give this mount another name, or mount {known.source.at('')} --rw and discard them"
                    raise CannotMountError(f"cannot mount '{spec.name}' for writing", why, hint)
                spec = replace(spec, source=known.source, time=known.time, complete=known.complete, pinned=known.pinned)
            else:
                store.note(BASE_NOTE, json.dumps(spec.to_dict()))
        except BaseException:
            store.close()
            raise
        return spec, store

    def overlay(self, view: CommitView, store: Staging) -> Overlay:
        return Overlay(view, store, Owner(os.getuid(), os.getgid()), self.limit)

    def place(self, name: str) -> Path:
        """Where the changes of a mount are staged."""
        return self.directory / name

    def names(self) -> list[str]:
        """Names that have a store."""
        return sorted(os.listdir(self.directory)) if self.directory.is_dir() else []

    def has_changes(self, name: str) -> bool:
        """Whether changes are staged under a name that is not mounted; what cannot be read counts as changes."""
        try:
            return _has_changes(self.place(name))
        except (PachmountError, OSError) as error:
            log.warning("cannot look at what is staged as %s: %s", name, error)
            return True

    def difference(self, mount: Mount) -> Difference:
        """What a commit of a mount would change."""
        with self._snapshot(mount) as taken:
            return self._difference(mount, taken)

    def discard(self, mount: Mount, paths: Collection[bytes]) -> None:
        """Give up staged changes at some paths and below; none = all."""
        if not paths:
            _overlay(mount).discard([b"/"])
            return
        renamed = {change.old_path for change in self.difference(mount).changes if change.path in paths}
        _overlay(mount).discard([*paths, *(path for path in renamed if path)])

    def commit(self, mount: Mount, wish: CommitWish) -> CommitInfo | None:
        """Commit all that is staged, and let the mount stand on it; None if there is nothing to commit."""
        for _ in range(ATTEMPTS):
            generation = _overlay(mount).generation()
            with self._snapshot(mount, copy=wish.allow_open) as taken:
                found = self._difference(mount, taken)
                require_committable(found, wish)
                if not found.changes:
                    return None
                head = self._prepare_branch(mount, wish)
                if head != _commit(mount.spec):
                    newer = self._compare(mount, head, found)
                    if newer.is_ours:
                        info = self._finished(mount, head)
                        self._advance(mount, info, wish.branch, taken, found)
                        return info
                    if not wish.ours:
                        refuse_conflicts(newer.conflicts, head, mount.spec.name)
                    self._move(mount, head, generation)
                    continue
                mount.progress = Progress()
                upload = Upload(self.cluster.client, mount.spec.source, _overlay(mount), wish, mount.progress)
                info = upload.send(found, head)
                self._advance(mount, info, wish.branch, taken, found)
                return info
        raise BusyError(
            f"cannot commit '{mount.spec.name}'", "its branch or its files change all the time", "try again"
        )

    def refresh(self, mount: Mount) -> None:
        """Put a mount with its staged changes on the newest commit; ConflictError if that changed the same."""
        for _ in range(ATTEMPTS):
            generation = _overlay(mount).generation()
            with self._snapshot(mount) as taken:
                found = self._difference(mount, taken)
                head = self._head(mount.spec)
                if head in ("", _commit(mount.spec)):
                    return
                refuse_conflicts(self._compare(mount, head, found).conflicts, head, mount.spec.name)
                if self._move(mount, head, generation):
                    return
        raise BusyError(f"cannot refresh '{mount.spec.name}'", "its files change all the time", "try again")

    # --- inside

    @contextmanager
    def _snapshot(self, mount: Mount, *, copy: bool = False) -> Iterator[StagedDirectory]:
        taken = _overlay(mount).snapshot(copy=copy)
        try:
            yield taken
        finally:
            snapshot.release(taken)

    def _difference(self, mount: Mount, taken: StagedDirectory) -> Difference:
        overlay, visible = _overlay(mount), PathFilter(mount.spec.paths)

        def refusal(path: str) -> str:
            reason = unstorable_reason(path)
            return reason or ("" if visible.visible(path) else "it is outside of the mounted paths")

        def read(staged: StagedFile) -> bytes:
            return b"".join(bytes(piece) for piece in overlay.bytes.frozen(staged))

        where = os.fsencode(mount.spec.mountpoint)
        return difference(taken, overlay.base, mountpoint=where, is_ignored=_is_ignored, refusal=refusal, read=read)

    def _head(self, spec: MountSpec) -> str:
        repo = RepoRef(spec.source.project, spec.source.repo)
        heads = {info.name: info.head.id for info in self.cluster.client.list_branches(repo)}
        return heads.get(spec.source.branch, "")

    def _prepare_branch(self, mount: Mount, wish: CommitWish) -> str:
        """The head to commit on. A branch that is named in the wish must be new; it begins at the mount's commit."""
        source = mount.spec.source
        if not wish.branch or wish.branch == source.branch:
            return self._head(mount.spec)
        client, repo, base = self.cluster.client, RepoRef(source.project, source.repo), _commit(mount.spec)
        heads = {info.name: info.head for info in client.list_branches(repo)}
        if wish.branch not in heads and base:
            client.create_branch(repo, wish.branch, replace(_view(mount).commit, branch=""))
        elif wish.branch in heads and heads[wish.branch].id != base:
            why = f"its head is {heads[wish.branch].id[:8]}, and the changes were made on {base[:8]}"
            raise ConflictError(f"branch '{wish.branch}' exists already", why, "choose another name")
        return base

    def _compare(self, mount: Mount, head: str, found: Difference) -> Newer:
        """Compare what is staged with what the branch got since; ConflictError if the branch is gone."""
        source = mount.spec.source
        if not head:
            why = f"the changes were made on commit {source.commit[:8]}; they stay staged"
            hint = f"pachmount commit {mount.spec.name} --branch NEW"
            raise ConflictError(f"branch '{source.branch}' does not exist any more", why, hint)
        self._finished(mount, head)
        shown = _view(mount).commit
        base, newest = replace(shown, id=_commit(mount.spec)), replace(shown, id=head)
        return compare(self.cluster.client, base, newest, found, _overlay(mount).bytes.frozen)

    def _finished(self, mount: Mount, commit: str) -> CommitInfo:
        return self.cluster.client.inspect_commit(replace(_view(mount).commit, id=commit), wait="finished")

    def _move(self, mount: Mount, head: str, generation: int) -> bool:
        """Put a mount on another commit with all that is staged. False if something was changed meanwhile."""
        info = self._finished(mount, head)
        spec = mount.spec.at(head, finish_time(info), complete=True, pinned=False)
        view = self._listed(mount, spec)
        if not _overlay(mount).move(view, generation, json.dumps(spec.to_dict())):
            view.close()
            return False
        self._stands_on(mount, spec, view)
        return True

    def _advance(self, mount: Mount, info: CommitInfo, branch: str, taken: StagedDirectory, found: Difference) -> None:
        spec = mount.spec.at(info.commit.id, finish_time(info), complete=True, pinned=False)
        if branch:
            spec = replace(spec, source=replace(spec.source, branch=branch))
        view = self._listed(mount, spec)
        _overlay(mount).advance(view, taken, found.committed(taken), json.dumps(spec.to_dict()))
        self._stands_on(mount, spec, view)

    def _listed(self, mount: Mount, spec: MountSpec) -> CommitView:
        """The view of a commit, once its listing is complete."""
        view = self.mounter.view(spec, mount.statistics)
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


def _has_changes(place: Path) -> bool:
    """Whether a store holds anything; one that cannot be read does."""
    if not (place / "names.sqlite").exists():
        return False
    store = Staging(place)
    try:
        return store.has_entries()
    finally:
        store.close()


def _identity(spec: MountSpec) -> tuple[object, ...]:
    return spec.source.project, spec.source.repo, spec.source.branch, spec.paths


def _commit(spec: MountSpec) -> str:
    """The id of the commit that a mount stands on, "" while there is none."""
    return spec.source.commit if spec.complete else ""


def _overlay(mount: Mount) -> Overlay:
    if mount.overlay is None:
        why = "it was mounted read-only"
        raise UsageError(f"mount '{mount.spec.name}' has no staged changes", why, "pachmount mount SOURCE --rw")
    return mount.overlay


def _view(mount: Mount) -> CommitView:
    if mount.view is None:
        raise BusyError(f"mount '{mount.spec.name}' is not mounted", "", f"pachmount mount {mount.spec.source} --rw")
    return mount.view


def _is_ignored(path: bytes, _is_directory: bool) -> bool:
    name = os.fsdecode(path.rpartition(b"/")[2])
    return any(fnmatchcase(name, pattern) for pattern in IGNORED)
