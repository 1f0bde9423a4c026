"""What a new user may do wrong, with the real daemon: one clear line, a hint, the documented code, nothing left."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import User, new_user

from pachmount.errors import ExitCode
from pachmount.fuse.kernel import our_mounts

pytestmark = pytest.mark.usefixtures("fuse")

UNKNOWN_COMMIT = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def person(fuse: None) -> Iterator[User]:
    """A user with a repo `images` (two commits on master) and a mount of it."""
    with new_user() as user:
        data = user.home / "data"
        (data / "sub").mkdir(parents=True)
        (data / "a.txt").write_text("a")
        (data / "sub" / "b.txt").write_text("b")
        assert user.run("import", "data", "images").returncode == 0
        (data / "a.txt").write_text("changed")
        assert user.run("import", "data", "images").returncode == 0
        (user.home / "full").mkdir()
        (user.home / "full" / "x").touch()
        try:
            yield user
        finally:
            user.run("unmount", "--all", "--yes")
            assert user.run("daemon", "stop").returncode == 0
            assert not our_mounts(user.home)


@pytest.fixture
def mounted(person: User) -> Iterator[User]:
    assert person.run("mount", "images").returncode == 0
    yield person
    assert person.run("unmount", "--all", "--yes").returncode == 0


def closed_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refused(user: User, command: str, code: ExitCode, *words: str) -> None:
    """Run `command`: it fails with `code`, prints `error:` (with `words`) and `hint:`, and leaves nothing behind."""
    before = {str(mount) for mount in our_mounts(user.home)}, sorted(os.listdir(user.home))
    done = user.run(*command.split())
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("started the daemon")]
    assert len(lines) == 2, done.stderr
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    for word in words:
        assert word in lines[0]
    assert before == ({str(mount) for mount in our_mounts(user.home)}, sorted(os.listdir(user.home)))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("mount nosuch", ["nosuch", "not found"]),
        ("mount images@nobranch", ["nobranch", "not found"]),
        (f"mount images@{UNKNOWN_COMMIT}", [UNKNOWN_COMMIT, "not found"]),
        (f"mount images --commit {UNKNOWN_COMMIT}", [UNKNOWN_COMMIT, "not found"]),
        ("mount images --commit master^9", []),
        ("mount noproject/images", ["noproject", "not found"]),
        ("mount noproject/images@nobranch:/x", ["noproject"]),
        ("list nosuch", ["nosuch"]),
        ("list images@nobranch", ["nobranch"]),
        ("list images@master:/nothing", ["/nothing"]),
        ("list --commits nosuch", ["nosuch"]),
        ("list noproject/images", ["noproject"]),
        ("import data noproject/images", ["noproject"]),
        ("import nowhere images", ["nowhere"]),
        ("unmount images", ["images"]),
        ("refresh images", ["images"]),
    ],
)
def test_what_does_not_exist(person: User, command: str, words: list[str]) -> None:
    refused(person, command, ExitCode.NOT_FOUND, *words)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("mount images full", ["full", "not empty"]),
        ("mount images full/x", ["full/x"]),
        ("mount images nowhere", ["nowhere", "does not exist"]),
        ("mount images --mount-dir data/a.txt", ["a.txt", "not a directory"]),
        ("mount images --mount-dir data/a.txt/below", ["a.txt"]),
    ],
)
def test_a_place_that_cannot_be_used(person: User, command: str, words: list[str]) -> None:
    refused(person, command, ExitCode.CANNOT_CREATE, *words)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("mount images@dev --name images", ["images", "already in use"]),
        ("mount images:/sub", ["images", "already in use"]),
        ("mount images pfs/images/sub --name inside", ["inside", "lies inside the mount"]),
        ("mount images pfs/images --name twice", ["mounted there already"]),
    ],
)
def test_what_is_taken(mounted: User, command: str, words: list[str]) -> None:
    if "@dev" in command:
        assert mounted.run("import", "data", "images@dev").returncode == 0
    refused(mounted, command, ExitCode.CANNOT_CREATE, *words)


def test_the_same_again_is_fine(mounted: User) -> None:
    assert mounted.run("mount", "images").returncode == 0


def test_a_commit_that_does_not_exist_leaves_the_mount_where_it_is(mounted: User) -> None:
    refused(mounted, f"refresh images --to {UNKNOWN_COMMIT}", ExitCode.NOT_FOUND, UNKNOWN_COMMIT)
    assert (mounted.mount_dir / "images" / "a.txt").read_text() == "changed"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("login foo://host", ExitCode.USAGE, ["foo"]),
        ("login grpc://host/path", ExitCode.USAGE, ["path"]),
        ("login grpc://user:secret@host", ExitCode.USAGE, ["credentials"]),
        ("login unix://relative", ExitCode.USAGE, ["absolute path"]),
        ("login unix:///nowhere.sock", ExitCode.UNREACHABLE, ["/nowhere.sock"]),
        ("import data/a.txt images", ExitCode.USAGE, ["not a directory"]),
        ("import data pho*tos", ExitCode.USAGE, ["pho*tos"]),
        ("import data images@master^", ExitCode.USAGE, ["commit"]),
        ("daemon start --log-level loud --mount-dir other", ExitCode.BAD_CONFIGURATION, ["log_level"]),
        ("serve --listen nonsense", ExitCode.USAGE, ["nonsense"]),
        ("serve --auth nowhere.toml", ExitCode.BAD_CONFIGURATION, ["nowhere.toml"]),
    ],
)
def test_other_wrong_use(person: User, command: str, code: ExitCode, words: list[str]) -> None:
    refused(person, command, code, *words)


def test_an_unreachable_cluster_changes_nothing(mounted: User) -> None:
    address = f"grpc://127.0.0.1:{closed_port()}"
    refused(mounted, f"login {address}", ExitCode.UNREACHABLE, address)
    assert "embedded server, connected" in mounted.run("status").stdout
    assert (mounted.mount_dir / "images" / "sub" / "b.txt").read_text() == "b"


def test_names_that_cannot_be_stored(person: User) -> None:
    bad = person.home / "bad"
    bad.mkdir()
    (bad / "a*b").touch()
    try:
        refused(person, "import bad images", ExitCode.USAGE, "a*b")
    finally:
        shutil.rmtree(bad)


def test_a_broken_context_file(person: User) -> None:
    with new_user() as other:
        Path(other.env["PACH_CONFIG"]).write_text("{ not JSON")
        done = other.run("doctor")
        assert done.returncode == ExitCode.FAILURE
        assert "problem  context file:" in done.stdout
        done = other.run("mount", "images")
        assert done.returncode in (ExitCode.BAD_CONFIGURATION, ExitCode.UNREACHABLE)
        assert "Traceback" not in done.stderr
        assert "config.json" in done.stderr
        other.run("daemon", "stop")
        assert Path(other.env["PACH_CONFIG"]).read_text() == "{ not JSON"


def test_a_daemon_starts_once_for_many_callers() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with new_user() as user:
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _number: user.run("daemon", "start"), range(4)))
        try:
            assert [done.returncode for done in results] == [0] * 4, [done.stderr for done in results]
            assert len({done.stdout.rpartition("(pid")[2] for done in results}) == 1
            assert sum("started" in done.stdout for done in results) == 1
        finally:
            assert user.run("daemon", "stop").returncode == 0
        assert user.run("status").returncode == ExitCode.NOT_RUNNING
