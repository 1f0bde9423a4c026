"""Commits arrive while a mount that follows is read: each open file and each walk shows one commit as a whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.integration import machines
from tests.integration.box import Box, wait_until
from tests.integration.reader import Reader
from tests.integration.wire import data

PATHS = [f"/d{number % 3}/file{number}" for number in range(9)]


class World:
    """A mount that follows a branch, and all commits that there ever were: what they hold."""

    def __init__(self) -> None:
        self.box = Box({"PACHMOUNT_POLL_INTERVAL": "0.5"})
        self.box.start()
        self.repo = self.box.repo("followed")
        self.reader = Reader(limit=60)
        self.commits: dict[str, dict[str, bytes]] = {}
        self.files: dict[str, bytes] = {}
        self.change(dict.fromkeys(PATHS, 0))
        self.box.ok("mount", self.repo, "--follow")

    def change(self, versions: dict[str, int]) -> None:
        """A new commit; a version decides size and content of a file."""
        number = len(self.commits)
        changed = {path: data(f"{path} {number} {v}", 20_000 + 7919 * v + number) for path, v in versions.items()}
        self.files = self.files | changed
        self.commits[self.box.put(self.repo, changed)] = self.files

    @property
    def shown(self) -> str:
        return str(self.box.mount_status(self.repo)["commit"])

    def close(self) -> None:
        self.reader.close()
        try:
            self.box.stop()
        finally:
            self.box.close()


class Follows(RuleBasedStateMachine):
    world: World

    @initialize()
    def begin(self) -> None:
        self.open: list[tuple[int, str, list[bytes]]] = []  # handle, path, what it may be

    @rule(changes=st.dictionaries(st.sampled_from(PATHS), st.integers(0, 50), min_size=1, max_size=4))
    def commit(self, changes: dict[str, int]) -> None:
        self.world.change(changes)

    @rule(path=st.sampled_from(PATHS))
    def open_a_file(self, path: str) -> None:
        handle = self.world.reader.open(self.world.box.path(self.world.repo) / path[1:])
        self.open.append((handle, path, [files[path] for files in self.world.commits.values()]))

    @rule(
        position=st.floats(0, 1), size=st.sampled_from([1, 5000, 100_000]), mapped=st.booleans(), choice=st.integers(0)
    )
    def read(self, position: float, size: int, mapped: bool, choice: int) -> None:
        if not self.open:
            return
        place = choice % len(self.open)
        handle, path, candidates = self.open[place]
        offset = int(position * min(map(len, candidates)))
        if mapped:
            size = min(size, min(map(len, candidates)) - offset)
            if size <= 0:
                return
        answer = self.world.reader.read(handle, offset, size, mapped=mapped)
        assert not answer.errno, f"{path}: {answer}"
        fitting = [content for content in candidates if content[offset : offset + size] == answer.data]
        assert fitting, f"{path}: bytes of no commit, or of another one than earlier reads of the same open file"
        self.open[place] = handle, path, fitting

    @rule()
    def walk(self) -> None:
        found = self.world.reader.tree(self.world.box.path(self.world.repo))
        names = {f"/{name.lstrip('/')}": size for name, size in found.items()}
        sizes = [{path: len(content) for path, content in files.items()} for files in self.world.commits.values()]
        assert names in sizes, "a walk that is of no single commit"

    @rule()
    def wait_for_the_newest(self) -> None:
        newest = list(self.world.commits)[-1]
        wait_until(lambda: self.world.shown == newest, "the newest commit is shown", 30)

    def teardown(self) -> None:
        for handle, _, _ in self.open:
            self.world.reader.close_file(handle)


@pytest.fixture(scope="module")
def world(fuse: None) -> Iterator[World]:
    with contextlib.closing(World()) as world:
        yield world


@pytest.mark.parametrize("examples", [40, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.timeout(3600)
def test_no_view_is_torn_while_commits_arrive(world: World, examples: int) -> None:
    machines.run(Follows, world, examples, steps=15)
