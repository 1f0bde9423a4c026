"""A process that does the same in two directories, one of them in a mount, and tells what came of both.

    python -m tests.integration.write_worker MOUNT PLAIN

Each line of stdin is `[operation, arguments]` in JSON, each line of stdout a pair of `[errno, result]`.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import sys
from pathlib import Path
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long


class Directory:
    """Operations in one directory. Open files are kept under the numbers that the caller gives them."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: dict[int, int] = {}
        self.locks: dict[str, int] = {}

    def at(self, path: str) -> str:
        return os.path.join(self.root, path)

    def open(self, number: int, path: str, flags: int) -> None:
        self.files[number] = os.open(self.at(path), flags | os.O_NONBLOCK, 0o644)  # a pipe must not block

    def close(self, number: int) -> None:
        os.close(self.files.pop(number))

    def close_all(self) -> None:
        for number in list(self.files):
            self.close(number)
        for descriptor in self.locks.values():
            os.close(descriptor)
        self.locks.clear()

    def has_one_name(self, number: int) -> bool:
        """What is written by one name of a file need not be seen by another that is open (docs/semantics.md)."""
        return os.fstat(self.files[number]).st_nlink < 2

    def pread(self, number: int, offset: int, size: int) -> str:
        return os.pread(self.files[number], size, offset).hex()

    def read(self, number: int, size: int) -> str:
        return os.read(self.files[number], size).hex()

    def pwrite(self, number: int, offset: int, content: str) -> int:
        return os.pwrite(self.files[number], content.encode(), offset)

    def write(self, number: int, content: str) -> int:
        return os.write(self.files[number], content.encode())

    def ftruncate(self, number: int, size: int) -> None:
        os.ftruncate(self.files[number], size)

    def fsync(self, number: int) -> None:
        os.fsync(self.files[number])

    def fstat(self, number: int) -> list[int]:
        found = os.fstat(self.files[number])
        return [found.st_mode, found.st_nlink, found.st_size]

    def fchmod(self, number: int, mode: int) -> None:
        os.fchmod(self.files[number], mode)

    def fallocate(self, number: int, mode: int, offset: int, size: int) -> None:
        if _libc.fallocate(self.files[number], mode, offset, size):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def copy_range(self, number: int, other: int, offset: int, size: int) -> None:
        done = 0
        while done < size:
            copied = os.copy_file_range(self.files[number], self.files[other], size - done, offset + done, done)
            if not copied:
                break
            done += copied

    def map_write(self, number: int, offset: int, content: str) -> None:
        """Through a shared memory map, as far as the file goes."""
        size = os.fstat(self.files[number]).st_size
        data = content.encode()[: max(0, size - offset)]
        if data:
            with mmap.mmap(self.files[number], size) as memory:
                memory[offset : offset + len(data)] = data
                memory.flush()

    def map_read(self, number: int) -> str:
        size = os.fstat(self.files[number]).st_size
        if not size:
            return ""
        with mmap.mmap(self.files[number], size, prot=mmap.PROT_READ) as memory:
            return memory[:].hex()

    def lock(self, path: str, kind: str, how: int) -> None:
        """Without waiting; `kind` is flock or fcntl."""
        if path not in self.locks:
            self.locks[path] = os.open(self.at(path), os.O_RDWR | os.O_CREAT, 0o644)
        getattr(fcntl, "flock" if kind == "flock" else "lockf")(
            self.locks[path], how if how == fcntl.LOCK_UN else how | fcntl.LOCK_NB
        )

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self.at(path), size)

    def unlink(self, path: str) -> None:
        os.unlink(self.at(path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self.at(path))

    def mkdir(self, path: str) -> None:
        os.mkdir(self.at(path), 0o755)

    def mkfifo(self, path: str) -> None:
        os.mkfifo(self.at(path), 0o644)

    def rename(self, old: str, new: str) -> None:
        os.rename(self.at(old), self.at(new))

    def link(self, old: str, new: str) -> None:
        os.link(self.at(old), self.at(new), follow_symlinks=False)

    def symlink(self, target: str, path: str) -> None:
        os.symlink(target, self.at(path))

    def readlink(self, path: str) -> str:
        return os.readlink(self.at(path))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self.at(path), mode)

    def utime(self, path: str, atime: int, mtime: int) -> list[int]:
        os.utime(self.at(path), ns=(atime, mtime))
        found = os.stat(self.at(path))
        return [found.st_atime_ns, found.st_mtime_ns]

    def setxattr(self, path: str, name: str, value: str, flags: int) -> None:
        os.setxattr(self.at(path), name, value.encode(), flags)

    def removexattr(self, path: str, name: str) -> None:
        os.removexattr(self.at(path), name)


def outcome(directory: Directory, operation: str, arguments: list[Any]) -> tuple[int, Any]:
    """The errno of an operation, 0 and its result if it worked."""
    try:
        return 0, getattr(directory, operation)(*arguments)
    except OSError as error:
        return error.errno or -1, None


def main(roots: list[str]) -> None:
    directories = [Directory(str(Path(root))) for root in roots]
    for line in sys.stdin:
        operation, arguments = json.loads(line)
        print(json.dumps([outcome(directory, operation, arguments) for directory in directories]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
