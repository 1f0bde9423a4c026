"""Measures the embedded server; not a test. `python -m tests.localpfs.measure DIRECTORY [files] [walk-files] [MiB]`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.servers import Server, add, on_branch, repo, running, walk

_MIB = 1024 * 1024


def main() -> None:
    root = Path(sys.argv[1])
    small, many, big = (int(text) for text in (*sys.argv[2:], "10000", "100000", "1024")[:3])
    with running(root / "store", f"unix://{root}/socket") as server:
        for name in ("small", "many", "big"):
            server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo(name)))
        data = os.urandom(4096 * 64)
        _time(f"import {small} files of 4 KiB", lambda: _import(server, "small", _small_files(small, data)))
        _time(f"one file more on top of {small}", lambda: _import(server, "small", iter([add("/d00/new", b"x")])))
        _time(f"import {many} files of 10 bytes", lambda: _import(server, "many", _tiny_files(many)))
        _time(f"WalkFile of {many} files", lambda: len(walk(server, on_branch("many"))))
        _time("ListFile, a page of 100 of them", lambda: _page(server))
        _time(f"import {big} MiB", lambda: _import(server, "big", _big_file(big)))
        _time(f"GetFile of {big} MiB", lambda: _read(server, "big", "/big", 0))
        _time("GetFile, first bytes at 3/4", lambda: _first(server, big * _MIB * 3 // 4))
        _time(f"GetFileTAR of {small} files", lambda: _tar(server))
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        print(*(line for line in status.splitlines() if line.startswith(("VmRSS", "VmHWM"))), sep="\n")


def _time(what: str, run: object) -> None:
    start = time.perf_counter()
    result = run()  # type: ignore[operator]
    seconds = time.perf_counter() - start
    rate = f", {result / seconds / _MIB:.0f} MiB/s" if isinstance(result, int) and result > 100 * _MIB else ""
    print(f"{what}: {seconds:.3f} s{rate}", flush=True)


def _import(server: Server, name: str, changes: Iterator[pfs_pb2.ModifyFileRequest]) -> None:
    def requests() -> Iterator[pfs_pb2.ModifyFileRequest]:
        yield pfs_pb2.ModifyFileRequest(set_commit=on_branch(name))
        yield from changes

    server.pfs.ModifyFile(requests())


def _small_files(count: int, data: bytes) -> Iterator[pfs_pb2.ModifyFileRequest]:
    for number in range(count):
        yield add(f"/d{number % 100:02}/f{number:06}", number.to_bytes(8, "big") + data[number : number + 4088])


def _tiny_files(count: int) -> Iterator[pfs_pb2.ModifyFileRequest]:
    for number in range(count):
        yield add(f"/d{number // 1000:04}/f{number:07}", b"%010d" % number)


def _big_file(mib: int) -> Iterator[pfs_pb2.ModifyFileRequest]:
    block = os.urandom(2 * _MIB)
    for number in range(mib // 2):
        yield add("/big", number.to_bytes(8, "big") + block[8:])


def _read(server: Server, name: str, path: str, offset: int) -> int:
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=on_branch(name), path=path), offset=offset)
    return sum(len(part.value) for part in server.pfs.GetFile(request))


def _first(server: Server, offset: int) -> None:
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=on_branch("big"), path="/big"), offset=offset)
    call = server.pfs.GetFile(request)
    next(call)
    call.cancel()


def _page(server: Server) -> None:
    request = pfs_pb2.ListFileRequest(file=pfs_pb2.File(commit=on_branch("many"), path="/d0007"), number=100)
    list(server.pfs.ListFile(request))


def _tar(server: Server) -> None:
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=on_branch("small"), path="/"))
    sum(len(part.value) for part in server.pfs.GetFileTAR(request))


if __name__ == "__main__":
    main()
