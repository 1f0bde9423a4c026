"""The embedded server against cp, find and cat on the same disk; with --scale a repo of a million files."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pachmount.pfs.proto import pfs_pb2
from tests.bench import streaming
from tests.bench.report import Report, Row, seconds
from tests.localpfs.servers import Server, add, delete, on_branch, repo, running, walk

_MIB = 1024 * 1024
_PIECE = 1024 * 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench localpfs", description=__doc__)
    parser.add_argument(
        "--dir", type=Path, help="a directory on the disk to measure; default: where temporary files go"
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the big file (default 1024)")
    parser.add_argument("--scale", action="store_true", help="only the repo of a million files; takes some minutes")
    parser.add_argument("--files", type=int, default=1_000_000, help="with --scale: how many files")
    arguments = parser.parse_args()
    report = Report("localpfs-scale" if arguments.scale else "localpfs")
    report.print_header()
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="pachmount-bench-") as name:
        folder = Path(name)
        if arguments.scale:
            _scale(report, folder, arguments.files)
            _many_directories(report, folder, arguments.files)
        else:
            with running(folder / "store", f"unix://{folder}/s") as server:
                _small(report, folder, server)
                _big(report, folder, server, arguments.mib)
                _listing(report, folder, server)
                report.add(Row("memory of the server, most so far", _memory(server), "MB", target="< 300"))
    print(f"stored as {report.save()}")
    return 0 if report.holds else 1


def _against(report: Report, what: str, ours: float, reference: str, theirs: float, least: float | None = None) -> None:
    ratio = theirs / ours
    target, holds = ("", None) if least is None else (f">= {least}", ratio >= least)
    report.add(Row(what, ours, "s", reference, theirs, ratio, target, holds))


def _small(report: Report, folder: Path, server: Server) -> None:
    source = folder / "small"
    for number in range(10_000):
        path = source / f"d{number % 100:02}" / f"f{number:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(4096))
    os.sync()
    theirs = seconds(lambda: _copy(source, folder / "small-copy"))
    ours = seconds(lambda: _import(server, "small", _tree(source)))
    _against(report, "import 10,000 files of 4 KiB", ours, "cp -r, sync", theirs)
    one = seconds(lambda: _import(server, "small", iter([add("/d00/one", b"more")])))
    report.add(Row("import of one file more", one, "s"))


def _big(report: Report, folder: Path, server: Server, mib: int) -> None:
    source = folder / "big"
    block = os.urandom(_MIB)
    with source.open("wb") as stream:
        for number in range(mib):
            stream.write(number.to_bytes(8, "big") + block[8:])
    os.sync()
    theirs = ours = float("inf")
    for number in range(3):
        _warm(folder, mib)
        theirs = min(theirs, seconds(lambda: _copy(source, folder / "big-copy")))
        (folder / "big-copy").unlink()
        _warm(folder, mib)
        name = "big" if not number else f"big{number}"
        changes = _pieces("/big", source, number.to_bytes(8, "big"))  # nothing that the store has already
        start = time.perf_counter()
        _import(server, name, changes)
        ours = min(ours, time.perf_counter() - start)
    _against(report, f"import {mib} MiB", ours, "cp, fsync", theirs, 0.3)
    limit = streaming.seconds_to_upload(mib * _MIB // _PIECE, _PIECE)
    _against(report, "  the same beside bare grpcio", ours, "same messages, no PFS", limit)

    theirs = seconds(lambda: subprocess.run(f"cat {source} > /dev/null", shell=True, check=True), 3)
    read = min(seconds(lambda: _read(server, "/big", mib * _MIB)) for _ in range(3))
    _against(report, f"read {mib} MiB with GetFile", read, "cat", theirs)
    speed, limit = mib * _MIB / read / 1e9, mib * _MIB / streaming.seconds_to_stream(mib // 2) / 1e9
    report.add(
        Row("  the same in GB/s, beside bare grpcio", speed, "GB/s", "same messages, no PFS", limit, speed / limit)
    )
    good = speed >= 0.7 or speed >= 0.8 * limit
    report.add(Row("  target", speed, "GB/s", target=">= 0.7, or 0.8 of bare grpcio", holds=good))
    first = seconds(lambda: _read_first(server, "/big", mib * _MIB * 3 // 4), 5)
    report.add(Row("first bytes at 3/4 of the file", first * 1000, "ms"))


def _listing(report: Report, folder: Path, server: Server) -> None:
    source = folder / "many"
    for number in range(100):
        (source / f"d{number:03}").mkdir(parents=True)
    for number in range(100_000):
        (source / f"d{number // 1000:03}" / f"f{number:06}").touch()
    _import(server, "many", (add(f"/d{number // 1000:03}/f{number:06}", b"%d" % number) for number in range(100_000)))
    theirs = seconds(lambda: subprocess.run(["find", source, "-printf", "%p %s\n"], stdout=subprocess.DEVNULL), 2)
    ours = seconds(lambda: _count(walk(server, on_branch("many")), 100_101), 2)
    _against(report, "list 100,000 files (WalkFile)", ours, "find -printf '%p %s'", theirs)
    limit = streaming.seconds_to_stream(100_101, len(walk(server, on_branch("many"), "/d050")[1].SerializeToString()))
    _against(report, "  the same beside bare grpcio", ours, "as many messages", limit)
    page = seconds(lambda: _first_entry(server, "many", "/d050"), 5)
    report.add(Row("first entry of a directory (ListFile)", page * 1000, "ms", target="< 50", holds=page < 0.05))


def _scale(report: Report, folder: Path, count: int) -> None:
    """Commits, listings and memory must not depend on the size of the repo."""
    store = folder / "store"
    with running(store, f"unix://{folder}/s") as server:
        files = (add(f"/d{number // 1000:04}/f{number:07}", b"%d" % number) for number in range(count))
        whole = seconds(lambda: _import(server, "r", files))
        report.add(Row(f"import {count} files", whole, "s"))
        before = _size(store)
        report.add(Row("  its size on disk", before / 1e6, "MB"))
        share = count // 100
        for number in range(3):
            changed = range(number, count, 100)
            changes = (change for one in changed for change in _rewritten(f"/d{one // 1000:04}/f{one:07}", number))
            took = seconds(lambda changes=changes: _import(server, "r", changes))  # type: ignore[misc]
            size = _size(store)
            report.add(
                Row(
                    f"commit {number + 1} that changes {share} files all over", took, "s", "import", whole, whole / took
                )
            )
            report.add(Row("  what it adds on disk", (size - before) / 1e6, "MB"))
            before = size
        near = (change for one in range(share) for change in _rewritten(f"/d{one // 1000:04}/f{one:07}", 9))
        took = seconds(lambda: _import(server, "r", near))
        report.add(Row(f"commit that changes {share} neighbours", took, "s", "import", whole, whole / took))
        report.add(Row("  what it adds on disk", (_size(store) - before) / 1e6, "MB"))
        single = seconds(lambda: _import(server, "r", iter([add("/d0500/one", b"more")])), 3)
        report.add(Row("commit of one file more", single, "s"))
        for path in ("/", "/d0500"):
            first = seconds(lambda path=path: _first_entry(server, "r", path), 5)  # type: ignore[misc]
            report.add(Row(f"first entry of {path} (ListFile)", first * 1000, "ms", target="< 50", holds=first < 0.05))
        took = seconds(lambda: _count_walk(server, "r"))
        report.add(Row("WalkFile of everything", took, "s"))
        memory = _memory(server)
        report.add(Row("memory of the server, most so far", memory, "MB", target="< 300", holds=memory < 300))
    shutil.rmtree(store)


def _many_directories(report: Report, folder: Path, count: int) -> None:
    store = folder / "wide"
    with running(store, f"unix://{folder}/s") as server:
        files = (add(f"/{number % 100:02}/d{number:07}/f", b"%d" % number) for number in range(count))
        took = seconds(lambda: _import(server, "r", files))
        report.add(Row(f"import {count} directories with one file each", took, "s"))
        memory = _memory(server)
        report.add(Row("  memory of the server, most so far", memory, "MB", target="< 300", holds=memory < 300))


def _rewritten(path: str, number: int) -> Iterator[pfs_pb2.ModifyFileRequest]:
    yield delete(path)
    yield add(path, b"changed %d" % number + path.encode())


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-r", source, target], check=True)
    subprocess.run(["sync", target] if target.is_file() else ["sync", "-f", target], check=True)


def _tree(source: Path) -> Iterator[pfs_pb2.ModifyFileRequest]:
    for directory, _, names in os.walk(source):
        for name in names:
            path = Path(directory, name)
            yield add("/" + str(path.relative_to(source)), path.read_bytes())


def _warm(folder: Path, mib: int) -> None:
    """Let the system have free memory that was in use already, before cp and before us.

    A virtual machine may have to ask its host for every other page, which makes cp of 1 GiB three times as slow.
    """
    scratch = folder / "scratch"
    with scratch.open("wb") as stream:
        for _ in range(mib + mib // 4):
            stream.write(bytes(_MIB))
    scratch.unlink()
    os.sync()


def _pieces(path: str, source: Path, mark: bytes) -> Iterator[pfs_pb2.ModifyFileRequest]:
    with source.open("rb") as stream:
        while data := stream.read(_PIECE):
            yield add(path, data[:8] + mark + data[16:])


def _import(server: Server, name: str, changes: Iterator[pfs_pb2.ModifyFileRequest]) -> None:
    server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo(name), update=True))

    def requests() -> Iterator[pfs_pb2.ModifyFileRequest]:
        yield pfs_pb2.ModifyFileRequest(set_commit=on_branch(name))
        yield from changes

    server.pfs.ModifyFile(requests())


def _get_file(server: Server, path: str, offset: int) -> Any:
    """GetFile with messages as they come off the wire, as pachmount's own client takes them."""
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=on_branch("big"), path=path), offset=offset)
    call = server.channel.unary_stream(
        "/pfs_v2.API/GetFile", request_serializer=pfs_pb2.GetFileRequest.SerializeToString
    )
    return call(request)


def _read(server: Server, path: str, size: int) -> None:
    if sum(len(message) for message in _get_file(server, path, 0)) < size:
        raise RuntimeError("the file came back too short")


def _read_first(server: Server, path: str, offset: int) -> None:
    call = _get_file(server, path, offset)
    next(call)
    call.cancel()


def _first_entry(server: Server, name: str, path: str) -> None:
    request = pfs_pb2.ListFileRequest(file=pfs_pb2.File(commit=on_branch(name), path=path))
    call = server.pfs.ListFile(request)
    next(call)
    call.cancel()


def _count(infos: list[Any], expected: int) -> None:
    if len(infos) != expected:
        raise RuntimeError(f"{len(infos)} entries listed, not {expected}")


def _count_walk(server: Server, name: str) -> int:
    request = pfs_pb2.WalkFileRequest(file=pfs_pb2.File(commit=on_branch(name), path="/"))
    return sum(1 for _ in server.pfs.WalkFile(request))


def _size(store: Path) -> int:
    """What the store takes on disk, without the journal, whose size says nothing."""
    with contextlib.closing(sqlite3.connect(store / "pfs.db")) as db:
        db.execute("PRAGMA wal_checkpoint")
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file() and "-" not in path.name)


def _memory(server: Server) -> float:
    time.sleep(0.1)
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6
