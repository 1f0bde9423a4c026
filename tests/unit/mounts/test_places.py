"""Mount points: what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from pachmount.errors import CannotMountError
from pachmount.fuse import kernel
from pachmount.fuse.kernel import KernelMount
from pachmount.fuse.session import Session
from pachmount.mounts import places


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretends that something is mounted at some places."""

    def mount(*points: Path, fs_type: str = kernel.FS_TYPE) -> None:
        table = [KernelMount(str(point), fs_type, "pachmount:default/r@c") for point in points]
        monkeypatch.setattr(kernel, "mount_table", lambda: table)

    return mount


def test_a_directory_of_ours_is_made_and_removed(tmp_path: Path) -> None:
    target = places.prepare_own_directory(tmp_path / "pfs", "name")
    assert target == tmp_path / "pfs" / "name"
    assert list(target.iterdir()) == []
    assert places.prepare_own_directory(tmp_path / "pfs", "name") == target, "an empty one is taken over"
    places.remove_own_directory(target)
    assert not target.exists()
    places.remove_own_directory(target)


def test_a_directory_that_got_content_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = places.prepare_own_directory(tmp_path, "name")
    (target / "precious").write_bytes(b"")
    with pytest.raises(CannotMountError, match="not empty"):
        places.prepare_own_directory(tmp_path, "name")
    with caplog.at_level(logging.WARNING):
        places.remove_own_directory(target)
    assert (target / "precious").exists()
    assert "stays" in caplog.text


@pytest.mark.parametrize("below", ["name", "name/deeper"])
def test_a_file_in_the_way_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "name").write_bytes(b"")
    path = tmp_path / below
    with pytest.raises(CannotMountError, match="name"):
        places.prepare_own_directory(path.parent, path.name)
    with pytest.raises(CannotMountError, match="name"):
        places.check_foreign_directory(path)


def test_a_foreign_directory_must_exist_and_be_empty(tmp_path: Path) -> None:
    with pytest.raises(CannotMountError, match="does not exist") as caught:
        places.check_foreign_directory(tmp_path / "absent")
    assert "mkdir" in caught.value.hint
    assert not (tmp_path / "absent").exists()
    places.check_foreign_directory(tmp_path)
    (tmp_path / ".hidden").write_bytes(b"")
    with pytest.raises(CannotMountError, match="not empty"):
        places.check_foreign_directory(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o555)
    with pytest.raises(CannotMountError, match="not writable"):
        places.check_foreign_directory(tmp_path / "d")


def test_a_mount_point_in_use_or_inside_a_mount_is_refused(tmp_path: Path, mounted: Callable[..., None]) -> None:
    mounted(tmp_path / "m")
    with pytest.raises(CannotMountError, match="mounted there already"):
        places.refuse_mounted(tmp_path / "m")
    with pytest.raises(CannotMountError, match="lies inside the mount"):
        places.refuse_mounted(tmp_path / "m" / "a" / "b")
    for other in ("m2", "", "x/m"):
        places.refuse_mounted(tmp_path / other)
    mounted(tmp_path / "m", fs_type="ext4")
    places.refuse_mounted(tmp_path / "m" / "a")
    with pytest.raises(CannotMountError, match="mounted there already"):
        places.refuse_mounted(tmp_path / "m")


def test_links_are_followed_to_where_the_kernel_will_mount(tmp_path: Path, mounted: Callable[..., None]) -> None:
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    real = Path(os.path.realpath(tmp_path / "real"))
    assert places.real_place(tmp_path / "link") == real
    assert places.real_place(tmp_path / "link" / "below") == real / "below"
    assert places.real_place(tmp_path / "link" / "absent") == real / "absent"
    mounted(tmp_path / "link")
    inside = tmp_path / "link" / "below"
    assert places.real_place(inside) == inside, "nothing inside a mount is looked at"


@pytest.mark.parametrize("answers", [True, False])
def test_only_dead_mounts_are_detached(
    tmp_path: Path, mounted: Callable[..., None], monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    ours, other = tmp_path / "pfs" / "m", tmp_path / "own"
    ours.mkdir(parents=True)
    other.mkdir()
    mounted(ours, other, tmp_path / "elsewhere")
    detached: list[Path] = []
    monkeypatch.setattr(kernel, "detach_all", detached.append)
    monkeypatch.setattr(places, "_is_dead", lambda _: not answers)
    assert places.detach_dead_mounts(tmp_path / "pfs", [other]) == detached
    assert detached == ([] if answers else sorted([ours, other]))
    assert ours.exists() is answers, "a directory that the dead daemon made goes with its mount"
    assert other.exists()


def test_a_living_directory_is_not_dead(tmp_path: Path) -> None:
    assert not places._is_dead(tmp_path)
    assert not places._is_dead(tmp_path / "absent")


def test_other_users_need_the_permission_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fuse: None
) -> None:
    monkeypatch.setattr(kernel, "may_mount", lambda: False)
    monkeypatch.setattr(kernel, "FUSE_CONF", tmp_path / "fuse.conf")
    session = Session(Mock(), tmp_path, allow_other=True)
    with pytest.raises(CannotMountError, match="other users may see it only if") as raised:
        session.start()
    assert "user_allow_other" in raised.value.hint
