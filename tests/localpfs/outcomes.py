"""Reading calls: what came of them, as the recorded scenarios tell it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

T = TypeVar("T")


@dataclass
class Outcome:
    """What a call came to: its code, its messages, and the times and texts that help to understand a difference."""

    code: str
    text: str
    messages: list[Message]
    seconds: float = 0.0


def collect(
    call: Any, limit: float, take: int | None, quiet: float | None, pause: dict[str, Any] | None = None
) -> Outcome:
    """Read a call to its end, or as far as the step says; the client gives up after `limit` seconds."""
    started = time.monotonic()
    outcome = _collect(call, limit, take, quiet, pause)
    outcome.seconds = time.monotonic() - started
    return outcome


def pausing(items: Iterable[T], pause: dict[str, Any] | None) -> Iterator[T]:
    """The items, with a rest of `s` seconds after the first `after` of them."""
    for number, item in enumerate(items, 1):
        yield item
        if pause is not None and number == pause["after"]:
            time.sleep(pause["s"])


def _collect(call: Any, limit: float, take: int | None, quiet: float | None, pause: dict[str, Any] | None) -> Outcome:
    messages: list[Message] = []
    gave_up = threading.Event()

    def give_up() -> None:
        gave_up.set()
        call.cancel()

    timer = threading.Timer(limit, give_up)
    timer.start()
    try:
        for message in pausing(call, pause):
            messages.append(message)
            if take is not None and len(messages) == take:
                timer.cancel()
                return _quiet(call, messages, quiet)
        return Outcome("OK", "", messages)
    except grpc.RpcError as error:
        if gave_up.is_set():
            return Outcome("DEADLINE_EXCEEDED", "", messages)
        return Outcome(error.code().name, error.details() or "", messages)
    finally:
        timer.cancel()


def _quiet(call: Any, messages: list[Message], quiet: float | None) -> Outcome:
    if quiet is not None:
        timer = threading.Timer(quiet, call.cancel)
        timer.start()
        try:
            messages.extend(call)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED:
                return Outcome(error.code().name, error.details() or "", messages)
        finally:
            timer.cancel()
    call.cancel()
    return Outcome("OK", "", messages)
