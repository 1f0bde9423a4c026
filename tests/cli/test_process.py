"""The program as a process: what it imports, where it writes, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import User
from fake_daemon import FakeDaemon

HEAVY = ("grpc", "fuse", "tornado", "pydantic_settings", "requests", "rich", "google.protobuf")


@pytest.mark.parametrize("command", ["--help", "status", "mount", "unmount x", "--version", "daemon --help"])
def test_short_commands_import_nothing_heavy(user: User, daemon: FakeDaemon, command: str) -> None:
    script = (
        "import sys; from pachmount.cli.main import run; code = run(sys.argv[1:]);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command.split()], env=user.env, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "variables"), [("status", {}), ("status --json", {}), ("mount ", {"_PACHMOUNT_COMPLETE": "1"})]
)
def test_what_prompts_and_shells_wait_for_does_without_typer(
    user: User, daemon: FakeDaemon, arguments: str, variables: dict[str, str]
) -> None:
    daemon.routes["GET /repos"] = [{"project": "default", "repo": "images", "branches": [], "authorization": "off"}]
    script = (
        "import atexit, sys; from pachmount.__main__ import main;"
        f"atexit.register(lambda: print([name for name in {(*HEAVY, 'typer')!r} if name in sys.modules]));"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments.split(" ")],
        env={**user.env, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    *answer, imported = done.stdout.splitlines()
    assert imported == "[]"
    assert "images" in answer if variables else answer


def test_help_goes_to_stdout_and_a_bare_call_is_wrong_use(user: User) -> None:
    asked, bare = user.run("-h"), user.run()
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.startswith("Usage: pachmount")
    assert (bare.returncode, bare.stdout) == (2, "")
    assert bare.stderr == asked.stdout


def test_version_flag(user: User) -> None:
    done = user.run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "pachmount 0.1.0\n", "")


def test_colour_only_where_it_is_wanted(user: User, daemon: FakeDaemon) -> None:
    assert "\033" not in user.run("status").stdout
    assert "\033[32m" in user.run("status", FORCE_COLOR="1").stdout
    assert "\033" not in user.run("status", FORCE_COLOR="1", NO_COLOR="1").stdout
    assert "\033" not in user.run("status", FORCE_COLOR="1", TERM="dumb").stdout


def test_a_reader_that_went_away(user: User, daemon: FakeDaemon) -> None:
    entry = {"path": "/" + "x" * 200, "type": "file", "size_bytes": 1, "hash": "00"}
    daemon.routes["GET /files"] = {"source": "s", "commit": "c", "files": [entry] * 5000, "next": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "pachmount", "list", "r@b"],
        env=user.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_a_full_disk_below_the_output_is_no_bug(user: User, daemon: FakeDaemon) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pachmount", "status"],
            env=user.env,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write the output — No space left on device\n")


def test_streams_that_the_caller_closed(user: User, daemon: FakeDaemon) -> None:
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        command = ["sh", "-c", f'"$0" -m pachmount -q status {closed}', sys.executable]
        done = subprocess.run(command, env=user.env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_interrupt(user: User, daemon: FakeDaemon) -> None:
    def never(_body: object, _query: object) -> object:
        time.sleep(3)
        return []

    daemon.routes["GET /repos"] = never
    process = subprocess.Popen(
        [sys.executable, "-m", "pachmount", "list"], env=user.env, stdout=-1, stderr=-1, text=True
    )
    deadline = time.monotonic() + 20
    while not any(route == "GET /repos" for route, _, _ in daemon.requests):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in out + err


def test_a_bug_is_one_line_and_a_traceback_only_on_request(user: User, daemon: FakeDaemon) -> None:
    daemon.routes["GET /status"] = {"version": "another"}
    plain, debugging = user.run("status"), user.run("status", "--debug")
    assert plain.returncode == debugging.returncode == 70
    assert plain.stdout == debugging.stdout == ""
    assert len(plain.stderr.splitlines()) == 2
    assert "Traceback" in debugging.stderr


def test_an_unexpected_exception_is_one_line_too(user: User, daemon: FakeDaemon) -> None:
    script = (
        "import sys; from pachmount.cli.state import State; State.status = None;"
        "from pachmount.cli.main import run; sys.exit(run(['status']))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=user.env, capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert done.stderr.startswith("error: this is a bug — TypeError: ")
    assert "--debug" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_silent_daemon_is_reported(user: User, tmp_path: object) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(user.home / "s"))
        silent.listen()
        script = (
            "import pachmount.cli.state as s, sys; s.STATUS_TIMEOUT = 0.3;"
            "from pachmount.cli.main import run; sys.exit(run(['status']))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**user.env, "PFS_SOCK_PATH": str(user.home / "s")},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 69
    assert done.stderr.startswith("error: the daemon does not answer")


def test_a_stale_pid_is_a_died_daemon(user: User) -> None:
    from pachmount.paths import places

    where = places()
    where.lock_file.parent.mkdir(parents=True)
    ended = subprocess.Popen(["true"])
    ended.wait()
    where.lock_file.write_text(f"{ended.pid}\n")
    where.mounts_file.write_text('{"mounts": [{"name": "images"}]}')
    done = user.run("status")
    assert done.returncode == 3
    assert f"(pid {ended.pid}) died" in done.stdout
    assert "daemon start" in done.stderr
    where.lock_file.write_text(f"{os.getpid()}\n")  # lives, but is another program
    where.mounts_file.unlink()
    assert "is not running for" in user.run("status").stdout
