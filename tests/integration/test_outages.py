"""The cluster goes away under a mount and comes back: errors within the deadline, no wrong byte, no lasting harm."""

from __future__ import annotations

import errno
import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.box import Box, Server, wait_until
from tests.integration.reader import end

MIB = 1 << 20
READ_TIMEOUT = 3.0
SLACK = 8.0
"""The kernel asks twice for a page that it could not read ahead, so an error may take twice the time-out."""
"""Beyond the deadline: two cores, shared with others."""
PASSING = (errno.EIO, errno.ETIMEDOUT)

CACHED = random.Random(1).randbytes(3 * MIB + 5)
BIG = random.Random(2).randbytes(40 * MIB)


class Holder:
    """A process with one file open, that reads ranges when it is told to."""

    PROGRAM = """
import hashlib, json, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDONLY)
print("ready", flush=True)
for line in sys.stdin:
    offset, size = map(int, line.split())
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    started, answer = time.monotonic(), {}
    try:
        answer["sha256"] = hashlib.sha256(os.pread(descriptor, size, offset)).hexdigest()
    except OSError as error:
        answer["errno"] = error.errno
    answer["seconds"] = time.monotonic() - started
    print(json.dumps(answer), flush=True)
"""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        )
        assert self._line(20) == "ready\n"

    def read(self, offset: int, size: int) -> dict[str, Any]:
        """What came of it: sha256 or errno, and seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{offset} {size}\n")
        self._process.stdin.flush()
        return dict(json.loads(self._line(READ_TIMEOUT * 5)))

    def _line(self, timeout: float) -> str:
        import select

        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], timeout)
        assert readable, f"a read hangs for more than {timeout:g} s"
        return self._process.stdout.readline()

    def close(self) -> None:
        end(self._process)


@dataclass
class Outage:
    """A mount of a server on TCP, and the two ways in which the server goes and returns."""

    box: Box
    server: Server
    repo: str
    how: str

    def begin(self) -> None:
        if self.how == "frozen":
            self.server.freeze()
        else:
            self.server.kill()

    def end(self) -> None:
        if self.how == "frozen":
            self.server.thaw()
        else:
            self.server.start()

    def state(self) -> str:
        started = time.monotonic()
        state = str(self.box.status()["cluster"]["state"])
        assert time.monotonic() - started < 2, "status waits for the cluster"
        return state


@pytest.fixture(params=["frozen", "killed"])
def outage(request: pytest.FixtureRequest, new_box: Callable[..., Box]) -> Outage:
    return make_outage(request.param, new_box, READ_TIMEOUT)


def make_outage(how: str, new_box: Callable[..., Box], read_timeout: float) -> Outage:
    box = new_box(
        start=False,
        PACHMOUNT_READ_TIMEOUT=str(read_timeout),
        PACHMOUNT_CALL_TIMEOUT="1.5",
        PACHMOUNT_POLL_INTERVAL="0.5",
    )
    server = box.server()
    box.ok("login", server.address)
    box.put("r", {"/cached": CACHED, "/big": BIG, "/small": b"small", "/dir/x": b"x"}, address=server.address)
    box.mount("r")
    box.listed("r")
    return Outage(box, server, "r", how)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_outage_from_beginning_to_end(outage: Outage) -> None:
    box, path = outage.box, outage.box.path(outage.repo)
    cached, big = Holder(path / "cached"), Holder(path / "big")
    try:
        assert cached.read(0, 4 * MIB).get("sha256") == sha256(CACHED)
        outage.begin()
        # what was not read before: an error within the deadline, every time
        for offset in (0, 30 * MIB):
            answer = big.read(offset, 100)
            assert answer.get("errno") in PASSING, answer
            assert answer["seconds"] < READ_TIMEOUT + SLACK
        assert box.sh('cat "$1"', path / "small", timeout=READ_TIMEOUT + 2 * SLACK).returncode != 0
        # what was read before
        answer = cached.read(0, 4 * MIB)
        assert answer.get("sha256") == sha256(CACHED)
        assert answer["seconds"] < SLACK
        # names
        assert box.out('ls "$1"', path, timeout=SLACK).split() == ["big", "cached", "dir", "small"]
        assert box.out('stat -c %s "$1"', path / "big", timeout=SLACK).strip() == str(len(BIG))
        # nothing is unmounted, and the commands say what is wrong
        assert len(box.mounts_in_kernel()) == 1
        wait_until(lambda: outage.state() == "unreachable", "status tells of the outage")
        done = box.run("status", timeout=10)
        assert done.returncode == 0
        assert "unreachable" in done.stdout
        assert outage.server.address in box.refused("list", code=69, timeout=READ_TIMEOUT + 3 * SLACK)
        box.refused("refresh", outage.repo, code=69, timeout=READ_TIMEOUT + 3 * SLACK)
        assert box.mount_status(outage.repo)["state"] == "mounted"
        # the same open file reads on when the cluster is back
        outage.end()
        wait_until(lambda: big.read(0, 100).get("sha256") == sha256(BIG[:100]), "reads work again", timeout=30)
        assert big.read(0, len(BIG)).get("sha256") == sha256(BIG)
        wait_until(lambda: outage.state() == "connected", "status tells of the return")
        assert "r" in box.ok("list")
        assert box.out('cat "$1"', path / "small") == "small"
    finally:
        cached.close()
        big.close()


def test_a_mount_can_be_ended_during_an_outage(new_box: Callable[..., Box]) -> None:
    outage = make_outage("frozen", new_box, READ_TIMEOUT)
    outage.begin()
    started = time.monotonic()
    outage.box.ok("unmount", outage.repo, timeout=20)
    assert time.monotonic() - started < READ_TIMEOUT + SLACK, "unmounting does not wait for the cluster"
    assert outage.box.mounts_in_kernel() == []
    outage.end()


def test_a_daemon_that_starts_during_an_outage_serves_when_the_cluster_is_back(outage: Outage) -> None:
    """What was mounted is mounted again with the names that were known; the rest is an error within the deadline."""
    box, path = outage.box, outage.box.path(outage.repo)
    outage.begin()
    box.ok("daemon", "restart", timeout=60)
    assert len(box.mounts_in_kernel()) == 1
    assert box.out('ls "$1"', path).split() == ["big", "cached", "dir", "small"]
    started = time.monotonic()
    assert box.sh('cat "$1/cached"', path, timeout=60).returncode != 0, "nobody has read it before"
    assert time.monotonic() - started < READ_TIMEOUT + SLACK
    outage.end()
    wait_until(lambda: box.sh('ls "$1"', path).stdout.split() == ["big", "cached", "dir", "small"], "ls works", 30)
    assert box.out('sha256sum < "$1"', path / "big").split()[0] == sha256(BIG)
    box.log_problems()  # libraries may log what they could not reach


def test_many_readers_in_an_outage_all_get_an_error_and_do_no_harm(new_box: Callable[..., Box]) -> None:
    outage = make_outage("frozen", new_box, READ_TIMEOUT)
    box, path = outage.box, outage.box.path(outage.repo)
    outage.begin()
    program = """
import os, sys, threading, time
errors = []
def read(number):
    descriptor = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
    try:
        os.preadv(descriptor, [memoryview(__import__("mmap").mmap(-1, 4096))], number * 262144)
        errors.append(0)
    except OSError as error:
        errors.append(error.errno)
    os.close(descriptor)
threads = [threading.Thread(target=read, args=(n,)) for n in range(100)]
started = time.monotonic()
for t in threads: t.start()
for t in threads: t.join()
print(sorted(set(errors)), len(errors), time.monotonic() - started)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path / "big")], stdout=subprocess.PIPE, text=True, cwd="/"
    ) as readers:
        wait_until(lambda: box.status()["waiting_requests"] > 10, "the readers wait")
        status = box.status()
        assert status["waiting_requests"] <= status["waiting_requests_limit"]
        said = readers.communicate(timeout=60)[0]
    codes, count, seconds = said.split("] ")[0] + "]", *said.split("] ")[1].split()
    assert set(json.loads(codes)) <= set(PASSING)
    assert int(count) == 100
    assert float(seconds) < 2 * READ_TIMEOUT + SLACK
    outage.end()
    wait_until(lambda: box.sh('cat "$1"', path / "small").stdout == "small", "reads work again", timeout=30)
    assert box.out('sha256sum < "$1"', path / "big").split()[0] == sha256(BIG)
    wait_until(lambda: box.status()["waiting_requests"] == 0, "nobody waits any more")


def test_a_short_outage_in_the_middle_of_a_read_is_not_noticed(new_box: Callable[..., Box]) -> None:
    """The server is killed in the middle of a stream and comes back within the deadline: not one byte is missing."""
    outage = make_outage("killed", new_box, 30.0)
    path = outage.box.path(outage.repo)
    program = """
import hashlib, os, sys
descriptor, digest = os.open(sys.argv[1], os.O_RDONLY), hashlib.sha256()
digest.update(os.read(descriptor, 1 << 20))
print("ready", flush=True)
sys.stdin.readline()
while data := os.read(descriptor, 100000):
    digest.update(data)
print(digest.hexdigest())
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path / "big")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        outage.begin()
        reader.stdin.write("\n")
        reader.stdin.flush()
        outage.end()
        said, _ = reader.communicate(timeout=60)
    assert said.strip() == sha256(BIG)


def test_another_cluster_ends_the_mounts_of_the_former(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False)
    one, two = box.server(), box.server()
    box.ok("login", one.address)
    box.put("r", {"/file": b"one"}, address=one.address)
    box.put("r", {"/file": b"two"}, address=two.address)
    box.mount("r")
    assert box.path("r", "file").read_bytes() == b"one"
    message = box.refused("login", "grpc://127.0.0.1:1", code=69)
    assert "127.0.0.1:1" in message
    assert box.path("r", "file").read_bytes() == b"one", "a login that fails changes nothing"
    box.ok("login", two.address)
    assert box.mounts_in_kernel() == []
    box.mount("r")
    assert box.path("r", "file").read_bytes() == b"two"
    box.ok("login", "--local")
    assert box.mounts_in_kernel() == []
    assert box.status()["cluster"]["embedded"]
    box.ok("daemon", "restart")
    assert box.status()["cluster"]["embedded"]
