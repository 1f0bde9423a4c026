"""A disk that can lose its power: a file system that records all that reaches it, and what may be left of that later.

    python -m tests.integration.crash_disk DIRECTORY MOUNT_POINT RECORD

shows a directory at a mount point until that is unmounted, and appends each change to a record, in order.
"""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuse import FUSE, FuseOSError, Operations

from pachmount.fuse import kernel

PROJECT = Path(__file__).resolve().parents[2]
SYNC_ALL = "user.sync-all"
"""Setting this extended attribute of the root stands for `syncfs`, which FUSE does not pass on."""
SECTOR = 512
START_SECONDS = 30.0


class Recorder(Operations):  # type: ignore[misc]
    """One operation at a time; files are numbered as they are made."""

    use_ns = True

    def __init__(self, directory: str, record: str) -> None:
        self._directory = directory
        self._record = os.open(record, os.O_WRONLY | os.O_APPEND)
        self._numbers: dict[str, int] = {}
        self._open: dict[int, int] = {}
        self._made = 0

    def __call__(self, operation: str, *arguments: Any) -> Any:
        try:
            return super().__call__(operation, *arguments)
        except OSError as error:
            raise FuseOSError(error.errno or 5) from error

    def _note(self, *event: Any) -> None:
        os.write(self._record, pickle.dumps(event))

    def _at(self, path: str) -> str:
        return self._directory + path

    def getattr(self, path: str, _fh: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._at(path))
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_atime_ns", "st_mtime_ns", "st_ctime_ns")
        return {name.removesuffix("_ns"): getattr(found, name) for name in names}

    def readdir(self, path: str, _fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._at(path))]

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._at(path))
        return {name: getattr(found, name) for name in ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_frsize")}

    def open(self, path: str, flags: int) -> int:
        descriptor = os.open(self._at(path), flags & ~os.O_TRUNC)
        self._open[descriptor] = self._numbers[path]
        if flags & os.O_TRUNC:
            self.truncate(path, 0, descriptor)
        return descriptor

    def create(self, path: str, mode: int, _info: Any = None) -> int:
        descriptor = os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        self._made += 1
        self._numbers[path] = self._open[descriptor] = self._made
        self._note("create", path, self._made)
        return descriptor

    def read(self, _path: str, size: int, offset: int, descriptor: int) -> bytes:
        return os.pread(descriptor, size, offset)

    def write(self, _path: str, data: bytes, offset: int, descriptor: int) -> int:
        os.pwrite(descriptor, data, offset)
        self._note("write", self._open[descriptor], offset, data)
        return len(data)

    def truncate(self, path: str, size: int, _descriptor: int | None = None) -> int:
        os.truncate(self._at(path), size)
        self._note("truncate", self._numbers[path], size)
        return 0

    def release(self, _path: str, descriptor: int) -> int:
        os.close(descriptor)
        del self._open[descriptor]
        return 0

    def fsync(self, _path: str, _only_data: int, descriptor: int) -> int:
        self._note("fsync", self._open[descriptor])
        return 0

    def fsyncdir(self, path: str, _only_data: int, _fh: int) -> int:
        self._note("fsyncdir", path)
        return 0

    def setxattr(self, _path: str, name: str, _value: bytes, _options: int, _position: int = 0) -> int:
        if name == SYNC_ALL:
            self._note("sync all")
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(self._at(path), mode)
        self._note("mkdir", path)
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(self._at(path))
        del self._numbers[path]
        self._note("unlink", path)
        return 0

    def rename(self, old: str, new: str) -> int:
        os.rename(self._at(old), self._at(new))
        self._numbers[new] = self._numbers.pop(old)
        self._note("rename", old, new, self._numbers[new])
        return 0

    def chmod(self, path: str, mode: int) -> int:
        os.chmod(self._at(path), mode)
        return 0

    def utimens(self, _path: str, _times: Any = None) -> int:
        return 0


class RecordedDirectory:
    """Such a file system in a process of its own; `path` is the place where it is mounted."""

    def __init__(self, where: Path) -> None:
        self.path = where / "disk"
        self._record = where / "record"
        (where / "behind").mkdir()
        self.path.mkdir()
        self._record.touch()
        command = [sys.executable, "-m", "tests.integration.crash_disk", where / "behind", self.path, self._record]
        self._process = subprocess.Popen(command, cwd=PROJECT)
        deadline = time.monotonic() + START_SECONDS
        while not os.path.ismount(self.path):
            assert self._process.poll() is None
            assert time.monotonic() < deadline, "the recording file system does not start"
            time.sleep(0.01)

    def sync_all(self) -> None:
        os.setxattr(self.path, SYNC_ALL, b"")

    @property
    def recorded(self) -> int:
        """How many bytes of record there are."""
        return self._record.stat().st_size

    def events(self) -> list[tuple[int, tuple[Any, ...]]]:
        """All that was done, each with the size of the record after it."""
        found = []
        with self._record.open("rb") as record:
            size = self.recorded
            while record.tell() < size:
                event = pickle.load(record)
                found.append((record.tell(), event))
        return found

    def close(self) -> None:
        kernel.unmount(self.path, lazy=True)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass
class _File:
    """`safe` is its content when it was last synced; later writes (offset, bytes) and cuts (size, None) are pending."""

    safe: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def left(self, rng: random.Random) -> bytes:
        """What the disk has after a power loss."""
        content = bytearray(self.safe)
        pending = self.pending
        kind = rng.choice(["none", "all", "some", "first", "sectors", "size"])
        if kind == "none":
            pending = []
        elif kind == "some":
            pending = [change for change in pending if rng.random() < 0.5]
        elif kind == "first":
            pending = pending[: rng.randint(0, len(pending))]
        for offset, data in pending:
            if data is None:
                del content[offset:]
                content += bytes(offset - len(content))
                continue
            content += bytes(max(0, offset + len(data) - len(content)))
            if kind == "size":
                continue
            if kind != "sectors":
                content[offset : offset + len(data)] = data
                continue
            for start in range(offset // SECTOR * SECTOR, offset + len(data), SECTOR):
                if rng.random() < 0.5:
                    begin, end = max(start, offset), min(start + SECTOR, offset + len(data))
                    content[begin:end] = data[begin - offset : end - offset]
        return bytes(content)

    def sync(self) -> None:
        self.safe = self._all()
        self.pending = []

    def _all(self) -> bytes:
        content = bytearray(self.safe)
        for offset, data in self.pending:
            if data is None:
                del content[offset:]
                content += bytes(offset - len(content))
            else:
                content += bytes(max(0, offset + len(data) - len(content)))
                content[offset : offset + len(data)] = data
        return bytes(content)


@dataclass
class _Directory:
    """Entries (a file's number, or None for a directory), as they were last synced; later changes are pending.

    A change: the name, whether it is there now, of what, and another name that went with it, or "".
    """

    safe: dict[str, int | None] = field(default_factory=dict)
    pending: list[tuple[str, bool, int | None, str]] = field(default_factory=list)

    def left(self, count: int) -> dict[str, int | None]:
        names = dict(self.safe)
        for name, is_there, number, gone in self.pending[:count]:
            names.pop(gone, None)
            if is_there:
                names[name] = number
            else:
                names.pop(name, None)
        return names

    def sync(self) -> None:
        self.safe, self.pending = self.left(len(self.pending)), []


class Disk:
    """What is on a disk, event by event of a record, and what of it may be left after a power loss."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._directories: dict[str, _Directory] = {"": _Directory()}

    def apply(self, event: tuple[Any, ...]) -> None:
        kind, *values = event
        if kind == "write":
            number, offset, data = values
            self._files[number].pending.append((offset, data))
        elif kind == "truncate":
            self._files[values[0]].pending.append((values[1], None))
        elif kind == "fsync":
            self._files[values[0]].sync()
        elif kind == "fsyncdir":
            self._directories[values[0].rstrip("/")].sync()
        elif kind == "sync all":
            for part in (*self._files.values(), *self._directories.values()):
                part.sync()
        elif kind == "rename":
            old, new, number = values
            above, _, name = new.rpartition("/")
            former, _, gone = old.rpartition("/")
            self._directories[above].pending.append((name, True, number, gone if former == above else ""))
            if former != above:
                self._directories[former].pending.append((gone, False, None, ""))
        else:
            above, _, name = values[0].rpartition("/")
            number = values[1] if kind == "create" else None
            self._directories[above].pending.append((name, kind != "unlink", number, ""))
            if kind == "create":
                self._files[values[1]] = _File()
            elif kind == "mkdir":
                self._directories[values[0]] = _Directory()

    def write_what_is_left(self, where: Path, rng: random.Random) -> None:
        """Into a directory that does not exist yet."""
        self._write("", where, rng)

    def _write(self, path: str, where: Path, rng: random.Random) -> None:
        where.mkdir()
        directory = self._directories[path]
        count = len(directory.pending)
        for name, number in directory.left(rng.choice([0, count, rng.randint(0, count)])).items():
            if number is None:
                self._write(f"{path}/{name}", where / name, rng)
            elif not name.endswith("-shm"):  # SQLite's shared memory, which it makes anew
                (where / name).write_bytes(self._files[number].left(rng))


if __name__ == "__main__":
    FUSE(
        Recorder(sys.argv[1], sys.argv[3]),
        sys.argv[2],
        foreground=True,
        nothreads=True,
        big_writes=True,
        attr_timeout=0,
        entry_timeout=0,
    )
