"""pjdfstest: what POSIX says of each file operation, its errors, times and permissions."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.posix.conftest import program
from tests.posix.exceptions import EXCEPTIONS

pytestmark = pytest.mark.posix

CONFIGURATION = """
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.01
allow_remount = false

[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"""
"""Users that every Debian system has."""
_CASE = re.compile(r"^(\S+::\S+) +(ok|FAILED|skipped)$", re.MULTILINE)


def run(directory: Path, other: Path, configuration: Path) -> dict[str, str]:
    """What became of each case."""
    done = subprocess.run(
        [program("pjdfstest"), "-c", configuration, "-p", directory, "-s", other],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    found = dict(_CASE.findall(done.stdout))
    assert f"{len(found)} total" in done.stdout, done
    return found


@pytest.mark.timeout(1800)
def test_as_on_a_disk_but_for_the_exceptions(top: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "pjdfstest.toml"
    configuration.write_text(CONFIGURATION)
    with tempfile.TemporaryDirectory() as disk:
        Path(disk).chmod(0o755)
        on_disk = run(Path(disk), top, configuration)
        here = run(top, Path(disk), configuration)
    failed = {case for case, result in here.items() if result == "FAILED"}
    failed_everywhere = {case for case, result in on_disk.items() if result == "FAILED"}
    tried = {case for case, result in here.items() if result == "ok"}
    print(f"{len(tried)} cases passed, {len(failed)} failed, of {len(here)}")
    assert failed - failed_everywhere == EXCEPTIONS.keys()
    assert len(tried) > 350
    skipped = {case for case, result in here.items() if result == "skipped" and on_disk[case] == "ok"}
    assert skipped <= {"link::link_count_max"}  # a mount names no such limit
