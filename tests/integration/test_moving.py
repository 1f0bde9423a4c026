"""Commits: mounting one, moving a mount to another, and what programs see that had files open meanwhile."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box, wait_until
from tests.integration.opening import Reader

MIB = 1 << 20


def content(number: int) -> bytes:
    """Different in every block from one commit to the next."""
    return random.Random(number).randbytes(3 * MIB + number)


@pytest.fixture(scope="module")
def repo(shared_box: Box) -> tuple[str, list[str]]:
    """A repo and the ids of its three commits, oldest first."""
    repo = shared_box.repo("moving")
    commits = [shared_box.put(repo, {"/file": content(n), f"/only{n}": b"%d" % n}) for n in range(3)]
    return repo, commits


@pytest.mark.parametrize(
    ("wanted", "number"),
    [("", 2), ("@master", 2), ("@master^", 1), ("@master^2", 0), ("@{id0}", 0), ("@{id1}", 1), ("@master={id1}", 1)],
)
def test_any_commit_can_be_mounted(box: Box, repo: tuple[str, list[str]], wanted: str, number: int) -> None:
    name, ids = repo
    mounted = box.mount(name + wanted.format(id0=ids[0], id1=ids[1]))
    assert mounted["commit"] == ids[number]
    assert box.path(name, "file").read_bytes() == content(number)
    assert sorted(os.listdir(box.path(name))) == ["file", *(f"only{n}" for n in range(number + 1))]


def test_commands_move_a_mount_to_the_newest_commit_and_back(box: Box, repo: tuple[str, list[str]]) -> None:
    name, ids = repo
    box.ok("mount", name)
    assert f"{ids[2][:8]} -> {ids[0][:8]}" in box.ok("refresh", name, "--to", "master^2")
    assert box.path(name, "file").read_bytes() == content(0)
    assert f"{ids[0][:8]} -> {ids[2][:8]}" in box.ok("refresh", name)
    assert box.path(name, "file").read_bytes() == content(2)
    assert f"{ids[2][:8]} -> {ids[1][:8]}" in box.ok("refresh", name, "--to", ids[1])
    assert box.path(name, "file").read_bytes() == content(1)
    assert not box.path(name, "only2").exists()
    assert "already at" in box.ok("refresh", name, "--to", ids[1])


def test_status_tells_how_far_behind_a_mount_is(box: Box) -> None:
    name = box.repo("behind")
    first = box.put(name, {"/f": b"0"})
    box.mount(name)
    assert box.mount_status(name)["status"] == f"up to date on latest commit {first[:8]}"
    newest = [box.put(name, {"/f": b"%d" % n}) for n in (1, 2)][-1]
    behind = wait_until(lambda: box.mount_status(name)["behind"] and box.mount_status(name), "the news arrive")
    assert (behind["behind"], behind["latest_commit"], behind["commit"]) == (2, newest, first)
    text = f"2 commits behind latest; current = {first[:8]} (0'th), latest = {newest[:8]} (2'th)"
    assert behind["status"] == text
    assert box.path(name, "f").read_bytes() == b"0", "a mount moves only when it is told to"
    assert box.refresh(name)["behind"] == 0
    assert box.path(name, "f").read_bytes() == b"2"


PROGRAM = """
import mmap, os, sys
top = sys.argv[1]
os.chdir(top)
file = open("file", "rb", buffering=0)
mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
first = os.pread(file.fileno(), 4096, 0)
print("ready", flush=True)
sys.stdin.readline()
import hashlib
sys.stdout.write(hashlib.sha256(os.pread(file.fileno(), 1 << 30, 0)).hexdigest() + "\\n")
sys.stdout.write(hashlib.sha256(mapped).hexdigest() + "\\n")
sys.stdout.write(" ".join(sorted(os.listdir("."))) + "\\n")
sys.stdout.write(hashlib.sha256(open("file", "rb").read()).hexdigest() + "\\n")
sys.stdout.write(hashlib.sha256(open(top + "/file", "rb").read()).hexdigest() + "\\n")
"""


def test_a_running_program_keeps_its_commit_and_new_opens_see_the_new_one(
    box: Box, repo: tuple[str, list[str]]
) -> None:
    name, ids = repo
    box.mount(f"{name}@{ids[0]}")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(box.path(name))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        box.refresh(name, ids[2])
        assert box.status()["lingering_sessions"] == 1
        said, _ = program.communicate("\n", timeout=60)
    opened, mapped, listed, inside, fresh = said.splitlines()
    old, new = sha256(content(0)).hexdigest(), sha256(content(2)).hexdigest()
    assert (opened, mapped, inside) == (old, old, old), "what it had open, and what lies below its directory"
    assert listed == "file only0"
    assert fresh == new
    wait_until(lambda: box.status()["lingering_sessions"] == 0, "the old commit's session ends with its last user")


def test_an_unmounted_file_can_be_read_to_its_end(box: Box, repo: tuple[str, list[str]]) -> None:
    name, _ = repo
    box.mount(name)
    with box.path(name, "file").open("rb", buffering=0) as file:
        file.read(10)
        box.unmount(name)
        assert not box.path(name).exists()
        file.seek(0)
        assert file.readall() == content(2)


def test_fifty_moves_under_a_reading_process_lose_no_open_and_leak_nothing(box: Box) -> None:
    name = box.repo("swaps")
    ids = [box.put(name, {"/same": b"0", "/changing": b"%d" % n}) for n in range(2)]
    box.mount(name)
    box.refresh(name, ids[0])
    wait_until(lambda: box.status()["lingering_sessions"] == 0, "the first session ends")
    box.listed(name)
    descriptors = Path(f"/proc/{box.pid}/fd")
    threads_before, open_before = _threads(box), len(list(descriptors.iterdir()))
    with Reader(box, box.path(name), "0", "1") as reader:
        for number in range(50):
            moved = box.refresh(name, ids[(number + 1) % 2])
            assert moved["commit"] == ids[(number + 1) % 2]
    assert reader.opened > 50
    assert reader.wrong == 0
    if os.geteuid() == 0:
        assert reader.failures == []
    places = [entry.mountpoint for entry in box.mounts_in_kernel()]
    assert places == [str(box.path(name))]
    wait_until(lambda: box.status()["lingering_sessions"] == 0, "the replaced sessions end")
    wait_until(lambda: _threads(box) <= threads_before + 12, f"threads of replaced sessions end (had {threads_before})")
    wait_until(lambda: len(list(descriptors.iterdir())) <= open_before + 4, f"descriptors close (had {open_before})")
    assert not any((box.places.lock_file.parent / "staging").iterdir())


def _threads(box: Box) -> int:
    return len(os.listdir(f"/proc/{box.pid}/task"))


def test_an_open_commit_at_the_head_is_not_shown_before_it_is_finished(box: Box) -> None:
    name, client = box.repo("open"), box.cluster()
    ref = RepoRef("default", name)
    finished = box.put(name, {"/file": b"finished"})
    opened = client.start_commit(ref)
    try:
        with client.modify_file(CommitRef(ref, opened.id, "master")) as change:
            change.delete_file("/file")
            change.add_file("/file", b"unfinished")
            change.add_file("/more", b"unfinished")
        assert box.mount(name)["commit"] == finished
        assert {path.name: path.read_bytes() for path in box.path(name).iterdir()} == {"file": b"finished"}
        assert box.refresh(name)["commit"] == finished
        assert "not finished" in box.refused("refresh", name, "--to", opened.id, code=75)
        assert box.mount_status(name)["state"] == "mounted"
    finally:
        client.finish_commit(opened)
    client.inspect_commit(opened, wait="finished", timeout=60)
    assert box.refresh(name)["commit"] == opened.id
    assert {path.name for path in box.path(name).iterdir()} == {"file", "more"}
    assert box.path(name, "file").read_bytes() == b"unfinished"


def test_a_branch_whose_only_commit_is_open_is_empty_until_it_is_finished(box: Box) -> None:
    name, client = box.repo("first"), box.cluster()
    ref = RepoRef("default", name)
    client.create_repo(ref)
    opened = client.start_commit(ref)
    try:
        with client.modify_file(CommitRef(ref, opened.id, "master")) as change:
            change.add_file("/file", b"text")
        mounted = box.mount(name)
        assert mounted["state"] == "mounted"
        assert "not finished" in mounted["status"]
        assert os.listdir(box.path(name)) == []
    finally:
        client.finish_commit(opened)
    client.inspect_commit(opened, wait="finished", timeout=60)
    box.refresh(name)
    assert box.path(name, "file").read_bytes() == b"text"


def test_changes_that_are_given_up_show_nothing_of_themselves(box: Box) -> None:
    """A ModifyFile stream that breaks off leaves the branch as it was, every time."""
    name = box.repo("abort")
    commit = box.put(name, {"/file": b"before"})
    for _ in range(30):
        change = box.cluster().modify_file(CommitRef(RepoRef("default", name), "", "master"))
        change.add_file("/half", b"x" * MIB)
        change.abort()
    assert box.mount(name)["commit"] == commit
    assert os.listdir(box.path(name)) == ["file"]


def test_a_killed_import_shows_nothing_of_itself(box: Box) -> None:
    name = box.repo("killed")
    commit = box.put(name, {"/file": b"before"})
    source = box.root / "source"
    source.mkdir()
    for number in range(300):
        (source / f"{number}").write_bytes(random.Random(number).randbytes(MIB))
    for wait in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
        with subprocess.Popen(
            [sys.executable, "-m", "pachmount", "import", str(source), name],
            env=box.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=box.root,
        ) as command:
            opened = Path(f"/proc/{command.pid}/io")
            wait_until(lambda: _read_bytes(opened) > 20 * MIB, "the import reads its files")  # noqa: B023
            time.sleep(wait)  # any moment is as good as any other
            command.kill()
    assert box.mount(name)["commit"] == commit
    assert os.listdir(box.path(name)) == ["file"]


def _read_bytes(io: Path) -> int:
    return int(dict(line.split(": ") for line in io.read_text().splitlines())["rchar"])


def test_a_deleted_repo_takes_its_mount_along_and_a_deleted_branch_does_not(box: Box) -> None:
    name, client = box.repo("deleted"), box.cluster()
    ref = RepoRef("default", name)
    box.put(name, {"/file": b"text"})
    box.mount(name)
    client.delete_branch(ref, "master", force=True)
    wait_until(lambda: not box.mount_status(name)["behind"], "the branch is looked at")
    assert box.path(name, "file").read_bytes() == b"text"
    assert box.mount_status(name)["state"] == "mounted"
    client.delete_repo(ref, force=True)
    with box.daemon() as daemon:
        wait_until(lambda: daemon.mounts().mounted == [], "the mount goes with its repo")
    assert not box.path(name).exists()
