"""A read-write mount under random use by two processes, beside a directory of the local disk: the same answers, errors
and trees; and what is committed is what the directory holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pachmount.api import schema
from pachmount.overlay.difference import MAX_NESTED_LINKS
from tests.integration import machines
from tests.integration.box import Box
from tests.integration.test_committing import server_tree
from tests.unit.overlay.base import TREE

NAMES = ["a", "b", "one", "two", "deep", "five", "new", "old~"]
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join) | st.sampled_from(
    ["a/one", "a/two", "a/deep/three", "a/deep", "b/four", "b", "five", "new", "old~", "theirs-1"]
)
offsets = st.sampled_from([0, 1, 4, 5, 100, 4096, 10_239, 10_240, 69_999, 70_000, 80_000])
contents = st.sampled_from(["x", "hello", "y" * 5000])
numbers = st.integers(0, 3)
workers = st.integers(0, 1)
FLAGS = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_RDWR | os.O_APPEND]
CREATE = [0, os.O_CREAT, os.O_CREAT | os.O_EXCL]
CACHED = ("pread", "read", "map_read", "map_write")
"""What sees the kernel's cache of a file."""
PUNCH, ZERO, KEEP = 2, 16, 1
TARGETS = ["nowhere", "../else", "one", "a", "../a/one", "deep", ".", "/etc/hostname"]
Tree = dict[str, Any]


class Worker:
    """A process that does everything twice."""

    def __init__(self, mounted: Path, plain: Path) -> None:
        self.open: set[int] = set()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.write_worker", mounted, plain],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def do(self, operation: str, *arguments: Any) -> int:
        """Have it done; the errno, which is the same in both places, as is the result."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([operation, arguments]) + "\n")
        self._process.stdin.flush()
        ours, theirs = json.loads(self._process.stdout.readline())
        assert ours == theirs, f"{operation} {arguments}: the mount answers {ours}, the disk {theirs}"
        self.answer = ours[1]
        return int(ours[0])

    def has_one_name(self, number: int) -> bool:
        """Whether an open file has no further hard link."""
        self.do("has_one_name", number)
        return bool(self.answer)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(20) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()


class World:
    """The daemon, which all examples share."""

    def __init__(self) -> None:
        self.box = Box()
        self.box.start()

    def close(self) -> None:
        try:
            self.box.stop()
        finally:
            self.box.close()


class Writes(RuleBasedStateMachine):
    """Each example has a repo and two directories of its own."""

    world: World

    @initialize()
    def begin(self) -> None:
        self.box = self.world.box
        self.repo = self.box.repo("machine")
        self.server: dict[str, bytes] = {f"/{path}": content for path, content in TREE.items()}
        self.box.put(self.repo, self.server)
        self.box.mount(self.repo, mode="rw")
        self.mounted = self.box.path(self.repo)
        self.plain = Path(tempfile.mkdtemp())
        for path, content in TREE.items():
            (self.plain / path).parent.mkdir(parents=True, exist_ok=True)
            (self.plain / path).write_bytes(content)
        self.workers = [Worker(self.mounted, self.plain) for _ in range(2)]
        self.theirs: dict[str, bytes] = {}
        self.others = 0

    def teardown(self) -> None:
        if not hasattr(self, "workers"):
            return
        for worker in self.workers:
            worker.close()
        self.box.clean()
        shutil.rmtree(self.plain)
        assert not self.box.log_problems()

    # --- open files

    @rule(who=workers, number=numbers, path=paths, flags=st.sampled_from(FLAGS), create=st.sampled_from(CREATE))
    def open(self, who: int, number: int, path: str, flags: int, create: int) -> None:
        worker = self.workers[who]
        if number not in worker.open and not worker.do("open", number, path, flags | create):
            worker.open.add(number)

    def _with_file(self, who: int, number: int, operation: str, *arguments: Any) -> None:
        worker = self.workers[who]
        if number in worker.open and (operation not in CACHED or worker.has_one_name(number)):
            worker.do(operation, number, *arguments)

    @rule(who=workers, number=numbers)
    def close(self, who: int, number: int) -> None:
        self._with_file(who, number, "close")
        self.workers[who].open.discard(number)

    @rule(who=workers, number=numbers, offset=offsets, content=contents)
    def pwrite(self, who: int, number: int, offset: int, content: str) -> None:
        self._with_file(who, number, "pwrite", offset, content)

    @rule(who=workers, number=numbers, content=contents)
    def write(self, who: int, number: int, content: str) -> None:
        self._with_file(who, number, "write", content)

    @rule(who=workers, number=numbers, offset=offsets, size=st.sampled_from([1, 100, 5000, 100_000]))
    def pread(self, who: int, number: int, offset: int, size: int) -> None:
        self._with_file(who, number, "pread", offset, size)

    @rule(who=workers, number=numbers, size=st.sampled_from([1, 5000]))
    def read(self, who: int, number: int, size: int) -> None:
        self._with_file(who, number, "read", size)

    @rule(who=workers, number=numbers, size=offsets)
    def ftruncate(self, who: int, number: int, size: int) -> None:
        self._with_file(who, number, "ftruncate", size)

    @rule(who=workers, number=numbers)
    def fstat(self, who: int, number: int) -> None:
        self._with_file(who, number, "fstat")

    @rule(who=workers, number=numbers)
    def fsync(self, who: int, number: int) -> None:
        self._with_file(who, number, "fsync")

    @rule(
        who=workers,
        number=numbers,
        mode=st.sampled_from([0, KEEP, PUNCH | KEEP, ZERO, ZERO | KEEP]),
        offset=offsets,
        size=st.sampled_from([1, 5000]),
    )
    def fallocate(self, who: int, number: int, mode: int, offset: int, size: int) -> None:
        self._with_file(who, number, "fallocate", mode, offset, size)

    @rule(who=workers, number=numbers, other=numbers, offset=offsets, size=st.sampled_from([100, 50_000]))
    def copy_range(self, who: int, number: int, other: int, offset: int, size: int) -> None:
        if other in self.workers[who].open and self.workers[who].has_one_name(other):
            self._with_file(who, number, "copy_range", other, offset, size)

    @rule(who=workers, number=numbers, offset=offsets, content=contents)
    def map_write(self, who: int, number: int, offset: int, content: str) -> None:
        self._with_file(who, number, "map_write", offset, content)

    @rule(who=workers, number=numbers)
    def map_read(self, who: int, number: int) -> None:
        self._with_file(who, number, "map_read")

    @rule(
        who=workers,
        kind=st.sampled_from(["flock", "fcntl"]),
        how=st.sampled_from([fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN]),
    )
    def lock(self, who: int, kind: str, how: int) -> None:
        self.workers[who].do("lock", f"lock-{kind}", kind, how)

    # --- names

    @rule(who=workers, path=paths, size=offsets)
    def truncate(self, who: int, path: str, size: int) -> None:
        self.workers[who].do("truncate", path, size)

    @rule(who=workers, operation=st.sampled_from(["unlink", "rmdir", "mkdir", "mkfifo", "readlink"]), path=paths)
    def change_name(self, who: int, operation: str, path: str) -> None:
        self.workers[who].do(operation, path)

    @rule(who=workers, operation=st.sampled_from(["rename", "rename", "link"]), old=paths, new=paths)
    def change_names(self, who: int, operation: str, old: str, new: str) -> None:
        self.workers[who].do(operation, old, new)

    @rule(who=workers, text=st.sampled_from(TARGETS), path=paths)
    def symlink(self, who: int, text: str, path: str) -> None:
        self.workers[who].do("symlink", text, path)

    # --- attributes

    @rule(who=workers, path=paths, mode=st.sampled_from([0o600, 0o755]))
    def chmod(self, who: int, path: str, mode: int) -> None:
        self.workers[who].do("chmod", path, mode)

    @rule(who=workers, path=paths)
    def utime(self, who: int, path: str) -> None:
        self.workers[who].do("utime", path, 1_000_000_001_000, 2_000_000_002_000)

    @rule(who=workers, path=paths, name=st.sampled_from(["user.a", "user.b"]), flags=st.sampled_from([0, 1, 2]))
    def setxattr(self, who: int, path: str, name: str, flags: int) -> None:
        self.workers[who].do("setxattr", path, name, "value", flags)

    @rule(who=workers, path=paths, name=st.sampled_from(["user.a", "user.b"]))
    def removexattr(self, who: int, path: str, name: str) -> None:
        self.workers[who].do("removexattr", path, name)

    # --- commits and what else happens to a mount

    @rule()
    def commit(self) -> None:
        expected = self._expected_commit()
        with self.box.daemon() as client:
            made = client.commit(schema.CommitRequest(mount=self.repo, skip_invalid=True, allow_open=True))
            assert client.diff(self.repo).changes == []
        if made.commit:
            expected |= self.theirs
            self._others_are_seen()
            assert self.box.mount_status(self.repo)["behind"] == 0
        else:
            assert expected == self.server
            expected |= self.theirs
        assert server_tree(self.box, self.repo) == expected
        self.server = {path: content for path, content in expected.items() if path not in self.theirs}

    @rule()
    def others_commit(self) -> None:
        self.others += 1
        self.box.put(self.repo, {f"/others/{self.others}": b"theirs"})
        self.theirs[f"/others/{self.others}"] = b"theirs"

    @rule()
    def refresh(self) -> None:
        with self.box.daemon() as client:
            client.refresh([schema.RefreshEntry(name=self.repo)])
        self._others_are_seen()

    @rule()
    def discard(self) -> None:
        """Some of the time: a machine that forgets all the time finds little."""
        self._close_files()
        with self.box.daemon() as client:
            client.discard(self.repo, [])
        shutil.rmtree(self.plain)
        self.plain.mkdir()
        for path, content in self.server.items():
            (self.plain / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (self.plain / path[1:]).write_bytes(content)

    @rule()
    def mount_again(self) -> None:
        self._close_files()
        with self.box.daemon() as client:
            client.unmount([self.repo], staged="keep")
        if not self.box.mount(self.repo, mode="rw")["behind"]:
            self._others_are_seen()  # nothing was staged, so that it stands on the newest commit

    @precondition(lambda self: self.others % 2)
    @rule()
    def kill(self) -> None:
        """What was closed is there again with the next daemon."""
        self._close_files()
        os.kill(self.box.pid, signal.SIGKILL)
        self.box.ok("daemon", "start")

    def _close_files(self) -> None:
        for worker in self.workers:
            worker.do("close_all")
            worker.open.clear()

    def _others_are_seen(self) -> None:
        self.server |= self.theirs
        for path, content in self.theirs.items():
            (self.plain / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (self.plain / path[1:]).write_bytes(content)
        self.theirs = {}

    def _expected_commit(self) -> dict[str, bytes]:
        """The files of a commit: links as copies of what they lead to, but nothing that is ignored or refused."""
        found: dict[str, bytes] = {}
        refused: list[str] = []

        def add(path: str, real: Path, above: tuple[Path | None, ...]) -> None:
            info = real.lstat()
            if path.endswith("~") and not self._was_there(path):
                return
            if stat.S_ISLNK(info.st_mode):
                target = _followed(self.plain, real)
                if target is None or target in above:
                    refused.append(path)
                    return
                if target.is_dir() and above.count(None) == MAX_NESTED_LINKS:
                    refused.append(path)
                    return
                real, info, above = target, target.lstat(), (*above, None)
            if stat.S_ISDIR(info.st_mode):
                for entry in real.iterdir():
                    add(f"{path}/{entry.name}", entry, (*above, real))
            elif stat.S_ISREG(info.st_mode):
                found[path] = real.read_bytes()

        for entry in self.plain.iterdir():
            add(f"/{entry.name}", entry, (self.plain,))
        kept = {
            path: content
            for path, content in self.server.items()
            if any(f"{path}/".startswith(f"{place}/") for place in refused)
        }
        return kept | found

    def _was_there(self, path: str) -> bool:
        return any(f"{known}/".startswith(f"{path}/") for known in self.server)

    # --- what always holds

    @invariant()
    def same_trees(self) -> None:
        if hasattr(self, "mounted"):
            ours, theirs = _tree(self.mounted), _tree(self.plain)
            assert ours == theirs


def _followed(top: Path, link: Path) -> Path | None:
    """What a link leads to inside of a directory; None if it leads out of it or nowhere."""
    try:
        real = Path(os.path.realpath(link, strict=True))
    except OSError:
        return None
    return real if real == top or top in real.parents else None


def _tree(top: Path) -> Tree:
    tree: Tree = {}
    for entry in os.scandir(top):
        info = entry.stat(follow_symlinks=False)
        mode = info.st_mode
        if stat.S_ISDIR(mode):
            tree[entry.name] = mode, _xattrs(entry.path), _tree(Path(entry.path))
        elif stat.S_ISLNK(mode):
            tree[entry.name] = mode, info.st_nlink, os.readlink(entry.path)
        elif stat.S_ISREG(mode):
            content = Path(entry.path).read_bytes()
            assert info.st_size == len(content)
            tree[entry.name] = mode, info.st_nlink, content, _xattrs(entry.path)
        else:
            tree[entry.name] = mode, info.st_nlink
    return tree


def _xattrs(path: str) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in sorted(os.listxattr(path)) if name.startswith("user.")}


@pytest.fixture(scope="module")
def world(fuse: None) -> Iterator[World]:
    with contextlib.closing(World()) as world:
        yield world


@pytest.mark.parametrize("examples", [40, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.timeout(3600)
def test_a_mount_is_like_a_disk(world: World, examples: int) -> None:
    machines.run(Writes, world, examples, steps=40)
