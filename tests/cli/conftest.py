"""An isolated user for the commands: own home, own directories, own daemon."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_daemon import FakeDaemon

from pachmount.daemon import spawn

_DROPPED = ("PACH_", "PACHD_", "PACHMOUNT_", "PFS_", "XDG_", "NO_COLOR", "FORCE_COLOR", "TTY_", "COLUMNS")


@dataclass
class User:
    """Runs `pachmount` as a person with nothing but an empty home would."""

    home: Path
    env: dict[str, str]

    @property
    def mount_dir(self) -> Path:
        return Path(self.env["PFS_MOUNT_DIR"])

    def run(
        self, *arguments: str, stdin: str | None = None, timeout: float = 60, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """`pachmount ARGUMENTS`."""
        return subprocess.run(
            [sys.executable, "-m", "pachmount", *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**self.env, **env},
            cwd=self.home,
            check=False,
        )


@contextlib.contextmanager
def new_user() -> Iterator[User]:
    """A user in a short temporary directory (socket paths are limited)."""
    with tempfile.TemporaryDirectory(prefix="pm-") as name:
        home = Path(name)
        env = {key: value for key, value in os.environ.items() if not key.startswith(_DROPPED)}
        env |= {
            "HOME": name,
            "XDG_RUNTIME_DIR": str(home / "run"),
            "PFS_MOUNT_DIR": str(home / "pfs"),
            "PACH_CONFIG": str(home / "config.json"),
        }
        (home / "run").mkdir(mode=0o700)
        yield User(home, env)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    """A new user, whose environment is this process's too."""
    with new_user() as user:
        for key in set(os.environ) - set(user.env):
            monkeypatch.delenv(key)
        for key, value in user.env.items():
            monkeypatch.setenv(key, value)
        yield user


@pytest.fixture
def daemon(user: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """A daemon that answers what a test tells it to."""
    socket_path = user.home / "fake.sock"
    user.env["PFS_SOCK_PATH"] = str(socket_path)
    monkeypatch.setenv("PFS_SOCK_PATH", str(socket_path))
    fake = FakeDaemon(socket_path)
    yield fake
    fake.stop()


@pytest.fixture(autouse=True, scope="session")
def _reaped() -> Iterator[None]:
    """Daemons that were started by calls in this process, and were stopped, are waited for."""
    yield
    for started in spawn._spawned:
        started.wait(20)
