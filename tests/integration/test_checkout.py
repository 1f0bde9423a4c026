"""`pachmount checkout`: copies that hold exactly a commit, whatever interrupts them, and lose no local change."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pachmount.copies.plan import refused
from pachmount.copies.state import COPY, JOURNAL, STATE
from tests.integration.box import Box, wait_until

LARGE = os.urandom(3 << 20)
FILES = {
    "/a.txt": b"one\n",
    "/empty": b"",
    "/d/e/f": b"deep",
    "/d/g": b"gg",
    "/large": LARGE,
    "/ends in blank /a b &=#%41;'\"~ ": b"odd",
}


@pytest.fixture
def repo(box: Box) -> str:
    repo = box.repo("kept")
    box.put(repo, FILES)
    return repo


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "copy"


def content(directory: Path) -> dict[str, bytes]:
    """What there is but for the checkout's own file."""
    found = {f"/{path.relative_to(directory)}": path for path in directory.rglob("*") if not path.is_dir()}
    assert not [name for name in found if name.endswith(".part")]
    assert f"/{JOURNAL}" not in found
    return {name: path.read_bytes() for name, path in found.items() if name not in (f"/{STATE}", f"/{COPY}")}


def check_out(box: Box, *arguments: str | Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(box.ok("checkout", "--json", *map(str, arguments)))
    return answer


def delete(box: Box, repo: str, *paths: str, adding: Mapping[str, bytes] | None = None) -> None:
    from pachmount.pfs.model import CommitRef, RepoRef

    with box.cluster().modify_file(CommitRef(RepoRef("default", repo), "", "master")) as change:
        for path in paths:
            change.delete_file(path)
        for path, data in (adding or {}).items():
            change.add_file(path, data)


def test_a_copy_is_the_commit_and_can_be_moved_along(box: Box, repo: str, directory: Path) -> None:
    done = check_out(box, repo, directory)
    assert content(directory) == FILES
    assert (done["files"], done["fetched_files"], done["fetched_bytes"]) == (6, 6, sum(map(len, FILES.values())))
    assert not [path for path in directory.rglob("*") if path.is_dir() and not any(path.iterdir())]
    before = {path: path.stat() for path in directory.rglob("*") if path.is_file()}
    assert check_out(box, "--update", directory)["fetched_files"] == 0

    (directory / "d/g").chmod(0o755)
    delete(box, repo, "/d/e/f", "/large", adding={"/moved/large": LARGE, "/d/g": b"+", "/new": b"n"})
    done = check_out(box, "--update", directory)
    expected = {path: data for path, data in FILES.items() if path not in ("/d/e/f", "/large")}
    assert content(directory) == expected | {"/moved/large": LARGE, "/d/g": b"gg+", "/new": b"n"}
    assert (done["fetched_files"], done["copied_files"], done["removed_files"]) == (2, 1, 2)
    assert not (directory / "d/e").exists()
    assert (directory / "a.txt").stat().st_ino == before[directory / "a.txt"].st_ino
    assert (directory / "d/g").stat().st_mode & 0o777 == 0o755


def test_the_state_names_the_commit_and_the_files(box: Box, repo: str, directory: Path) -> None:
    done = check_out(box, f"{repo}@master:/d", directory)
    state = json.loads((directory / STATE).read_text())
    assert (state["source"], state["commit"], state["complete"]) == (f"default/{repo}@master:/d", done["commit"], True)
    assert sorted(state["files"]) == ["e/f", "g"]
    info = (directory / "g").stat()
    assert (state["files"]["g"]["size"], state["files"]["g"]["mtime_ns"]) == (info.st_size, info.st_mtime_ns)
    assert len(state["files"]["g"]["hash"]) == 64


def test_a_named_commit_stays_and_another_branch_brings_what_differs(box: Box, repo: str, directory: Path) -> None:
    first = check_out(box, f"{repo}@master", directory)["commit"]
    box.put(repo, {"/a.txt": b"two\n"})
    assert check_out(box, f"{repo}@{first}", directory)["fetched_files"] == 0
    assert check_out(box, "--update", directory)["commit"] == first
    assert check_out(box, f"{repo}@master", directory)["fetched_files"] == 1
    assert (directory / "a.txt").read_bytes() == b"two\n"
    other = box.repo("other")
    box.put(other, {"/x": b""})
    assert f"it is a checkout of default/{repo}@master" in box.refused("checkout", other, str(directory), code=2)


def test_local_changes_are_never_lost(box: Box, repo: str, directory: Path) -> None:
    check_out(box, repo, directory)
    (directory / "a.txt").write_bytes(b"mine")
    (directory / "large").write_bytes(LARGE[::-1])
    (directory / "new").write_bytes(b"mine, too")
    (directory / "stays").write_bytes(b"of no commit")
    (directory / "d/g").touch()
    (directory / "empty").unlink()
    delete(box, repo, "/large", adding={"/a.txt": b"+", "/new": b"n", "/d/g": b"+"})
    before = content(directory)
    said = box.refused("checkout", "--update", str(directory))
    for name in ("a.txt", "large", "new"):
        assert f"'{name}'" in said
    for name in ("d/g", "empty", "stays"):
        assert f"'{name}'" not in said
    assert content(directory) == before

    check_out(box, "--update", "--force", directory)
    expected = {path: data for path, data in FILES.items() if path != "/large"}
    expected |= {"/a.txt": b"one\n+", "/new": b"n", "/d/g": b"gg+", "/stays": b"of no commit"}
    assert content(directory) == expected


def test_a_changed_file_is_not_replaced_by_what_it_was(box: Box, repo: str, directory: Path) -> None:
    check_out(box, repo, directory)
    (directory / "a.txt").write_bytes(b"mine")
    said = box.refused("checkout", "--update", str(directory))
    assert "'a.txt': changed here" in said
    assert (directory / "a.txt").read_bytes() == b"mine"


def test_files_become_directories_and_directories_files(box: Box, repo: str, directory: Path) -> None:
    check_out(box, repo, directory)
    delete(box, repo, "/d/e/f", "/d/g", "/a.txt", adding={"/d": b"a file", "/a.txt/b": b"a directory"})
    check_out(box, "--update", directory)
    assert ((directory / "d").read_bytes(), (directory / "a.txt/b").read_bytes()) == (b"a file", b"a directory")
    delete(box, repo, "/d", adding={"/d/x": b"x"})
    check_out(box, "--update", directory)
    (directory / "d/mine").write_bytes(b"mine")
    delete(box, repo, "/d/x", adding={"/d": b"a file"})
    assert "'d': it is a directory" in box.refused("checkout", "--update", "--force", str(directory))
    assert (directory / "d/mine").read_bytes() == b"mine"


def test_a_link_does_not_lead_out(box: Box, repo: str, directory: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    check_out(box, repo, directory)
    for name in ("g", "e/f"):
        (directory / "d" / name).unlink()
    (directory / "d/e").rmdir()
    (directory / "d").rmdir()
    (directory / "d").symlink_to(outside)
    box.put(repo, {"/d/g": b"new"})
    assert "'d': it is in the place of a directory" in box.refused("checkout", "-u", "--force", str(directory))
    assert list(outside.iterdir()) == []


def test_directories_that_are_no_checkout(box: Box, repo: str, directory: Path) -> None:
    directory.mkdir()
    (directory / "mine").write_bytes(b"mine")
    assert "it is not empty" in box.refused("checkout", repo, str(directory), code=2)
    assert "is no checkout" in box.refused("checkout", "--update", str(directory), code=66)
    assert os.listdir(directory) == ["mine"]
    check_out(box, repo, directory, "--force")
    assert content(directory) == FILES | {"/mine": b"mine"}


def test_names_that_the_disk_cannot_hold_are_refused_by_name(box: Box, directory: Path) -> None:
    repo, long = box.repo("odd"), "n" * 256
    box.put(repo, {"/fine": b"", f"/d/{long}": b""})
    said = box.refused("checkout", repo, str(directory), code=2)
    assert f"'d/{long}': a name of more than 255 bytes" in said
    assert content(directory) == {}
    assert refused(["a", "A", "b"], 255, is_folding=True) == {"A": "this disk takes it for 'a'"}
    assert refused(["a", "A", "b"], 255, is_folding=False) == {}


def test_two_at_once(box: Box, repo: str, directory: Path) -> None:
    import fcntl

    check_out(box, repo, directory)
    descriptor = os.open(directory, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert "by another checkout" in box.refused("checkout", "-u", str(directory), code=75)
    os.close(descriptor)


def killed(box: Box, when: Any, *arguments: str | Path) -> bool:
    """Run a command until a condition holds, then kill it; False if it has ended before."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pachmount", *map(str, arguments)],
        env=box.env,
        cwd=box.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: process.poll() is not None or when(), "the moment to kill it", 60)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=30)
    assert process.returncode in (0, -signal.SIGKILL), said
    return process.returncode != 0


def test_killed_at_any_time_it_goes_on(box: Box, directory: Path) -> None:
    """Also when the branch has moved meanwhile: files of three commits are then in the directory, and all are ours."""
    repo = box.repo("killed")
    files = {f"/d{number % 5}/{number:03}": b"%d" % number for number in range(300)}
    box.put(repo, files)
    kills = 0
    for round_ in range(4):
        rest = {f"/d{number % 5}/{number:03}": b"round %d" % round_ for number in range(round_, 300, 3)}
        rest[f"/large{round_}"] = LARGE + b"%d" % round_
        box.put(repo, rest)
        files |= rest

        def lines(wanted: int = 25 * (round_ + 1)) -> bool:
            with contextlib.suppress(FileNotFoundError):
                return (directory / JOURNAL).read_bytes().count(b"\n") >= wanted
            return False

        kills += killed(box, lines, "checkout", repo, directory)
    assert kills >= 2
    check_out(box, repo, directory)
    assert content(directory) == files
    assert json.loads((directory / STATE).read_text())["complete"]


def test_a_large_file_goes_on_where_it_stopped(box: Box, directory: Path) -> None:
    repo, data = box.repo("large"), os.urandom(64 << 20)
    box.put(repo, {"/large": data})

    def begun() -> list[Path]:
        return [path for path in directory.glob(".pachmount-*.part") if path.stat().st_size]

    assert killed(box, begun, "checkout", repo, directory)
    [part] = begun()
    had = part.stat()
    assert had.st_size < len(data)
    check_out(box, repo, directory)
    assert (directory / "large").read_bytes() == data
    assert (directory / "large").stat().st_ino == had.st_ino
