"""A read-write mount of a fake commit, in a process of its own.

    python -m tests.integration.overlay_process MOUNT_POINT STAGING_DIRECTORY

It says "ready" on stdout, and goes on until stdin is closed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pachmount.cache.blocks import BlockCache
from pachmount.fuse import kernel
from pachmount.fuse.session import Session, survive_closed_connections
from pachmount.names import Source
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.staging import Staging
from pachmount.overlay.tree import Owner
from pachmount.vfs.content import Contents
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.statistics import MountStatistics
from pachmount.vfs.view import CommitView, WaitGate
from tests.fakes import COMMIT, FakeCluster
from tests.unit.overlay.base import TREE

MIB = 1 << 20
LIMIT = 64 << 20


def main(at: Path, staged: Path) -> None:
    contents = Contents(BlockCache(None, 64 * MIB), 10.0, 16 * MIB)
    source = Source(COMMIT.repo.project, COMMIT.repo.name, COMMIT.branch, COMMIT.id)
    cluster = FakeCluster({f"/{path}": content for path, content in TREE.items()})
    view = CommitView(cluster, source, 0.0, PathFilter(()), contents, WaitGate(8, 10.0), 10.0, MountStatistics())
    view.tree.start()
    store = Staging(staged)
    survive_closed_connections()
    overlay = Overlay(view, store, Owner(os.getuid(), os.getgid()), LIMIT)
    session = Session(view, at, allow_other=False, overlay=overlay)
    session.start()
    try:
        print("ready", flush=True)
        sys.stdin.read()
    finally:
        kernel.detach_all(at)
        session.join(10)
        contents.close()
        store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
