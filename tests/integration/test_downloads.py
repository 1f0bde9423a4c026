"""GET /content: ranges, conditions, memory, slow clients, clients that go away, many at a time."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import HTTPResponse

import pytest

from pachmount.client import DaemonClient
from pachmount.errors import DaemonUnreachableError, OutOfRangeError
from tests.integration.box import Box, wait_until
from tests.integration.test_rest import Connection

SIZE = (3 << 20) + 17
DATA = os.urandom(SIZE)
MIB = 1 << 20


@pytest.fixture(scope="module")
def repo(shared_box: Box) -> str:
    repo = shared_box.repo("downloads")
    shared_box.put(repo, {"/data": DATA, "/empty": b"", "/small": b"small"})
    return repo


@pytest.fixture(params=["ro", "rw"])
def mount(request: pytest.FixtureRequest, box: Box, repo: str) -> Iterator[str]:
    """A mount with the file, in the read-write one a staged copy of it."""
    box.mount(repo, "m", mode=request.param)
    if request.param == "rw":
        box.path("m", "data").write_bytes(DATA)
    yield "m"
    wait_until(lambda: box.status()["downloads"] == 0, "all downloads end")


def get(box: Box, path: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = Connection(box.places.socket)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-1048580", 5, 1048581),
        (f"bytes={MIB - 1}-{MIB}", MIB - 1, MIB + 1),
        ("bytes=3000000-", 3_000_000, SIZE),
        ("bytes=0-99999999999", 0, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        ("bytes=-99999999999", 0, SIZE),
    ],
)
def test_ranges(box: Box, mount: str, asked: str, start: int, end: int) -> None:
    answer, body = get(box, f"/content?mount={mount}&path=/data", Range=asked)
    assert answer.status == 206
    assert body == DATA[start:end]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=x-", "lines=1-2", "bytes=0-1,4-5", "bytes=-"])
def test_what_is_no_single_range_is_ignored(box: Box, mount: str, asked: str) -> None:
    answer, body = get(box, f"/content?mount={mount}&path=/data", Range=asked)
    assert (answer.status, len(body)) == (200, SIZE)
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("path", "asked", "size"),
    [("/data", f"bytes={SIZE}-", SIZE), ("/data", "bytes=-0", SIZE), ("/empty", "bytes=0-", 0)],
)
def test_behind_the_end(box: Box, mount: str, path: str, asked: str, size: int) -> None:
    answer, body = get(box, f"/content?mount={mount}&path={path}", Range=asked)
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    assert body.startswith(b"the range lies behind the end")


def test_an_empty_file(box: Box, mount: str) -> None:
    answer, body = get(box, f"/content?mount={mount}&path=/empty")
    assert (answer.status, body, answer.headers["Content-Length"]) == (200, b"", "0")


def test_conditions(box: Box, mount: str) -> None:
    path = f"/content?mount={mount}&path=/data"
    tag = get(box, path)[0].headers["ETag"]
    answer, body = get(box, path, If_None_Match=tag)
    assert (answer.status, body) == (304, b"")
    assert get(box, path, Range="bytes=0-4", If_Range=tag)[0].status == 206
    assert get(box, path, Range="bytes=0-4", If_Range='"other"')[0].status == 200


def test_the_tag_of_a_changed_file_is_another(box: Box, repo: str) -> None:
    box.mount(repo, "m", mode="rw")
    tags = {get(box, "/content?mount=m&path=/small")[0].headers["ETag"]}
    for content in (b"other", b"third"):
        box.path("m", "small").write_bytes(content)
        answer, body = get(box, "/content?mount=m&path=/small")
        assert body == content
        tags.add(answer.headers["ETag"])
    assert len(tags) == 3


def test_the_client_reads_parts(box: Box, mount: str) -> None:
    with box.daemon() as client:
        assert b"".join(client.content(mount=mount, path="/data", start=10, end=20)) == DATA[10:20]
        assert b"".join(client.content(mount=mount, path="/data", start=SIZE - 3)) == DATA[-3:]
        assert b"".join(client.content(mount=mount, path="/empty")) == b""
        with pytest.raises(OutOfRangeError):
            list(client.content(mount=mount, path="/data", start=SIZE))


def test_a_file_that_is_deleted_can_be_read_to_its_end(box: Box, repo: str) -> None:
    box.mount(repo, "m", mode="rw")
    staged = os.urandom(40 * MIB)
    box.path("m", "staged").write_bytes(staged)
    with box.daemon() as client:
        pieces = client.content(mount="m", path="/staged")
        first = next(pieces)
        box.path("m", "staged").unlink()
        assert first + b"".join(pieces) == staged


def test_a_file_that_is_changed_is_cut_off(box: Box, repo: str) -> None:
    box.mount(repo, "m", mode="rw")
    box.path("m", "staged").write_bytes(os.urandom(40 * MIB))
    with box.daemon() as client:
        pieces = client.content(mount="m", path="/staged")
        next(pieces)
        with box.path("m", "staged").open("r+b") as file:
            file.write(b"changed")
        with pytest.raises(DaemonUnreachableError):
            list(pieces)


def rss(daemon: DaemonClient) -> int:
    return daemon.status().rss_bytes


def test_a_large_file_and_a_slow_reader_take_little_memory(box: Box) -> None:
    repo = box.repo("large")
    data = os.urandom(MIB) * 200
    box.put(repo, {"/large": data})
    with box.daemon() as client:
        limit = client.status().cache.memory_limit
        before = rss(client)
        seen = sha256()
        most = 0
        for number, piece in enumerate(client.content(f"{repo}:/large")):
            seen.update(piece)
            if number % 20 == 0:
                most = max(most, rss(client))
        assert seen.digest() == sha256(data).digest()
        assert most - before < limit + 48 * MIB
        with ThreadPoolExecutor(8) as pool:
            slow = [client.content(f"{repo}:/large") for _ in range(8)]
            assert all(pool.map(next, slow))
            assert client.status().downloads == 8
            fetched = client.status().cache.fetched_bytes
            assert rss(client) - before < limit + 64 * MIB
            assert client.status().cache.fetched_bytes - fetched < 100 * MIB
            for pieces in slow:
                pieces.close()  # type: ignore[attr-defined]
        wait_until(lambda: client.status().downloads == 0, "the daemon notices that nobody reads")


def test_a_client_that_goes_away_leaves_nothing(box: Box, mount: str) -> None:
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(box.places.socket))
            connection.sendall(f"GET /content?mount={mount}&path=/data HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
    wait_until(lambda: box.status()["downloads"] == 0, "the daemon notices")
    box.unmount(mount)
    assert not box.log_problems()


def test_other_routes_answer_during_many_downloads(box: Box, repo: str) -> None:
    box.mount(repo, "m")
    with ThreadPoolExecutor(24) as pool:

        def read() -> bool:
            with box.daemon() as client:
                return all(b"".join(client.content(mount="m", path="/data")) == DATA for _ in range(4))

        readers = [pool.submit(read) for _ in range(24)]
        taken = []
        with box.daemon() as client:
            while not all(reader.done() for reader in readers):
                started = time.monotonic()
                client.health()
                client.files(mount="m")
                client.status()
                taken.append(time.monotonic() - started)
        assert all(reader.result() for reader in readers)
    assert max(taken) < 3.0


def test_there_is_an_end_to_how_many(box: Box, repo: str) -> None:
    box.mount(repo, "m")
    with box.daemon() as client:
        limit = client.status().downloads_limit
        open_ones = []
        for _ in range(limit):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(box.places.socket))
            connection.sendall(b"GET /content?mount=m&path=/data HTTP/1.1\r\nHost: x\r\n\r\n")
            open_ones.append(connection)
        wait_until(lambda: client.status().downloads == limit, "all are taken")
        assert get(box, "/content?mount=m&path=/data")[1].startswith(b"too many files")
        for connection in open_ones:
            connection.close()
        wait_until(lambda: client.status().downloads == 0, "all are free")
