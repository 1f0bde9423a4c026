"""A process that opens, reads and maps files when it is told to, so that a test never hangs with a mount."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 120.0


@dataclass(frozen=True)
class Range:
    """A range of an open file; `dropped` asks for it past the kernel's page cache as far as that goes."""

    handle: int
    offset: int
    size: int
    dropped: bool = True
    mapped: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of a read: the bytes, or an errno (EFAULT for a SIGBUS), after `seconds`."""

    data: bytes
    errno: int
    seconds: float

    def __str__(self) -> str:
        what = errno.errorcode.get(self.errno, self.errno) if self.errno else f"{len(self.data)} bytes"
        return f"{what} after {self.seconds:.2f} s"


class HangError(AssertionError):
    """A read did not end."""


class Reader:
    """The process; a context manager. One command at a time; each must be answered within `limit` seconds."""

    def __init__(self, limit: float = LIMIT) -> None:
        self._limit = limit
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", bufsize=0
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, path: Path, *, direct: bool = False) -> int:
        """Open a file, with `direct` past the kernel's page cache; its handle. Raises OSError.

        Direct reads show what the mount answers: for others the kernel asks twice before it gives up.
        """
        answer, _ = self._ask({"do": "open", "path": str(path), "direct": direct})
        if answer["errno"]:
            raise OSError(answer["errno"], os.strerror(answer["errno"]), str(path))
        return int(answer["handle"])

    def error_of_open(self, path: Path) -> int:
        """Open a file that cannot be opened; the errno, or 0 if it can."""
        answer, _ = self._ask({"do": "open", "path": str(path)})
        return int(answer["errno"])

    def close_file(self, handle: int) -> None:
        self._ask({"do": "close", "handle": handle})

    def read(self, handle: int, offset: int, size: int, *, dropped: bool = True, mapped: bool = False) -> Answer:
        return self.read_all([Range(handle, offset, size, dropped, mapped)])[0]

    def read_all(self, ranges: Sequence[Range]) -> list[Answer]:
        """Read several ranges at once, each in a thread of its own."""
        answer, data = self._ask({"do": "read", "ranges": [vars(each) for each in ranges]})
        answers, position = [], 0
        for size, code, seconds in answer["answers"]:
            answers.append(Answer(data[position : position + size], code, seconds))
            position += size
        return answers

    def tree(self, top: Path) -> dict[str, int]:
        """Names and sizes of the files below `top`, found by scandir of directory descriptors from the top's.

        Raises OSError.
        """
        answer, _ = self._ask({"do": "tree", "path": str(top)})
        if answer["errno"]:
            raise OSError(answer["errno"], os.strerror(answer["errno"]), str(top))
        return dict(answer["files"])

    def close(self) -> None:
        end(self._process)

    def _ask(self, command: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(self._limit, give_up)
        timer.start()
        try:
            stdin.write(json.dumps(command).encode() + b"\n")
            header = _exactly(stdout, 16)
            answer = json.loads(_exactly(stdout, int(header[:8], 16)))
            return answer, _exactly(stdout, int(header[8:], 16))
        except (EOFError, OSError) as error:
            if late.is_set():
                raise HangError(f"no answer within {self._limit:g} s to {command}") from error
            raise AssertionError(f"the reader died of {command}") from error
        finally:
            timer.cancel()
            timer.join()


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process that reads for a test, and close its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def _exactly(pipe: Any, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = pipe.read(size - len(found))
        if not piece:
            raise EOFError
        found += piece
    return bytes(found)


_PROGRAM = r"""
import errno, json, mmap, os, sys, threading, time

files = {}

def pread(descriptor, offset, size):
    found = bytearray()
    while len(found) < size:
        piece = os.pread(descriptor, size - len(found), offset + len(found))
        if not piece:
            break
        found += piece
    return bytes(found)

def mapped(descriptor, offset, size):
    # in a process of its own, which a page that cannot be had ends with SIGBUS
    end = min(offset + size, os.fstat(descriptor).st_size)
    if offset >= end:
        return b""
    start = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(here)
        with mmap.mmap(descriptor, end - start, prot=mmap.PROT_READ, offset=start) as pages:
            data = pages[offset - start:]
        while data:
            data = data[os.write(there, data):]
        os._exit(0)
    os.close(there)
    found = bytearray()
    while piece := os.read(here, 1 << 20):
        found += piece
    os.close(here)
    _, status = os.waitpid(child, 0)
    if status:
        raise OSError(errno.EFAULT, f"ended with {status}")
    return bytes(found)

def read(answers, number, handle, offset, size, dropped, mapped_):
    started, data, code = time.monotonic(), b"", 0
    try:
        if dropped:
            os.posix_fadvise(files[handle], 0, 0, os.POSIX_FADV_DONTNEED)
        data = (mapped if mapped_ else pread)(files[handle], offset, size)
    except OSError as error:
        code = error.errno
    answers[number] = data, code, time.monotonic() - started

def tree(descriptor, prefix, found):
    try:
        with os.scandir(descriptor) as entries:
            entries = sorted(entries, key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
                tree(below, prefix + entry.name + "/", found)
            else:
                found[prefix + entry.name] = os.stat(entry.name, dir_fd=descriptor).st_size
    finally:
        os.close(descriptor)

def obey(do, path="", handle=0, ranges=(), direct=False):
    answer, data = {"errno": 0}, []
    try:
        if do == "open":
            answer["handle"] = os.open(path, os.O_RDONLY | os.O_DIRECT * direct)
            files[answer["handle"]] = answer["handle"]
        elif do == "close":
            os.close(files.pop(handle))
        elif do == "tree":
            answer["files"] = {}
            tree(os.open(path, os.O_RDONLY | os.O_DIRECTORY), "", answer["files"])
        elif do == "read":
            answers = {}
            threads = [threading.Thread(target=read, args=(answers, number, *each.values()))
                       for number, each in enumerate(ranges)]
            if len(threads) == 1:
                threads[0].run()
            else:
                for thread in threads: thread.start()
                for thread in threads: thread.join()
            answer["answers"] = [(len(answers[n][0]), *answers[n][1:]) for n in range(len(threads))]
            data = [answers[n][0] for n in range(len(threads))]
    except OSError as error:
        answer["errno"] = error.errno
    header, data = json.dumps(answer).encode(), b"".join(data)
    out = sys.stdout.buffer
    out.write(b"%08x%08x" % (len(header), len(data)) + header + data)
    out.flush()

for line in sys.stdin.buffer:
    obey(**json.loads(line))
"""
