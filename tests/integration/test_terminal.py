"""Names and messages cannot command a terminal; programs get them as they are."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from pachmount.names import printable
from tests.integration.box import Box, running_box
from tests.integration.call_proxy import Call, CallProxy, On, StatusError

HOSTILE = (
    "\x1b]52;c;aGk=\x07",  # writes to the clipboard
    "\x1b]8;;http:evil\x1b\\link",
    "\x1b[2Jcleared",
    "a\nerror: forged",
    "back\rover",
    "\u202egnp.exe",
    "\x9b31mC1",
    "[red]markup",
    "\udcff\udcfe",
    "tab\there",
)
FORBIDDEN = ("\x1b]", "\x1b[2J", "\x07", "\u202e", "\x9b", "\udcff", "\nerror: forged", "\rover")


@pytest.fixture(scope="module")
def box(fuse: None) -> Iterator[Box]:
    with running_box({}) as box:
        box.put("r", {"/a": b"1"})
        box.mount("r", "rw", mode="rw")
        for name in HOSTILE:
            Path(os.fsdecode(os.fsencode(box.path("rw")) + b"/" + name.encode("utf-8", "surrogateescape"))).touch()
        yield box
        box.ok("unmount", "rw", "--discard", "--yes")


def on_terminal(box: Box, *arguments: str) -> str:
    """What the command writes to a terminal, without carriage returns at the ends of lines."""
    main, side = pty.openpty()
    env = {**box.env, "TERM": "xterm-256color", "COLUMNS": "400"}
    command = [sys.executable, "-m", "pachmount", *arguments]
    with subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=env, cwd=box.root) as process:
        os.close(side)
        data = b""
        try:
            while piece := os.read(main, 65536):
                data += piece
        except OSError:
            pass  # the other side is closed
        process.wait(30)
    os.close(main)
    return data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


@pytest.mark.parametrize(
    "command",
    [
        ("diff", "rw"),
        ("diff", "rw", "--patch"),
        ("commit", "rw"),
        ("diff", "rw", "--json"),
        ("status",),
        ("status", "--json"),
    ],
)
def test_staged_names_on_a_terminal(box: Box, command: tuple[str, ...]) -> None:
    told = on_terminal(box, *command)
    assert not [each for each in FORBIDDEN if each in told]
    if command == ("diff", "rw"):
        assert all(printable(name) in told for name in HOSTILE)


def test_programs_get_the_names_as_they_are(box: Box) -> None:
    paths = json.dumps(json.loads(box.ok("diff", "rw", "--json")))
    assert json.dumps(HOSTILE[0])[1:-1] in paths
    assert "\\udcff" in paths or "\\xff" in paths


@pytest.mark.parametrize("command", [("list", "r:/"), ("list",), ("cat", "r:/a"), ("mount", "r", "--name", "x")])
def test_what_the_cluster_says(box: Box, command: tuple[str, ...]) -> None:
    server = box.server()
    box.put("r", {"/a": b"1"}, address=server.address)
    with CallProxy(server.address) as calls:
        text = "".join(HOSTILE[:8])
        other = Box({})
        try:
            other.ok("login", calls.address)

            def fault(_call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
                raise StatusError(grpc.StatusCode.UNKNOWN, text)
                yield from messages

            methods = (
                "InspectRepo",
                "ListRepo",
                "InspectBranch",
                "InspectCommit",
                "ListBranch",
                "WalkFile",
                "ListFile",
            )
            calls.fault = On(fault, methods=methods)
            told = on_terminal(other, *command)
            assert "cleared" in told
            assert not [each for each in FORBIDDEN if each in told]
            log = other.places.log_file.read_text(errors="surrogateescape")
            assert not [each for each in FORBIDDEN if each in log]
            calls.fault = None
            other.stop()
        finally:
            other.close()


def test_what_import_leaves_out(box: Box) -> None:
    source = box.root / "hostile"
    source.mkdir()
    for name in HOSTILE[:2]:
        (source / name).write_bytes(b"1")
    told = on_terminal(box, "import", str(source), "new", "--skip-invalid")
    assert not [each for each in FORBIDDEN if each in told]
