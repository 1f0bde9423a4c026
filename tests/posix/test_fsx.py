"""fsx: random reads, writes, truncations, memory maps and more on one file, each read compared with what it must be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.posix.conftest import program

pytestmark = pytest.mark.posix

OPERATIONS = int(os.environ.get("PACHMOUNT_FSX_OPERATIONS", "1000000"))
CONFIGURATION = """
flen = 262144
[opsize]
max = 65536
[weights]
close_open = 1.0
invalidate = 1.0
mapread = 1.0
mapwrite = 1.0
fsync = 0.1
fdatasync = 0.1
posix_fallocate = 1.0
punch_hole = 1.0
sendfile = 1.0
posix_fadvise = 1.0
copy_file_range = 1.0
"""


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", [1, 20261128, 4294967291])
def test_a_file_is_what_was_written(top: Path, tmp_path: Path, seed: int) -> None:
    configuration = tmp_path / "fsx.toml"
    configuration.write_text(CONFIGURATION)
    done = subprocess.run(
        [program("fsx"), "-f", configuration, "-N", str(OPERATIONS), "-S", str(seed), "-P", tmp_path, top / f"{seed}"],
        capture_output=True,
        text=True,
        timeout=7000,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "All operations completed A-OK!" in done.stdout + done.stderr
