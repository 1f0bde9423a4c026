"""The power fails at any moment: what was fsynced is there, nothing reads as what it never was.

A random program works on an overlay whose store is on a recorded disk. For points of the record, what the disk may hold
after a power loss then is opened, and compared with what the program did.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pachmount.overlay import bytes as overlay_bytes
from pachmount.overlay import snapshot, staging
from pachmount.overlay.attributes import Handle
from pachmount.overlay.difference import difference
from pachmount.overlay.inodes import File
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.staged_bytes import IN_DOUBT, StagedBytes
from pachmount.overlay.staging import Staging
from pachmount.overlay.tree import Owner
from tests.integration.crash_disk import Disk, RecordedDirectory
from tests.unit.overlay.base import MemoryBase

OWNER = Owner(os.getuid(), os.getgid())
LIMIT = 1 << 30
DIRECTORIES = [b"/", b"/a", b"/b", b"/new"]
FILES = [b"one", b"two", b"four", b"five", b"six"]
OPERATIONS = 120
TREE = {"a/one": b"first", "a/two": bytes(range(256)) * 8, "b/four": b"4" * 3000, "five": b"five\n"}

Names = dict[bytes, bytes | int | None]
"""What is at each path: a file by its number, the text of a link, None for a directory."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[RecordedDirectory]:
    disk = RecordedDirectory(tmp_path)
    yield disk
    disk.close()


@dataclass
class Content:
    """A file: its contents after each operation, those that may be found, and which bytes were changed since a sync."""

    now: bytes
    history: list[tuple[int, bytes]] = field(default_factory=list)
    synced: list[int] = field(default_factory=list)
    touched: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass
class Program:
    """A random program, and what it did. `steps` tells where in the record each operation began and ended."""

    disk: RecordedDirectory
    rng: random.Random
    names: Names = field(default_factory=dict)
    contents: list[Content] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)
    named: list[Names] = field(default_factory=list)
    names_synced: list[int] = field(default_factory=list)
    open_files: list[tuple[Handle, int]] = field(default_factory=list)
    _stores: list[Staging] = field(default_factory=list)
    _later: int = 0

    def __post_init__(self) -> None:
        self.base = MemoryBase(TREE)
        for path, content in TREE.items():
            for above in list(Path("/", path).parents)[:-1]:
                self.names[bytes(above)] = None
            self.names[b"/" + path.encode()] = len(self.contents)
            self.contents.append(Content(content))
        self.begin()

    def begin(self) -> None:
        self._stores.append(Staging(self.disk.path / "staged" / "repo", "first"))
        self.overlay = Overlay(self.base, self._stores[-1], OWNER, LIMIT)

    def run(self, operations: int) -> None:
        for content in self.contents:
            content.history.append((0, content.now))
            content.synced.append(0)
        self.names_synced.append(0)
        self._end(0)
        actions: list[tuple[int, Callable[[], None]]] = [
            (20, self.write_file),
            (10, self.write_inside),
            (6, self.truncate),
            (10, self.open_and_write),
            (6, self.close_one),
            (15, self.fsync),
            (6, self.write_during_fsync),
            (4, self.fsyncdir),
            (4, self.sync_all),
            (8, self.rename),
            (8, self.unlink),
            (4, self.make_directory),
            (3, self.make_link),
            (2, self.chmod),
            (2, self.begin_again),
        ]
        weights = [weight for weight, _ in actions]
        while len(self.steps) < operations:
            action = self.rng.choices(actions, weights)[0][1]
            before = self.disk.recorded
            action()
            self._end(before)

    def close(self) -> None:
        while self.open_files:
            self._close(self.open_files.pop()[0])
        for store in self._stores:
            store.close()

    # --- what it does

    def write_file(self) -> None:
        """A file as `cp` makes it, or `open("w")`."""
        path = self._some_path()
        if path is not None:
            handle = self.overlay.create(path, 0o644, os.O_WRONLY | os.O_TRUNC, OWNER)
            number = self._number(path, b"")
            self._wrote(number, 0, self._bytes(), handle)
            self._close(handle)

    def write_inside(self) -> None:
        path = self._some_file()
        if path is not None:
            handle = self.overlay.open(path, os.O_RDWR)
            number = self._number(path)
            self._wrote(number, self.rng.choice([0, 100, 512, len(self.contents[number].now)]), self._bytes(), handle)
            self._close(handle)

    def truncate(self) -> None:
        path = self._some_file()
        if path is not None:
            number = self._number(path)
            size = self.rng.choice([0, 1, 600, len(self.contents[number].now) + 1000])
            self.overlay.truncate(path, size)
            now = self.contents[number].now
            self._changed(number, now[:size].ljust(size, b"\0"), min(size, len(now)), 1 << 40)

    def open_and_write(self) -> None:
        if len(self.open_files) < 3:
            path = self._some_path()
            if path is not None:
                handle = self.overlay.create(path, 0o644, os.O_RDWR, OWNER)
                self.open_files.append((handle, self._number(path, b"", keep=True)))
        if self.open_files:
            handle, number = self.rng.choice(self.open_files)
            self._wrote(number, self.rng.choice([0, 300, len(self.contents[number].now)]), self._bytes(), handle)

    def close_one(self) -> None:
        if self.open_files:
            handle, _ = self.open_files.pop(self.rng.randrange(len(self.open_files)))
            self._close(handle)

    def fsync(self) -> None:
        if self.open_files and self.rng.random() < 0.5:
            handle, number = self.rng.choice(self.open_files)
            self.overlay.sync(handle)
            self._synced([number])
            return
        path = self._some_file()
        if path is not None:
            handle = self.overlay.open(path, self.rng.choice([os.O_RDONLY, os.O_RDWR]))
            self.overlay.sync(handle)
            self._close(handle)
            self._synced([self._number(path)])

    def write_during_fsync(self) -> None:
        """Two operations: a file is synced, and written to before that is done."""
        if not self.open_files:
            return
        before = self.disk.recorded
        handle, number = self.rng.choice(self.open_files)
        flush = self.overlay.bytes._flush

        def flush_and_write(files: list[tuple[File, StagedBytes]]) -> None:
            flush(files)
            self._later = 1
            self._wrote(number, self.rng.choice([0, 300, len(self.contents[number].now)]), self._bytes(), handle)

        self.overlay.bytes._flush = flush_and_write
        self.overlay.sync(handle)
        self.overlay.bytes._flush = flush
        self._later = 0
        self._synced([number])
        self._end(before)

    def fsyncdir(self) -> None:
        self.overlay.sync_names()
        self._synced([])

    def sync_all(self) -> None:
        """As it happens every few seconds."""
        self.overlay.sync_changed()
        self._synced(range(len(self.contents)))

    def rename(self) -> None:
        old, new = self._some_file(), self._some_path()
        if old is not None and new is not None and old != new:
            self.overlay.rename(old, new)
            self.names[new] = self.names.pop(old)

    def unlink(self) -> None:
        path = self._some_file()
        if path is not None:
            self.overlay.unlink(path)
            del self.names[path]

    def make_directory(self) -> None:
        path = self.rng.choice(DIRECTORIES[1:])
        if path not in self.names:
            self.overlay.mkdir(path, 0o755, OWNER)
            self.names[path] = None
        elif not any(name.startswith(path + b"/") for name in self.names):
            self.overlay.rmdir(path)
            del self.names[path]

    def make_link(self) -> None:
        path = self._some_path()
        if path is not None and path not in self.names:
            self.overlay.symlink(b"five", path, OWNER)
            self.names[path] = b"five"

    def chmod(self) -> None:
        path = self._some_file()
        if path is not None:
            self.overlay.chmod(path, self.rng.choice([0o600, 0o644]))

    def begin_again(self) -> None:
        """The process is killed, and there is another one."""
        while self.open_files:
            self._close(self.open_files.pop()[0])
        self.begin()

    # --- what it remembers

    def _end(self, before: int) -> None:
        self.steps.append((before, self.disk.recorded))
        self.named.append(dict(self.names))

    @property
    def _step(self) -> int:
        return len(self.steps) + self._later

    def _some_file(self) -> bytes | None:
        return self.rng.choice([path for path, what in self.names.items() if isinstance(what, int)] or [None])

    def _some_path(self) -> bytes | None:
        """Where a file is, or may be made."""
        directory = self.rng.choice([path for path in DIRECTORIES if path == b"/" or path in self.names])
        path = directory.rstrip(b"/") + b"/" + self.rng.choice(FILES)
        return path if isinstance(self.names.get(path, 0), int) else None

    def _bytes(self) -> bytes:
        return self.rng.randbytes(self.rng.choice([1, 100, 600, 5000]))

    def _number(self, path: bytes, content: bytes | None = None, *, keep: bool = False) -> int:
        """The file at a path, with other content if that is given; or a new one."""
        found = self.names.get(path)
        if found is None:
            found = self.names[path] = len(self.contents)
            self.contents.append(Content(b"", [(self._step, b"")]))
        elif content is not None and not keep:
            self._changed(found, content, 0, 1 << 40)
        assert isinstance(found, int)
        return found

    def _wrote(self, number: int, offset: int, data: bytes, handle: Handle) -> None:
        assert self.overlay.write(handle, offset, data) == len(data)
        now = self.contents[number].now.ljust(offset, b"\0")
        self._changed(number, now[:offset] + data + now[offset + len(data) :], offset, offset + len(data))

    def _changed(self, number: int, now: bytes, start: int, end: int) -> None:
        content = self.contents[number]
        content.now = now
        content.history.append((self._step, now))
        content.touched.append((self._step, start, end))

    def _synced(self, numbers: Iterator[int] | range | list[int]) -> None:
        for number in numbers:
            self.contents[number].synced.append(self._step)
        self.names_synced.append(self._step)

    def _close(self, handle: Handle) -> None:
        self.overlay.flush(handle)
        self.overlay.release(handle)


class Found:
    """What a store has after the machine stopped."""

    def __init__(self, where: Path, base: MemoryBase, boot: str) -> None:
        store = Staging(where, boot)
        try:
            self._overlay = Overlay(base, store, OWNER, LIMIT)
            self.names: Names = {}
            self.files: dict[bytes, list[int | None]] = {}
            self._look(b"/")
            taken = self._overlay.snapshot()
            compared = difference(taken, base)
            self.refused = {refused.path: refused.reason for refused in compared.refused}
            self.committed = {
                path: b"".join(bytes(piece) for piece in self._overlay.bytes.frozen(staged))
                for path, staged in snapshot.walk(taken)
                if isinstance(staged, snapshot.StagedFile) and path not in self.refused
            }
        finally:
            store.close()

    def _look(self, directory: bytes) -> None:
        for name, kind, _ in self._overlay.listdir(directory):
            path = directory.rstrip(b"/") + b"/" + name
            if kind == 0o040000:
                self.names[path] = None
                self._look(path)
            elif kind == 0o120000:
                self.names[path] = self._overlay.readlink(path)
            else:
                self.names[path] = 0
                self.files[path] = self._bytes(path)

    def _bytes(self, path: bytes) -> list[int | None]:
        """None for each byte that cannot be read."""
        handle = self._overlay.open(path, os.O_RDONLY)
        content: list[int | None] = []
        for start, end, is_lost in handle.file.data.lost.pieces(0, self._overlay.attributes(path).size):
            if is_lost:
                for begin, stop in ((start, end), (start, start + 1), (end - 1, end)):
                    with pytest.raises(OSError, match=IN_DOUBT):
                        self._overlay.read(handle, begin, stop - begin)
                content += [None] * (end - start)
            else:
                content += bytes(self._overlay.read(handle, start, end - start))
        self._overlay.release(handle)
        return content


def check(program: Program, cut: int, found: Found) -> int:
    """Compare what was found with what was done up to a point of the record; how many files are in doubt."""
    done = max(step for step, (_, end) in enumerate(program.steps) if end <= cut)
    begun = max(step for step, (start, _) in enumerate(program.steps) if start <= cut)
    durable = max(step for step in program.names_synced if step <= done)
    possible = [names for names in program.named[durable : begun + 1] if _alike(names, found.names)]
    assert possible, (durable, begun, found.names)
    failures: list[str] = []
    for names in possible:
        failures = _check_files(program, done, begun, names, found)
        if not failures:
            break
    assert not failures
    doubted = [path for path, content in found.files.items() if None in content]
    assert all(found.refused.get(path) == IN_DOUBT for path in doubted)
    return len(doubted)


def _alike(expected: Names, found: Names) -> bool:
    return {path: 0 if isinstance(what, int) else what for path, what in expected.items()} == found


def _check_files(program: Program, done: int, begun: int, names: Names, found: Found) -> list[str]:
    failures = []
    for path, content in found.files.items():
        number = names[path]
        assert isinstance(number, int)
        file = program.contents[number]
        synced = max((step for step in file.synced if step <= done), default=-1)
        before = [now for step, now in file.history if step <= synced][-1:]
        allowed = before + [now for step, now in file.history if synced < step <= begun]
        whole = bytes(byte or 0 for byte in content)
        if path not in found.refused and (None in content or whole not in allowed):
            failures.append(f"{path!r} ({number}) has {len(whole)} bytes that it never had, and nothing is said of it")
        if path in found.committed and found.committed[path] != whole:
            failures.append(f"{path!r} would be committed as something else")
        for offset, byte in enumerate(content):
            if byte is not None and not any(offset < len(now) and now[offset] == byte for now in allowed):
                failures.append(f"{path!r} ({number}) has a byte at {offset} that it never had")
                break
        if before:
            touched = [part[1:] for part in file.touched if synced < part[0] <= begun]
            for offset, byte in enumerate(before[0]):
                if any(start <= offset < end for start, end in touched):
                    continue
                if offset >= len(content) or content[offset] != byte:
                    failures.append(f"{path!r} ({number}) lacks the byte at {offset}, which was synced")
                    break
    return failures


@pytest.mark.parametrize(
    ("seeds", "cuts"),
    [pytest.param(range(4), 60, id="some"), pytest.param(range(100, 200), 200, id="many", marks=pytest.mark.long)],
)
@pytest.mark.timeout(3600)
def test_what_was_synced_is_there_and_nothing_is_invented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: range, cuts: int
) -> None:
    monkeypatch.setattr(overlay_bytes, "MANY", 2)
    points = in_doubt = 0
    for seed in seeds:
        where = tmp_path / str(seed)
        where.mkdir()
        disk = RecordedDirectory(where)
        try:
            monkeypatch.setattr(staging, "_sync_file_system", lambda _descriptor, disk=disk: disk.sync_all())
            program = Program(disk, random.Random(seed))
            program.run(OPERATIONS)
            events = disk.events()
            program.close()
        finally:
            disk.close()
        in_doubt += _cut(program, events, cuts, where, seed)
        points += cuts
        shutil.rmtree(where)
    print(f"\n{points} points, {in_doubt} files in doubt")


def _cut(program: Program, events: list[tuple[int, tuple[object, ...]]], cuts: int, where: Path, seed: int) -> int:
    rng = random.Random(seed)
    first = program.steps[0][1]  # before that nothing was answered
    chosen = set(rng.sample([end for end, _ in events if end >= first], cuts))
    state, in_doubt = Disk(), 0
    for end, event in events:
        state.apply(event)
        if end in chosen:
            left = where / "left"
            state.write_what_is_left(left, random.Random(f"{seed} {end}"))
            try:
                found = Found(left / "staged" / "repo", program.base, "second")
                in_doubt += check(program, end, found)
                again = Found(left / "staged" / "repo", program.base, rng.choice(["second", "third"]))
                assert (again.files, again.refused) == (found.files, found.refused)
            except BaseException:
                print(f"seed {seed}, cut at {end}")
                raise
            shutil.rmtree(left)
    return in_doubt
