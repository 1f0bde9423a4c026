"""Another, ordinary user of this machine who runs pachmount; for tests that run as root."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

import pachmount
from tests.integration.box import Box

_ACCOUNT = pwd.getpwnam("daemon")
UID, GID = _ACCOUNT.pw_uid, _ACCOUNT.pw_gid
"""An account that every system has: fusermount wants to know the name."""
_FUSE = Path("/dev/fuse")


class Stranger:
    """The user `daemon` with a box of his own; skips the test where root or a Python that all can run is missing."""

    def __init__(self, box: Box) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root to be somebody else")
        self.box = box
        self.python = _python_for_all()
        packages = [str(Path(pachmount.__file__).parent.parent), sysconfig.get_path("purelib")]
        box.env["PYTHONPATH"] = ":".join(packages)
        box.env["HOME"] = str(box.root)
        for path in [box.root, *box.root.rglob("*")]:
            os.chown(path, UID, GID)
        if self.run("version").returncode:
            pytest.skip("another user cannot read this installation")

    def popen(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [self.python, "-m", "pachmount", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.box.env,
            cwd=self.box.root,
            user=UID,
            group=GID,
            extra_groups=[],
            **options,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`pachmount ARGUMENTS`."""
        with self.popen(*arguments) as process:
            out, err = process.communicate(timeout=90)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def _python_for_all() -> str:
    """A Python of our version that another user can run, and that has our packages by PYTHONPATH."""
    for found in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        if found is None:
            continue
        command = [found, "-c", "import sys; print(sys.version_info[:2])"]
        with contextlib.suppress(OSError):
            done = subprocess.run(command, user=UID, capture_output=True, text=True, check=False, cwd="/")
            if done.returncode == 0 and done.stdout.strip() == str(sys.version_info[:2]):
                return found
    pytest.skip("there is no Python of this version that another user can run")


@contextlib.contextmanager
def device_mode(mode: int) -> Iterator[None]:
    """/dev/fuse with that mode for a while."""
    before = stat.S_IMODE(_FUSE.stat().st_mode)
    _FUSE.chmod(mode)
    try:
        yield
    finally:
        _FUSE.chmod(before)
