"""Starting the daemon: what it says is passed on, what it does not say is found out. A script plays the daemon."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from conftest import User

from pachmount import paths
from pachmount.cli import process
from pachmount.daemon import spawn
from pachmount.errors import (
    BusyError,
    CannotMountError,
    ConfigurationError,
    DaemonNotRunningError,
    DaemonUnreachableError,
    NameTakenError,
)

SCRIPT = """\
#!/bin/sh
while [ "$1" != --ready-fd ]; do shift; done
exec {python} -c '
import json, os, sys, time, socket
def say(message):
    os.write(int(sys.argv[1]), (json.dumps(message) + "\\n").encode())
{body}
' "$2"
"""


@pytest.fixture
def places(user: User) -> paths.Places:
    return paths.places()


def play(monkeypatch: pytest.MonkeyPatch, user: User, body: str) -> None:
    """Let `body` be the daemon."""
    program = user.home / "python"
    program.write_text(SCRIPT.format(python=sys.executable, body=body))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def test_ready(user: User, places: paths.Places, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, user, 'say({"ready": True, "pid": os.getpid()}); time.sleep(30)')
    pid = spawn.spawn_daemon(places)
    assert process.is_alive(pid)
    assert os.getsid(pid) == pid
    assert process.stop(pid)
    assert not process.is_alive(pid)


def test_an_error_arrives_as_it_was(user: User, places: paths.Places, monkeypatch: pytest.MonkeyPatch) -> None:
    play(
        monkeypatch,
        user,
        f'say({{"ready": False, "error": {NameTakenError("a", "b", "c").to_dict()!r}}})'.replace("'", '"'),
    )
    with pytest.raises(NameTakenError) as caught:
        spawn.spawn_daemon(places)
    assert (str(caught.value), caught.value.hint) == ("a — b", "c")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('print("loading", file=sys.stderr); sys.exit("no luck today")', "exit code 1: no luck today"),
        ("os.kill(os.getpid(), 9)", "signal 9: it printed nothing"),
        ("import nonexistent_module", "No module named"),
    ],
)
def test_a_death_is_explained(
    user: User, places: paths.Places, monkeypatch: pytest.MonkeyPatch, body: str, why: str
) -> None:
    play(monkeypatch, user, body)
    with pytest.raises(DaemonNotRunningError) as caught:
        spawn.spawn_daemon(places)
    assert why in caught.value.why


def test_silence_ends_in_time_and_leaves_nothing(
    user: User, places: paths.Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, user, f'open("{user.home}/pid", "w").write(str(os.getpid())); time.sleep(60)')
    started = time.monotonic()
    with pytest.raises(DaemonUnreachableError, match="not ready after"):
        spawn.spawn_daemon(places, timeout=1.5)
    assert time.monotonic() - started < 15
    assert not process.is_alive(int((user.home / "pid").read_text()))


def test_the_loser_waits_for_the_winner(user: User, places: paths.Places, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.make_private_dir(places.socket.parent)
    body = f"""
if os.fork() == 0:
    time.sleep(0.5)
    winner = socket.socket(socket.AF_UNIX)
    winner.bind("{places.socket}")
    winner.listen()
    time.sleep(1)
    os._exit(0)
say({{"ready": False, "error": {{"id": "busy", "error": "the daemon is already running"}}}})
"""
    play(monkeypatch, user, body)
    assert spawn.ensure_daemon(places) is False


def test_a_winner_that_never_comes_is_reported(
    user: User, places: paths.Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "WINNER_TIMEOUT", 0.2)
    play(monkeypatch, user, 'say({"ready": False, "error": {"id": "busy", "error": "running"}})')
    with pytest.raises(BusyError):
        spawn.ensure_daemon(places)


def test_an_unusable_state_directory(user: User) -> None:
    (user.home / ".local").touch()
    with pytest.raises(ConfigurationError):
        spawn.spawn_daemon(paths.places())


def test_stopping_a_stubborn_process(user: User, places: paths.Places, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        "import signal; asked = []; "
        "signal.signal(15, lambda *_: sys.exit(0) if asked else asked.append(1)); "
        'say({"ready": True, "pid": os.getpid()})\nwhile True: time.sleep(0.1)'
    )
    play(monkeypatch, user, body)
    pid = spawn.spawn_daemon(places)
    assert process.stop(pid, timeout=0.5) is False
    assert not process.is_alive(pid)


@pytest.mark.parametrize("text", ["", "nonsense", "999999999"])
def test_lock_files_of_nobody(places: paths.Places, text: str) -> None:
    places.lock_file.parent.mkdir(parents=True)
    places.lock_file.write_text(text)
    pid = process.recorded_pid(places)
    assert pid is None or not process.is_daemon(pid)


def test_mount_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process.check_mount_dir(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(CannotMountError, match="not a directory"):
        process.check_mount_dir(tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    with pytest.raises(CannotMountError, match="is not writable"):
        process.check_mount_dir(tmp_path / "a" / "b")
