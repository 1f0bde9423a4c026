"""The main job with what is installed beside this interpreter: only pachmount and what it depends on, no test tools.

`python smoke.py [fusepy|mfusepy]` ends with 0, or with 1 and what failed. Without an argument pachmount chooses.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

SECONDS = 120
NEEDS_AN_EXTRA = "pachmount.fs"
"""Its modules need fsspec."""


class SmokeError(Exception):
    """Something is not as a user may expect it."""


def main(binding: str) -> None:
    """Raises SmokeError."""
    import_everything()
    with tempfile.TemporaryDirectory(prefix="pm-smoke-") as directory:
        home = Path(directory)
        try:
            work(home, binding)
        finally:
            pachmount(home, binding, "daemon", "stop")


def import_everything() -> None:
    """Our modules, and what Python thinks of them: a warning about our own code is an error."""
    warnings.filterwarnings("error", module=r"pachmount\b")
    package = importlib.import_module("pachmount")
    for module in pkgutil.walk_packages(package.__path__, "pachmount."):
        if not module.name.startswith(NEEDS_AN_EXTRA) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def work(home: Path, binding: str) -> None:
    """Import, mount, read, write, commit, unmount."""
    photos = home / "photos"
    (photos / "sub").mkdir(parents=True)
    (photos / "a.txt").write_text("one\n")
    (photos / "sub" / "big.bin").write_bytes(bytes(range(256)) * 8192)
    mounted = home / "pfs" / "photos"

    expect("pachmount 0." in pachmount(home, binding, "--version"), "--version")
    expect("mount" in pachmount(home, binding, "--help"), "--help")
    pachmount(home, binding, "import", str(photos), "photos", "-m", "first")
    pachmount(home, binding, "mount", "photos", "--rw")
    expect(sorted(os.listdir(mounted)) == ["a.txt", "sub"], "ls")
    expect((mounted / "a.txt").read_text() == "one\n", "read")
    expect((mounted / "sub" / "big.bin").read_bytes() == (photos / "sub" / "big.bin").read_bytes(), "read of 2 MiB")
    (mounted / "b.txt").write_text("two\n")
    (mounted / "a.txt").rename(mounted / "sub" / "moved.txt")
    pachmount(home, binding, "commit", "photos", "-m", "second")
    (mount,) = json.loads(pachmount(home, binding, "status", "--json"))["mounts"]
    expect(mount["name"] == "photos", "status")
    pachmount(home, binding, "remount", "photos", "--ro")
    expect(sorted(os.listdir(mounted / "sub")) == ["big.bin", "moved.txt"], "ls of what was committed")
    expect((mounted / "b.txt").read_text() == "two\n", "read of what was committed")
    pachmount(home, binding, "unmount", "photos")
    expect(not os.path.ismount(mounted), "unmount")
    expect(pachmount(home, binding, "cat", "photos:/b.txt") == "two\n", "cat")


def pachmount(home: Path, binding: str, *arguments: str) -> str:
    """What the command that is installed beside this interpreter prints."""
    dropped = ("PACH", "PFS_", "XDG_", "PYTHON", "FUSE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    places = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PFS_MOUNT_DIR": str(home / "pfs")}
    done = subprocess.run(
        [Path(sys.executable).parent / "pachmount", *arguments],
        env={**kept, **places, **({"PACHMOUNT_FUSE_BINDING": binding} if binding else {})},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise SmokeError(f"pachmount {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def expect(truth: bool, what: str) -> None:
    if not truth:
        raise SmokeError(f"not as expected: {what}")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "")
    except SmokeError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    print(f"all well with Python {sys.version.split()[0]}")
