"""Makes the running parts of a mount, view and session, and puts them in place of others."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pachmount.errors import GoneError
from pachmount.fuse import kernel
from pachmount.fuse.session import Session
from pachmount.mounts import places
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.datum_readers import DatumReader
from pachmount.mounts.mount import MountSpec
from pachmount.mounts.readers import EmptyReader, LiveReader, LostReader
from pachmount.overlay.overlay import Overlay
from pachmount.paths import make_dirs
from pachmount.pfs.model import CommitReader, CommitRef, RepoRef
from pachmount.vfs.content import Contents
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.listings import Former, Listings, SavedListing
from pachmount.vfs.statistics import MountStatistics
from pachmount.vfs.view import CommitView, WaitGate

log = logging.getLogger(__name__)


@dataclass
class Mounter:
    """What all mounts share. `staging_dir` is where new mounts wait for their place; `read_timeout` in seconds;
    `owner` the user and group id that the files have.
    """

    cluster: Cluster
    contents: Contents
    gate: WaitGate
    staging_dir: Path
    read_timeout: float
    allow_other: bool
    listings: Listings
    owner: tuple[int, int]
    on_session_end: Callable[[], None] = lambda: None
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def view(
        self,
        spec: MountSpec,
        statistics: MountStatistics,
        former: CommitView | None = None,
        gone: GoneError | None = None,
    ) -> CommitView:
        """What a mount will show; its listing begins to load. Whoever does not mount it closes it.

        `former` shows another commit of the same repo and paths, which differs in few files. `gone`: why nothing can be
        shown; every look into such a view fails with that.
        """
        live = LiveReader(self.cluster, self.read_timeout, statistics)
        view = CommitView(
            _reader(spec, live) if gone is None else LostReader(gone),
            spec.source,
            spec.time,
            PathFilter(spec.paths),
            self.contents,
            self.gate,
            self.read_timeout,
            statistics,
            self._saved(spec, live, former) if spec.complete and spec.datum is None and gone is None else None,
            self.owner,
        )
        view.tree.start()
        return view

    def _saved(self, spec: MountSpec, reader: LiveReader, view: CommitView | None) -> SavedListing:
        source = spec.source
        commit = CommitRef(RepoRef(source.project, source.repo), source.commit)
        listing = None if view is None else view.tree.listing
        former = None
        if view is not None and listing is not None:
            old = CommitRef(commit.repo, view.commit.id)
            former = Former(listing, lambda: reader.diff(commit, old))

        def cluster_id() -> str:
            return spec.identity.cluster or self.cluster.cluster_id()

        return SavedListing(self.listings, cluster_id, commit, PathFilter(spec.paths), former)

    def open(self, view: CommitView, mountpoint: Path, overlay: Overlay | None = None) -> Session:
        """Mount a view, or an overlay over it; on failure nothing is left mounted, and the view is closed."""
        session = Session(view, mountpoint, allow_other=self.allow_other, overlay=overlay, on_end=self.on_session_end)
        try:
            session.start()
        except BaseException:
            view.close()
            raise
        return session

    def replace(self, view: CommitView, spec: MountSpec) -> tuple[CommitView, Session]:
        """Mount in place of what is at the mount point: where the kernel can without a gap, else with one of ms.

        The view that is returned may be another one than the one given.
        """
        if kernel.replaces_without_gap():
            session = self._swap_in(view, spec.mountpoint)
            if session is not None:
                return view, session
            view = self.view(spec, view.statistics)  # the session that was given up closed the other
        kernel.detach_all(spec.mountpoint)
        return view, self.open(view, spec.mountpoint)

    def clean_staging(self) -> None:
        """Remove what a daemon that died left there."""
        if self.staging_dir.is_dir():
            for mount in kernel.our_mounts(self.staging_dir):
                kernel.detach_all(Path(mount.mountpoint))
            for directory in self.staging_dir.iterdir():
                places.remove_own_directory(directory)

    def _swap_in(self, view: CommitView, mountpoint: Path) -> Session | None:
        """Mount aside and put that in place of the old mount; None, and the view is closed, if that cannot be."""
        staging = self.staging_dir / str(next(self._numbers))
        try:
            make_dirs(staging)
        except OSError as error:  # a disk that is full or read-only
            log.info("the mount at %s is replaced with a gap: %s", mountpoint, error)
            view.close()
            return None
        try:
            session = self.open(view, staging)
            if kernel.replace_without_gap(staging, mountpoint):
                return session
            kernel.detach_all(staging)
            return None
        finally:
            places.remove_own_directory(staging)


def _reader(spec: MountSpec, live: LiveReader) -> CommitReader:
    if not spec.complete:
        return EmptyReader()
    return live if spec.datum is None else DatumReader(live, spec.datum)
