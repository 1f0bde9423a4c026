"""Two users change one branch, each in a mount and daemon of their own: nothing is replaced without being told to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pachmount.api import schema
from pachmount.errors import ConflictError
from tests.integration.box import Box
from tests.integration.test_committing import commits, server_tree

BASE = {"/a": b"a\n", "/b": b"b\n", "/d/x": b"x\n", "/d/y": b"y\n", "/deep/er/z": b"z\n"}
Tree = dict[str, bytes]
Work = Callable[[Path], object]


def write(path: str, content: bytes) -> Work:
    return lambda top: (top / path).parent.mkdir(parents=True, exist_ok=True) or (top / path).write_bytes(content)


def append(path: str, content: bytes) -> Work:
    def work(top: Path) -> None:
        with (top / path).open("ab") as file:
            file.write(content)

    return work


def delete(path: str) -> Work:
    return lambda top: (top / path).unlink()


def delete_directory(path: str) -> Work:
    return lambda top: shutil.rmtree(top / path)


def rename(old: str, new: str) -> Work:
    return lambda top: (top / old).rename(top / new)


def both(*works: Work) -> Work:
    return lambda top: [work(top) for work in works]


@dataclass(frozen=True)
class Case:
    """What two users do. `conflicts`: the paths that the second one to commit is told of; none = both work."""

    one: Work
    other: Work
    conflicts: frozenset[str] = field(default_factory=frozenset)


def case(one: Work, other: Work, *conflicts: str) -> Case:
    return Case(one, other, frozenset(conflicts))


CASES = {
    "different files": case(write("a", b"1"), write("b", b"2")),
    "new files in one directory": case(write("new/1", b"1"), write("new/2", b"2")),
    "one directory": case(delete("d/x"), append("d/y", b"more\n")),
    "deleted beside renamed": case(delete("d/x"), rename("d/y", "d/w")),
    "both delete": case(delete("a"), delete("a")),
    "both delete a directory": case(delete_directory("d"), delete_directory("d")),
    "both add the same": case(write("new", b"same"), write("new", b"same")),
    "both write the same": case(write("a", b"same"), write("a", b"same")),
    "both rename alike": case(rename("a", "c"), rename("a", "c")),
    "both add": case(write("new", b"1"), write("new", b"2"), "/new"),
    "same file": case(write("a", b"1"), write("a", b"2"), "/a"),
    "both append": case(append("a", b"1"), append("a", b"2"), "/a"),
    "modified and deleted": case(write("a", b"1"), delete("a"), "/a"),
    "modified and renamed": case(append("a", b"1"), rename("a", "c"), "/a"),
    "renamed to two names": case(rename("a", "c"), rename("a", "e"), "/a"),
    "renamed to one name": case(rename("a", "c"), rename("b", "c"), "/c"),
    "renamed onto another that was modified": case(rename("a", "b"), write("b", b"2"), "/b"),
    "modified in a directory that was renamed": case(write("d/x", b"1"), rename("d", "e"), "/d/x"),
    "modified in a directory that was deleted": case(write("d/x", b"1"), delete_directory("d"), "/d/x"),
    "a file becomes a directory": case(both(delete("a"), write("a/in", b"1")), write("a", b"2"), "/a", "/a/in"),
    "a directory becomes a file": case(both(delete_directory("d"), write("d", b"1")), write("d/x", b"2"), "/d", "/d/x"),
    "a new file and a new directory": case(write("new", b"1"), write("new/in", b"2"), "/new", "/new/in"),
    "file and directory change places": case(
        both(rename("a", "t"), rename("d", "a"), rename("t", "d")), write("d/x", b"2"), "/d", "/d/x"
    ),
}
"""Whichever commits first."""
CONFLICTS = {name: each for name, each in CASES.items() if each.conflicts}


class User:
    """One mount of a repo in a daemon; `plain` is a directory on the disk with the same done to it."""

    def __init__(self, box: Box, repo: str, name: str, plain: Path) -> None:
        self.box = box
        self.name = name
        box.mount(repo, name, mode="rw")
        self.top = box.path(name)
        self.plain = plain
        for path, content in BASE.items():
            write(path[1:], content)(plain)

    def do(self, work: Work) -> None:
        work(self.top)
        work(self.plain)
        assert tree(self.top) == tree(self.plain)

    def commit(self, **wish: str | bool | list[str]) -> str:
        with self.box.daemon() as client:
            return client.commit(schema.CommitRequest(mount=self.name, **wish)).commit

    def changes(self) -> list[tuple[str, str]]:
        with self.box.daemon() as client:
            return [(change.kind, change.path) for change in client.diff(self.name).changes]


def tree(top: Path) -> Tree:
    return {f"/{path.relative_to(top)}": path.read_bytes() for path in top.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def other_box(shared_box: Box) -> Iterator[Box]:
    other = Box(share=shared_box)
    try:
        other.start()
        yield other
        other.stop()
    finally:
        other.close()


@dataclass
class World:
    box: Box
    repo: str
    first: User
    second: User

    def server(self, branch: str = "master") -> Tree:
        return server_tree(self.box, self.repo, branch)


@pytest.fixture
def world(box: Box, other_box: Box, tmp_path: Path) -> Iterator[World]:
    """Two users, of whom the first will commit first."""
    repo = box.repo("two")
    box.put(repo, BASE)
    yield World(box, repo, User(box, repo, "first", tmp_path / "1"), User(other_box, repo, "second", tmp_path / "2"))
    other_box.clean()
    assert not other_box.log_problems()


def works(name: str, *, swapped: bool) -> tuple[Work, Work, frozenset[str]]:
    each = CASES[name]
    pair = (each.other, each.one) if swapped else (each.one, each.other)
    return *pair, each.conflicts


def begin(world: World, name: str, *, swapped: bool) -> frozenset[str]:
    """Both work, the first one commits."""
    one, other, conflicts = works(name, swapped=swapped)
    world.first.do(both(one, write("first", b"only one of them adds this")))
    world.second.do(both(other, write("second", b"only the other adds this")))
    world.first.commit()
    assert world.server() == tree(world.first.plain)
    return conflicts


orders = pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
conflicting = pytest.mark.parametrize("name", CONFLICTS)


@orders
@pytest.mark.parametrize("name", sorted(CASES.keys() - CONFLICTS.keys()))
def test_what_can_stand_side_by_side_is_committed(world: World, name: str, swapped: bool, tmp_path: Path) -> None:
    begin(world, name, swapped=swapped)
    world.second.commit()
    merged = dict(BASE)
    for done in (tree(world.first.plain), tree(world.second.plain)):
        merged |= {path: content for path, content in done.items() if BASE.get(path) != content}
        for path in BASE.keys() - done.keys():
            merged.pop(path, None)
    assert world.server() == merged
    assert tree(world.second.top) == merged
    assert world.second.changes() == []
    with world.box.daemon() as client:
        client.refresh([schema.RefreshEntry(name="first")])
    assert tree(world.first.top) == merged
    assert world.first.changes() == []


@orders
@conflicting
def test_a_conflict_changes_nothing_and_a_branch_takes_it(world: World, name: str, swapped: bool) -> None:
    conflicts = begin(world, name, swapped=swapped)
    staged, before = world.second.changes(), commits(world.box, world.repo)
    for _ in range(2):
        with pytest.raises(ConflictError) as refused:
            world.second.commit()
        assert any(f"{path} (ours: " in refused.value.why for path in conflicts)
        assert "/first" not in refused.value.why
        with world.second.box.daemon() as client, pytest.raises(ConflictError):
            client.refresh([schema.RefreshEntry(name="second")])
    assert commits(world.box, world.repo) == before
    assert world.server() == tree(world.first.plain)
    assert world.second.changes() == staged
    assert tree(world.second.top) == tree(world.second.plain)
    world.second.commit(branch="mine")
    assert world.server("mine") == tree(world.second.plain) == tree(world.second.top)
    assert world.server() == tree(world.first.plain)
    assert world.second.changes() == []


@orders
@conflicting
def test_ours_is_what_the_second_user_had(world: World, name: str, swapped: bool) -> None:
    begin(world, name, swapped=swapped)
    world.second.commit(ours=True)
    after, mine, theirs = world.server(), tree(world.second.plain), tree(world.first.plain)
    changed = {path for path in BASE.keys() | mine.keys() if BASE.get(path) != mine.get(path)}
    assert {path: after.get(path) for path in changed} == {path: mine.get(path) for path in changed}
    assert after["/first"] == theirs["/first"]
    assert all(content in (mine.get(path), theirs.get(path)) for path, content in after.items())
    assert tree(world.second.top) == after
    assert world.second.changes() == []


@orders
@conflicting
def test_theirs_is_what_the_first_user_had(world: World, name: str, swapped: bool) -> None:
    conflicts = begin(world, name, swapped=swapped)
    world.second.commit(theirs=sorted(conflicts))
    after, mine, theirs = world.server(), tree(world.second.plain), tree(world.first.plain)
    assert {path: after.get(path) for path in conflicts} == {path: theirs.get(path) for path in conflicts}
    assert (after["/first"], after["/second"]) == (theirs["/first"], mine["/second"])
    changed = {path for path in BASE.keys() | theirs.keys() if BASE.get(path) != theirs.get(path)}
    assert {path: after.get(path) for path in changed} == {path: theirs.get(path) for path in changed}
    assert tree(world.second.top) == after
    assert world.second.changes() == []


@conflicting
def test_the_first_user_can_go_on_after_the_second_won(world: World, name: str) -> None:
    begin(world, name, swapped=False)
    world.second.commit(ours=True)
    world.first.top.joinpath("again").write_bytes(b"again")
    world.first.commit()
    assert world.server() == tree(world.first.top)
    assert tree(world.first.top) == {**tree(world.second.top), "/again": b"again"}


def test_what_was_renamed_by_one_and_deleted_by_the_other(world: World) -> None:
    """The branch does not tell of renames: to the one who deleted a file, it was deleted, and another was added."""
    world.first.do(rename("a", "c"))
    world.second.do(delete("a"))
    world.first.commit()
    world.second.do(write("own", b"to commit"))
    world.second.commit()
    renamed = {path: content for path, content in BASE.items() if path != "/a"} | {"/c": BASE["/a"]}
    assert world.server() == renamed | {"/own": b"to commit"}


def test_what_was_deleted_by_one_and_renamed_by_the_other(world: World) -> None:
    world.first.do(delete("a"))
    world.second.do(rename("a", "c"))
    world.first.commit()
    with pytest.raises(ConflictError) as refused:
        world.second.commit()
    assert "/a (ours: renamed, theirs: deleted)" in refused.value.why
    assert world.server() == tree(world.first.plain)
    world.second.commit(ours=True)
    assert world.server() == tree(world.second.plain)


LOCAL = {
    "ignored file": ".DS_Store",
    "file below an ignored directory": "__pycache__/x.pyc",
    "empty directory": "empty",
}


@pytest.mark.parametrize("name", LOCAL)
def test_what_is_only_local_does_not_replace_what_others_committed(world: World, name: str) -> None:
    path = LOCAL[name]
    if name == "empty directory":
        (world.second.top / path).mkdir()
    else:
        world.second.do(write(path, b"local"))
    world.box.put(world.repo, {f"/{path}": b"theirs"})
    world.second.do(write("own", b"to commit"))
    with pytest.raises(ConflictError) as refused:
        world.second.commit()
    assert f"/{path} (ours: kept local" in refused.value.why
    world.second.commit(theirs=[f"/{path}"])
    assert world.server() == BASE | {f"/{path}": b"theirs", "/own": b"to commit"}
    assert tree(world.second.top) == world.server()


def test_a_directory_with_a_local_file_that_others_made_a_file(world: World) -> None:
    world.second.do(write("d/.DS_Store", b"local"))
    world.first.do(both(delete_directory("d"), write("d", b"1")))
    world.first.commit()
    world.second.do(write("own", b"to commit"))
    with pytest.raises(ConflictError):
        world.second.commit()
    world.second.commit(theirs=["/d"])
    assert world.server() == {**tree(world.first.plain), "/own": b"to commit"}
    assert tree(world.second.top) == world.server()


def test_an_untouched_directory_that_others_made_a_file_is_that_file(world: World) -> None:
    (world.second.top / "d/x").chmod(0o600)
    (world.second.top / "d").chmod(0o700)
    (world.second.top / "deep/er/new").write_bytes(b"")
    (world.second.top / "deep/er/new").unlink()
    world.first.do(both(delete_directory("d"), write("d", b"1"), delete_directory("deep"), write("deep", b"2")))
    world.first.commit()
    world.second.do(write("own", b"to commit"))
    world.second.commit()
    assert world.server() == {**tree(world.first.plain), "/own": b"to commit"}
    assert tree(world.second.top) == world.server()


def test_both_commit_in_turn_for_a_while(world: World) -> None:
    """Each one's files stay, whoever commits when."""
    expected = dict(BASE)
    for number in range(6):
        for user in (world.first, world.second):
            path = f"{user.name}-{number % 2}"
            (user.top / path).write_bytes(b"%d" % number)
            os.rename(user.top / path, user.top / f"{path}-moved")
            expected[f"/{path}-moved"] = b"%d" % number
        for user in (world.second, world.first) if number % 2 else (world.first, world.second):
            user.commit()
    assert world.server() == expected
