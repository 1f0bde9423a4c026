"""What is agreed on with the kernel: large reads, also where it does not take our word for it."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pachmount.cache.blocks import BlockCache
from pachmount.fuse import handshake, kernel
from pachmount.fuse.session import Session, survive_closed_connections
from pachmount.names import Source
from pachmount.vfs.content import Contents
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.statistics import MountStatistics
from pachmount.vfs.view import CommitView, WaitGate
from tests.fakes import COMMIT, FakeCluster

MIB = 1 << 20
SIZE = 16 * MIB


@contextmanager
def mounted(content: bytes, at: Path) -> Iterator[MountStatistics]:
    """A file `data` in a real mount of this process; read it from other processes only."""
    contents = Contents(BlockCache(None, 64 * MIB), 10.0, 16 * MIB)
    source = Source(COMMIT.repo.project, COMMIT.repo.name, COMMIT.branch, COMMIT.id)
    statistics, gate = MountStatistics(), WaitGate(8, 10.0)
    view = CommitView(FakeCluster({"/data": content}), source, 0.0, PathFilter(()), contents, gate, 10.0, statistics)
    view.tree.start()
    survive_closed_connections()
    session = Session(view, at, allow_other=False)
    session.start()
    try:
        yield statistics
    finally:
        kernel.detach_all(at)
        assert session.join(10)
        contents.close()


def directly(path: Path) -> bytes:
    """The content of a file, past the page cache, 1 MiB a call."""
    command = ["dd", f"if={path}", "iflag=direct", "bs=1M", "status=none"]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def test_a_large_read_is_one_request(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(SIZE)
    with mounted(content, tmp_path) as statistics:
        assert directly(tmp_path / "data") == content
        assert statistics.reads.count <= SIZE // MIB + 1


@pytest.mark.parametrize("request_number", [1, 9999])
def test_a_kernel_that_refuses_our_answer_reads_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_number: int
) -> None:
    monkeypatch.setattr(handshake, "_FIRST_REQUEST", request_number)
    content = random.Random(2).randbytes(SIZE)
    with mounted(content, tmp_path) as statistics:
        assert directly(tmp_path / "data") == content
        assert statistics.reads.count >= SIZE // (128 << 10)
        assert subprocess.run(["cat", tmp_path / "data"], capture_output=True, check=True, timeout=60).stdout == content
