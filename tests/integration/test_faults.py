"""Faults on the wire, read through a real mount: right bytes or an error in time, and no lasting harm."""

from __future__ import annotations

import errno
import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from tests.integration import call_proxy as faults
from tests.integration.box import Box, wait_until
from tests.integration.call_proxy import On
from tests.integration.reader import Answer, Range, Reader
from tests.integration.wire import Wire, data

MIB = 1 << 20
READ_TIMEOUT = 3.0
LATEST = READ_TIMEOUT + 6.0
"""Two cores, shared with others."""
QUICK = 3.0
"""For what waits for nobody."""
PASSING = (errno.EIO, errno.ETIMEDOUT)


@pytest.fixture(scope="module")
def shared_wire(fuse: None) -> Iterator[Wire]:
    box = Box(
        {
            "PACHMOUNT_READ_TIMEOUT": str(READ_TIMEOUT),
            "PACHMOUNT_CALL_TIMEOUT": "1.5",
            "PACHMOUNT_POLL_INTERVAL": "0.5",
        }
    )
    wire = None
    try:
        wire = Wire(box)
        wire.login()
        yield wire
        wire.heal()
        box.stop()
    finally:
        box.close()
        if wire is not None:
            wire.close()


@pytest.fixture
def wire(shared_wire: Wire) -> Iterator[Wire]:
    yield shared_wire
    shared_wire.heal()
    shared_wire.box.clean()
    assert not shared_wire.box.log_problems()


@pytest.fixture
def reader() -> Iterator[Reader]:
    with Reader(limit=3 * LATEST) as reader:
        yield reader


def assert_fails_in_time(answer: Answer, *codes: int) -> None:
    assert answer.errno in codes, str(answer)
    assert answer.seconds < LATEST, str(answer)


def assert_right_again(reader: Reader, handle: int, content: bytes) -> None:
    """The same open file can be read within the time that a person would wait."""
    wait_until(lambda: not reader.read(handle, len(content) // 2, 10).errno, "a read works again", LATEST)
    assert reader.read(handle, 0, len(content)).data == content


# --- faults that pass: not noticed


PASSING_ON_THE_WIRE: dict[str, Callable[[Wire], None]] = {
    "reset in the middle": lambda wire: wire.bytes.cut_after(9 * MIB, "reset"),
    "closed in the middle": lambda wire: wire.bytes.cut_after(9 * MIB, "close"),
    "reset at once": lambda wire: wire.bytes.reset(),
    "reset before the first byte": lambda wire: wire.bytes.cut_after(1, "reset"),
    "delayed": lambda wire: setattr(wire.bytes, "delay", 0.002),
    "slow": lambda wire: setattr(wire.bytes, "bandwidth", 20e6),
    "new connections are slow to start": lambda wire: (setattr(wire.bytes, "slow_start", 1.0), wire.bytes.reset())[0],
}


@pytest.mark.parametrize("fault", PASSING_ON_THE_WIRE)
def test_a_fault_of_the_wire_that_passes_is_not_noticed(wire: Wire, reader: Reader, fault: str) -> None:
    content = data(fault, 20 * MIB + 11)
    handle = reader.open(wire.mounted({"/file": content}) / "file", direct=True)
    PASSING_ON_THE_WIRE[fault](wire)
    answer = reader.read(handle, 0, len(content))
    assert not answer.errno, str(answer)
    assert answer.data == content


PASSING_STATUSES = [
    (grpc.StatusCode.UNAVAILABLE, "connection error: desc = transport is closing"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests"),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded"),
    (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
    (grpc.StatusCode.UNKNOWN, "Stream removed"),
]


@pytest.mark.parametrize(("code", "text"), PASSING_STATUSES, ids=lambda value: getattr(value, "name", ""))
@pytest.mark.parametrize("size", [5000, 12 * MIB + 3], ids=["small", "big"])
def test_a_call_that_breaks_off_is_taken_up_again(
    wire: Wire, reader: Reader, code: grpc.StatusCode, text: str, size: int
) -> None:
    content = data(f"{code} {size}", size)
    handle = reader.open(wire.mounted({"/file": content}) / "file", direct=True)
    fault = wire.calls.fault = On(faults.status_after(size // 2, code, text), times=2)
    answer = reader.read(handle, 0, len(content))
    assert not answer.errno, str(answer)
    assert answer.data == content
    assert fault.struck == 2


PASSING_ANSWERS = {
    "ends early": faults.first(2000),
    "is empty": faults.first(0),
    "has more": faults.followed_by(b"more"),
    "is damaged": faults.flipped,
}


@pytest.mark.parametrize("fault", PASSING_ANSWERS)
def test_a_wrong_answer_is_asked_for_again(wire: Wire, reader: Reader, fault: str) -> None:
    content = data(fault, 10_000)
    handle = reader.open(wire.mounted({"/file": content}) / "file", direct=True)
    struck = wire.calls.fault = On(PASSING_ANSWERS[fault], times=1)
    answer = reader.read(handle, 0, len(content))
    assert not answer.errno, str(answer)
    assert answer.data == content
    assert struck.struck == 1


def odd_sizes() -> Iterator[int]:
    generator = random.Random(3)
    while True:
        yield generator.choice([0, 1, 7, 1000, 65_535, 300_000])


SIZES: dict[str, tuple[int, Callable[[], Iterator[int]]]] = {
    "19 MiB": (42 * MIB + 5, lambda: itertools.repeat(19 * MIB)),
    "7 bytes": (30_000, lambda: itertools.repeat(7)),
    "odd sizes, some empty": (5 * MIB + 1, odd_sizes),
    "a byte more than a block": (5 * MIB + 1, lambda: itertools.repeat(MIB + 1)),
}


@pytest.mark.parametrize("sizes", SIZES)
def test_messages_of_any_size_make_the_same_file(wire: Wire, reader: Reader, sizes: str) -> None:
    size, of_messages = SIZES[sizes]
    content = data(sizes, size)
    handle = reader.open(wire.mounted({"/file": content}) / "file", direct=True)
    wire.calls.fault = On(faults.in_sizes(of_messages))
    assert reader.read(handle, size - 3000, 2000).data == content[size - 3000 : size - 1000]
    assert reader.read(handle, 0, size).data == content


def test_pauses_between_messages_are_no_fault(wire: Wire, reader: Reader) -> None:
    """A stream that goes on slowly may take longer than a read may wait: each read gets what it needs."""
    content = data("pauses", 8 * MIB)
    handle = reader.open(wire.mounted({"/file": content}) / "file")
    wire.calls.fault = On(faults.paused(READ_TIMEOUT / 3))  # five messages of 2 MiB at most
    for offset in range(0, len(content), MIB):
        answer = reader.read(handle, offset, MIB, dropped=False)
        assert answer.data == content[offset : offset + MIB], str(answer)


def test_a_broken_stream_goes_on_where_it_broke(wire: Wire, reader: Reader) -> None:
    size = 64 * MIB
    content = data("economy", size)
    handle = reader.open(wire.mounted({"/file": content}) / "file", direct=True)
    before, requests = wire.bytes.down_bytes, len(wire.calls.content_requests)
    wire.bytes.cut_after(size // 2, "reset")
    assert reader.read(handle, 0, size).data == content
    assert wire.bytes.cuts
    assert wire.bytes.down_bytes - before < 1.25 * size, "what had come is kept"
    offsets = [call.file_request.offset for call in wire.calls.content_requests[requests:]]
    assert offsets[0] == 0
    assert min(offsets[1:]) > size // 4, "and not asked for again"


# --- faults that last: an error in time, and none when they are gone


LASTING_ON_THE_WIRE: dict[str, Callable[[Wire], None]] = {
    "stalled": lambda wire: setattr(wire.bytes, "stalled", True),
    "refused": lambda wire: (wire.bytes.refuse(), wire.bytes.reset())[0],
    "silent": lambda wire: (setattr(wire.bytes, "silent", True), wire.bytes.reset())[0],
    "much too slow": lambda wire: setattr(wire.bytes, "bandwidth", 2e4),
}


@pytest.mark.parametrize("fault", LASTING_ON_THE_WIRE)
def test_a_fault_of_the_wire_that_lasts_is_an_error_in_time(wire: Wire, reader: Reader, fault: str) -> None:
    content = data(fault, 6 * MIB)
    handle = reader.open(wire.mounted({"/file": content}) / "file", direct=True)
    LASTING_ON_THE_WIRE[fault](wire)
    assert_fails_in_time(reader.read(handle, 3 * MIB, 100), *PASSING)
    wire.heal()
    assert_right_again(reader, handle, content)


def test_a_connection_that_died_without_a_sign_is_replaced(wire: Wire, reader: Reader) -> None:
    """A laptop slept, a router forgot: the connection is there, nothing passes, a new one would work."""
    content = data("abandoned", 6 * MIB)
    top = wire.mounted({"/file": content})
    handle = reader.open(top / "file", direct=True)
    wire.bytes.abandon()
    wait_until(lambda: reader.read(handle, 3 * MIB, 100).data == content[3 * MIB : 3 * MIB + 100], "a read", LATEST)
    assert_right_again(reader, handle, content)
    wait_until(lambda: not wire.box.run("refresh", top.name).returncode, "calls work again", LATEST)
    wait_until(lambda: wire.box.status()["cluster"]["state"] == "connected", "the next look at its health", LATEST)


def test_one_stream_that_stalls_while_others_run_is_replaced_long_before_the_deadline(
    wire: Wire, reader: Reader
) -> None:
    files = {f"/{n}": data(f"one stalls {n}", 6 * MIB) for n in range(4)}
    top = wire.mounted(files)
    for path in list(files)[:3]:
        assert reader.read(reader.open(top / path[1:], direct=True), 0, 6 * MIB).data == files[path]
    handle = reader.open(top / "3", direct=True)
    fault = wire.calls.fault = On(faults.stall_after(3 * MIB), times=1)
    answer = reader.read(handle, 0, 6 * MIB)
    assert answer.data == files["/3"], str(answer)
    assert fault.struck == 1
    assert answer.seconds < 0.75 * READ_TIMEOUT, str(answer)


def test_a_stream_that_stalls_half_way_is_an_error_in_time(wire: Wire, reader: Reader) -> None:
    content = data("half way", 6 * MIB)
    handle = reader.open(wire.mounted({"/file": content}) / "file", direct=True)
    wire.calls.fault = On(faults.stall_after(MIB // 2))
    assert_fails_in_time(reader.read(handle, 0, 100), *PASSING)
    wire.heal()
    assert_right_again(reader, handle, content)


LASTING_STATUSES = [
    (grpc.StatusCode.UNAVAILABLE, "no healthy upstream", PASSING),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests", PASSING),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded", PASSING),
    (grpc.StatusCode.INTERNAL, "stream terminated by RST_STREAM with error code: INTERNAL_ERROR", PASSING),
    (grpc.StatusCode.UNAUTHENTICATED, "no authentication token (try logging in)", (errno.EACCES,)),
    (grpc.StatusCode.INTERNAL, "error checking role bindings: token expiration is in the past", (errno.EACCES,)),
    (grpc.StatusCode.PERMISSION_DENIED, "not authorized", (errno.EACCES,)),
    (grpc.StatusCode.UNKNOWN, "alice is not authorized to perform this operation - needs REPO_READ", (errno.EACCES,)),
    (grpc.StatusCode.UNKNOWN, "something new", (errno.EIO,)),
]


@pytest.mark.parametrize(("code", "text", "codes"), LASTING_STATUSES, ids=lambda value: getattr(value, "name", ""))
def test_a_status_that_lasts_is_an_error_in_time(
    wire: Wire, reader: Reader, code: grpc.StatusCode, text: str, codes: tuple[int, ...]
) -> None:
    files = {"/small": data(f"{code} {text}", 5000), "/big": data(f"{code} {text} big", 3 * MIB)}
    top = wire.mounted(files)
    small, big = reader.open(top / "small", direct=True), reader.open(top / "big", direct=True)
    wire.calls.fault = On(faults.status_after(0, code, text))
    for answer in reader.read_all([Range(small, 0, 100), Range(big, 2 * MIB, 100)]):
        assert_fails_in_time(answer, *codes)
    wire.heal()
    assert_right_again(reader, small, files["/small"])
    assert_right_again(reader, big, files["/big"])


@pytest.mark.parametrize("fault", PASSING_ANSWERS)
def test_an_answer_that_stays_wrong_is_never_shown(wire: Wire, reader: Reader, fault: str) -> None:
    """Small files (their hash tells), and big ones (their size tells). What came before the fault may be shown."""
    files = {"/small": data(f"{fault} lasts", 10_000)}
    if fault != "is damaged":
        files["/big"] = data(f"{fault} big", 3 * MIB)
    top = wire.mounted(files)
    handles = {path: reader.open(top / path[1:], direct=True) for path in files}
    wire.calls.fault = On(PASSING_ANSWERS[fault])
    answers = reader.read_all([Range(handle, 0, 3 * MIB) for handle in handles.values()])
    for content, answer in zip(files.values(), answers, strict=True):
        if fault != "has more" or answer.errno:
            assert_fails_in_time(answer, *PASSING)
        else:
            assert answer.data == content
    wire.heal()
    for path, handle in handles.items():
        assert_right_again(reader, handle, files[path])


def test_a_memory_map_of_what_cannot_be_had_ends_the_process_and_shows_nothing(wire: Wire, reader: Reader) -> None:
    content = data("map", 10_000)
    handle = reader.open(wire.mounted({"/file": content}) / "file")
    wire.calls.fault = On(faults.flipped)
    answer = reader.read(handle, 0, len(content), mapped=True)
    assert answer.errno == errno.EFAULT, str(answer)
    assert answer.seconds < LATEST + READ_TIMEOUT, "the kernel asks twice"
    wire.heal()
    assert reader.read(handle, 0, len(content), mapped=True).data == content


# --- names


def test_names_that_are_known_are_shown_under_a_stall(wire: Wire, reader: Reader) -> None:
    top = wire.mounted({f"/d{n}/f": b"x" for n in range(20)})
    wire.bytes.stalled = True
    started = time.monotonic()
    assert len(reader.tree(top)) == 20
    assert time.monotonic() - started < QUICK


def test_names_that_are_not_known_are_an_error_in_time(wire: Wire, reader: Reader) -> None:
    repo = wire.box.repo()
    wire.put(repo, {f"/d{n}/f": b"x" for n in range(20)})
    wire.calls.fault = On(faults.stall_after(0), methods=faults.LISTING_CALLS)
    wire.box.mount(repo)
    top = wire.box.path(repo)
    for path in (top / "d1/f", top / "d2"):
        started = time.monotonic()
        assert reader.error_of_open(path) in PASSING
        assert time.monotonic() - started < LATEST
    wire.heal()
    wait_until(lambda: _tree_or_error(reader, top) == {f"d{n}/f": 1 for n in range(20)}, "names are shown", LATEST)


def _tree_or_error(reader: Reader, top: Path) -> dict[str, int] | int | None:
    try:
        return reader.tree(top)
    except OSError as error:
        return error.errno


@pytest.mark.parametrize("how", ["reset", "close", "status"])
def test_a_listing_that_breaks_off_is_not_taken_for_the_whole(wire: Wire, reader: Reader, how: str) -> None:
    repo = wire.box.repo()
    names = {f"d{n % 7}/file-{n:06}": 1 for n in range(5000)}
    wire.put(repo, {f"/{name}": b"x" for name in names})
    if how == "status":
        fault = faults.status_after(100_000, grpc.StatusCode.UNAVAILABLE)
        wire.calls.fault = On(fault, methods=faults.LISTING_CALLS, times=2)
    else:
        wire.bytes.cut_after(100_000, "reset" if how == "reset" else "close")
    wire.box.mount(repo)
    seen: list[object] = []

    def whole() -> bool:
        seen.append(_tree_or_error(reader, wire.box.path(repo)))
        return seen[-1] == names

    wait_until(whole, "all names are shown", LATEST)
    assert all(found in (*PASSING, names) for found in seen), "part of a directory was shown as the whole"


# --- commands


def test_commands_answer_under_a_stall(wire: Wire) -> None:
    box = wire.box
    wire.mounted({"/file": b"1"}, "known")
    other = box.repo()
    wire.put(other, {"/file": b"2"})
    (mount,) = box.status()["mounts"]
    wire.bytes.stalled = True

    def timed(limit: float, *arguments: str) -> str:
        started = time.monotonic()
        done = box.run(*arguments, timeout=30)
        seconds = time.monotonic() - started
        assert seconds < limit, f"{arguments}: {seconds:.1f} s"
        assert "Traceback" not in done.stderr
        return f"{done.returncode} {done.stdout} {done.stderr}"

    assert timed(QUICK, "status").startswith("0 ")
    assert timed(LATEST, "mount", other).startswith("69 ")
    assert timed(LATEST, "refresh", mount["name"]).startswith("69 ")
    wait_until(lambda: box.status()["cluster"]["state"] == "unreachable", "status tells of the stall", LATEST)
    assert "unreachable" in timed(QUICK, "status")
    assert timed(QUICK, "unmount", mount["name"]).startswith("0 ")
    assert box.mounts_in_kernel() == []
    wire.heal()
    wait_until(lambda: timed(LATEST, "mount", other).startswith("0 "), "mounting works again", LATEST)
    assert box.path(other, "file").read_bytes() == b"2"
