"""The same mounts with libfuse 2 and fusepy, and with libfuse 3 and mfusepy."""

from __future__ import annotations

import ctypes
import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachmount.errors import CannotMountError
from pachmount.fuse import library
from tests.integration.box import Box

CONTENT = random.Random(7).randbytes((5 << 20) + 77)
RENAME_NOREPLACE = 1
AT_FDCWD = -100


@pytest.fixture(scope="module", params=["fusepy", "mfusepy"])
def served(fuse: None, request: pytest.FixtureRequest) -> Iterator[Box]:
    """A daemon whose mounts this binding serves."""
    box = Box({"PACHMOUNT_FUSE_BINDING": request.param})
    try:
        box.start()
        yield box
        box.stop()
    finally:
        box.close()


@pytest.fixture
def box(served: Box) -> Iterator[Box]:
    yield served
    served.clean()
    assert not served.mounts_in_kernel()
    assert not served.log_problems()


@pytest.fixture
def repo(box: Box) -> str:
    repo = box.repo("bound")
    box.put(repo, {"/big": CONTENT, "/sub/one": b"1", "/sub/two": b"22"})
    return repo


def test_the_daemon_uses_this_libfuse(served: Box, box: Box, repo: str) -> None:
    box.mount(repo)
    loaded = {Path(line.split()[-1]).name for line in Path(f"/proc/{box.pid}/maps").read_text().splitlines()}
    wanted = "libfuse.so.2" if served.env["PACHMOUNT_FUSE_BINDING"] == "fusepy" else "libfuse3.so."
    assert any(name.startswith("libfuse") for name in loaded)
    assert all(name.startswith(wanted) for name in loaded if name.startswith("libfuse"))


def test_a_read_only_mount_lists_and_reads(box: Box, repo: str) -> None:
    box.mount(repo)
    root = box.path(repo)
    assert sorted(os.listdir(root)) == ["big", "sub"]
    assert sorted((entry.name, entry.is_file()) for entry in os.scandir(root / "sub")) == [("one", True), ("two", True)]
    status = (root / "big").stat()
    assert (status.st_size, status.st_mode & 0o777, status.st_uid) == (len(CONTENT), 0o444, os.getuid())
    assert (root / "big").read_bytes() == CONTENT
    assert (root / "big").read_bytes() == CONTENT
    assert os.getxattr(root / "big", "user.pachmount.repo") == repo.encode()
    with pytest.raises(OSError, match="Read-only"):
        (root / "new").touch()


def test_a_refresh_keeps_what_is_open(box: Box, repo: str) -> None:
    box.mount(repo)
    with box.path(repo, "sub", "one").open() as open_before:
        box.put(repo, {"/sub/one": b"one", "/sub/three": b"333"})
        box.refresh(repo)
        assert open_before.read() == "1"
    assert box.path(repo, "sub", "one").read_bytes() == b"one"
    assert sorted(os.listdir(box.path(repo, "sub"))) == ["one", "three", "two"]
    box.ok("unmount", repo)
    assert not os.path.ismount(box.path(repo))


def test_a_read_write_mount_does_what_a_disk_does_and_is_committed(box: Box, repo: str) -> None:
    box.mount(repo, mode="rw")
    root = box.path(repo)
    (root / "new").write_bytes(CONTENT)
    with (root / "new").open("r+b") as file:
        file.truncate(1000)
        os.fchmod(file.fileno(), 0o640)
        os.utime(file.fileno(), ns=(1, 2))
        assert os.fstat(file.fileno()).st_size == 1000
    status = (root / "new").stat()
    assert (status.st_size, status.st_mode & 0o777, status.st_mtime_ns) == (1000, 0o640, 2)
    with (root / "sub" / "one").open("w") as emptied:
        emptied.write("other")
    (root / "sub" / "two").rename(root / "moved")
    with (root / "moved").open("rb") as deleted:
        (root / "moved").unlink()
        os.fchmod(deleted.fileno(), 0o600)
        assert deleted.read() == b"22"
    os.symlink("new", root / "link")
    assert (root / "link").read_bytes() == CONTENT[:1000]
    os.setxattr(root / "new", "user.note", b"kept")
    assert os.getxattr(root / "new", "user.note") == b"kept"
    assert sorted(os.listdir(root)) == ["big", "link", "new", "sub"]
    box.ok("commit", repo, "-m", "changed")
    assert box.ok("cat", f"{repo}:/sub/one") == "other"
    assert (root / "new").read_bytes() == CONTENT[:1000]


def test_a_rename_with_flags_is_refused_and_nothing_is_moved(box: Box, repo: str) -> None:
    box.mount(repo, mode="rw")
    old, new = box.path(repo, "sub", "one"), box.path(repo, "sub", "two")
    libc = ctypes.CDLL(None, use_errno=True)
    code = libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new.with_name("new")), RENAME_NOREPLACE)
    assert (code, ctypes.get_errno()) == (-1, errno.EINVAL)
    assert sorted(os.listdir(old.parent)) == ["one", "two"]


def test_libfuse_2_comes_first_and_a_named_file_before_it() -> None:
    assert library.choose({}).binding == "fusepy"
    found = library.choose({"FUSE_LIBRARY_PATH": "libfuse3.so.3"})
    assert (found.binding, found.version.split(".")[0]) == ("mfusepy", "3")


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"FUSE_LIBRARY_PATH": "libnothing.so.2"}, "libnothing.so.2"),
        ({"FUSE_LIBRARY_PATH": "libc.so.6"}, "libc.so.6"),
        ({"PACHMOUNT_FUSE_BINDING": "llfuse"}, "llfuse"),
        ({"PACHMOUNT_FUSE_BINDING": "fusepy", "FUSE_LIBRARY_PATH": "libfuse3.so.3"}, "is libfuse 3."),
    ],
)
def test_a_libfuse_that_cannot_be_used_is_an_error_with_advice(environment: dict[str, str], why: str) -> None:
    with pytest.raises(CannotMountError, match=why) as caught:
        library.choose(environment)
    assert caught.value.hint


def test_libfuse_3_without_its_binding_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(CannotMountError, match="needs mfusepy, which is not installed") as caught:
        library.choose({"PACHMOUNT_FUSE_BINDING": "mfusepy"})
    assert "pip install 'pachmount[fuse3]'" in caught.value.hint
