"""The daemon as a service: what it tells systemd, its log, and settings that change while it runs."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pachmount.log import MAX_LOG_BYTES
from tests.integration.box import Box, wait_until


class Supervisor:
    """A fake systemd: it collects what the daemon says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self.said += message.decode().splitlines()

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join(10)
        self._socket.close()

    def heard(self, line: str) -> bool:
        return line in self.said

    @property
    def beats(self) -> int:
        return self.said.count("WATCHDOG=1")


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "notify")
    yield supervisor
    supervisor.close()


@contextmanager
def service(box: Box, log: Path, *flags: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """`pachmount daemon run`, as a service manager starts it, with its stderr in a file."""
    program = [sys.executable, "-m", "pachmount", "daemon", "run", *flags]
    with log.open("wb") as stderr:
        info = os.fstat(stderr.fileno())
        journal = {"JOURNAL_STREAM": f"{info.st_dev}:{info.st_ino}"}
        process = subprocess.Popen(
            program, stdin=subprocess.DEVNULL, stderr=stderr, env={**box.env, **journal, **env}, cwd=box.root
        )
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_systemd_hears_that_it_is_ready_lives_and_stops(
    new_box: Callable[..., Box], supervisor: Supervisor, tmp_path: Path
) -> None:
    box = new_box(start=False)
    log = tmp_path / "journal"
    with service(box, log, NOTIFY_SOCKET=str(supervisor.path), WATCHDOG_USEC="400000"):
        wait_until(lambda: supervisor.heard("READY=1"), "READY=1")
        assert box.status()["mounts"] == [], "it serves when it says that it is ready"
        repo = box.repo("watched")
        box.put(repo, {"/file": b"text"})
        box.mount(repo)
        wait_until(lambda: supervisor.beats >= 3, "three signs of life")
        wait_until(lambda: supervisor.heard("STATUS=1 mounts, 0 with errors; cluster: connected"), "its condition")
        for pid in [box.pid, *box.embedded_pids]:
            inherited = Path(f"/proc/{pid}/environ").read_text()
            assert pid == box.pid or "NOTIFY_SOCKET" not in inherited
        assert not supervisor.heard("STOPPING=1")
    assert supervisor.heard("STOPPING=1")
    lines = log.read_text().splitlines()
    assert any(line.startswith("INFO    pachmount.daemon.app: ") for line in lines), "the journal notes the time"
    assert any(line[:2] == "20" for line in box.places.log_file.read_text().splitlines()), "the file needs it"


def test_a_daemon_that_hangs_gives_no_sign_of_life(
    new_box: Callable[..., Box], supervisor: Supervisor, tmp_path: Path
) -> None:
    """Its mount table cannot be read any more, say; the loop still runs and answers."""
    box = new_box(start=False)
    stuck = tmp_path / "stuck"
    hook = (
        "import sys, time, os; from pachmount.daemon import __main__ as m; from pachmount.daemon.app import Daemon\n"
        "before = Daemon.status\n"
        "def status(self):\n"
        f"    while os.path.exists({str(stuck)!r}): time.sleep(0.01)\n"
        "    return before(self)\n"
        "Daemon.status = status\n"
        "sys.exit(m.main())\n"
    )
    env = {**box.env, "NOTIFY_SOCKET": str(supervisor.path), "WATCHDOG_USEC": "200000"}
    with subprocess.Popen([sys.executable, "-c", hook, "--foreground"], env=env, cwd=box.root) as process:
        try:
            wait_until(lambda: supervisor.beats >= 2, "signs of life")
            stuck.touch()
            said = "the daemon does not answer itself"
            wait_until(lambda: said in box.places.log_file.read_text(), "it noticed")
            before = supervisor.beats
            wait_until(lambda: box.places.log_file.read_text().count(said) >= 3, "it goes on noticing")
            assert supervisor.beats == before
            stuck.unlink()
            wait_until(lambda: supervisor.beats > before, "it lives again")
        finally:
            stuck.unlink(missing_ok=True)
            process.terminate()
            process.wait(60)


def test_a_supervisor_that_went_is_no_reason_to_stop(new_box: Callable[..., Box], tmp_path: Path) -> None:
    box = new_box(start=False)
    with service(box, tmp_path / "journal", NOTIFY_SOCKET=str(tmp_path / "gone"), WATCHDOG_USEC="100000"):
        wait_until(lambda: box.run("status").returncode == 0, "it runs")
        wait_until(lambda: "cannot tell the service manager" in box.places.log_file.read_text(), "and says so")


def test_json_logs(new_box: Callable[..., Box], tmp_path: Path) -> None:
    box = new_box(start=False)
    log = tmp_path / "journal"
    with service(box, log, "--log-format", "json"):
        wait_until(lambda: box.run("status").returncode == 0, "it runs")
    for file in (log, box.places.log_file):
        found = [json.loads(line) for line in file.read_text().splitlines()]
        assert any(each["message"].endswith(f"mounts below {box.mount_dir}") for each in found)
        assert all(each["level"] and each["time"] and each["logger"] for each in found)


def test_the_log_is_bounded_and_followed_over_its_rotation(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False)
    log = box.places.log_file
    log.parent.mkdir(parents=True, mode=0o700)
    log.write_text("x" * (MAX_LOG_BYTES - 100) + "\n")
    follower = subprocess.Popen(
        [sys.executable, "-m", "pachmount", "daemon", "logs", "-f", "-n", "0"],
        stdout=subprocess.PIPE,
        env=box.env,
        text=True,
    )
    try:
        wait_until(lambda: _has_open(follower.pid, log), "it follows")
        box.start()
        assert follower.stdout is not None
        seen = ""
        while "ready: " not in seen:  # the time limit of the test is its end
            seen += follower.stdout.readline()
        assert log.stat().st_size < MAX_LOG_BYTES
        assert log.with_name("daemon.log.1").stat().st_size > MAX_LOG_BYTES - 200
        both = log.with_name("daemon.log.1").read_text().split("\n", 1)[1] + log.read_text()
        assert both.startswith(seen), "nothing is left out"
        follower.send_signal(signal.SIGINT)
        assert follower.wait(10) == 130
    finally:
        follower.kill()
        follower.communicate()


def _has_open(pid: int, path: Path) -> bool:
    try:
        return any(os.path.realpath(link) == str(path) for link in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False


# --- reload


def test_settings_that_can_change_do_and_the_others_are_named(new_box: Callable[..., Box]) -> None:
    box = new_box()
    repo = box.repo("reload")
    box.put(repo, {"/file": b"1"})
    box.mount(repo)
    pid = box.pid
    assert box.ok("daemon", "reload") == "nothing changed\n"
    hint = box.run("config", "set", "log_level", "debug").stderr
    assert "pachmount daemon reload" in hint
    for name, value in {
        "cache_size": "2G",
        "poll_interval": "0.2",
        "log_format": "json",
        "listen": "127.0.0.1:0",
    }.items():
        box.ok("config", "set", name, value)
    done = box.run("daemon", "reload")
    assert done.returncode == 0, done
    assert sorted(done.stdout.splitlines()) == [
        "cache_size: 10.0 GiB -> 2.0 GiB",
        "listen: - -> 127.0.0.1:0 (after a restart)",
        "log_format: text -> json",
        "log_level: info -> debug",
        "poll_interval: 5.0 -> 0.2",
    ]
    assert "pachmount daemon restart" in done.stderr
    assert box.status()["cache"]["disk_limit"] == 2 << 30
    assert (box.pid, box.status()["listen"]) == (pid, "")
    newest = box.put(repo, {"/file": b"2"})
    started = time.monotonic()
    wait_until(lambda: box.mount_status(repo)["latest_commit"] == newest, "the new interval holds")
    assert time.monotonic() - started < 4
    last = box.places.log_file.read_text().splitlines()[-1]
    assert json.loads(last)["message"]
    [change] = json.loads(box.ok("daemon", "reload", "--json"))["changes"]
    assert change == {"name": "listen", "before": "", "now": "127.0.0.1:0", "needs_restart": True}


def test_each_live_setting_is_taken(new_box: Callable[..., Box]) -> None:
    box = new_box()
    wanted = {"memory_size": "32M", "read_ahead": "2M", "read_timeout": "7", "call_timeout": "3", "listings_size": "1M"}
    for name, value in wanted.items():
        box.ok("config", "set", name, value)
    changes = json.loads(box.ok("daemon", "reload", "--json"))["changes"]
    assert {change["name"]: change["needs_restart"] for change in changes} == dict.fromkeys(wanted, False)
    cache = box.status()["cache"]
    assert (cache["memory_limit"], cache["listings_limit"]) == (32 << 20, 1 << 20)


def test_a_broken_settings_file_changes_nothing(new_box: Callable[..., Box]) -> None:
    box = new_box()
    path = Path(box.ok("config", "path").strip())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('log_level = "debug"\ncash_size = "1G"\n')
    assert "cache_size" in box.refused("daemon", "reload", code=78)
    path.write_text('log_level = "info"\n')
    assert box.ok("daemon", "reload") == "nothing changed\n"


def test_a_flag_of_the_start_still_comes_before_the_file(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False)
    box.ok("daemon", "start", "--cache-size", "1G")
    box.ok("config", "set", "cache_size", "2G")
    assert box.ok("daemon", "reload") == "nothing changed\n"


# --- status --watch


def test_status_watched_as_json_goes_on_while_the_daemon_comes_and_goes(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False)
    command = [sys.executable, "-m", "pachmount", "status", "--watch", "--json", "--interval", "0.1"]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=box.env, text=True)
    try:
        assert watcher.stdout is not None
        assert json.loads(watcher.stdout.readline())["state"] == "stopped"
        box.start()
        while json.loads(watcher.stdout.readline())["state"] != "running":
            pass
        box.ok("daemon", "stop")
        while json.loads(watcher.stdout.readline())["state"] == "running":
            pass
        watcher.send_signal(signal.SIGINT)
        _, said = watcher.communicate(timeout=10)
        assert (watcher.returncode, said) == (130, "")
    finally:
        watcher.kill()
        watcher.communicate()


def test_status_watched_on_a_terminal_is_drawn_anew(new_box: Callable[..., Box]) -> None:
    box = new_box()
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "pachmount", "status", "-w", "--interval", "0.1"]
    watcher = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=box.env, start_new_session=True)
    os.close(slave)
    seen = b""
    try:
        while seen.count(b"\033[H\033[2J") < 3:
            seen += os.read(master, 65536)
        assert b"nothing is mounted" in seen
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(10) == 130
    finally:
        watcher.kill()
        watcher.wait()
        os.close(master)
