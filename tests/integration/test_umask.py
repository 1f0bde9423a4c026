"""Whatever the umask of the shell: what is ours is ours alone, and works; what is the user's follows the umask."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.box import Box

XDG = ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
HOME_DIRECTORIES = (".config", ".cache", ".local", ".local/share", ".local/state")
UMASKS = ("0", "0002", "0022", "0027", "0077", "0777")


def run(box: Box, umask: str, *arguments: str) -> str:
    command = f'umask {umask}; exec "$0" -m pachmount "$@"'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, *arguments],
        env=box.env,
        cwd=box.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize("umask", UMASKS)
def test_what_is_made_with_an_odd_umask(umask: str, tmp_path: Path) -> None:
    box = Box({})
    for variable in XDG:
        del box.env[variable]
    box.env["PACH_CONFIG"] = str(box.root / "deep/er/config.json")
    (box.root / "run").rmdir()
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_bytes(b"1")
    try:
        run(box, umask, "config", "set", "poll_interval", "5")
        run(box, umask, "import", str(tmp_path / "source"), "r")
        run(box, umask, "mount", "r", "--name", "ro")
        run(box, umask, "mount", "r", "--name", "rw", "--rw")
        made = box.path("rw") / "made"
        subprocess.run(["sh", "-c", f'umask 0027; echo 1 > "{made}"'], check=True)
        assert mode(made) == 0o640, "files in mounts follow the umask of who makes them"
        assert (box.path("ro") / "file").read_bytes() == b"1"
        run(box, umask, "commit", "rw")
        run(box, umask, "datum", "mount", "--pfs", "r:/*")
        run(box, umask, "datum", "unmount")
        run(box, umask, "daemon", "restart")
        assert mode(box.path("ro") / "file") == 0o444

        assert [(box.root / name, oct(mode(box.root / name))) for name in HOME_DIRECTORIES] == [
            (box.root / name, "0o700") for name in HOME_DIRECTORIES
        ]
        for name in HOME_DIRECTORIES:
            for path in (box.root / name).rglob("*"):
                if path.is_dir():
                    assert mode(path) == 0o700, f"{path} {mode(path):o}"
                elif path.name != "pachmount.toml":
                    assert not mode(path) & 0o077, f"{path} {mode(path):o}"
                assert mode(path) & 0o600 == 0o600, f"{path} {mode(path):o}"
        assert mode(box.mount_dir) == 0o777 & ~((int(umask, 8) | 0o022) & 0o077)
    finally:
        box.stop()
        box.close()


@pytest.mark.parametrize("umask", ["0", "0022", "0027", "0077"])
def test_copies_follow_the_umask_as_those_of_cp(umask: str, tmp_path: Path) -> None:
    box = Box({})
    (tmp_path / "source/sub").mkdir(parents=True)
    (tmp_path / "source/sub/file").write_bytes(b"1")
    try:
        run(box, umask, "import", str(tmp_path / "source"), "r")
        run(box, umask, "get", "-r", "r:/", str(tmp_path / "got"))
        run(box, umask, "checkout", "r", str(tmp_path / "out"))
        for copy in ("got", "out"):
            assert mode(tmp_path / copy / "sub/file") == 0o666 & ~int(umask, 8)
            assert mode(tmp_path / copy / "sub") == 0o777 & ~int(umask, 8)
    finally:
        box.stop()
        box.close()
