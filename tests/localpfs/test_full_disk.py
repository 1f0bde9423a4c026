"""A full disk: the write fails with a clear text, nothing of it is seen, and the store goes on once there is space."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from pachmount.localpfs import verify
from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.replay import fill
from tests.localpfs.servers import Server, add, modify, on_branch, read, repo, running, walk
from tests.localpfs.test_check import tool

_SIZE = 24 * 1024 * 1024
_CONTENT = fill("small disk", 1_000_000)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "pachmount-test", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        why = f"cannot mount a small tmpfs: {done.stderr.strip()}"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(why)
        pytest.skip(why)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def server(disk: Path, tmp_path: Path) -> Iterator[Server]:
    with running(disk / "store", f"unix://{tmp_path}/s") as started:
        started.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
        modify(started, on_branch("r"), add("/kept", _CONTENT))
        yield started


def _free(disk: Path) -> int:
    state = os.statvfs(disk)
    return state.f_bavail * state.f_frsize


def _fill_up(disk: Path, leave: int) -> Path:
    """Take all space on the disk but so many bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb") as stream:
        stream.write(bytes(_free(disk) - leave))
    return ballast


def _refused(run: object) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        run()  # type: ignore[operator]
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, caught.value.details()
    assert "no space left on the disk of the store" in caught.value.details()


def _is_unharmed(server: Server) -> None:
    assert [info.file.path for info in walk(server, on_branch("r"))] == ["/", "/kept"]
    assert read(server, on_branch("r"), "/kept") == _CONTENT
    assert len(list(server.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=repo("r"))))) == 1


def _works(server: Server) -> None:
    modify(server, on_branch("r"), add("/after", _CONTENT[:500_000]))
    assert read(server, on_branch("r"), "/after") == _CONTENT[:500_000]


def test_content_that_does_not_fit(server: Server, disk: Path) -> None:
    free = _free(disk)
    pieces = [add("/big", fill("big", 1_000_000, 1_000_000 * number)) for number in range(_SIZE // 1_000_000 + 2)]
    _refused(lambda: modify(server, on_branch("r"), *pieces))
    _is_unharmed(server)
    assert _free(disk) > free - 1_000_000, "what the failed call wrote still takes space"
    _works(server)


def test_content_that_does_not_fit_beside_a_call_that_writes(server: Server, disk: Path) -> None:
    """The space of the failed call may be freed only when the other one has ended; that one must not be harmed."""
    commit = server.pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=pfs_pb2.Branch(name="other", repo=repo("r"))))

    def slow() -> Iterator[pfs_pb2.ModifyFileRequest]:
        yield pfs_pb2.ModifyFileRequest(set_commit=commit)
        yield add("/slow", fill("slow", 5_000_000))
        _refused(lambda: modify(server, on_branch("r"), *[add("/big", os.urandom(1_000_000)) for _ in range(30)]))
        yield add("/more", b"more")

    server.pfs.ModifyFile(slow())
    assert read(server, commit, "/slow") == fill("slow", 5_000_000)
    assert read(server, commit, "/more") == b"more"
    _works(server)


def test_metadata_that_does_not_fit(server: Server, disk: Path) -> None:
    """SQLite is what finds no space here: many names, no content."""
    ballast = _fill_up(disk, leave=300_000)
    names = (add(f"/{number % 100:0100}/{number:0150}") for number in itertools.count())
    _refused(lambda: modify(server, on_branch("r"), *itertools.islice(names, 20_000)))
    _is_unharmed(server)
    ballast.unlink()
    _works(server)


def test_not_a_byte_is_left(server: Server, disk: Path) -> None:
    ballast = _fill_up(disk, leave=0)
    _refused(lambda: modify(server, on_branch("r"), add("/new", fill("new", 400_000))))
    for number in range(200):  # what SQLite has allocated already may take the first ones
        try:
            server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo(f"repo{number}")))
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error.details()  # noqa: PT017
            break
    _is_unharmed(server)
    ballast.unlink()
    server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("again")))
    _works(server)


def test_killed_and_started_on_a_full_disk(disk: Path, tmp_path: Path) -> None:
    with running(disk / "store", f"unix://{tmp_path}/s") as server:
        server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
        modify(server, on_branch("r"), add("/kept", _CONTENT))
        ballast = _fill_up(disk, leave=2_000_000)
        _refused(lambda: modify(server, on_branch("r"), *[add("/x", os.urandom(1_000_000)) for _ in range(30)]))
        server.kill()
    ballast.unlink()
    ballast = _fill_up(disk, leave=100_000)
    with running(disk / "store", f"unix://{tmp_path}/s") as server:
        _is_unharmed(server)
        ballast.unlink()
        _works(server)
    assert verify.check(disk / "store").damage == []
    assert tool(disk / "store", "--gc").returncode == 0
    assert verify.check(disk / "store").leftover_bytes == 0


def test_gc_on_a_full_disk_says_so_or_succeeds(disk: Path, tmp_path: Path) -> None:
    with running(disk / "store", f"unix://{tmp_path}/s") as server:
        for name in ("gone", "r"):  # what is to go lies before what stays, which has to be copied
            server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo(name)))
            modify(server, on_branch(name), add("/kept", fill(name, 6_000_000)))
        server.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo("gone")))
    ballast = _fill_up(disk, leave=1_000_000)
    done = tool(disk / "store", "--gc")
    assert done.returncode == 1
    assert "free some space first" in done.stderr
    ballast.unlink()
    done = tool(disk / "store", "--gc")
    assert done.returncode == 0, done.stderr
    report = verify.check(disk / "store")
    assert (report.damage, report.leftover_bytes) == ([], 0)
    with running(disk / "store", f"unix://{tmp_path}/s") as server:
        assert read(server, on_branch("r"), "/kept") == fill("r", 6_000_000)


def test_an_endless_file_is_refused_soon(server: Server, disk: Path) -> None:
    sent = 0

    def endless() -> Iterator[pfs_pb2.ModifyFileRequest]:
        nonlocal sent
        yield pfs_pb2.ModifyFileRequest(set_commit=on_branch("r"))
        while sent < 2000:
            sent += 1
            yield add("/endless", os.urandom(1_000_000))

    _refused(lambda: server.pfs.ModifyFile(endless()))
    assert sent < 200
    _is_unharmed(server)
    _works(server)
