"""What the overlay does beyond what a disk does: what it downloads, its limit, a slow cluster, restarts, full disks."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachmount.errors import DataError
from pachmount.overlay.overlay import Overlay
from pachmount.overlay.staging import Staging
from pachmount.overlay.tree import Owner
from pachmount.vfs.tree import Node
from tests.unit.overlay.base import TREE, MemoryBase

OWNER = Owner(1000, 1000)
BIG = b"big"
SIZE = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Staging]:
    store = Staging(tmp_path / "staged")
    yield store
    store.close()


@pytest.fixture
def base() -> MemoryBase:
    return MemoryBase({**TREE, "big": bytes(SIZE)})


def overlay_of(base: MemoryBase, store: Staging, limit: int = 1 << 30) -> Overlay:
    return Overlay(base, store, OWNER, limit)


def write(overlay: Overlay, path: bytes, offset: int, data: bytes) -> None:
    handle = overlay.open(path, os.O_RDWR)
    overlay.write(handle, offset, data)
    overlay.flush(handle)
    overlay.release(handle)


def content(overlay: Overlay, path: bytes) -> bytes:
    handle = overlay.open(path, os.O_RDONLY)
    try:
        return bytes(overlay.read(handle, 0, overlay.attributes(path).size))
    finally:
        overlay.release(handle)


@pytest.mark.parametrize("offset", [SIZE, SIZE // 2, 0, SIZE + 4096])
def test_writing_downloads_nothing(base: MemoryBase, store: Staging, offset: int) -> None:
    overlay = overlay_of(base, store)
    write(overlay, b"/big", offset, b"x" * 1000)
    overlay.truncate(b"/big", SIZE + 10_000)
    overlay.rename(b"/big", b"/a/moved")
    assert base.read_bytes == 0
    assert overlay.bytes.budget.used == 1000
    expected = bytearray(SIZE + 10_000)
    expected[offset : offset + 1000] = b"x" * 1000
    assert content(overlay, b"/a/moved") == expected


def test_what_was_closed_is_there_for_the_next_process(base: MemoryBase, store: Staging, tmp_path: Path) -> None:
    overlay = overlay_of(base, store)
    write(overlay, b"/five", 4, b"!")
    handle = overlay.create(b"/open", 0o644, os.O_RDWR, OWNER)
    overlay.write(handle, 0, b"never closed")
    again = Staging(tmp_path / "staged")  # the first one is killed: it says no more
    restored = overlay_of(base, again)
    assert content(restored, b"/five") == b"five!"
    assert content(restored, b"/open") == b""
    again.close()


def test_a_limit_answers_that_there_is_no_space_and_keeps_what_is_there(base: MemoryBase, store: Staging) -> None:
    overlay = overlay_of(base, store, limit=5000)
    write(overlay, b"/big", 0, b"x" * 4000)
    handle = overlay.open(b"/big", os.O_WRONLY)
    overlay.write(handle, 1000, b"y" * 3000)
    with pytest.raises(OSError, match="staged") as raised:
        overlay.write(handle, 3000, b"z" * 2001)
    assert raised.value.errno == errno.ENOSPC
    overlay.release(handle)
    assert content(overlay, b"/big")[:4001] == b"x" * 1000 + b"y" * 3000 + b"\0"
    overlay.unlink(b"/big")
    write_new = overlay.create(b"/new", 0o644, os.O_WRONLY, OWNER)
    assert overlay.write(write_new, 0, b"n" * 5000) == 5000


def test_a_store_that_refuses_leaves_the_tree_as_it_was(
    base: MemoryBase, store: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = overlay_of(base, store)
    write(overlay, b"/a/one", 0, b"F")
    before = {path: sorted(overlay.listdir(path)) for path in (b"/", b"/a", b"/b", b"/a/deep")}

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "apply", refuse)
        for action in (
            lambda: overlay.rename(b"/a/one", b"/b/four"),
            lambda: overlay.rename(b"/a", b"/c"),
            lambda: overlay.mkdir(b"/b/new", 0o755, OWNER),
            lambda: overlay.unlink(b"/a/deep/three"),
            lambda: overlay.link(b"/five", b"/six"),
            lambda: overlay.chmod(b"/five", 0o600),
        ):
            with pytest.raises(OSError, match="full"):
                action()
    assert {path: sorted(overlay.listdir(path)) for path in before} == before
    assert content(overlay, b"/a/one") == b"First"
    assert overlay.attributes(b"/a/one").links == 1
    assert overlay.attributes(b"/five").mode & 0o777 == 0o644


class SlowBase(MemoryBase):
    """The cluster does not answer about `/a`, until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def find(self, path: bytes) -> Node | None:
        if path.startswith(b"/a"):
            self.asked.set()
            assert self.may_answer.wait(30)
        return super().find(path)


def test_nobody_waits_for_what_another_one_asks_the_cluster(store: Staging) -> None:
    base = SlowBase()
    overlay = overlay_of(base, store)
    slow = threading.Thread(target=lambda: overlay.rename(b"/a/one", b"/b/one"))
    slow.start()
    try:
        assert base.asked.wait(30)
        write(overlay, b"/b/four", 0, b"!")
        overlay.mkdir(b"/new", 0o755, OWNER)
        assert not base.may_answer.is_set()
    finally:
        base.may_answer.set()
        slow.join()
    assert content(overlay, b"/b/one") == b"first"
    assert content(overlay, b"/b/four")[:2] == b"!4"


def test_files_that_were_deleted_while_open_stay_readable_and_leave_nothing(
    base: MemoryBase, store: Staging, tmp_path: Path
) -> None:
    overlay = overlay_of(base, store)
    clean = overlay.open(b"/five", os.O_RDONLY)
    changed = overlay.open(b"/a/one", os.O_RDWR)
    overlay.write(changed, 0, b"F")
    overlay.unlink(b"/five")
    overlay.unlink(b"/a/one")
    assert overlay.read(clean, 0, 100) == b"five\n"
    assert overlay.read(changed, 0, 100) == b"First"
    assert overlay.attributes(clean).links == 0
    overlay.release(clean)
    overlay.release(changed)
    assert overlay.bytes.budget.used == 0
    assert not list((tmp_path / "staged" / "data").iterdir())


def test_extended_attributes(base: MemoryBase, store: Staging) -> None:
    overlay = overlay_of(base, store)
    overlay.set_xattr(b"/five", "user.a", b"1", 0)
    with pytest.raises(FileExistsError):
        overlay.set_xattr(b"/five", "user.a", b"2", os.XATTR_CREATE)
    with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
        overlay.set_xattr(b"/five", "user.b", b"2", os.XATTR_REPLACE)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        overlay.set_xattr(b"/five", "user.b", bytes(70_000), 0)
    assert overlay.xattrs(b"/five") == {"user.a": b"1"}
    overlay.remove_xattr(b"/five", "user.a")
    with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
        overlay.remove_xattr(b"/five", "user.a")


@pytest.mark.parametrize("damage", ["version", "entry"])
def test_a_damaged_store_is_refused_and_kept(base: MemoryBase, tmp_path: Path, damage: str) -> None:
    store = Staging(tmp_path / "staged")
    write(overlay_of(base, store), b"/five", 0, b"F")
    store.close()
    with sqlite3.connect(tmp_path / "staged" / "names.sqlite") as db:
        db.execute("PRAGMA user_version = 99" if damage == "version" else "UPDATE entry SET inode = 12345")
    db.close()
    with pytest.raises(DataError, match="staged changes"):
        overlay_of(base, Staging(tmp_path / "staged"))
    assert len(list((tmp_path / "staged" / "data").iterdir())) == 1
