"""A cluster in memory behind the CommitReader protocol, with faults on demand."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Callable, Iterator

from pachmount.errors import NotFoundError
from pachmount.pfs.content import ContentStream
from pachmount.pfs.model import CommitRef, FileEntry, RepoRef
from pachmount.vfs.hashes import VERIFIABLE_BYTES, content_hash

COMMIT = CommitRef(RepoRef("default", "fake"), "0123456789ab4cdef0123456789abcde"[:32], "master")


def entries_of(files: dict[str, bytes]) -> list[FileEntry]:
    """What a server lists for these files: directories too, in the byte order of full paths."""
    keys: dict[str, FileEntry] = {}
    for path, data in files.items():
        verifiable = len(data) < VERIFIABLE_BYTES
        digest = content_hash(data if verifiable else data[:1000] + path.encode())
        keys[path] = FileEntry(path, False, len(data), digest)
        parent = path.rpartition("/")[0]
        while parent:
            size = sum(len(d) for p, d in files.items() if p.startswith(f"{parent}/"))
            keys[f"{parent}/"] = FileEntry(parent, True, size, b"d" * 32)
            parent = parent.rpartition("/")[0]
    return [keys[key] for key in sorted(keys)]


class FakeStream:
    """Yields `data` in pieces; `fault(received)` is called before each and may raise, wait or return a replacement."""

    def __init__(self, data: bytes, piece: int, fault: Callable[[int, bytes], bytes | None] | None) -> None:
        self._data = data
        self._piece = piece
        self._fault = fault
        self.cancelled = threading.Event()

    def __iter__(self) -> Iterator[memoryview]:
        for start in range(0, len(self._data), self._piece):
            if self.cancelled.is_set():
                return
            piece: bytes | None = self._data[start : start + self._piece]
            if self._fault is not None:
                piece = self._fault(start, self._data[start : start + self._piece])
                if piece is None:
                    return
            assert piece is not None
            yield memoryview(piece)

    def cancel(self) -> None:
        self.cancelled.set()


class FakeCluster:
    """Implements CommitReader over a dict of files. Counts every call and every byte handed out."""

    def __init__(self, files: dict[str, bytes], piece: int = 256 << 10) -> None:
        self.files = files
        self.entries = entries_of(files)
        self.piece = piece
        self.walks = 0
        self.lists: list[str] = []
        self.opens: list[tuple[str, int]] = []
        self.sent_bytes = 0
        self.on_walk: Callable[[FileEntry], None] | None = None
        self.on_list: Callable[[str], None] | None = None
        self.on_open: Callable[[str, int], None] | None = None
        self.fault: Callable[[int, bytes], bytes | None] | None = None
        self.streams: list[FakeStream] = []
        self.tars: list[tuple[str, str, str]] = []
        self.on_tar: Callable[[], None] | None = None
        self.in_tar: Callable[[dict[str, bytes]], dict[str, bytes]] = lambda files: files

    def walk_batches(self, commit: CommitRef, path: str) -> Iterator[list[FileEntry]]:
        self.walks += 1
        for entry in self.entries:
            if self.on_walk is not None:
                self.on_walk(entry)
            if entry.path == path or entry.path.startswith(f"{path}/"):
                yield [entry]

    def list(self, commit: CommitRef, path: str) -> Iterator[FileEntry]:
        self.lists.append(path)
        if self.on_list is not None:
            self.on_list(path)
        return iter([entry for entry in self.entries if entry.path.rpartition("/")[0] == path])

    def open(self, commit: CommitRef, path: str, offset: int) -> ContentStream:
        self.opens.append((path, offset))
        if self.on_open is not None:
            self.on_open(path, offset)
        if path not in self.files:
            raise NotFoundError(f"file {path} not found")
        stream = FakeStream(self.files[path][offset:], self.piece, self._count)
        self.streams.append(stream)
        return ContentStream(stream)

    def open_tar(self, commit: CommitRef, directory: str, lower: str, upper: str) -> FakeStream:
        """As servers do it: a directory in the range comes as a whole. `in_tar` may change what the archive holds."""
        self.tars.append((directory, lower, upper))
        if self.on_tar is not None:
            self.on_tar()
        below = [e for e in self.entries if e.path.startswith(f"{directory}/")]
        matches = [e for e in below if lower <= (f"{e.path}/" if e.is_dir else e.path) < upper]
        paths = [e.path for e in below if not e.is_dir and any(_holds(match, e.path) for match in matches)]
        if not matches:
            raise NotFoundError(f"file {directory}/** not found in repo fake")
        stream = FakeStream(tar_of(self.in_tar({path: self.files[path] for path in paths})), self.piece, self._count)
        self.streams.append(stream)
        return stream

    def _count(self, start: int, piece: bytes) -> bytes | None:
        self.sent_bytes += len(piece)
        return self.fault(start, piece) if self.fault is not None else piece


def tar_of(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive with absolute names."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=form) as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), 0
            tar.addfile(info, io.BytesIO(data))
    return archive.getvalue()


def _holds(match: FileEntry, path: str) -> bool:
    return path.startswith(f"{match.path}/") if match.is_dir else path == match.path
