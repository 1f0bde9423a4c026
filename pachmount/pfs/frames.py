"""HTTP/2 frames as RFC 9113 has them: their layout, and what a server may not send in them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_BYTES = 9
"""The length of the header in front of each frame."""
MAX_CONTROL_BYTES = 64 << 10
"""The longest frame that is accepted, DATA aside: RFC 9113 allows a limit of our own for everything but DATA."""
SMALLEST_MAX_FRAME, LARGEST_MAX_FRAME = 1 << 14, (1 << 24) - 1
LARGEST_WINDOW = (1 << 31) - 1
DEFAULT_WINDOW = 65_535
CANCEL = 8
SETTING_HEADER_TABLE, SETTING_PUSH, SETTING_WINDOW, SETTING_FRAME = 1, 2, 4, 5

PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR = 1, 3, 6, 9

_OF_THE_CONNECTION = {SETTINGS, PING, GOAWAY}
_OF_A_STREAM = {DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION}
_LENGTHS = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_NAMES = (
    *("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS"),
    *("PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"),
)


class ConnectionLostError(Exception):
    """The connection ended before the stream did."""


class ProtocolError(ConnectionLostError):
    """The server broke a rule of RFC 9113, which ends the connection; `code` is the HTTP/2 error code."""

    def __init__(self, text: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame as it is sent."""
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def check(kind: int, flags: int, stream: int, length: int, *, current: int, max_data: int) -> None:
    """Raise ProtocolError if a client whose newest stream is `current` may not be sent a frame with this header.

    `max_data` is the longest DATA frame, in bytes, that the client has announced. Frames of unknown types are allowed.
    """
    name = _NAMES[kind] if kind < len(_NAMES) else f"type {kind}"
    if length > (max_data if kind == DATA else MAX_CONTROL_BYTES):
        raise ProtocolError(f"a frame of {length} bytes ({name})", FRAME_SIZE_ERROR)
    if kind == PUSH_PROMISE:
        raise ProtocolError("a promise to push, which was forbidden")
    if kind == CONTINUATION:
        raise ProtocolError("a CONTINUATION frame that continues nothing")
    if (kind in _OF_THE_CONNECTION and stream) or (kind in _OF_A_STREAM and not stream):
        raise ProtocolError(f"a frame ({name}) for stream {stream}")
    if kind in (DATA, HEADERS, RST_STREAM, WINDOW_UPDATE) and stream and (stream > current or not stream % 2):
        raise ProtocolError(f"a frame ({name}) for stream {stream}, which was never opened")
    if length != _LENGTHS.get(kind, length) or (kind == GOAWAY and length < 8):
        raise ProtocolError(f"a frame ({name}) of {length} bytes", FRAME_SIZE_ERROR)
    if kind == SETTINGS and (length % 6 or (flags & ACK and length)):
        raise ProtocolError(f"a frame ({name}) of {length} bytes", FRAME_SIZE_ERROR)


def padding(flags: int, length: int, first: int) -> int:
    """How many bytes of padding end a frame of `length` bytes whose first byte is `first`. Raises ProtocolError."""
    if not flags & PADDED:
        return 0
    if first >= length:
        raise ProtocolError(f"a frame of {length} bytes with {first} bytes of padding")
    return first


def header_block(flags: int, payload: bytes) -> bytes:
    """The part of a HEADERS frame's payload that holds the headers, without padding and priority.

    Raises ProtocolError.
    """
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ProtocolError("an empty frame that should be padded", FRAME_SIZE_ERROR)
        start, end = 1, end - padding(flags, len(payload), payload[0])
    if flags & HAS_PRIORITY:
        start += 5
    if start > end:
        raise ProtocolError(f"a HEADERS frame of {len(payload)} bytes", FRAME_SIZE_ERROR)
    return payload[start:end]


def settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """The pairs of key and value in the payload of a SETTINGS frame. Raises ProtocolError."""
    for key, value in struct.iter_unpack(">HI", payload):
        if key == SETTING_WINDOW and value > LARGEST_WINDOW:
            raise ProtocolError(f"a window of {value} bytes", FLOW_CONTROL_ERROR)
        if key == SETTING_FRAME and not SMALLEST_MAX_FRAME <= value <= LARGEST_MAX_FRAME:
            raise ProtocolError(f"frames of at most {value} bytes")
        if key == SETTING_PUSH and value:
            raise ProtocolError("a server that asks to be pushed to")
        yield key, value
