"""What `stat`, `statfs`, `getfattr` and every attempt to write say about a read-only mount."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box

FILES = {
    "/file1": b"1" * 1000,
    "/file10": b"10",
    "/empty": b"",
    "/dir/sub/deep": b"x" * 513,
    "/dir/other": b"o",
    "/dir2/x": b"",
}


@pytest.fixture(scope="module")
def repo(shared_box: Box) -> tuple[str, str]:
    """A repo and the id of its only commit."""
    repo = shared_box.repo("attributes")
    return repo, shared_box.put(repo, FILES)


@pytest.fixture
def top(box: Box, repo: tuple[str, str]) -> Path:
    box.mount(repo[0])
    return box.path(repo[0])


def test_modes_owner_and_links(top: Path) -> None:
    for path in [top, *top.rglob("*")]:
        info = path.stat()
        is_dir = stat.S_ISDIR(info.st_mode)
        assert stat.S_IMODE(info.st_mode) == (0o555 if is_dir else 0o444), path
        assert info.st_nlink == (2 if is_dir else 1), path
        assert (info.st_uid, info.st_gid) == (os.getuid(), os.getgid()), path


def test_sizes_and_blocks_so_that_du_works(box: Box, top: Path) -> None:
    for path, content in FILES.items():
        info = (top / path[1:]).stat()
        assert (info.st_size, info.st_blocks) == (len(content), -(-len(content) // 512)), path
    assert box.out('du -s --block-size=512 "$1"', top).split()[0] == "6"
    assert box.out('du -s --apparent-size --block-size=1 "$1/file1"', top).split()[0] == "1000"


def test_times_are_when_the_commit_was_finished(box: Box, top: Path, repo: tuple[str, str]) -> None:
    finished = box.cluster().inspect_commit(CommitRef(RepoRef("default", repo[0]), repo[1])).finished
    assert finished is not None
    for path in (top, top / "dir", top / "file1"):
        info = path.stat()
        for time in (info.st_mtime, info.st_ctime, info.st_atime):
            assert abs(time - finished) < 1e-3


def test_inode_numbers_are_distinct_and_the_same_after_every_start(box: Box, top: Path, repo: tuple[str, str]) -> None:
    def numbers() -> dict[Path, int]:
        return {path: path.stat().st_ino for path in [top, *top.rglob("*")]}

    before = numbers()
    assert len(set(before.values())) == len(before)
    with os.scandir(top) as entries:
        assert {entry.name: entry.inode() for entry in entries} == {p.name: before[p] for p in top.iterdir()}
    box.unmount(repo[0])
    box.mount(repo[0])
    assert numbers() == before
    box.ok("daemon", "restart")
    assert numbers() == before


def test_directories_are_told_from_files_without_a_stat(top: Path) -> None:
    with os.scandir(top) as entries:
        kinds = {entry.name: (entry.is_dir(), entry.is_file(), entry.is_symlink()) for entry in entries}
    assert kinds["dir"] == (True, False, False)
    assert kinds["file1"] == (False, True, False)


def test_statfs_tells_the_size_of_the_commit(box: Box, top: Path, repo: tuple[str, str]) -> None:
    box.listed(repo[0])
    info = os.statvfs(top)
    assert info.f_blocks * info.f_frsize >= sum(map(len, FILES.values()))
    assert info.f_blocks * info.f_frsize < 1 << 20
    assert (info.f_bfree, info.f_bavail) == (0, 0)
    assert info.f_files >= len(FILES)
    assert info.f_namemax == 255
    assert info.f_flag & os.ST_RDONLY
    assert "pachmount" in box.out('df -T "$1"', top)


def test_extended_attributes_tell_where_a_file_comes_from(box: Box, top: Path, repo: tuple[str, str]) -> None:
    expected = {"project": "default", "repo": repo[0], "branch": "master", "commit": repo[1]}
    for path in (top, top / "dir", top / "file1"):
        assert {name: os.getxattr(path, f"user.pachmount.{name}").decode() for name in expected} == expected
    entry = box.cluster().inspect_file(CommitRef(RepoRef("default", repo[0]), repo[1]), "/file1")
    assert os.getxattr(top / "file1", "user.pachmount.hash").decode() == entry.hash.hex()
    assert set(os.listxattr(top / "file1")) == {f"user.pachmount.{name}" for name in [*expected, "hash"]}
    assert set(os.listxattr(top / "dir")) == {f"user.pachmount.{name}" for name in expected}


@pytest.mark.parametrize("name", ["user.other", "user.pachmount.nothing", "security.capability", "trusted.x"])
def test_other_extended_attributes_do_not_exist(top: Path, name: str) -> None:
    with pytest.raises(OSError, match=r".*") as caught:
        os.getxattr(top / "file1", name)
    assert caught.value.errno in (errno.ENODATA, errno.EOPNOTSUPP)


WRITES: dict[str, Callable[[Path], object]] = {
    "open for writing": lambda top: os.open(top / "file1", os.O_WRONLY),
    "open for both": lambda top: os.open(top / "file1", os.O_RDWR),
    "append": lambda top: os.open(top / "file1", os.O_WRONLY | os.O_APPEND),
    "open and truncate": lambda top: os.open(top / "file1", os.O_WRONLY | os.O_TRUNC),
    "open to read and truncate": lambda top: os.open(top / "file1", os.O_RDONLY | os.O_TRUNC),
    "create": lambda top: os.open(top / "new", os.O_WRONLY | os.O_CREAT),
    "create exclusively": lambda top: os.open(top / "dir/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "truncate": lambda top: os.truncate(top / "file1", 0),
    "mkdir": lambda top: (top / "new").mkdir(),
    "rmdir": lambda top: (top / "dir2").rmdir(),
    "unlink": lambda top: (top / "file1").unlink(),
    "rename": lambda top: (top / "file1").rename(top / "file2"),
    "rename a directory": lambda top: (top / "dir").rename(top / "dir3"),
    "symlink": lambda top: (top / "link").symlink_to("file1"),
    "hard link": lambda top: (top / "link").hardlink_to(top / "file1"),
    "mknod": lambda top: os.mknod(top / "node", stat.S_IFREG | 0o600),
    "chmod": lambda top: (top / "file1").chmod(0o600),
    "chown": lambda top: os.chown(top / "file1", os.getuid(), os.getgid()),
    "utime": lambda top: os.utime(top / "file1", (1, 1)),
    "touch": lambda top: (top / "file1").touch(),
    "setxattr": lambda top: os.setxattr(top / "file1", "user.x", b"1"),
    "removexattr": lambda top: os.removexattr(top / "file1", "user.pachmount.hash"),
}


@pytest.mark.parametrize("operation", WRITES.values(), ids=list(WRITES))
def test_every_write_is_refused(top: Path, operation: Callable[[Path], object]) -> None:
    with pytest.raises(OSError, match=r".*") as caught:
        operation(top)
    assert caught.value.errno == errno.EROFS
    assert (top / "file1").read_bytes() == FILES["/file1"]
    assert sorted(os.listdir(top)) == ["dir", "dir2", "empty", "file1", "file10"]


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (lambda top: (top / "nothing").stat(), errno.ENOENT),
        (lambda top: (top / "dir/nothing").open(), errno.ENOENT),
        (lambda top: (top / "nothing/below").stat(), errno.ENOENT),
        (lambda top: (top / "file1/below").stat(), errno.ENOTDIR),
        (lambda top: os.listdir(top / "file1"), errno.ENOTDIR),
        (lambda top: os.listdir(top / "nothing"), errno.ENOENT),
        (lambda top: os.open(top / "dir", os.O_WRONLY), errno.EISDIR),
        (lambda top: _read_descriptor(top / "dir"), errno.EISDIR),
        (lambda top: (top / "dir").read_bytes(), errno.EISDIR),
        (lambda top: (top / ("n" * 1100)).stat(), errno.ENAMETOOLONG),
        (lambda top: os.stat(os.fsencode(top) + b"/\xff\xfe"), errno.ENOENT),
        (lambda top: os.readlink(top / "file1"), errno.EINVAL),
    ],
)
def test_wrong_paths_fail_as_on_a_disk(top: Path, operation: Callable[[Path], object], code: int) -> None:
    with pytest.raises(OSError, match=r".*") as caught:
        operation(top)
    assert caught.value.errno == code


def _read_descriptor(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.read(descriptor, 10)
    finally:
        os.close(descriptor)


def test_names_that_begin_alike_are_different_files(top: Path) -> None:
    assert (top / "file1").read_bytes() != (top / "file10").read_bytes()
    for absent in ("file", "file100", "FILE1", "file1 ", "file1.", "dir/su", "dir/sub/deep2"):
        assert not (top / absent).exists(), absent


def test_a_name_that_was_missed_stays_missing_and_others_appear_at_once(top: Path) -> None:
    for _ in range(3):
        assert not (top / "dir" / "nothing").exists()
    assert (top / "dir" / "other").exists()


def test_a_name_that_is_not_mounted_leaves_no_trace(box: Box, repo: tuple[str, str]) -> None:
    assert not box.path(repo[0]).exists()
    box.mount(repo[0])
    box.unmount(repo[0])
    assert not box.path(repo[0]).exists()
    assert os.listdir(box.mount_dir) == []
