"""A process that opens and reads files of a mount over and over while the mount is moved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.integration.box import Box

PROGRAM = """
import os, sys, time
path, stop, expected = sys.argv[1], sys.argv[2], set(sys.argv[3:])
print("ready", flush=True)
opened = wrong = 0
longest, failing_since = 0.0, None
while not os.path.exists(stop):
    try:
        with open(path + "/same", "rb") as same, open(path + "/changing", "rb") as changing:
            wrong += same.read() != b"0" or changing.read().decode() not in expected
        opened += 1
        if failing_since is not None:
            longest, failing_since = max(longest, time.monotonic() - failing_since), None
    except OSError as error:
        failing_since = failing_since or time.monotonic()
        print("failed", error)
print(opened, wrong, longest)
"""


class Reader:
    """Reads `same` (always "0") and `changing` (one of `expected`) below `path` as long as the context is open.

    Afterwards: how often both were `opened` and read, how often they were `wrong`, the `failures`, and the longest time
    (s) in which every open failed.
    """

    def __init__(self, box: Box, path: Path, *expected: str) -> None:
        self.opened = self.wrong = 0
        self.longest = 0.0
        self.failures: list[str] = []
        self._stop = box.root / "stop"
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path), str(self._stop), *expected],
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        )

    def __enter__(self) -> Reader:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.touch()
        try:
            *self.failures, summary = self._process.communicate(timeout=30)[0].splitlines()
            opened, wrong, longest = summary.split()
            self.opened, self.wrong, self.longest = int(opened), int(wrong), float(longest)
        finally:
            self._process.kill()
            self._process.wait()
            self._stop.unlink()
