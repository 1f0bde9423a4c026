"""Calls that few programs make, in a read-write mount: what works, and what is refused without harm."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from tests.integration.box import Box
from tests.integration.test_committing import changes, server_tree

AT_FDCWD = -100
NO_REPLACE, EXCHANGE = 1, 2
COLLAPSE_RANGE, INSERT_RANGE = 0x08, 0x20
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long


@pytest.fixture
def repo(box: Box) -> str:
    name = box.repo("calls")
    box.put(name, {"/one": b"one\n", "/two": b"two\n", "/big": bytes(range(256)) * 1000})
    box.mount(name, mode="rw")
    return name


@pytest.fixture
def top(box: Box, repo: str) -> Path:
    return box.path(repo)


@pytest.mark.parametrize("flags", [NO_REPLACE, EXCHANGE])
@pytest.mark.parametrize("target", ["two", "free"])
def test_renaming_with_flags_is_refused(top: Path, flags: int, target: str) -> None:
    old, new = os.fsencode(top / "one"), os.fsencode(top / target)
    assert _libc.renameat2(AT_FDCWD, old, AT_FDCWD, new, flags) == -1
    assert ctypes.get_errno() in (errno.EINVAL, errno.EEXIST, errno.ENOENT)  # the latter by the kernel
    assert sorted(path.name for path in top.iterdir()) == ["big", "one", "two"]
    assert (top / "two").read_bytes() == b"two\n"


@pytest.mark.parametrize("mode", [COLLAPSE_RANGE, INSERT_RANGE])
def test_ranges_that_would_move_bytes_are_refused(top: Path, mode: int) -> None:
    with (top / "big").open("r+b") as file:
        assert _libc.fallocate(file.fileno(), mode, 4096, 4096) == -1
        assert ctypes.get_errno() == errno.EOPNOTSUPP
    assert (top / "big").read_bytes() == bytes(range(256)) * 1000


def test_more_room_than_there_is_cannot_be_set_aside(top: Path) -> None:
    with (top / "big").open("r+b") as file:
        with pytest.raises(OSError, match="No space left"):
            os.posix_fallocate(file.fileno(), 0, 1 << 50)
        assert os.fstat(file.fileno()).st_size == 256_000


def test_holes_take_no_blocks(box: Box, repo: str, top: Path) -> None:
    with (top / "sparse").open("wb") as file:
        file.truncate(100 << 20)
        file.seek(50 << 20)
        file.write(b"x" * 4096)
    info = (top / "sparse").stat()
    assert info.st_size == 100 << 20
    assert info.st_blocks * 512 < 1 << 20
    with (top / "sparse").open("rb") as file:
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 100 << 20
    status = box.mount_status(repo)
    assert status["staged"]["bytes"] < 1 << 20


def test_pipes_and_sockets_are_local(box: Box, repo: str, top: Path) -> None:
    os.mkfifo(top / "pipe")
    reader = threading.Thread(target=lambda: (top / "copy").write_bytes((top / "pipe").read_bytes()))
    reader.start()
    (top / "pipe").write_bytes(b"through the pipe")
    reader.join(20)
    here = os.getcwd()
    os.chdir(top)  # the path of a socket may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind("socket")
            server.listen()
            client.connect("socket")
    finally:
        os.chdir(here)
    assert stat.S_ISSOCK((top / "socket").stat().st_mode)
    assert changes(box, repo) == [("A", "/copy")]
    (top / "one").unlink()
    os.mkfifo(top / "one")
    box.ok("commit", repo)
    tree = server_tree(box, repo)
    assert tree.keys() == {"/two", "/big", "/copy"}
    assert tree["/copy"] == b"through the pipe"
    assert all(stat.S_ISFIFO((top / name).stat().st_mode) for name in ("pipe", "one"))
    with box.daemon() as client_:
        client_.unmount([repo], staged="keep")
    box.mount(repo, mode="rw")
    assert stat.S_ISFIFO((top / "pipe").stat().st_mode)
    assert stat.S_ISSOCK((top / "socket").stat().st_mode)


def test_what_one_name_of_a_file_wrote_another_shows_when_it_is_opened(top: Path) -> None:
    os.link(top / "one", top / "other")
    assert (top / "other").read_bytes() == b"one\n"
    (top / "one").write_bytes(b"ONE\n")
    assert (top / "other").read_bytes() == b"ONE\n"
    with (top / "other").open("ab") as file:
        file.write(b"more\n")
    assert (top / "one").read_bytes() == b"ONE\nmore\n"
    assert (top / "one").stat().st_nlink == 2


def test_what_is_not_of_the_user_is_no_attribute(top: Path) -> None:
    for name in ("system.posix_acl_access", "security.selinux", "trusted.x"):
        with pytest.raises(OSError, match="not supported"):
            os.setxattr(top / "one", name, b"value")
