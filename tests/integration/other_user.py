"""Doing things as another user of this machine, in a process of their own. Needs root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

# Everything is imported before: the other user may not be able to read this Python's files.
_PROGRAM = """
import http.client, json, os, socket, sys
import encodings.idna, encodings.latin_1

class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(sys.argv[2])

def ask():
    connection = Connection("localhost")
    try:
        connection.request(*sys.argv[3:5])
        answer = connection.getresponse()
        return [answer.status, answer.read().decode()]
    except OSError as error:
        return [type(error).__name__, error.errno]

def readable():
    found = []
    for top, names, files in os.walk(sys.argv[2]):
        for name in files:
            try:
                with open(os.path.join(top, name), "rb") as file:
                    file.read(1)
                found.append(os.path.relpath(os.path.join(top, name), sys.argv[2]))
            except OSError:
                pass
    return found

def append():
    with open(sys.argv[2], "a") as file:
        file.write(sys.argv[3])

os.setgroups([])
os.setgid(NOBODY)
os.setuid(NOBODY)
os.chdir("/")
print(json.dumps({"ask": ask, "readable": readable, "append": append}[sys.argv[1]]()))
"""


def _run(*arguments: str | Path) -> Any:
    command = [sys.executable, "-c", f"NOBODY = {NOBODY}\n{_PROGRAM}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask_as_nobody(socket_path: Path, method: str, route: str) -> tuple[Any, Any]:
    """Status and body of a request over a unix socket, or the name and number of the error."""
    status, body = _run("ask", socket_path, method, route)
    return status, body


def readable_to_nobody(top: Path) -> list[str]:
    """The files below a directory that another user can read."""
    return sorted(_run("readable", top))


def append_as_nobody(path: Path, text: str) -> None:
    """Write to the end of a file, which may be new."""
    _run("append", path, text)
