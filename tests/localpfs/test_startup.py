"""Starting and ending the server: readiness, addresses, locks, versions."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pachmount.errors import BusyError, InvalidAddressError, NotPermittedError, from_dict
from pachmount.localpfs import address
from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.servers import add, launch, modify, on_branch, read, repo, running, start


def test_socket_is_for_its_owner_only(tmp_path: Path) -> None:
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        assert server.address == f"unix://{tmp_path}/s"
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_clean_stop_removes_the_socket(tmp_path: Path) -> None:
    server = start(tmp_path / "store", f"unix://{tmp_path}/s")
    assert server.stop() == 0
    assert not (tmp_path / "s").exists()


def test_any_free_port_is_told(tmp_path: Path) -> None:
    with running(tmp_path / "store", "127.0.0.1:0") as server:
        assert server.address.startswith("grpc://127.0.0.1:")
        assert not server.address.endswith(":0")
        assert [info.project.name for info in server.pfs.ListProject(pfs_pb2.ListProjectRequest())] == ["default"]


def test_second_server_on_one_store_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "store", f"unix://{tmp_path}/s"):
        process, said = launch(tmp_path / "store", f"unix://{tmp_path}/t")
        assert process.wait(10) == BusyError.exit_code
        assert not said["ready"]
        assert isinstance(from_dict(said["error"]), BusyError)


def test_second_server_does_not_take_the_socket(tmp_path: Path) -> None:
    with running(tmp_path / "one", f"unix://{tmp_path}/s") as server:
        process, said = launch(tmp_path / "two", f"unix://{tmp_path}/s")
        assert process.wait(10) == BusyError.exit_code
        assert isinstance(from_dict(said["error"]), BusyError)
        assert list(server.pfs.ListProject(pfs_pb2.ListProjectRequest()))


def test_second_server_does_not_share_the_port(tmp_path: Path) -> None:
    with running(tmp_path / "one", "127.0.0.1:0") as server:
        process, said = launch(tmp_path / "two", server.address)
        assert process.wait(10) == BusyError.exit_code
        assert not said["ready"]


def test_socket_of_a_killed_server_is_replaced(tmp_path: Path) -> None:
    server = start(tmp_path / "store", f"unix://{tmp_path}/s")
    server.kill()
    server.channel.close()
    assert (tmp_path / "s").exists()
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as again:
        assert list(again.pfs.ListProject(pfs_pb2.ListProjectRequest()))


def test_file_at_the_socket_path_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    process, said = launch(tmp_path / "store", f"unix://{tmp_path}/s")
    process.wait(10)
    assert isinstance(from_dict(said["error"]), InvalidAddressError)
    assert (tmp_path / "s").read_text() == "precious"


def test_remote_address_needs_leave(tmp_path: Path) -> None:
    process, said = launch(tmp_path / "store", "0.0.0.0:0")
    assert process.wait(10) == NotPermittedError.exit_code
    assert isinstance(from_dict(said["error"]), NotPermittedError)
    process, said = launch(tmp_path / "store", "0.0.0.0:0", "--allow-remote")
    process.terminate()
    assert process.wait(20) == 0
    assert said["ready"]


_STOPPED_IN_ANOTHER_THREAD = """
import os, signal, threading, time
from pathlib import Path
from pachmount.localpfs.server import _stop_signals

state = Path("/proc/self/task", str(os.getpid()), "stat")

def stop():
    while state.read_text().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

with _stop_signals() as wait:
    threading.Thread(target=stop, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    wait()
"""


def test_a_signal_that_another_thread_gets_stops_it() -> None:
    subprocess.run([sys.executable, "-c", _STOPPED_IN_ANOTHER_THREAD], check=True, timeout=20)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("unix:///run/s", "unix:/run/s"),
        ("unix:/run/s", "unix:/run/s"),
        ("127.0.0.1:1650", "127.0.0.1:1650"),
        ("grpc://127.0.0.2:1", "127.0.0.2:1"),
        ("localhost:0", "127.0.0.1:0"),
        ("[::1]:1650", "[::1]:1650"),
    ],
)
def test_addresses(text: str, target: str) -> None:
    assert address.parse(text).target == target


@pytest.mark.parametrize("text", ["", "1650", "127.0.0.1", "127.0.0.1:x", "example:1", "127.0.0.1:70000", "a/b"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(InvalidAddressError):
        address.parse(text)


def test_socket_path_too_long() -> None:
    with pytest.raises(InvalidAddressError):
        address.parse("unix:///" + "x" * 107)


def test_data_is_there_after_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r")))
        modify(server, on_branch("r"), add("/a", b"1"))
    with running(tmp_path / "store", f"unix://{tmp_path}/s") as server:
        modify(server, on_branch("r"), add("/a", b"2"))
        assert read(server, on_branch("r"), "/a") == b"12"


def test_server_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.localpfs.servers import launch;"
        f"print(launch(Path({str(tmp_path / 'store')!r}), 'unix://{tmp_path}/s', '--exit-with-parent')[1]['pid'])"
    )
    parent = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    pid = int(parent.stdout)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "the server goes on without its parent"
        threading.Event().wait(0.05)
    assert not (tmp_path / "s").exists()


def test_a_socket_in_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    process, said = launch(tmp_path / "store", f"unix://{tmp_path}/nowhere/s")
    assert process.wait(10) != 0
    assert not said["ready"]


def test_probe_of_a_socket_that_somebody_listens_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        with pytest.raises(BusyError):
            address.remove_stale_socket(address.UnixAddress(tmp_path / "s"))
