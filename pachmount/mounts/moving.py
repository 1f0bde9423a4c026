"""Moving read-only mounts to other commits, on demand or along with their branches; read-write ones to the newest."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pachmount.errors import BusyError, GoneError, NotFoundError, PachmountError, UsageError
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.follow import Follower
from pachmount.mounts.gone import find_loss, identity
from pachmount.mounts.mount import BranchPosition, Mount, MountSpec, RepoIdentity
from pachmount.mounts.mounter import Mounter
from pachmount.mounts.resolve import Resolved, resolve
from pachmount.mounts.sessions import Sessions
from pachmount.mounts.states import State
from pachmount.mounts.table import MountTable
from pachmount.mounts.wishes import refuse_to_follow
from pachmount.mounts.writing import Writing

log = logging.getLogger(__name__)

LISTING_PATIENCE = 10.0
"""Seconds for which a commit is listed before it takes the place of another."""

FOLLOW_PAUSE = 1.0
"""Seconds after which a mount is tried again that could not be moved when it began to follow."""


class Moving:
    """Moves the mounts of one daemon; `follower` those that follow their branches. Thread-safe."""

    def __init__(
        self,
        cluster: Cluster,
        table: MountTable,
        mounter: Mounter,
        sessions: Sessions,
        writing: Writing,
        call_timeout: float,
    ) -> None:
        """`call_timeout`: seconds within which the cluster has to answer a question."""
        self._cluster = cluster
        self._table = table
        self._mounter = mounter
        self._sessions = sessions
        self._writing = writing
        self._call_timeout = call_timeout
        self.follower = Follower(cluster, table.all, self._show)

    def refresh(self, name: str, commit: str = "") -> Callable[[], Mount]:
        """What moves a mount to the newest commit of its branch, or, and then for good, to `commit`.

        Before it is called nothing is changed, and what can be checked has been.
        """
        mount = self._table.get(name)
        source = mount.spec.source
        if not commit:
            self._require_branch(mount, f"pachmount refresh {name} --to COMMIT")
        if mount.spec.mode == "rw":
            if commit:
                why = "it has staged changes over one commit, which only move to the newest"
                raise UsageError(f"mount '{name}' is read-write", why, f"pachmount refresh {name}")
            lost = find_loss(self._cluster, mount.spec)
            if lost is not None:
                raise GoneError(f"cannot refresh '{name}': {lost.what}", lost.why, lost.hint)
            return partial(self._refresh_writable, mount)
        lost = mount.gone or find_loss(self._cluster, mount.spec)
        try:
            resolved = resolve(self._cluster.client, source.at(commit), self._call_timeout)
        except NotFoundError as error:
            if lost is not None:
                raise GoneError(f"cannot refresh '{name}': {lost.what}", lost.why or error.what, lost.hint) from error
            raise
        return partial(self._refresh, mount, resolved, follow=False if commit else None)

    def follow(self, name: str, *, on: bool = True) -> Callable[[], Mount]:
        """What lets a mount move along with its branch, beginning now; or leaves it where it is.

        Before it is called nothing is changed, and what can be checked has been.
        """
        mount, resolved = self._table.get(name), None
        if on:
            self._require_branch(mount, "mount a branch: pachmount mount REPO@BRANCH --follow")
            if mount.spec.mode == "rw":
                refuse_to_follow()
            resolved = resolve(self._cluster.client, mount.spec.source.at(""), self._call_timeout)
        return partial(self._follow, mount, resolved)

    def _refresh_writable(self, mount: Mount) -> Mount:
        with self._table.operation(mount):
            self._writing.refresh(mount)
        self._table.save()
        return mount

    def _refresh(self, mount: Mount, resolved: Resolved, *, follow: bool | None) -> Mount:
        self._show(mount, resolved, follow=follow)
        mount.note = resolved.note
        return mount

    def _follow(self, mount: Mount, resolved: Resolved | None) -> Mount:
        """Follow if there is something `resolved`."""
        if resolved is not None and mount.state is State.ERROR and mount.gone is not None:
            self._show(mount, resolved)
        with self._table.operation(mount):
            if resolved is not None and mount.spec.mode == "rw":
                refuse_to_follow()
            mount.spec, mount.note = replace(mount.spec, follow=resolved is not None), ""
        self._table.save()
        self.follower.listen()
        if resolved is not None:
            try:
                self.follower.step(mount)
            except PachmountError as error:  # it follows, and is moved as soon as that can be
                log.info("%s follows, but is not moved yet: %s", mount.spec.name, error)
                mount.note = f"not moved yet: {error}"
                self.follower.notice(mount, FOLLOW_PAUSE)
        return mount

    def _require_branch(self, mount: Mount, hint: str) -> None:
        if not mount.spec.source.branch:
            why = "it was mounted by its commit alone"
            raise NotFoundError(f"mount '{mount.spec.name}' has no branch to follow", why, hint)

    def _show(
        self, mount: Mount, resolved: Resolved, expected: MountSpec | None = None, *, follow: bool | None = None
    ) -> None:
        """Put another commit in the place of a mount's, its listing first: LISTING_PATIENCE at most is spent on that.

        Nothing happens if the mount is not what is `expected` any more. A listing that fails leaves all as it was.
        """
        before, view = mount.spec, None
        repo = identity(self._cluster, resolved.created)
        is_other = (before.source.commit, before.complete) != (resolved.source.commit, resolved.complete)
        if is_other or (mount.state is State.ERROR and mount.gone is not None):
            view = self._mounter.view(_at(before, resolved, repo), mount.statistics)
        try:
            if view is not None:
                view.tree.wait_complete(LISTING_PATIENCE)
                if view.tree.error is not None:
                    raise view.tree.error
            with self._table.operation(mount):
                if expected not in (None, mount.spec):
                    return
                if mount.spec.mode == "rw":
                    raise BusyError(f"cannot move mount '{before.name}'", "it became read-write meanwhile", "try again")
                spec = _at(mount.spec, resolved, repo)
                spec = spec if follow is None else replace(spec, follow=follow)
                if view is not None:
                    view = self._sessions.replace(mount, spec, view)
                mount.spec, mount.note = spec, ""
                if spec.source.commit == resolved.head and spec.complete:
                    mount.position = BranchPosition(resolved.head)
        finally:
            if view is not None and view is not mount.view:
                view.close()
        if spec != before:
            self._table.save()
            self.follower.listen()
            log.info("mount %s shows %s", spec.name, spec.source)


def _at(spec: MountSpec, resolved: Resolved, repo: RepoIdentity) -> MountSpec:
    moved = spec.at(resolved.source.commit, resolved.time, complete=resolved.complete, pinned=resolved.pinned)
    return replace(moved, identity=repo)
