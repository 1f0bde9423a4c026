"""A daemon that is stopped while it works: nothing stays mounted, nothing staged is lost, nobody is told of a bug."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.box import Box, wait_until
from tests.integration.call_proxy import Call
from tests.integration.test_rest import Answer, ask
from tests.integration.wire import Wire

NewBox = Callable[..., Box]
BUDGET = 12.0
"""Seconds, the setting `stop_timeout` of these daemons."""
SLACK = 8.0
"""Beyond it: closing caches, on a machine that other tests share."""


class Client(threading.Thread):
    """Sends one request; `told` is the answer, or the error of the connection."""

    def __init__(self, box: Box, method: str, path: str, body: Any = None) -> None:
        super().__init__()
        self._request = box, method, path, body
        self.told: Answer | OSError | None = None

    def run(self) -> None:
        box, method, path, body = self._request
        try:
            self.told = ask(box, method, path, body)
        except OSError as error:
            self.told = error


@pytest.fixture
def wire(new_box: NewBox) -> Iterator[Wire]:
    wire = Wire(new_box(PACHMOUNT_STOP_TIMEOUT=str(BUDGET)))
    yield wire
    wire.close()


def slowed(chance: random.Random, seconds: float) -> Callable[[Call, Iterator[bytes]], Iterator[bytes]]:
    """Each call takes up to some seconds longer."""

    def fault(call: Call, messages: Iterator[bytes]) -> Iterator[bytes]:
        time.sleep(chance.uniform(0, seconds))
        yield from messages

    return fault


def stop_and_look(box: Box, clients: list[Client], way: str = "SIGTERM") -> None:
    """Stop the daemon in some way; it ends in time, nothing is mounted, and each client was told something true."""
    pid, begun = box.pid, time.monotonic()
    if way == "SIGTERM":
        os.kill(pid, signal.SIGTERM)
    else:
        box.run("daemon", "stop", timeout=BUDGET + SLACK)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the daemon ends", BUDGET + SLACK)
    assert time.monotonic() - begun < BUDGET + SLACK
    assert box.mounts_in_kernel() == []
    for client in clients:
        client.join(BUDGET + SLACK)
        assert client.told is not None
        if not isinstance(client.told, OSError):
            assert client.told.status in (200, 503), client.told.body
            assert "unforeseen" not in client.told.body
            assert "Traceback" not in client.told.body


def rounds(number: int) -> list[Any]:
    usual = 6
    return [pytest.param(seed, marks=[pytest.mark.long] if seed >= usual else []) for seed in range(number)]


@pytest.mark.parametrize("seed", rounds(100))
def test_stopped_while_mounts_are_made(wire: Wire, seed: int) -> None:
    """Up to 40 mounts in one request, others beside it, and the end at any moment."""
    chance, box = random.Random(seed), wire.box
    wire.login()
    repos = []
    for _ in range(3):
        repo = box.repo("r", wire.server.address)
        wire.put(repo, {f"/{name}": b"%d" % name for name in range(5)})
        repos.append(repo)
    box.mount(repos[0], name="before")
    wire.calls.fault = slowed(chance, chance.choice([0.0, 0.02, 0.2]))
    entries = [
        {
            "name": f"m{number}",
            "repo": chance.choice(repos),
            "branch": "master",
            "mode": chance.choice(["ro", "ro", "rw"]),
        }
        for number in range(chance.randint(1, 40))
    ]
    clients = [Client(box, "PUT", "/_mount", {"mounts": entries})]
    clients += [Client(box, "PUT", "/_refresh", {"mounts": [{"name": "before"}]}), Client(box, "GET", "/mounts")]
    for client in clients:
        client.start()
    time.sleep(chance.uniform(0.05, 0.8))  # the moment that the round is about
    stop_and_look(box, clients, chance.choice(["SIGTERM", "daemon stop"]))
    wire.heal()
    box.start()
    assert "before" in [mount["name"] for mount in box.status()["mounts"]]
    assert os.listdir(box.path("before"))


def test_stopped_while_a_commit_hangs(wire: Wire) -> None:
    """The mounts that have nothing to do with it are gone at once, and what is staged is there for the next daemon."""
    box = wire.box
    wire.login()
    repo = box.repo("r", wire.server.address)
    wire.put(repo, {"/a": b"1"})
    box.mount(repo, name="work", mode="rw")
    for name in ("idle", "idle2"):
        box.mount(repo, name=name)
    box.path("work", "new").write_bytes(b"mine")
    wire.server.freeze()
    try:
        committing = Client(box, "PUT", "/_commit", {"mount": "work"})
        committing.start()
        wait_until(lambda: box.mount_status("work")["state"] == "committing", "the commit is under way")
        pid, begun = box.pid, time.monotonic()
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: len(box.mounts_in_kernel()) <= 1, "the idle mounts are taken away")
        assert time.monotonic() - begun < BUDGET / 2
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the daemon ends", BUDGET + SLACK)
        assert box.mounts_in_kernel() == []
        committing.join(20)
        if isinstance(committing.told, Answer):
            assert committing.told.status == 503
            assert "stopping" in committing.told.body
    finally:
        wire.server.thaw()
    box.start()
    wait_until(lambda: box.mount_status("work")["state"] == "mounted", "the mount is back")
    assert box.path("work", "new").read_bytes() == b"mine"
    assert "new" in box.ok("diff", "work")
    box.ok("commit", "work")


def test_what_comes_while_it_stops_is_refused_with_its_reason(wire: Wire) -> None:
    """On a connection that is open already; health and status are told to the end."""
    import http.client
    import socket

    box = wire.box
    wire.login()
    repo = box.repo("r", wire.server.address)
    wire.put(repo, {"/a": b"1"})
    box.mount(repo, name="work", mode="rw")
    box.path("work", "new").write_bytes(b"mine")
    connection = http.client.HTTPConnection("localhost", timeout=BUDGET)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(box.places.socket))
    wire.server.freeze()
    try:
        committing = Client(box, "PUT", "/_commit", {"mount": "work"})
        committing.start()
        wait_until(lambda: box.mount_status("work")["state"] == "committing", "the commit is under way")
        os.kill(box.pid, signal.SIGTERM)
        wait_until(lambda: not box.places.socket.exists(), "it takes no more connections")

        def told(method: str, path: str, body: str = "") -> tuple[int, str, str]:
            connection.request(method, path, body or None)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers.get("Retry-After", "")

        assert told("GET", "/health")[0] == 200
        entry = f'{{"mounts": [{{"name": "x", "repo": "{repo}", "branch": "master"}}]}}'
        status, body, again = told("PUT", "/_mount", entry)
        assert (status, "the daemon is stopping" in body, again) == (503, True, "1")
        committing.join(BUDGET + SLACK)
    finally:
        connection.close()
        wire.server.thaw()
