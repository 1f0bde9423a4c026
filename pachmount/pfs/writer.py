"""FileWriter: one stream of changed files, pushed from our side, with bounded memory, applied whole or not at all."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

from pachmount.errors import ClusterTimeoutError, InvalidPathError, PachmountError
from pachmount.names import unstorable_reason
from pachmount.pfs import convert
from pachmount.pfs.model import CommitRef
from pachmount.pfs.proto import pfs_pb2
from pachmount.pfs.rpc import Rpc
from pachmount.pfs.status import to_error

CHUNK_BYTES = 1024 * 1024
"""Content is sent in pieces of this size: small servers take no more than 4 MiB in a message."""

_BUFFER_BYTES = 4 * 1024 * 1024
_BUFFER_MESSAGES = 1024


class FileWriter:
    """Collects changes to one commit or branch, or without a `target` to a new file set. Use it as a context manager,
    from one thread.

    Nothing is applied before `close`; leaving the `with` block by an exception, or the end of the process, applies
    nothing. A failure of the stream is raised by the next write or by `close`.
    """

    def __init__(self, rpc: Rpc, target: CommitRef | None, *, stall_timeout: float, finish_timeout: float) -> None:
        self._address = rpc.address.qualified
        self._answer = b""
        self._stall_timeout = stall_timeout
        self._finish_timeout = finish_timeout
        self._condition = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._sent_messages = 0
        self._ended = False
        method = "CreateFileSet"
        if target is not None:
            method = "ModifyFile"
            set_commit = pfs_pb2.ModifyFileRequest(set_commit=convert.commit_message(target, with_branch=True))
            self._waiting.append(set_commit.SerializeToString())
        self._call: Any = rpc.client_stream(f"/pfs_v2.API/{method}", self._requests())
        self._call.add_done_callback(lambda _call: self._end())

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def delete_file(self, path: str) -> None:
        """Remove a file, or with a trailing slash a whole tree; nothing happens if there is none."""
        self._send(pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path)), 0)

    def add_file(self, path: str, content: bytes | memoryview | Iterable[bytes | memoryview] = b"") -> int:
        """Append content (bytes, or pieces of any size) to a file, made if there is none; gives the bytes sent.

        To overwrite a file, delete it first. Raises InvalidPathError for a path that PFS cannot store.
        """
        if reason := unstorable_reason(path):
            raise InvalidPathError(f"invalid path '{path}'", reason)
        pieces = [content] if isinstance(content, (bytes, bytearray, memoryview)) else content
        total, is_first = 0, True
        for piece in pieces:
            for start in range(0, len(piece), CHUNK_BYTES):
                chunk = piece[start : start + CHUNK_BYTES]
                self._send_chunk(path, bytes(chunk))
                total, is_first = total + len(chunk), False
        if is_first:
            self._send(pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path=path, raw=BytesValue())), 0)
        return total

    def copy_file(self, source: CommitRef, source_path: str, path: str) -> None:
        """Let a file be what a commit has at `source_path`; the bytes do not come here. Without a source: no change.

        Raises InvalidPathError for a path that PFS cannot store.
        """
        if reason := unstorable_reason(path):
            raise InvalidPathError(f"invalid path '{path}'", reason)
        copy = pfs_pb2.CopyFile(dst=path, src=convert.file_message(source, source_path))
        self._send(pfs_pb2.ModifyFileRequest(copy_file=copy), 0)

    def close(self) -> None:
        """Send what is left and have the changes applied; raises what went wrong.

        After a ClusterTimeoutError or ClusterUnreachableError here it is not known whether they were.
        """
        self._end()
        try:
            self._answer = self._call.result(timeout=self._finish_timeout)
        except grpc.FutureTimeoutError:
            self._call.cancel()
            why = f"the changes were not confirmed within {self._finish_timeout:g} s"
            raise ClusterTimeoutError(f"no answer from the cluster at {self._address}", why) from None
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            raise self._failure() from error
        except BaseException:  # an interrupt while waiting
            self._call.cancel()
            raise

    @property
    def file_set(self) -> str:
        """The id of the file set that was made; known after `close`."""
        return pfs_pb2.CreateFileSetResponse.FromString(self._answer).file_set_id

    def abort(self) -> None:
        """Give up: nothing is applied. After `close` it does nothing."""
        # Cancel first: ending the requests of a live call would have them applied.
        self._call.cancel()
        self._end()

    def _send_chunk(self, path: str, chunk: bytes) -> None:
        add = pfs_pb2.AddFile(path=path, raw=BytesValue(value=chunk))
        self._send(pfs_pb2.ModifyFileRequest(add_file=add), len(chunk))

    def _send(self, message: pfs_pb2.ModifyFileRequest, size: int) -> None:
        encoded = message.SerializeToString()
        with self._condition:
            if self._waiting_bytes >= _BUFFER_BYTES or len(self._waiting) >= _BUFFER_MESSAGES:
                self._wait_for_room()
            if self._ended:
                raise self._failure()
            self._waiting.append(encoded)
            self._waiting_bytes += size
            if len(self._waiting) == 1:
                self._condition.notify_all()

    def _wait_for_room(self) -> None:
        sent, since = self._sent_messages, time.monotonic()
        while self._waiting and not self._ended:
            self._condition.wait(1.0)
            if self._sent_messages != sent:
                sent, since = self._sent_messages, time.monotonic()
            elif time.monotonic() - since > self._stall_timeout:
                self.abort()
                what = f"the cluster at {self._address} stopped taking data"
                raise ClusterTimeoutError(what, f"nothing could be sent for {self._stall_timeout:g} s")

    def _requests(self) -> Iterator[bytes]:
        """What gRPC sends; it asks for the next message, in a thread of its own, when the last one is on its way."""
        while True:
            with self._condition:
                while not self._waiting and not self._ended:
                    self._condition.wait()
                batch, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
                self._condition.notify_all()
            if not batch:
                return
            for message in batch:
                yield message
                self._sent_messages += 1

    def _end(self) -> None:
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def _failure(self) -> PachmountError:
        code = self._call.code()
        if code in (None, grpc.StatusCode.OK):
            return PachmountError("the writer is closed", "changes were already applied")
        return to_error(self._call, self._address)
