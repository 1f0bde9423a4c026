"""Connections that went silent: when they are replaced, and when they are closed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pachmount.pfs import line as module
from pachmount.pfs.line import Line, Lines


class FakeChannel:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class FakeStream:
    """What a Line looks at in a stream."""

    def __init__(self) -> None:
        self.heard_at = 0.0
        self.ended = False


class FakeUpload:
    def __init__(self) -> None:
        self.finished = False

    def done(self) -> bool:
        return self.finished


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(module, "GRACE", 0.0)
    return []


@pytest.fixture
def lines(opened: list[Any]) -> Lines:
    def open_channel() -> Any:
        opened.append(FakeChannel())
        return opened[-1]

    return Lines(open_channel)


def current(lines: Lines) -> Line:
    found = lines.current()
    assert found is not None
    return found


def test_it_is_opened_at_the_first_call_and_kept(lines: Lines, opened: list[Any]) -> None:
    assert opened == []
    assert current(lines) is current(lines)
    assert len(opened) == 1


def test_it_is_replaced_when_nothing_was_heard_for_the_whole_time_of_a_call(lines: Lines, opened: list[Any]) -> None:
    first = current(lines)
    first.hear()
    lines.timed_out(first, time.monotonic())
    assert current(lines) is not first
    assert [channel.closed for channel in opened] == [True, False]


def test_it_is_kept_when_another_call_was_answered_meanwhile(lines: Lines) -> None:
    first, started = current(lines), time.monotonic()
    first.hear()
    lines.timed_out(first, started)
    assert current(lines) is first
    stream = FakeStream()
    first.add_stream(stream)  # type: ignore[arg-type]
    started, stream.heard_at = time.monotonic(), time.monotonic() + 1
    lines.timed_out(first, started)
    assert current(lines) is first


def test_a_second_call_that_times_out_on_it_does_not_replace_the_new_one(lines: Lines) -> None:
    first = current(lines)
    lines.timed_out(first, time.monotonic())
    second = current(lines)
    lines.timed_out(first, time.monotonic())
    assert current(lines) is second


def test_what_runs_on_a_silent_one_goes_on(lines: Lines, opened: list[Any]) -> None:
    first, stream, upload = current(lines), FakeStream(), FakeUpload()
    first.add_stream(stream)  # type: ignore[arg-type]
    first.add_upload(upload)  # type: ignore[arg-type]
    lines.timed_out(first, time.monotonic())
    current(lines)
    assert not opened[0].closed
    stream.ended = True
    current(lines)
    assert not opened[0].closed
    upload.finished = True
    current(lines)
    assert opened[0].closed


def test_a_stream_that_was_forgotten_keeps_nothing_open(lines: Lines, opened: list[Any]) -> None:
    first = current(lines)
    first.add_stream(FakeStream())  # type: ignore[arg-type]
    lines.timed_out(first, time.monotonic())
    current(lines)
    assert opened[0].closed


def test_silent_ones_are_bounded(lines: Lines, opened: list[Any]) -> None:
    uploads = [FakeUpload() for _ in range(10)]
    for upload in uploads:
        line = current(lines)
        line.add_upload(upload)  # type: ignore[arg-type]
        lines.timed_out(line, time.monotonic())
    current(lines)
    assert [channel.closed for channel in opened] == [True] * 6 + [False] * 5
    lines.close()
    assert all(channel.closed for channel in opened)
    assert lines.current() is None
