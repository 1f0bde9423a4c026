"""gRPC's framing in the body of an HTTP/2 answer: where messages begin and end, and what the end of it all says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar
from urllib.parse import unquote

from pachmount.pfs.channel import MAX_MESSAGE_BYTES  # first: it prepares grpc's environment

# isort: split
import grpc

from pachmount.pfs.http2 import Http2Connection
from pachmount.pfs.status import CallFailedError

T_co = TypeVar("T_co", covariant=True)

_PREFIX_BYTES = 5
_VALUE_TAG = 0x0A
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_HTTP_CODES = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}


class Framing(Protocol[T_co]):
    """Finds gRPC messages in the bytes of an answer; raises ValueError where it cannot."""

    def feed(self, data: memoryview, *, more: bool = False) -> Iterable[T_co]:
        """What the next bytes of the answer bring; `more` tells that others are there already, to be fed at once."""

    @property
    def complete(self) -> bool: ...


class ByteMessages:
    """The values of a stream of BytesValue messages, in pieces as they arrive."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0

    @property
    def complete(self) -> bool:
        return not self._left and not self._head

    def feed(self, data: memoryview, *, more: bool = False) -> Iterator[memoryview]:  # noqa: ARG002
        """The content in the next bytes of the answer."""
        position, size = 0, len(data)
        while position < size:
            if self._left:
                piece = data[position : position + self._left]
                position += len(piece)
                self._left -= len(piece)
                yield piece
            else:
                self._head.append(data[position])
                position += 1
                self._begin()

    def _begin(self) -> None:
        """Start a message once its head is there: prefix, tag and the length of the value."""
        head = self._head
        if len(head) < _PREFIX_BYTES:
            return
        length = _message_length(head)
        if length == 0:
            head.clear()
        elif len(head) > _PREFIX_BYTES + 1 and head[-1] < 0x80:
            value = _varint(head[_PREFIX_BYTES + 1 :])
            if head[_PREFIX_BYTES] != _VALUE_TAG or len(head) - _PREFIX_BYTES + value != length:
                raise ValueError("a message that is not a plain BytesValue")
            self._left = value
            head.clear()
        elif len(head) > _PREFIX_BYTES + 6:
            raise ValueError("a message that is not a plain BytesValue")


class WholeMessages:
    """Whole messages, in lists of all that have arrived."""

    def __init__(self) -> None:
        self._partial = bytearray()

    @property
    def complete(self) -> bool:
        return not self._partial

    def feed(self, data: memoryview, *, more: bool = False) -> Iterable[list[bytes]]:
        """The messages that end in the bytes fed since the last list, as one list; nothing while there are more."""
        self._partial += data
        if more:
            return ()
        buffer, position = self._partial, 0
        found: list[bytes] = []
        size = len(buffer)
        while size - position >= _PREFIX_BYTES:
            start = position + _PREFIX_BYTES
            end = start + int.from_bytes(buffer[position + 1 : start], "big")
            if buffer[position] or end - start > MAX_MESSAGE_BYTES:
                _message_length(buffer[position:start])
            if end > size:
                break
            found.append(bytes(buffer[start:end]))
            position = end
        if position:
            del buffer[:position]
        return [found] if found else []


def _message_length(head: bytearray) -> int:
    if head[0]:
        raise ValueError("a compressed message, which we did not offer")
    length = int.from_bytes(head[1:_PREFIX_BYTES], "big")
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes, which is more than {MAX_MESSAGE_BYTES}")
    return length


def _varint(data: bytearray) -> int:
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(data))


def failure_of(connection: Http2Connection) -> CallFailedError | None:
    """What the end of an answer says: None for status OK."""
    headers, trailers = connection.headers, connection.trailers
    status = trailers.get("grpc-status", headers.get("grpc-status", ""))
    if not status.isdigit():
        http = headers.get(":status", "")
        code = _HTTP_CODES.get(int(http) if http.isdigit() else 0, grpc.StatusCode.UNKNOWN)
        return CallFailedError(code, f"Received http2 header with status: {http or 'none'}")
    if status == "0":
        return None
    code = _CODES.get(int(status), grpc.StatusCode.UNKNOWN)
    return CallFailedError(code, unquote(trailers.get("grpc-message", headers.get("grpc-message", ""))))
