"""The daemon's end and return: orderly by signal, by kill -9, by two starters at once; mounts survive each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pachmount.documents import aside_in
from tests.integration.box import EXTERNAL_CLUSTER, Box, wait_until

own_server = pytest.mark.skipif(bool(EXTERNAL_CLUSTER), reason="looks at the embedded server's process")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.fixture
def mounted(new_box: Callable[..., Box]) -> tuple[Box, str, list[str]]:
    """A box with two mounts, one of them at an older commit and at a place of the user's own; the ids."""
    box = new_box(PACHMOUNT_POLL_INTERVAL="0.5")
    repo = box.repo("life")
    ids = [box.put(repo, {"/file": b"%d" % number}) for number in range(2)]
    (box.root / "own").mkdir()
    box.mount(repo)
    box.mount(f"{repo}@master", "pinned", at=box.root / "own")
    box.refresh("pinned", ids[0])
    assert_mounted(box, repo, ids)
    return box, repo, ids


def assert_mounted(box: Box, repo: str, ids: list[str]) -> None:
    """Both mounts are there, at their commits; looked at from another process."""
    states = {entry["name"]: (entry["state"], entry["commit"]) for entry in box.status()["mounts"]}
    assert states == {repo: ("mounted", ids[1]), "pinned": ("mounted", ids[0])}
    assert box.out('cat "$1" "$2"', box.path(repo, "file"), box.root / "own" / "file") == "10"
    assert len(box.mounts_in_kernel()) == 2


@pytest.mark.parametrize("whole_directory", [False, True])
def test_a_socket_that_was_removed_is_made_anew(mounted: tuple[Box, str, list[str]], *, whole_directory: bool) -> None:
    """logind removes the runtime directory with the user's last session, cleaners of temporary files a socket."""
    box, repo, ids = mounted
    pid, place = box.pid, Path(box.status()["socket"])
    shutil.rmtree(place.parent) if whole_directory else place.unlink()
    assert box.run("mount", repo, "--name", "later").returncode == 0
    assert (box.pid, alive(pid)) == (pid, True)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    box.ok("unmount", "later")
    assert_mounted(box, repo, ids)
    if not EXTERNAL_CLUSTER:
        wait_until(place.with_name("localpfs.sock").exists, "the embedded server listens again, too")
    box.put(repo, {"/more": b""})


def test_a_client_that_goes_away_does_not_end_it(mounted: tuple[Box, str, list[str]]) -> None:
    """Neither before nor after a session ended: libfuse then gives SIGPIPE its deadly default back."""
    box, repo, _ids = mounted
    pid = box.pid
    box.run("unmount", "pinned")
    for _ in range(3):
        leave_before_the_answer(box, "GET /stats HTTP/1.1\r\nHost: pachmount\r\n\r\n" * 200)
    assert box.run("status").returncode == 0
    assert (box.pid, alive(pid)) == (pid, True)
    assert signal.SIGPIPE not in default_signals(pid)
    assert box.out('cat "$1"', box.path(repo, "file")) == "1"


def leave_before_the_answer(box: Box, requests: str) -> None:
    """Ask and close at once, so that the answers are written to a closed connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(box.places.socket))
        connection.sendall(requests.encode())


def default_signals(pid: int) -> set[signal.Signals]:
    """The signals that a process neither ignores, nor handles, nor blocks."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    taken = int(fields["SigIgn"], 16) | int(fields["SigCgt"], 16)
    return {number for number in signal.Signals if not taken >> (number - 1) & 1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_it_and_leaves_nothing(mounted: tuple[Box, str, list[str]], number: signal.Signals) -> None:
    box, repo, ids = mounted
    pid, servers = box.pid, box.embedded_pids
    os.kill(pid, number)
    wait_until(lambda: not alive(pid), "the daemon ends")
    assert box.mounts_in_kernel() == []
    assert os.listdir(box.mount_dir) == []
    assert os.listdir(box.root / "own") == []
    assert not box.places.socket.exists()
    assert not box.embedded_pids, f"the embedded server {servers} outlives its daemon"
    done = box.run("status", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["state"] == "stopped"
    box.ok("daemon", "start")
    assert_mounted(box, repo, ids)


def test_it_ends_in_order_under_open_files_and_a_working_directory(mounted: tuple[Box, str, list[str]]) -> None:
    box, repo, ids = mounted
    program = "import os, sys; os.chdir(sys.argv[1]); f = open('file'); print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(box.path(repo))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        box.ok("daemon", "stop")
        assert box.mounts_in_kernel() == []
        assert os.listdir(box.mount_dir) == []
        box.ok("daemon", "start")
        assert_mounted(box, repo, ids)


def test_a_killed_daemon_is_noticed_and_the_next_mount_brings_all_back(mounted: tuple[Box, str, list[str]]) -> None:
    box, repo, ids = mounted
    pid = box.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the daemon is gone")
    done = box.run("status")
    assert done.returncode == 3
    assert "died" in done.stdout
    assert repo in done.stdout
    assert box.sh('ls "$1"', box.path(repo)).returncode != 0, "dead mounts answer at once"
    other = box.repo("other")
    assert box.run("mount", other).returncode == 66, "a command that fails still recovers the mounts"
    assert_mounted(box, repo, ids)
    assert box.pid != pid
    box.ok("mount", repo)
    assert_mounted(box, repo, ids)


def test_a_killed_daemon_under_a_reader_gives_errors_and_never_hangs(mounted: tuple[Box, str, list[str]]) -> None:
    box, repo, ids = mounted
    program = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
print("ready", flush=True)
sys.stdin.readline()
try:
    print(os.pread(descriptor, 10, 0))
except OSError as error:
    print("OSError", error.errno)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(box.path(repo, "file"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        os.kill(box.pid, signal.SIGKILL)
        said, _ = reader.communicate("\n", timeout=30)
    assert said.startswith("OSError") or said == "b'1'\n"
    box.ok("daemon", "start")
    assert_mounted(box, repo, ids)


def test_two_commands_at_once_start_one_daemon(new_box: Callable[..., Box]) -> None:
    box = new_box()
    repo = box.repo("race")
    box.put(repo, {"/file": b"text"})
    box.ok("daemon", "stop")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda n: box.run("mount", repo, "--name", f"m{n}"), range(4)))
    assert [result.returncode for result in done] == [0] * 4, done
    assert len(box.mounts_in_kernel()) == 4
    daemons = [pid for pid in box.process_ids() if b"pachmount.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert daemons == [box.pid]
    assert len(box.embedded_pids) == (0 if EXTERNAL_CLUSTER else 1)


@own_server
def test_the_embedded_server_comes_back_when_it_dies(mounted: tuple[Box, str, list[str]]) -> None:
    box, repo, ids = mounted
    (server,) = box.embedded_pids
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: box.embedded_pids not in ([], [server]), "a new server", timeout=30)
    assert_mounted(box, repo, ids)
    box.cluster().close()
    assert repo in box.ok("list")


def test_what_belongs_to_the_user_alone_is_not_open_to_others(mounted: tuple[Box, str, list[str]]) -> None:
    box, _, _ = mounted
    assert box.places.socket.stat().st_mode & 0o777 == 0o600
    for directory in (box.places.socket.parent, box.places.lock_file.parent, box.root / "data" / "pachmount" / "local"):
        assert directory.stat().st_mode & 0o077 == 0, directory
    for file in box.places.lock_file.parent.iterdir():
        if file.is_file():
            assert file.stat().st_mode & 0o077 == 0, file


@own_server
def test_a_second_daemon_for_another_mount_directory_shares_cache_and_store(new_box: Callable[..., Box]) -> None:
    first = new_box()
    repo = first.repo("shared")
    content = os.urandom(3 << 20)
    first.put(repo, {"/file": content})
    second = new_box(share=first, PACHMOUNT_POLL_INTERVAL="0.5")
    assert second.pid != first.pid
    assert second.address == first.address
    assert len(first.embedded_pids) == 1
    first.mount(repo)
    assert first.path(repo, "file").read_bytes() == content
    wait_until(
        lambda: first.status()["cache"]["write_queue"] == 0 and first.status()["cache"]["disk_blocks"], "written"
    )
    second.mount(repo)
    assert second.path(repo, "file").read_bytes() == content
    assert second.status()["cache"]["fetched_bytes"] == 0, "all of it was in the cache on disk"
    first.ok("daemon", "stop")
    assert second.out('cat "$1" | wc -c', second.path(repo, "file")).strip() == str(len(content))
    wait_until(lambda: repo in second.run("list").stdout, "it has a server of its own", timeout=30)


@own_server
def test_the_embedded_server_outlives_the_daemon_that_started_it(new_box: Callable[..., Box]) -> None:
    """For the other daemon's user nothing happens, although it looks at the cluster only once a minute."""
    first = new_box()
    repo = first.repo("shared")
    first.put(repo, {"/file": b"text"})
    second = new_box(share=first, PACHMOUNT_POLL_INTERVAL="60")
    second.mount(repo)
    first.ok("daemon", "stop")
    assert f"default/{repo}" in second.ok("list")
    assert second.path(repo, "file").read_bytes() == b"text"


def test_a_damaged_list_of_mounts_is_set_aside(mounted: tuple[Box, str, list[str]]) -> None:
    box, repo, ids = mounted
    box.ok("daemon", "stop")
    box.places.mounts_file.write_text("{ broken")
    box.ok("daemon", "start")
    assert_mounted(box, repo, ids)  # its copy is used
    [aside] = aside_in(box.places.mounts_file.parent)
    assert aside.read_text() == "{ broken"
    aside.unlink()
    box.ok("unmount", "--all", "--yes")
    box.ok("daemon", "stop")
    box.places.mounts_file.write_text("{ broken")
    box.places.mounts_file.with_name("mounts.copy.json").unlink()
    box.ok("daemon", "start")
    assert box.status()["mounts"] == []
    [aside] = aside_in(box.places.mounts_file.parent)
    assert box.status()["damaged_files"] == [str(aside)]
    assert str(aside) in box.ok("status")
    assert str(aside) in box.run("doctor").stdout
    box.mount(repo)
    assert box.path(repo, "file").read_bytes() == b"1"


def test_a_mount_that_cannot_come_back_is_an_error_that_can_be_tried_again(
    mounted: tuple[Box, str, list[str]],
) -> None:
    box, repo, ids = mounted
    box.ok("daemon", "stop")
    (box.root / "own" / "in the way").write_bytes(b"")
    box.ok("daemon", "start")
    entry = box.mount_status("pinned")
    assert entry["state"] == "error"
    assert "not empty" in entry["status"]
    assert box.mount_status(repo)["state"] == "mounted"
    assert box.path(repo, "file").read_bytes() == b"1"
    (box.root / "own" / "in the way").unlink()
    box.ok("mount", f"{repo}@{ids[0]}", str(box.root / "own"), "--name", "pinned")
    assert_mounted(box, repo, ids)
