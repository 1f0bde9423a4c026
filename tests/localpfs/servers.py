"""Starting and ending embedded servers for the tests, each a process of its own on a unix socket."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from pachmount.pfs.proto import pfs_pb2, pfs_pb2_grpc

MESSAGE_BYTES = 20 * 1024 * 1024
_OPTIONS = [
    ("grpc.max_receive_message_length", 2 * MESSAGE_BYTES),
    ("grpc.max_send_message_length", 2 * MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),
]
_START_SECONDS = 30


@dataclass
class Server:
    """A running server process, and a channel to it."""

    process: subprocess.Popen[bytes]
    address: str
    channel: grpc.Channel

    @property
    def pfs(self) -> Any:
        return pfs_pb2_grpc.APIStub(self.channel)  # type: ignore[no-untyped-call]

    def kill(self) -> None:
        """End the process the hard way, as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """End the process the clean way; its exit code."""
        self.channel.close()
        self.process.terminate()
        return self.process.wait(20)


def launch(root: Path, listen: str, *more: str) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Start a server; the process and the line it writes when it is ready or has failed."""
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "pachmount.localpfs", "--root", str(root), "--listen", listen]
    process = subprocess.Popen([*command, "--ready-fd", str(writer), *more], pass_fds=[writer])
    os.close(writer)
    with os.fdopen(reader) as stream:
        readable, _, _ = select.select([stream], [], [], _START_SECONDS)
        line = stream.readline() if readable else ""
    if not line:
        process.kill()
        raise RuntimeError(f"the server said nothing; it ended with {process.wait()}")
    return process, json.loads(line)


def start(root: Path, listen: str, *more: str) -> Server:
    process, said = launch(root, listen, *more)
    if not said["ready"]:
        raise RuntimeError(said)
    return Server(process, said["address"], connect(said["address"]))


def connect(address: str) -> grpc.Channel:
    return grpc.insecure_channel(address.replace("unix://", "unix:").removeprefix("grpc://"), options=_OPTIONS)


@contextlib.contextmanager
def running(root: Path, listen: str, *more: str) -> Iterator[Server]:
    """A server, with `more` arguments, for the length of the block; ended in any case."""
    server = start(root, listen, *more)
    try:
        yield server
    finally:
        server.channel.close()
        if server.process.poll() is None:
            server.process.terminate()
            try:
                server.process.wait(20)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()


def repo(name: str, project: str = "default") -> pfs_pb2.Repo:
    return pfs_pb2.Repo(name=name, type="user", project=pfs_pb2.Project(name=project))


def on_branch(name: str, branch: str = "master") -> pfs_pb2.Commit:
    """A commit handle that means the head of a branch."""
    return pfs_pb2.Commit(repo=repo(name), branch=pfs_pb2.Branch(name=branch, repo=repo(name)))


def add(path: str, data: bytes | None = None) -> pfs_pb2.ModifyFileRequest:
    request = pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path=path))
    if data is not None:
        request.add_file.raw.value = data
    return request


def delete(path: str) -> pfs_pb2.ModifyFileRequest:
    return pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path))


def modify(server: Server, commit: pfs_pb2.Commit, *changes: pfs_pb2.ModifyFileRequest) -> None:
    server.pfs.ModifyFile(iter([pfs_pb2.ModifyFileRequest(set_commit=commit), *changes]))


def read(server: Server, commit: pfs_pb2.Commit, path: str, offset: int = 0) -> bytes:
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path=path), offset=offset)
    return b"".join(part.value for part in server.pfs.GetFile(request))


def walk(server: Server, commit: pfs_pb2.Commit, path: str = "/") -> list[pfs_pb2.FileInfo]:
    return list(server.pfs.WalkFile(pfs_pb2.WalkFileRequest(file=pfs_pb2.File(commit=commit, path=path))))
