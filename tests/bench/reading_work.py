"""The readers of `scripts/bench reading`, ours and the references: each job runs in a fresh process of its own.

A job is set up (imports, connection), says "ready", waits for a line, and prints when it began and ended and how much
it read. Times are those of CLOCK_MONOTONIC, which all processes share.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, RepoRef

_ROOT = Path(__file__).resolve().parents[2]
_MIB = 1 << 20
Job = Callable[[], int]


@dataclass(frozen=True)
class Done:
    """`amount`: bytes, or entries of a listing."""

    start: float
    end: float
    amount: int

    @property
    def seconds(self) -> float:
        return self.end - self.start


def work(job: str, **arguments: Any) -> Done:
    """Run one job."""
    return together((job, arguments))[0]


def together(*jobs: tuple[str, dict[str, Any]]) -> list[Done]:
    """Run jobs at the same time, begun when all are ready. Raises RuntimeError when one fails."""
    with contextlib.ExitStack() as stack:
        processes = []
        for job, arguments in jobs:
            command = [sys.executable, "-m", "tests.bench.reading_work", job, json.dumps(arguments)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT)
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            _line(process, "ready")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [Done(**json.loads(_line(process))) for process in processes]


def _line(process: subprocess.Popen[str], expected: str = "") -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line or (expected and line != expected):
        raise RuntimeError(f"a reader ended with {process.wait(10)}: {line}")
    return line


# --- files


def tree(directory: str, threads: int = 1, seed: int | None = None, *, calls: bool = False) -> Job:
    """Read every file below, directory by directory, in order or (with a seed) shuffled within each directory.

    With `calls`, by the calls of the system that a program like cat makes, else by Python's `open`.
    """

    def paths() -> Iterator[str]:
        for folder in sorted(os.listdir(directory)):
            names = sorted(os.listdir(f"{directory}/{folder}"))
            if seed is not None:
                random.Random(f"{seed} {folder}").shuffle(names)
            for name in names:
                yield f"{directory}/{folder}/{name}"

    def read(found: Iterator[str], lock: threading.Lock, sums: list[int]) -> None:
        total = 0
        while True:
            with lock:
                path = next(found, None)
            if path is None:
                break
            total += by_calls(path) if calls else by_open(path)
        sums.append(total)

    def by_open(path: str) -> int:
        with open(path, "rb") as stream:
            return len(stream.read())

    def by_calls(path: str) -> int:
        number, total = os.open(path, os.O_RDONLY), 0
        os.fstat(number)
        while piece := os.read(number, 128 << 10):
            total += len(piece)
        os.close(number)
        return total

    def job() -> int:
        sums: list[int] = []
        group = [threading.Thread(target=read, args=(found, lock, sums)) for _ in range(threads)]
        for thread in group:
            thread.start()
        for thread in group:
            thread.join()
        if len(sums) != threads:
            raise RuntimeError("a read failed")
        return sum(sums)

    found, lock = paths(), threading.Lock()
    return job


def file(path: str, offset: int = 0, size: int = -1, block: int = _MIB) -> Job:
    """Read a file, or a part, in sequence."""

    def job() -> int:
        buffer = memoryview(bytearray(block))
        total = 0
        with open(path, "rb", buffering=0) as stream:
            stream.seek(offset)
            while total != size:
                read = stream.readinto(buffer if size < 0 else buffer[: size - total])
                if not read:
                    break
                total += read
        return total

    return job


def reads(path: str, offsets: Sequence[int], size: int) -> Job:
    """Read `size` bytes at each offset."""

    def job() -> int:
        descriptor = os.open(path, os.O_RDONLY)
        total = sum(len(os.pread(descriptor, size, offset)) for offset in offsets)
        os.close(descriptor)
        return total

    return job


def ls(directory: str) -> Job:
    """`ls -lR`; the number of files in it."""

    def job() -> int:
        with tempfile.TemporaryFile() as output:
            subprocess.run(["ls", "-lR", directory], stdout=output, check=True, env={**os.environ, "LC_ALL": "C"})
            size = output.tell()
            output.seek(0)
            return sum(line.startswith(b"-") for line in output) if size else 0

    return job


# --- a plain client


def _client(address: str, repo: str, commit: str) -> tuple[PfsClient, CommitRef]:
    """Connected; pachmount's own client and nothing around it, with grpcio: what a plain gRPC reader in Python does."""
    client = PfsClient(address, call_timeout=120)
    client._rpc._sockets.usable = False
    client.version()
    return client, CommitRef(RepoRef("default", repo), commit)


def walk(address: str, repo: str, commit: str) -> Job:
    """WalkFile of everything; the number of files."""
    client, ref = _client(address, repo, commit)
    return lambda: sum(not entry.is_dir for entry in client.walk(ref))


def get(address: str, repo: str, commit: str, path: str) -> Job:
    """GetFile of a file, pieces dropped."""
    client, ref = _client(address, repo, commit)
    return lambda: sum(len(piece) for piece in client.open(ref, path))


def get_each(address: str, repo: str, commit: str, paths: Sequence[str]) -> Job:
    """One GetFile for each path."""
    client, ref = _client(address, repo, commit)
    return lambda: sum(len(piece) for path in paths for piece in client.open(ref, path))


def get_tar(address: str, repo: str, commit: str) -> Job:
    """GetFileTAR of everything."""
    client, ref = _client(address, repo, commit)
    return lambda: sum(len(piece) for piece in client.open_tar(ref, "/"))


def first_messages(address: str, repo: str, commit: str, path: str, offsets: Sequence[int], size: int) -> Job:
    """The beginning of a GetFile from each offset on: its first piece, or more of them until `size` bytes are there."""
    client, ref = _client(address, repo, commit)

    def job() -> int:
        total = 0
        for offset in offsets:
            stream, read = client.open(ref, path, offset), 0
            while read < size:
                read += len(next(stream))
            stream.cancel()
            total += read
        return total

    return job


def download(address: str, repo: str, commit: str, path: str) -> Job:
    """A file to the local disk, as a reader does that fetches whole files when they are opened."""
    client, ref = _client(address, repo, commit)

    def job() -> int:
        with tempfile.TemporaryFile() as target:
            for piece in client.open(ref, path):
                target.write(piece)
            return target.tell()

    return job


_JOBS: dict[str, Callable[..., Job]] = {
    job.__name__: job for job in (tree, file, reads, ls, walk, get, get_each, get_tar, first_messages, download)
}


def main() -> int:
    """`JOB ARGUMENTS`, the latter in JSON."""
    job = _JOBS[sys.argv[1]](**json.loads(sys.argv[2]))
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.monotonic()
    amount = job()
    end = time.monotonic()
    print(json.dumps({"start": start, "end": end, "amount": amount}), flush=True)
    sys.stdout.flush()
    os._exit(0)  # the threads of gRPC need no orderly end


if __name__ == "__main__":
    sys.exit(main())
