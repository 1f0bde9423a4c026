"""The overlay under random use, beside a directory of the local disk: same answers, same errors, same trees."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pachmount.overlay import snapshot
from pachmount.overlay.attributes import Handle
from pachmount.overlay.difference import Difference, difference
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.snapshot import StagedDirectory, StagedFile
from pachmount.overlay.staging import Staging
from pachmount.overlay.tree import Owner
from tests.unit.overlay.base import MemoryBase

OWNER = Owner(os.getuid(), os.getgid())
LIMIT = 1 << 30
NAMES = ["a", "b", "one", "two", "deep", "five", "new"]
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join) | st.sampled_from(
    ["a/one", "a/two", "a/deep/three", "a/deep", "b/four", "b", "five", "new"]
)
offsets = st.sampled_from([0, 1, 4, 5, 100, 4096, 10_239, 10_240, 69_999, 70_000, 80_000])
contents = st.sampled_from([b"", b"x", b"hello", b"y" * 5000])
FLAGS = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC]
CREATE = [os.O_CREAT, os.O_CREAT | os.O_EXCL]


def outcome(action: Callable[[], Any]) -> tuple[int, Any]:
    """The errno of an action, 0 and its result if it worked."""
    try:
        return 0, action()
    except OSError as error:
        return error.errno or -1, None


class Both(RuleBasedStateMachine):
    """`files`: open files as pairs of a handle and a descriptor."""

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp())
        self.real = self.top / "real"
        self.real.mkdir()
        self.base = MemoryBase()
        self.base.write_to(self.real)
        self.store = Staging(self.top / "staged")
        self.overlay = Overlay(self.base, self.store, OWNER, LIMIT)
        self.files: list[tuple[Handle, int]] = []
        self.pending: tuple[StagedDirectory, Difference, MemoryBase] | None = None

    def teardown(self) -> None:
        self._close_all()
        self.store.close()
        shutil.rmtree(self.top)

    def _close_all(self) -> None:
        for handle, descriptor in self.files:
            self.overlay.flush(handle)
            self.overlay.release(handle)
            os.close(descriptor)
        self.files.clear()

    def _same(self, ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[Any, Any]:
        (number, result), (expected, reference) = outcome(ours), outcome(theirs)
        assert number == expected, f"errno {number}, the disk has {expected}"
        return result, reference

    @rule(path=paths, flags=st.sampled_from(FLAGS), create=st.sampled_from([0, *CREATE]))
    def open(self, path: str, flags: int, create: int) -> None:
        if len(self.files) >= 5 or not self._resolved(path):
            return
        mine = path.encode()

        def ours() -> Handle:
            if create:
                return self.overlay.create(b"/" + mine, 0o644, flags | create, OWNER)
            return self.overlay.open(b"/" + mine, flags)

        if (self.real / path).is_dir() and not self._through_a_file(path):
            return  # the kernel answers, with what flags and the directory say
        handle, descriptor = self._same(ours, lambda: os.open(self.real / path, flags | create | os.O_NOFOLLOW, 0o644))
        if handle is not None:
            self.files.append((handle, descriptor))

    def _resolved(self, path: str) -> bool:
        """Whether no symbolic link is on the way: the kernel follows those before it asks us."""
        return not any((self.real / parent).is_symlink() for parent in Path(path).parents)

    def _through_a_file(self, path: str) -> bool:
        return any((self.real / parent).is_file() for parent in Path(path).parents)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), offset=offsets, content=contents)
    def write(self, data: st.DataObject, offset: int, content: bytes) -> None:
        handle, descriptor = data.draw(st.sampled_from(self.files))
        if content:  # the kernel passes nothing on when there is nothing to write
            self._same(
                lambda: self.overlay.write(handle, offset, content), lambda: os.pwrite(descriptor, content, offset)
            )

    @precondition(lambda self: self.files)
    @rule(data=st.data(), offset=offsets, size=st.sampled_from([1, 100, 5000, 100_000]))
    def read(self, data: st.DataObject, offset: int, size: int) -> None:
        handle, descriptor = data.draw(st.sampled_from(self.files))
        if handle.flags & os.O_ACCMODE != os.O_WRONLY:  # which the kernel does not pass on
            found, expected = self._same(
                lambda: bytes(self.overlay.read(handle, offset, size)), lambda: os.pread(descriptor, size, offset)
            )
            assert found == expected

    @precondition(lambda self: self.files)
    @rule(data=st.data(), size=offsets)
    def resize(self, data: st.DataObject, size: int) -> None:
        handle, descriptor = data.draw(st.sampled_from(self.files))
        self._same(lambda: self.overlay.resize(handle, size), lambda: os.ftruncate(descriptor, size))

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def stat_open(self, data: st.DataObject) -> None:
        handle, descriptor = data.draw(st.sampled_from(self.files))
        ours, theirs = self.overlay.attributes(handle), os.fstat(descriptor)
        assert (ours.size, ours.links, stat.S_IFMT(ours.mode)) == (
            theirs.st_size,
            theirs.st_nlink,
            stat.S_IFMT(theirs.st_mode),
        )

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        pair = data.draw(st.sampled_from(self.files))
        self.files.remove(pair)
        self.overlay.flush(pair[0])
        self.overlay.release(pair[0])
        os.close(pair[1])

    @rule(path=paths, size=offsets)
    def truncate(self, path: str, size: int) -> None:
        if self._resolved(path) and not (self.real / path).is_symlink():
            self._same(
                lambda: self.overlay.truncate(f"/{path}".encode(), size), lambda: os.truncate(self.real / path, size)
            )

    @rule(path=paths)
    def unlink(self, path: str) -> None:
        if not self._resolved(path):
            return
        self._same(lambda: self.overlay.unlink(f"/{path}".encode()), lambda: os.unlink(self.real / path))

    @rule(path=paths)
    def rmdir(self, path: str) -> None:
        if not self._resolved(path):
            return
        self._same(lambda: self.overlay.rmdir(f"/{path}".encode()), lambda: os.rmdir(self.real / path))

    @rule(path=paths)
    def mkdir(self, path: str) -> None:
        if not self._resolved(path):
            return
        self._same(
            lambda: self.overlay.mkdir(f"/{path}".encode(), 0o755, OWNER), lambda: os.mkdir(self.real / path, 0o755)
        )

    @rule(old=paths, new=paths)
    def rename(self, old: str, new: str) -> None:
        if not (self._resolved(old) and self._resolved(new)) or old.startswith(new + "/"):
            return  # for the latter the kernel says ENOTEMPTY before it looks for the old name
        self._same(
            lambda: self.overlay.rename(f"/{old}".encode(), f"/{new}".encode()),
            lambda: os.rename(self.real / old, self.real / new),
        )

    @rule(old=paths, new=paths)
    def link(self, old: str, new: str) -> None:
        if not (self._resolved(old) and self._resolved(new)):
            return
        self._same(
            lambda: self.overlay.link(f"/{old}".encode(), f"/{new}".encode()),
            lambda: os.link(self.real / old, self.real / new, follow_symlinks=False),
        )

    @rule(text=st.sampled_from(["nowhere", "../else"]), path=paths)
    def symlink(self, text: str, path: str) -> None:
        if not self._resolved(path):
            return
        self._same(
            lambda: self.overlay.symlink(text.encode(), f"/{path}".encode(), OWNER),
            lambda: os.symlink(text, self.real / path),
        )

    @rule(path=paths, mode=st.sampled_from([0o600, 0o755]))
    def chmod(self, path: str, mode: int) -> None:
        if self._resolved(path) and not (self.real / path).is_symlink():
            self._same(lambda: self.overlay.chmod(f"/{path}".encode(), mode), lambda: os.chmod(self.real / path, mode))

    @rule(path=paths)
    def utimens(self, path: str) -> None:
        if not self._resolved(path):
            return
        times = 1_000_000_001, 2_000_000_002
        self._same(
            lambda: self.overlay.utimens(f"/{path}".encode(), *times),
            lambda: os.utime(self.real / path, ns=times, follow_symlinks=False),
        )
        if (self.real / path).exists():
            found = self.overlay.attributes(f"/{path}".encode())
            assert (found.atime, found.mtime) == times

    @rule()
    def restart(self) -> None:
        self._close_all()
        if self.pending is not None:
            snapshot.release(self.pending[0])
            self.pending = None
        self.store.close()
        self.store = Staging(self.top / "staged")
        used = self.overlay.bytes.budget.used
        self.overlay = Overlay(self.base, self.store, OWNER, LIMIT)
        assert self.overlay.bytes.budget.used == used

    @precondition(lambda self: self.pending is None)
    @rule()
    def begin_commit(self) -> None:
        """What is staged now is sent away; the answer comes later."""
        taken = self.overlay.snapshot(copy=True)
        found = difference(taken, self.base)
        files = self.base.files()
        for change in found.changes:
            if change.kind == "D":
                del files[change.path[1:].decode()]
            elif change.kind == "R":
                del files[change.old_path[1:].decode()]
        for change in found.changes:
            if isinstance(change.content, StagedFile):
                content = b"".join(bytes(piece) for piece in self.overlay.bytes.frozen(change.content))
                files[change.path[1:].decode()] = content
            elif change.content is not None:
                files[change.path[1:].decode()] = self.base.read(change.content.path, 0, change.size)
        self.pending = taken, found, MemoryBase(files)

    @precondition(lambda self: self.pending is not None)
    @rule()
    def end_commit(self) -> None:
        assert self.pending is not None
        (taken, found, after), self.pending = self.pending, None
        self.overlay.advance(after, taken, found.committed(taken))
        self.base = after
        snapshot.release(taken)

    @precondition(lambda self: self.pending is None)
    @rule()
    def commit(self) -> None:
        self.begin_commit()
        self.end_commit()
        taken = self.overlay.snapshot()
        assert difference(taken, self.base, read=self._bytes).changes == []

    def _bytes(self, staged: StagedFile) -> bytes:
        return b"".join(bytes(piece) for piece in self.overlay.bytes.frozen(staged))

    @precondition(lambda self: self.pending is None)
    @rule()
    def move(self) -> None:
        """Somebody else's commit, which adds a file."""
        files = self.base.files()
        name = f"theirs-{len(files)}"
        (self.real / name).write_bytes(b"theirs")
        after = MemoryBase({**files, name: b"theirs"})
        assert self.overlay.move(after, self.overlay.generation())
        self.base = after

    @invariant()
    def same_trees(self) -> None:
        assert self._ours(b"/") == self._theirs(self.real)

    def _ours(self, path: bytes) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for name, kind, number in self.overlay.listdir(path):
            inside = path.rstrip(b"/") + b"/" + name
            found = self.overlay.attributes(inside)
            assert (stat.S_IFMT(found.mode), found.number) == (kind, number)
            mode, links = stat.S_IMODE(found.mode), found.links
            if kind == stat.S_IFDIR:
                tree[name.decode()] = mode, self._ours(inside)
            elif kind == stat.S_IFLNK:
                tree[name.decode()] = links, self.overlay.readlink(inside)
            else:
                handle = self.overlay.open(inside, os.O_RDONLY)
                content = bytes(self.overlay.read(handle, 0, found.size + 1))
                self.overlay.release(handle)
                tree[name.decode()] = mode, links, content
        return tree

    def _theirs(self, directory: Path) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for entry in directory.iterdir():
            info = entry.lstat()
            mode = stat.S_IMODE(info.st_mode)
            if stat.S_ISDIR(info.st_mode):
                tree[entry.name] = mode, self._theirs(entry)
            elif stat.S_ISLNK(info.st_mode):
                tree[entry.name] = info.st_nlink, os.readlink(entry).encode()
            else:
                tree[entry.name] = mode, info.st_nlink, entry.read_bytes()
        return tree


@pytest.mark.parametrize("examples", [100, pytest.param(3000, marks=pytest.mark.long)])
@pytest.mark.timeout(1800)
def test_it_is_like_a_disk(examples: int) -> None:
    Both.TestCase.settings = settings(max_examples=examples, stateful_step_count=40, deadline=None, database=None)
    Both.TestCase("runTest").runTest()
