"""Staged changes damaged on the disk under a real daemon: right bytes or a clear error, never "no changes"."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.box import Box, running_box, wait_until

FILES = {"one": b"1" * 100_000, "two": bytes(range(256)) * 400, "three": b"3" * 300_000}
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with running_box() as made:
        yield made


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zero(path: Path) -> None:
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = bytes(third)
    path.write_bytes(data)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def wal(damage: Damage) -> Damage:
    return lambda place: damage(place / "names.sqlite-wal")


def names(damage: Damage) -> Damage:
    return lambda place: damage(place / "names.sqlite")


def older(place: Path) -> None:
    shutil.copy(place.parent / "older.sqlite", place / "names.sqlite")


def ledger(damage: Damage) -> Damage:
    def do(place: Path) -> None:
        for path in (place / "ledger").iterdir():
            damage(path)

    return do


DAMAGES: dict[str, Damage] = {
    "WAL flipped": wal(flip),
    "WAL cut": wal(cut),
    "WAL zeroed": wal(zero),
    "WAL deleted": wal(Path.unlink),
    "names flipped": names(flip),
    "names deleted": names(Path.unlink),
    "names emptied": names(empty),
    "names older": older,
    "ledger flipped": ledger(flip),
    "ledger cut": ledger(cut),
    "ledger deleted": lambda place: shutil.rmtree(place / "ledger"),
}


def stage(box: Box, repo: str) -> Path:
    """Stage files in a read-write mount; where they are."""
    box.put(repo, {"/old": b"old\n"})
    box.mount(repo, mode="rw")
    place = box.places.staged / repo
    shutil.copy(place / "names.sqlite", place.parent / "older.sqlite")
    for name, content in FILES.items():
        box.path(repo, name).write_bytes(content)
    return place


def kill(box: Box) -> None:
    pid = box.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in box.process_ids(), "the daemon is gone")


def has_all(place: Path) -> bool:
    there = [path.read_bytes() for path in place.rglob("*") if path.is_file() and path.stat().st_size < 400_000]
    return all(content in there for content in FILES.values())


def is_right(box: Box, repo: str) -> bool:
    return all(box.path(repo, name).read_bytes() == content for name, content in FILES.items())


@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.timeout(300)
def test_damage_is_never_taken_for_no_changes(box: Box, end: str) -> None:
    known = {name: do for name, do in DAMAGES.items() if end == "killed" or "WAL" not in name}
    damages = {box.repo(name.replace(" ", "-")): do for name, do in known.items()}
    places = {repo: stage(box, repo) for repo in damages}
    box.out("sync")
    if end == "killed":
        kill(box)
    else:
        with box.daemon() as client:
            client.unmount(list(damages), staged="keep")
        box.ok("daemon", "stop")
    for repo, do in damages.items():
        do(places[repo])
    box.ok("daemon", "start")
    with box.daemon() as client:
        damaged = {entry.name for entry in client.staged() if entry.damaged}
    assert set(damages) == damaged | {entry["name"] for entry in json.loads(box.ok("staged", "list", "--json"))}
    for repo in damaged:
        said = box.refused("diff", repo)
        assert "damaged" in said, said
        assert f"pachmount staged repair {repo}" in said, said
        assert has_all(places[repo]), repo
        assert "restored" in box.ok("staged", "repair", repo)
    with box.daemon() as client:
        mounted = [entry.name for entry in client.status().mounts if entry.name in damaged]
        if mounted:
            client.unmount(mounted, staged="keep")
    there = {entry["name"] for entry in box.status()["mounts"]}
    for repo in damages:
        if repo not in there:
            box.mount(repo, mode="rw")
        assert is_right(box, repo), repo
        with box.daemon() as client:
            assert {entry.path for entry in client.diff(repo).changes} == {f"/{name}" for name in FILES}
    repo = sorted(damaged)[0]
    box.ok("commit", repo)
    assert is_right(box, repo)
    box.clean()
