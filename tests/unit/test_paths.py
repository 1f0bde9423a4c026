"""Where things live, for different environments."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pachmount import paths
from pachmount.errors import ConfigurationError

HOME = {"HOME": "/home/u"}


def test_xdg_defaults() -> None:
    assert paths.config_dir(HOME) == Path("/home/u/.config/pachmount")
    assert paths.cache_dir(HOME) == Path("/home/u/.cache/pachmount")
    assert paths.state_dir(HOME) == Path("/home/u/.local/state/pachmount")
    assert paths.local_store(HOME) == Path("/home/u/.local/share/pachmount/local")
    assert paths.runtime_dir(HOME) == Path("/home/u/.local/state/pachmount/run")


def test_xdg_variables() -> None:
    env = {**HOME, "XDG_CONFIG_HOME": "/c", "XDG_CACHE_HOME": "/k", "XDG_STATE_HOME": "/s", "XDG_DATA_HOME": "/d"}
    env["XDG_RUNTIME_DIR"] = "/r"
    assert paths.config_dir(env) == Path("/c/pachmount")
    assert paths.cache_dir(env) == Path("/k/pachmount")
    assert paths.state_dir(env) == Path("/s/pachmount")
    assert paths.data_dir(env) == Path("/d/pachmount")
    assert paths.runtime_dir(env) == Path("/r/pachmount")


@pytest.mark.parametrize("value", ["", "relative/dir"])
def test_xdg_variables_must_be_absolute(value: str) -> None:
    assert paths.cache_dir({**HOME, "XDG_CACHE_HOME": value}) == Path("/home/u/.cache/pachmount")


def test_every_mount_directory_has_its_own_places() -> None:
    one, two = paths.places(Path("/a/pfs"), HOME), paths.places(Path("/b/pfs"), HOME)
    assert one == paths.places(Path("/a/../a/pfs/"), HOME)
    for field in ("socket", "lock_file", "log_file", "mounts_file"):
        assert getattr(one, field) != getattr(two, field)


def test_the_mount_directory_may_be_chosen(tmp_path: Path) -> None:
    assert paths.default_mount_dir({**HOME, "PFS_MOUNT_DIR": str(tmp_path)}) == tmp_path
    assert paths.places(Path("/x"), {**HOME, "PFS_MOUNT_DIR": "/y"}).mount_dir == Path("/x")


def test_without_a_usable_pfs_the_home_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "SYSTEM_MOUNT_DIR", tmp_path / "pfs")
    assert paths.default_mount_dir(HOME) == tmp_path / "pfs"
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    assert paths.default_mount_dir(HOME) == Path("/home/u/pfs")


def test_the_socket_may_be_chosen() -> None:
    assert paths.places(Path("/x"), {**HOME, "PFS_SOCK_PATH": "/run/s.sock"}).socket == Path("/run/s.sock")


def test_long_socket_paths_are_shortened() -> None:
    env = {"HOME": "/home/" + "u" * 120}
    socket = paths.places(Path("/x"), env).socket
    assert len(os.fsencode(socket)) <= paths.MAX_SOCKET_PATH_BYTES
    assert socket != paths.places(Path("/y"), env).socket
    assert len(os.fsencode(paths.embedded_socket({**env, "TMPDIR": "/t" * 100}))) <= paths.MAX_SOCKET_PATH_BYTES


def test_private_directories(tmp_path: Path) -> None:
    made = tmp_path / "a" / "b"
    paths.make_private_dir(made)
    assert made.stat().st_mode & 0o777 == 0o700
    made.chmod(0o755)
    paths.make_private_dir(made)
    assert made.stat().st_mode & 0o777 == 0o700


def test_private_directories_refuse_files_and_links(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link", "file/below"):
        with pytest.raises(ConfigurationError):
            paths.make_private_dir(tmp_path / name)


def test_private_directories_refuse_other_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(ConfigurationError, match="another user"):
        paths.make_private_dir(tmp_path)
