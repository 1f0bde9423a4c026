"""Makes the running parts of a mount, view and session, and puts them in place of others."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from pachmount.fuse import kernel
from pachmount.fuse.session import Session
from pachmount.mounts import places
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.mount import MountSpec
from pachmount.mounts.readers import EmptyReader, LiveReader
from pachmount.vfs.content import Contents
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.view import CommitView, WaitGate


@dataclass(frozen=True)
class Mounter:
    """What all mounts share. `staging_dir` is where new mounts wait for their place; `read_timeout` in seconds."""

    cluster: Cluster
    contents: Contents
    gate: WaitGate
    staging_dir: Path
    read_timeout: float
    allow_other: bool
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def open(self, spec: MountSpec) -> tuple[CommitView, Session]:
        """Mount at the mount point of `spec`; on failure nothing is left mounted."""
        return self._open_at(spec, spec.mountpoint)

    def replace(self, spec: MountSpec) -> tuple[CommitView, Session]:
        """Mount in place of what is at the mount point: where the kernel can without a gap, else with one of ms."""
        return self._swap_in(spec) or self._detach_and_open(spec)

    def clean_staging(self) -> None:
        """Remove what a daemon that died left there."""
        if self.staging_dir.is_dir():
            for mount in kernel.our_mounts(self.staging_dir):
                kernel.detach_all(Path(mount.mountpoint))
            for directory in self.staging_dir.iterdir():
                places.remove_own_directory(directory)

    def _swap_in(self, spec: MountSpec) -> tuple[CommitView, Session] | None:
        """Mount aside and put that in place of the old mount; None where this machine cannot."""
        if not kernel.is_root():
            return None
        staging = self.staging_dir / str(next(self._numbers))
        staging.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            view, session = self._open_at(spec, staging)
            if kernel.replace_without_gap(staging, spec.mountpoint):
                return view, session
            kernel.detach_all(staging)
            return None
        finally:
            places.remove_own_directory(staging)

    def _detach_and_open(self, spec: MountSpec) -> tuple[CommitView, Session]:
        kernel.detach_all(spec.mountpoint)
        return self._open_at(spec, spec.mountpoint)

    def _open_at(self, spec: MountSpec, mountpoint: Path) -> tuple[CommitView, Session]:
        view = CommitView(
            LiveReader(self.cluster, self.read_timeout) if spec.complete else EmptyReader(),
            spec.source,
            spec.time,
            PathFilter(spec.paths),
            self.contents,
            self.gate,
            self.read_timeout,
        )
        session = Session(view, mountpoint, allow_other=self.allow_other)
        try:
            view.tree.start()
            session.start()
        except BaseException:
            view.close()
            raise
        return view, session
