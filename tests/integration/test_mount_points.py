"""Where a mount may be put, under which name, and that a refusal leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pachmount.errors import PachmountError
from tests.integration.box import Box


@pytest.fixture(scope="module")
def repo(shared_box: Box) -> str:
    repo = shared_box.repo("places")
    shared_box.put(repo, {"/dir/file": b"text"})
    return repo


@pytest.fixture
def place(box: Box, tmp_path: Path) -> Path:
    """An empty directory of the user's own."""
    place = box.root / "own" / tmp_path.name
    place.mkdir(parents=True)
    return place


def everything_below(top: Path) -> set[tuple[str, int, int]]:
    return {(str(path), path.lstat().st_mode, path.lstat().st_ino) for path in top.rglob("*")}


def test_any_empty_directory_can_be_a_mount_point(box: Box, repo: str, place: Path) -> None:
    before = place.stat()
    box.ok("mount", repo, str(place))
    assert (place / "dir" / "file").read_bytes() == b"text"
    assert not box.path(repo).exists()
    assert str(place) in box.ok("status")
    box.ok("unmount", str(place))
    assert list(place.iterdir()) == []
    assert place.stat().st_ino == before.st_ino, "a directory of the user's own stays"


def test_a_relative_path_counts_from_the_caller(box: Box, repo: str, place: Path) -> None:
    box.ok("mount", repo, "./" + place.name, cwd=place.parent)
    assert (place / "dir" / "file").read_bytes() == b"text"
    box.ok("unmount", place.name, cwd=place.parent)
    assert list(place.iterdir()) == []


def test_a_link_to_a_directory_leads_to_the_directory(box: Box, repo: str, place: Path) -> None:
    link = place.with_name(f"{place.name}-link")
    link.symlink_to(place)
    box.ok("mount", repo, str(link))
    assert (place / "dir" / "file").read_bytes() == b"text"
    assert (link / "dir" / "file").read_bytes() == b"text"
    assert box.mount_status(repo)["mountpoint"] == str(place), "the status names the place that is in the mount table"
    box.ok("unmount", repo)
    assert list(place.iterdir()) == []
    assert box.mounts_in_kernel() == []


def test_a_link_to_a_mounted_directory_names_the_mount(box: Box, repo: str, place: Path) -> None:
    link = place.with_name(f"{place.name}-link")
    link.symlink_to(place)
    box.mount(repo, at=place)
    box.ok("unmount", str(link))
    assert box.mounts_in_kernel() == []


def test_a_mount_directory_behind_a_link_works_like_any_other(new_box: Callable[..., Box]) -> None:
    """Usual where a home directory is a link; what was mounted is found again in the mount table."""
    box = new_box(start=False)
    (box.root / "real").mkdir()
    (box.root / "pfs").symlink_to("real")
    box.start()
    repo = box.repo("linked")
    ids = [box.put(repo, {"/file": b"%d" % number}) for number in range(2)]
    box.mount(repo)
    assert box.path(repo, "file").read_bytes() == b"1"
    assert box.refresh(repo, ids[0])["commit"] == ids[0]
    assert box.path(repo, "file").read_bytes() == b"0"
    assert len(box.mounts_in_kernel()) == 1
    box.ok("daemon", "restart")
    assert box.path(repo, "file").read_bytes() == b"0"
    assert len(box.mounts_in_kernel()) == 1
    box.ok("unmount", repo)
    assert box.mounts_in_kernel() == []
    assert os.listdir(box.root / "real") == []


def test_a_link_among_the_parents_is_followed_too(box: Box, repo: str, place: Path) -> None:
    link = place.with_name(f"{place.name}-link")
    link.symlink_to(place)
    (place / "below").mkdir()
    box.ok("mount", repo, str(link / "below"))
    assert (place / "below" / "dir" / "file").read_bytes() == b"text"
    box.ok("unmount", str(link / "below"))
    assert list((place / "below").iterdir()) == []
    assert box.mounts_in_kernel() == []


BAD_PLACES: dict[str, Callable[[Path], Path]] = {
    "not empty": lambda place: (place / "x").mkdir() or place,
    "absent": lambda place: place / "absent",
    "a file": lambda place: (place / "f").touch() or place / "f",
    "below a file": lambda place: (place / "f").touch() or place / "f" / "x",
    "a dangling link": lambda place: (place / "l").symlink_to("nowhere") or place / "l",
}


@pytest.mark.parametrize("make", BAD_PLACES.values(), ids=list(BAD_PLACES))
def test_a_place_that_cannot_be_used_is_refused(box: Box, repo: str, place: Path, make: Callable[[Path], Path]) -> None:
    target = make(place)
    before = everything_below(place)
    message = box.refused("mount", repo, str(target), code=73)
    assert str(place) in message
    assert everything_below(place) == before
    assert box.status()["mounts"] == []
    assert box.mounts_in_kernel() == []


def test_a_place_inside_a_mount_or_on_one_is_refused(box: Box, repo: str, place: Path) -> None:
    box.mount(repo, at=place)
    for target in (place, place / "dir", place / "dir" / "new"):
        assert str(target) in box.refused("mount", repo, str(target), "--name", "other", code=73)
    assert len(box.mounts_in_kernel()) == 1
    assert (place / "dir" / "file").read_bytes() == b"text"


def test_a_mount_directory_entry_that_is_in_use_is_refused_and_kept(box: Box, repo: str) -> None:
    box.path(repo).mkdir(parents=True)
    (box.path(repo) / "precious").write_bytes(b"mine")
    try:
        assert "not empty" in box.refused("mount", repo, code=73)
        assert (box.path(repo) / "precious").read_bytes() == b"mine"
        assert box.status()["mounts"] == []
    finally:
        (box.path(repo) / "precious").unlink()
        box.path(repo).rmdir()


def test_the_same_mount_twice_is_fine(box: Box, repo: str, place: Path) -> None:
    for _ in range(2):
        box.ok("mount", repo)
    assert len(box.mounts_in_kernel()) == 1
    for _ in range(2):
        box.ok("mount", repo, str(place), "--name", "elsewhere")
    assert len(box.mounts_in_kernel()) == 2


def test_a_taken_name_is_refused_with_the_way_out(box: Box, repo: str) -> None:
    other = box.repo("other")
    box.put(other, {"/other": b"other"})
    box.mount(repo)
    message = box.refused("mount", other, "--name", repo, code=73)
    assert f"mount at '{repo}' already in use" in message
    assert "--name" in message
    assert "already in use" in box.refused("mount", f"{repo}:/dir", code=73)
    assert box.path(repo, "dir", "file").read_bytes() == b"text"
    box.ok("mount", other, "--name", "other")
    assert box.path("other", "other").read_bytes() == b"other"


@pytest.mark.parametrize("name", ["out", ".", "..", "-x", "a/b", "../up", "n" * 256, "a b", "a\nb", "é"])
def test_names_that_could_leave_the_mount_directory_are_refused(box: Box, repo: str, name: str) -> None:
    before = everything_below(box.root / "pfs") if box.mount_dir.exists() else set()
    assert "Traceback" not in box.refused("mount", repo, f"--name={name}", code=2)
    with pytest.raises(PachmountError):
        box.mount(repo, name)
    assert box.status()["mounts"] == []
    assert (everything_below(box.root / "pfs") if box.mount_dir.exists() else set()) == before


def test_odd_but_safe_names_work(box: Box, repo: str) -> None:
    for name in ("n" * 255, "a.b", ".hidden", "_", "0"):
        box.mount(repo, name)
        assert box.path(name, "dir", "file").read_bytes() == b"text"


def test_a_hundred_mounts_at_once_and_none_after_unmount_all(box: Box, repo: str) -> None:
    names = [f"m{number:03}" for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        assert all(mounted["state"] == "mounted" for mounted in pool.map(lambda name: box.mount(repo, name), names))
    assert sorted(os.listdir(box.mount_dir)) == names
    assert all(box.path(name, "dir", "file").read_bytes() == b"text" for name in names)
    assert len(box.mounts_in_kernel()) == 100
    box.ok("unmount", "--all", "--yes")
    assert box.mounts_in_kernel() == []
    assert os.listdir(box.mount_dir) == []
    assert box.status()["lingering_sessions"] == 0


def test_a_mount_in_use_disappears_at_once(box: Box, repo: str) -> None:
    box.mount(repo)
    with box.path(repo, "dir", "file").open("rb") as file:
        box.ok("unmount", repo)
        assert not box.path(repo).exists()
        assert file.read() == b"text"


def test_the_mount_directory_itself_must_be_usable(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False)
    (box.root / "file").write_bytes(b"")
    message = box.refused("daemon", "start", PFS_MOUNT_DIR=str(box.root / "file"))
    assert str(box.root / "file") in message


def test_a_mount_directory_that_cannot_be_made_is_refused_before_a_daemon_starts(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False)
    (box.root / "file").write_bytes(b"")
    message = box.refused("mount", "x", PFS_MOUNT_DIR=str(box.root / "file" / "below"))
    assert str(box.root / "file") in message
