"""Damage of a store of staged changes: what it has is found, and never taken for "no changes"."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pachmount.errors import BusyError, PachmountError
from pachmount.overlay import snapshot, unnamed
from pachmount.overlay.exporting import export
from pachmount.overlay.kept import is_removable, kept
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.repair import repair
from pachmount.overlay.staged_work import StagedWork
from pachmount.overlay.staging import Staging
from pachmount.overlay.tree import Owner
from tests.unit.overlay.base import MemoryBase

OWNER = Owner(os.getuid(), os.getgid())
FILES = {b"/one": b"1" * 100_000, b"/two": os.urandom(100_000), b"/d/three": b"3" * 300_000}
LIMIT = 1 << 30


def overlay_of(directory: Path) -> tuple[Overlay, Staging]:
    store = Staging(directory)
    try:
        return Overlay(MemoryBase(), store, OWNER, LIMIT), store
    except BaseException:
        store.close()
        raise


def put(overlay: Overlay, path: bytes, content: bytes) -> None:
    handle = overlay.create(path, 0o644, os.O_WRONLY | os.O_TRUNC, OWNER)
    overlay.write(handle, 0, content)
    overlay.flush(handle)
    overlay.release(handle)


def content(overlay: Overlay, path: bytes) -> bytes:
    handle = overlay.open(path, os.O_RDONLY)
    try:
        return bytes(overlay.read(handle, 0, overlay.attributes(path).size))
    finally:
        overlay.release(handle)


def found(directory: Path) -> dict[bytes, bytes]:
    overlay, store = overlay_of(directory)
    try:
        there: dict[bytes, bytes] = {}
        for above in (b"/", b"/d"):
            for name, kind, _ in overlay.listdir(above):
                if stat.S_ISREG(kind):
                    path = above.rstrip(b"/") + b"/" + name
                    there[path] = content(overlay, path)
        return {path: there[path] for path in FILES}
    finally:
        store.close()


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The store of a process that was killed."""
    overlay, store = overlay_of(tmp_path / "live")
    overlay.mkdir(b"/d", 0o755, OWNER)
    for path, data in FILES.items():
        put(overlay, path, data)
    shutil.copytree(tmp_path / "live", tmp_path / "staged")
    store.close()
    return tmp_path / "staged"


@pytest.fixture
def stopped(killed: Path) -> Path:
    """The store of a process that ended well."""
    _, store = overlay_of(killed)
    store.close()
    return killed


def bytes_on_disk(directory: Path) -> list[bytes]:
    return sorted(
        path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.stat().st_size < 400_000
    )


def has_all(directory: Path) -> bool:
    there = bytes_on_disk(directory)
    return all(data in there for data in FILES.values())


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zero(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)


def delete(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("damage", [flip, cut, zero, delete, empty])
@pytest.mark.parametrize("name", ["names.sqlite", "names.sqlite-wal"])
def test_a_damaged_database_is_never_taken_for_no_changes(
    killed: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(killed / name)
    looked = kept(killed)
    assert looked is not None
    assert not is_removable(killed)
    if not looked.damage:
        assert found(killed) == FILES
    else:
        with pytest.raises(PachmountError, match="staged changes") as raised:
            Staging(killed)
        assert "staged repair" in raised.value.hint
        assert has_all(killed)
        repair(killed)
        assert found(killed) == FILES


@pytest.mark.parametrize("damage", [flip, cut, zero, delete, empty])
def test_after_a_clean_stop_as_well(stopped: Path, damage: Callable[[Path], None]) -> None:
    damage(stopped / "names.sqlite")
    assert kept(stopped) is not None
    try:
        assert found(stopped) == FILES
    except PachmountError:
        assert has_all(stopped)
        repair(stopped)
        assert found(stopped) == FILES


def test_an_older_copy_of_the_database_is_brought_up_to_date(stopped: Path, tmp_path: Path) -> None:
    shutil.copy(stopped / "names.sqlite", tmp_path / "older")
    overlay, store = overlay_of(stopped)
    put(overlay, b"/four", b"4")
    store.close()
    shutil.copy(tmp_path / "older", stopped / "names.sqlite")
    assert kept(stopped) is not None
    overlay, store = overlay_of(stopped)
    assert content(overlay, b"/four") == b"4"
    store.close()


def test_without_names_the_bytes_go_to_lost_and_found(stopped: Path) -> None:
    (stopped / "names.sqlite").unlink()
    shutil.rmtree(stopped / "ledger")
    looked = kept(stopped)
    assert looked is not None
    assert "missing" in looked.damage
    with pytest.raises(PachmountError, match="staged changes"):
        Staging(stopped)
    report = repair(stopped)
    assert report.lost
    assert has_all(Path(report.place))
    assert kept(stopped) is None
    assert not is_removable(stopped)
    _overlay, store = overlay_of(stopped)
    assert has_all(stopped)
    store.close()


def test_what_no_row_names_is_set_aside_for_two_weeks(stopped: Path) -> None:
    (stopped / "data" / "99").write_bytes(b"nobody's")
    _, store = overlay_of(stopped)
    (place,) = (stopped / "lost+found").iterdir()
    assert (place / "99").read_bytes() == b"nobody's"
    unnamed.remove_old(stopped)
    assert place.exists()
    os.utime(place, (0, 0))
    unnamed.remove_old(stopped)
    assert not place.exists()
    store.close()


def test_a_store_in_use_is_not_repaired(stopped: Path) -> None:
    _, store = overlay_of(stopped)
    with pytest.raises(BusyError):
        repair(stopped)
    store.close()


def test_a_store_of_an_older_version_is_brought_up_to_date(stopped: Path) -> None:
    shutil.rmtree(stopped / "ledger")
    with sqlite3.connect(stopped / "names.sqlite") as db:
        db.execute("DROP TABLE ledger")
        db.execute("PRAGMA user_version = 2")
    db.close()
    assert found(stopped) == FILES
    assert (stopped / "ledger").is_dir()


@pytest.mark.parametrize("rounds", [30, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize("state", ["killed", "stopped"])
def test_any_damage_gives_right_bytes_or_a_clear_error(
    request: pytest.FixtureRequest, tmp_path: Path, state: str, rounds: int
) -> None:
    whole = request.getfixturevalue(state)
    names = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.stat().st_size)
    for seed in range(rounds):
        rng = random.Random(seed)
        staged = tmp_path / f"round-{seed}"
        shutil.copytree(whole, staged)
        victim, damage = rng.choice(names), rng.choice([_flip_somewhere(rng), _zero_somewhere(rng), cut, delete, empty])
        damage(staged / victim)
        try:
            assert found(staged) == FILES, (seed, victim)
        except (PachmountError, OSError):
            is_data = victim.parts[0] == "data"
            assert is_data or has_all(staged), (seed, victim)
            repair(staged)
            if not is_data:
                assert found(staged) == FILES, (seed, victim)
        shutil.rmtree(staged)


def _flip_somewhere(rng: random.Random) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)

    return damage


def _zero_somewhere(rng: random.Random) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        start = rng.randrange(len(data))
        end = min(len(data), start + rng.choice([1, 64, 4096]))
        data[start:end] = bytes(end - start)
        path.write_bytes(data)

    return damage


def test_damage_of_staged_bytes_is_an_error_for_reading_writing_and_committing(stopped: Path) -> None:
    """Also of those that were on the disk long ago; what is beside them is read, and a new content is fine."""
    (victim,) = [path for path in (stopped / "data").iterdir() if path.stat().st_size == 300_000]
    with open(victim, "r+b") as file:
        file.seek(5)
        file.write(b"!")
    overlay, store = overlay_of(stopped)
    handle = overlay.open(b"/d/three", os.O_RDWR)
    with pytest.raises(OSError, match="damaged"):
        overlay.read(handle, 0, 10)
    with pytest.raises(OSError, match="damaged"):
        overlay.write(handle, 10, b"x")
    with pytest.raises(OSError, match="damaged"):
        overlay.resize(handle, 1000)
    assert overlay.read(handle, 200_000, 10) == b"3" * 10
    taken = overlay.snapshot()
    (staged,) = [each for path, each in snapshot.walk(taken) if path == b"/d/three"]
    assert isinstance(staged, snapshot.StagedFile)
    with pytest.raises(OSError, match="damaged"):
        list(overlay.bytes.frozen(staged))
    overlay.resize(handle, 0)
    overlay.write(handle, 0, b"new")
    assert overlay.read(handle, 0, 10) == b"new"
    overlay.release(handle)
    store.close()


def test_bytes_that_were_being_replaced_when_the_process_was_killed_are_no_damage(
    stopped: Path, tmp_path: Path
) -> None:
    overlay, store = overlay_of(stopped)
    handle = overlay.open(b"/d/three", os.O_RDWR)
    overlay.write(handle, 1000, b"not kept")
    shutil.copytree(stopped, tmp_path / "again")
    store.close()
    assert found(tmp_path / "again")[b"/d/three"][1000:1008] == b"not kept"


def test_closing_a_file_reads_none_of_what_was_there_before(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay, store = overlay_of(stopped)
    handle = overlay.create(b"/long", 0o644, os.O_RDWR, OWNER)
    for number in range(64):
        overlay.write(handle, number * 100_000, bytes([number]) * 100_000)
    overlay.flush(handle)
    overlay.write(handle, 6_400_000, b"more")
    read = []
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: read.append(size))
    overlay.flush(handle)
    assert read == []
    monkeypatch.undo()
    overlay.release(handle)
    store.close()
    overlay, store = overlay_of(stopped)
    assert content(overlay, b"/long")[6_300_000:] == bytes([63]) * 100_000 + b"more"
    store.close()


def test_an_export_and_a_kept_commit_do_not_pass_damaged_bytes_on(stopped: Path, tmp_path: Path) -> None:
    (victim,) = [path for path in (stopped / "data").iterdir() if path.stat().st_size == 300_000]
    with open(victim, "r+b") as file:
        file.seek(5)
        file.write(b"!")
    work = StagedWork.read(stopped)
    (item,) = [each for each in work.items if each.path == b"/d/three"]
    assert item.file is not None
    with pytest.raises(OSError, match="damaged"):
        list(work.content(item.file))
    done = export(work, tmp_path / "saved", None)
    assert done.missing == ["/d/three"]
    assert "damaged" in done.why
    assert (tmp_path / "saved/files/one").read_bytes() == FILES[b"/one"]
    saved = (tmp_path / "saved/partial/d/three").read_bytes()
    assert saved[: 128 << 10] == bytes(128 << 10)
    assert saved[128 << 10 :] == FILES[b"/d/three"][128 << 10 :]
