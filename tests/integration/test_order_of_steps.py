"""No command changes anything before all that can be checked or written first has been."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from pachmount.pfs.model import RepoRef
from tests.integration.box import EXTERNAL_CLUSTER, Box

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting read-only and small disks needs root"),
    pytest.mark.skipif(bool(EXTERNAL_CLUSTER), reason="the same with every server"),
    pytest.mark.usefixtures("fuse"),
]
MIB = 1 << 20
REPO = "r"


def _unmount(directory: Path) -> None:
    subprocess.run(["umount", "-l", directory], check=True)


@contextmanager
def read_only(*directories: Path) -> Iterator[None]:
    """Nothing can be written in these directories."""
    with ExitStack() as stack:
        for directory in directories:
            subprocess.run(["mount", "--bind", directory, directory], check=True)
            stack.callback(_unmount, directory)
            subprocess.run(["mount", "-o", "remount,ro,bind", directory], check=True)
        yield


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """A disk of 1 MiB in the place of a directory."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MIB}", "tmpfs", directory], check=True)
    try:
        yield
    finally:
        _unmount(directory)
        directory.rmdir()


@contextmanager
def written(path: Path, text: str) -> Iterator[None]:
    """A file has other contents for a while."""
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    try:
        yield
    finally:
        path.unlink() if before is None else path.write_bytes(before)


@contextmanager
def open_for_writing(path: Path) -> Iterator[None]:
    with path.open("a"):
        yield


@contextmanager
def open_commit(box: Box) -> Iterator[None]:
    client = box.cluster()
    commit = client.start_commit(RepoRef("default", REPO), "busy")
    try:
        yield
    finally:
        client.drop_commit_set(commit.id)
        client.delete_branch(RepoRef("default", REPO), "busy")


class World:
    """A daemon with mounts, changes, copies; what all that is like."""

    def __init__(self) -> None:
        self.box = Box()
        self.box.start()
        self.work = self.box.root / "work"
        self.work.mkdir()
        self.first = self.box.put(REPO, {"/a": b"one", "/big": bytes(2 * MIB)})
        self.spec = self.work / "spec.yaml"
        self.spec.write_text(json.dumps({"input": {"pfs": {"repo": REPO, "glob": "/a"}}}))
        for name in ("one", "two"):
            self.box.mount(REPO, name)
        self.box.mount(REPO, "pinned", mode="ro")
        self.box.unmount("pinned")
        self.box.ok("mount", REPO, "--commit", self.first, "--name", "pinned")
        for name in ("staged", "other"):
            self.box.mount(REPO, name, mode="rw")
            (self.box.path(name) / "new").write_bytes(b"staged")
        self.box.ok("checkout", REPO, "co", cwd=self.work)
        (self.work / "out").mkdir()
        (self.work / "out" / "before").write_text("kept")
        (self.work / "data").mkdir()
        (self.work / "data" / "a").write_text("other")
        self.box.put(REPO, {"/a": b"two", "/larger": bytes(3 * MIB)})

    def snapshot(self) -> object:
        """Mounts, what is staged, branches, copies and settings."""
        status = self.box.status()
        client = self.box.cluster()
        mounts = sorted((m["name"], m["commit"], m["mode"], m["follow"], m["state"]) for m in status["mounts"])
        heads = [
            (str(repo.repo), branch.name, branch.head.id)
            for repo in client.list_repos()
            for branch in client.list_branches(repo.repo)
        ]
        staged = {name: (self.box.path(name) / "new").read_bytes() for name in ("staged", "other")}
        settings = self.box.root / "config" / "pachmount" / "pachmount.toml"
        text = settings.read_text() if settings.exists() else None
        return self.box.pid, mounts, sorted(heads), staged, _files(self.work), text

    def close(self) -> None:
        self.box.clean()
        self.box.stop()
        self.box.close()


def _files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else b"(directory)"
        for path in sorted(directory.rglob("*"))
    }


@pytest.fixture(scope="module")
def world(fuse: None) -> Iterator[World]:
    world = World()
    try:
        yield world
    finally:
        world.close()


@dataclass(frozen=True)
class Row:
    """A command that fails with something like `says`, while `fault` lasts."""

    command: str
    says: str
    fault: Callable[[World], AbstractContextManager[None]] | None = None

    def __str__(self) -> str:
        return f"{self.command} ({self.says})"


def settings_file(world: World) -> Path:
    return world.box.root / "config" / "pachmount" / "pachmount.toml"


@contextmanager
def protected(world: World) -> Iterator[None]:
    directory = world.work / "protected"
    directory.mkdir()
    try:
        with read_only(directory):
            yield
    finally:
        shutil.rmtree(directory)


@contextmanager
def small_disk_with_checkout(world: World) -> Iterator[None]:
    """The checkout on a disk that has no room for the next commit."""
    directory = world.work / "co"
    with tempfile.TemporaryDirectory() as aside:
        shutil.copytree(directory, Path(aside, "co"), copy_function=shutil.copy2)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={4 * MIB}", "tmpfs", directory], check=True)
        try:
            for path in Path(aside, "co").iterdir():
                shutil.copy2(path, directory / path.name)
            yield
        finally:
            _unmount(directory)


@contextmanager
def unwritable_state(world: World) -> Iterator[None]:
    places = world.box.places
    datums = places.mounts_file.parent / "datums"
    datums.mkdir(exist_ok=True)
    with read_only(places.mounts_file.parent, places.mounts_aside.parent):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", datums], check=True)
        try:
            yield
        finally:
            _unmount(datums)


ROWS = [
    # names and arguments that are found late
    Row("unmount one nothing", "no mount 'nothing'"),
    Row("unmount one staged", "cannot be committed", lambda w: open_for_writing(w.box.path("staged") / "new")),
    Row("refresh one nothing", "no mount 'nothing'"),
    Row("refresh one two --to 0123456789abcdef0123456789abcdef", "not found"),
    Row("follow one nothing", "no mount 'nothing'"),
    Row("follow one staged", "read-write"),
    Row("mount r out --name new", "is not empty"),
    Row("warmup one nothing", "no mount 'nothing'"),
    Row("discard one --yes", "read-only"),
    Row("commit staged --branch bad/name", "invalid"),
    # directories that cannot be written
    Row("remount one --rw", "cannot be staged", lambda w: read_only(w.box.places.staged)),
    Row("daemon restart --cache-size much", "invalid setting"),
    Row("daemon restart", "cannot read", lambda w: written(settings_file(w), "no = [toml")),
    Row("daemon restart", "no user", lambda w: written(settings_file(w), 'file_owner = "nobody-of-that-name"')),
    Row("daemon restart", "cannot write in", lambda w: read_only(w.box.places.lock_file.parent)),
    Row("daemon restart", "cannot write in", lambda w: read_only(w.box.places.socket.parent)),
    Row("daemon reload", "cannot read", lambda w: written(settings_file(w), "no = [toml")),
    Row("config set log_level debug", "cannot read", lambda w: written(settings_file(w), "no = [toml")),
    Row("config unset log_level", "cannot read", lambda w: written(settings_file(w), "no = [toml")),
    Row("config set log_level debug", "cannot write", lambda w: read_only(settings_file(w).parent)),
    Row("import data no-project/new", "project 'no-project' not found"),
    Row("import data r@busy --replace", "is open on it", lambda w: open_commit(w.box)),
    Row("checkout --update co", "no room", small_disk_with_checkout),
    Row("checkout r small", "no room", lambda w: small_disk(w.work / "small")),
    Row("get --force r:/big small/big", "no room", lambda w: small_disk(w.work / "small")),
    Row("get --force r:/a data/a", "cannot write", lambda w: read_only(w.work / "data")),
    Row("checkout --force r data", "cannot write", lambda w: read_only(w.work / "data")),
    Row("run spec.yaml --serial --out protected/out -- touch ran", "cannot write", protected),
    Row("run spec.yaml --serial --junit protected/x.xml -- touch ran", "cannot write", protected),
    Row("run spec.yaml --serial --commit-out no-project/x -- touch ran", "not found"),
    Row("run spec.yaml --serial --commit-out r@busy -- touch ran", "is open on it", lambda w: open_commit(w.box)),
    Row("run spec.yaml --serial --run-dir protected/run -- touch ran", "cannot", protected),
    Row("datum download 0 spec.yaml protected/datum", "cannot write", protected),
    Row("datum mount --pfs nothing:/*", "not found"),
    Row("datum mount --pfs r:/*", "cannot be kept", lambda w: read_only(w.box.places.mounts_file.parent)),
    Row("datum mount --pfs r:/*", "cannot remember the mounts", unwritable_state),
    Row("serve --root served --listen 127.0.0.1:no", ""),
    Row("serve --root served --auth nothing.toml", ""),
    Row("exec r no-repo -- touch ran", "not found"),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_command_that_fails_has_changed_nothing(world: World, row: Row) -> None:
    before = world.snapshot()
    with row.fault(world) if row.fault is not None else nullcontext():
        during = _files(world.work)
        said = world.box.refused(*row.command.split(), cwd=world.work)
        assert row.says in said, said
        assert _files(world.work) == during
    assert world.snapshot() == before, said


def test_what_was_done_but_cannot_be_written_down_is_done_and_said(world: World) -> None:
    box = world.box
    with unwritable_state(world):
        for command in (f"mount {REPO} --name late", "refresh one", "follow two", "unmount late"):
            done = box.run(*command.split())
            assert done.returncode == 0, done
            assert "the next daemon will not know of it" in done.stderr
        assert "cannot be saved" in box.ok("status")
    mounts = {mount["name"]: mount for mount in box.status()["mounts"]}
    assert "late" not in mounts
    assert mounts["one"]["commit"] == mounts["two"]["commit"] != world.first
    assert mounts["two"]["follow"]
    done = box.run("follow", "two", "--off")
    assert done.returncode == 0
    assert "will not know" not in done.stderr
