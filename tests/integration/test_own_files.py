"""Files of this program are input too: those of a checkout that came from elsewhere, damaged ones, those in a repo."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from pachmount.copies import state
from pachmount.copies.state import COPY, JOURNAL, STATE
from pachmount.documents import Kind, encode
from tests.integration.box import Box

FILES = {"/a.txt": b"one\n", "/d/b": b"bb", "/d/e/c": b""}
OWN = (STATE, COPY, JOURNAL, f"{STATE}.new", ".Pachmount-Checkout.JSON", f".pachmount-{'0' * 24}.part")
KIND = Kind("checkout", 2, 1, 1 << 30)


@pytest.fixture
def repo(box: Box) -> str:
    repo = box.repo("own")
    box.put(repo, FILES)
    return repo


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "copy"


def tree(directory: Path) -> dict[str, bytes]:
    """All but the checkout's own files at the top."""
    found = {f"/{path.relative_to(directory)}": path for path in directory.rglob("*") if not path.is_dir()}
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith("/.pachmount-checkout")}


def entry(path: Path) -> dict[str, Any]:
    info = path.stat()
    return {"size": info.st_size, "mtime_ns": info.st_mtime_ns, "hash": "0" * 64}


def come_with(directory: Path, **changes: Any) -> None:
    """Let the checkout in a directory have this state, with a right checksum, as somebody else could have made it."""
    content = json.loads((directory / STATE).read_text())
    for key in ("kind", "version", "checksum"):
        del content[key]
    data = encode(KIND, content | changes)
    for name in (STATE, COPY):
        (directory / name).write_bytes(data)


def test_a_checkout_that_came_from_somebody_else_removes_nothing_outside(
    box: Box, repo: str, directory: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "a").write_text("precious")
    box.ok("checkout", repo, str(directory))
    (directory / "way").symlink_to(victim)
    listed = json.loads((directory / STATE).read_text())["files"]
    for path in ("../victim/a", str(victim / "a"), "d/../../victim/a", "./a.txt", "d//b", "", "a\0b", "x/", STATE):
        come_with(directory, files={**listed, path: entry(victim / "a")})
        for command in (["checkout", repo, str(directory)], ["checkout", "--update", str(directory)]):
            said = box.refused(*command, code=78)
            assert STATE in said
        assert (victim / "a").read_text() == "precious"
    come_with(directory, files={**listed, "way/a": entry(victim / "a")})
    box.ok("checkout", repo, str(directory))
    assert (victim / "a").read_text() == "precious"

    come_with(directory, files=listed)
    with (directory / JOURNAL).open("a") as journal:
        journal.write(json.dumps(["../victim/a", *entry(victim / "a").values()]) + "\n")
    assert JOURNAL in box.refused("checkout", repo, str(directory), code=78)
    (directory / JOURNAL).unlink()
    come_with(directory, files=listed, parts=["../victim/a"])
    box.refused("checkout", repo, str(directory), code=78)
    (directory / "d/mine.part").write_text("mine")
    come_with(directory, files=listed, parts=["d/mine.part"])
    box.refused("checkout", repo, str(directory), code=78)
    assert (victim / "a").read_text() == "precious"


def test_links_in_the_place_of_the_states_files_are_not_followed(
    box: Box, repo: str, directory: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    box.ok("checkout", repo, str(directory))
    box.put(repo, {"/new": b"n"})
    (directory / JOURNAL).symlink_to(victim)
    box.refused("checkout", "-u", str(directory))
    (directory / JOURNAL).unlink()
    os.link(victim, directory / JOURNAL)
    box.ok("checkout", "-u", str(directory))
    assert victim.read_text() == "precious"
    for name in (STATE, COPY):
        (directory / name).unlink()
        (directory / name).symlink_to(victim)
    box.refused("checkout", "-u", str(directory), code=78)
    box.ok("checkout", "--force", repo, str(directory))
    assert victim.read_text() == "precious"
    assert tree(directory) == FILES | {"/new": b"n"}


@pytest.mark.parametrize("seed", range(3))
def test_states_of_any_content_are_a_clear_error(tmp_path: Path, seed: int) -> None:
    """Whatever stands in the fields: none raises anything but an error of ours, and none leads out."""
    from pachmount.beneath import Beneath
    from pachmount.errors import PachmountError

    rng = random.Random(seed)
    odd: list[Any] = [
        None,
        True,
        0,
        -1,
        1 << 70,
        1.5,
        "",
        "x",
        "\0",
        "../a",
        "/a",
        "é\ud800",
        [],
        {},
        [[]],
        "a" * 100_000,
    ]
    good = {"source": "default/r@master", "commit": "0" * 32, "complete": True, "parts": [], "files": {}}
    kept = {"size": 1, "mtime_ns": 1, "hash": ""}
    for _ in range(400):
        content: dict[str, Any] = {**good, "files": {"a": dict(kept)}}
        for _ in range(rng.randint(1, 3)):
            where = rng.choice([content, content["files"], kept] if isinstance(content["files"], dict) else [content])
            key = rng.choice([*where, "size", "files", "../a"])
            where = content["files"]["a"] if where is kept and isinstance(content["files"].get("a"), dict) else where
            if where is not kept:
                where[key] = copy.deepcopy(rng.choice(odd))
        try:
            data = encode(KIND, content)
        except UnicodeEncodeError:
            data = json.dumps({"version": 1, **content}).encode()
        (tmp_path / STATE).write_bytes(data)
        with Beneath(tmp_path) as top:
            try:
                loaded = state.load(top)
            except PachmountError as error:
                said = f"{error} {error.hint}"
                assert STATE in said and "--force" in said  # noqa: PT018
            else:
                assert loaded is not None
                assert all(".." not in path and not path.startswith("/") for path in loaded.checkout.files)
    for data in (b"[" * 200_000, b'{"a":' * 200_000, b"\0" * 1000, b"null", b"9" * 100_000):
        (tmp_path / STATE).write_bytes(data)
        with Beneath(tmp_path) as top, pytest.raises(PachmountError, match=STATE):
            state.load(top)


@pytest.mark.parametrize("kind", ["flip", "cut", "zero", "empty", "delete", "foreign"])
def test_a_damaged_state_is_replaced_by_its_copy_and_kept(box: Box, repo: str, directory: Path, kind: str) -> None:
    box.ok("checkout", repo, str(directory))
    good = (directory / STATE).read_bytes()
    at = random.Random(kind).randrange(len(good))
    bad = {
        "flip": good[:at] + bytes([good[at] ^ 16]) + good[at + 1 :],
        "cut": good[:at],
        "zero": good[:at] + bytes(len(good) - at),
        "empty": b"",
        "delete": None,
        "foreign": b'{"version": 1, "dependencies": {}}',
    }[kind]
    (directory / STATE).unlink() if bad is None else (directory / STATE).write_bytes(bad)
    (directory / "a.txt").write_bytes(b"mine")
    box.put(repo, {"/a.txt": b"two\n", "/new": b"n"})
    assert "'a.txt': changed here" in box.refused("checkout", "-u", str(directory))
    (directory / "a.txt").write_bytes(b"one\n")
    done = box.run("checkout", "-u", str(directory))
    assert done.returncode == 0, done.stderr
    assert tree(directory) == FILES | {"/a.txt": b"two\n", "/new": b"n"}
    aside = [path.read_bytes() for path in directory.glob(".pachmount-checkout.damaged-*.json")]
    assert aside == ([] if bad is None else [bad])


def test_a_state_and_a_copy_that_are_damaged(box: Box, repo: str, directory: Path) -> None:
    box.ok("checkout", repo, str(directory))
    for name in (STATE, COPY):
        (directory / name).write_text("{")
    (directory / "mine").write_text("mine")
    for command in (["checkout", "-u", str(directory)], ["checkout", repo, str(directory)]):
        said = box.refused(*command, code=78)
        assert "--force" in said
    before = tree(directory)
    assert before == FILES | {"/mine": b"mine"}
    said = box.run("checkout", "--force", repo, str(directory)).stderr
    assert ".pachmount-checkout.damaged-" in said
    assert tree(directory) == before
    assert len(list(directory.glob(".pachmount-checkout.damaged-*.json"))) == 2
    box.ok("checkout", "-u", str(directory))


def test_a_checkout_of_the_version_before_is_moved_along(box: Box, repo: str, directory: Path) -> None:
    box.ok("checkout", repo, str(directory))
    content = json.loads((directory / STATE).read_text())
    for key in ("kind", "checksum", "parts"):
        del content[key]
    (directory / STATE).write_text(json.dumps(content | {"version": 1}, indent=0))
    (directory / COPY).unlink()
    (directory / "a.txt").unlink()
    box.put(repo, {"/new": b"n"})
    box.ok("checkout", "-u", str(directory))
    assert tree(directory) == FILES | {"/new": b"n"}
    assert json.loads((directory / STATE).read_text())["version"] == 2


def test_a_link_that_is_swapped_in_during_the_work_leads_nowhere(box: Box, directory: Path, tmp_path: Path) -> None:
    """Each file is written below a directory that is a link to elsewhere half of the time."""
    outside = tmp_path / "outside"
    outside.mkdir()
    repo = box.repo("race")
    box.put(repo, {f"/d/{number:03}": b"%d" % number for number in range(200)})
    directory.mkdir()
    (directory / "d").mkdir()
    (directory / "link").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for first, second in (("d", "kept"), ("link", "d"), ("d", "link"), ("kept", "d")):
                try:
                    os.rename(directory / first, directory / second)
                except OSError:
                    break

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(3):
            box.run("get", "-r", "--force", repo, str(directory))
            box.run("checkout", "--force", repo, str(directory))
    finally:
        stop.set()
        thread.join()
    assert os.listdir(outside) == []


def test_import_leaves_them_out_and_says_so(box: Box, repo: str, directory: Path) -> None:
    box.ok("checkout", repo, str(directory))
    box.ok("checkout", repo, str(directory / "nested"))
    for name in OWN:
        (directory / "d" / name).write_text("{}")
    (directory / "a.txt").write_bytes(b"edited")
    target = box.repo("target")
    done = box.run("import", str(directory), target)
    assert done.returncode == 0, done.stderr
    assert f"left out {len(OWN) + 4} files of pachmount itself" in done.stderr
    assert STATE in done.stderr
    paths = [entry["path"] for entry in json.loads(box.ok("list", "-r", "--json", f"{target}@master"))]
    assert not [path for path in paths if "achmount-" in path.lower()]
    assert "/a.txt" in paths


def test_a_repo_that_has_them_is_copied_updated_and_mounted(box: Box, directory: Path, tmp_path: Path) -> None:
    repo = box.repo("has")
    own = {f"/{name}": b"{}" for name in OWN} | {f"/d/{name}": b"{}" for name in OWN}
    box.put(repo, FILES | own)
    done = box.run("checkout", repo, str(directory))
    assert done.returncode == 0, done.stderr
    assert f"left out {len(own)} files of pachmount itself" in done.stderr
    assert tree(directory) == FILES
    box.put(repo, {f"/{STATE}": b"more", "/new": b"n"})
    assert json.loads(box.ok("checkout", "-u", "--json", str(directory)))["fetched_files"] == 1
    assert tree(directory) == FILES | {"/new": b"n"}
    assert json.loads((directory / STATE).read_text())["complete"]

    into = tmp_path / "got"
    done = box.run("get", "-r", repo, str(into))
    assert (done.returncode, "left out" in done.stderr) == (0, True), done.stderr
    assert tree(into) == FILES | {"/new": b"n"}
    box.ok("get", f"{repo}:/{STATE}", str(tmp_path / "one.json"))
    assert (tmp_path / "one.json").read_bytes() == b"more"

    box.mount(repo)
    assert box.path(repo, STATE).read_bytes() == b"more"
    box.unmount(repo)


def test_a_commit_of_a_mount_leaves_them_out(box: Box, repo: str, directory: Path) -> None:
    box.mount(repo, mode="rw")
    box.ok("checkout", repo, str(directory))
    shutil.copytree(directory, box.path(repo, "co"))
    box.path(repo, ".pachignore").write_text("!.pachmount-*\n")
    box.ok("commit", repo)
    box.ok("unmount", "--discard", "--yes", repo)
    paths = [entry["path"] for entry in json.loads(box.ok("list", "-r", "--json", f"{repo}@master"))]
    assert "/co/a.txt" in paths
    assert not [path for path in paths if ".pachmount-" in path]
