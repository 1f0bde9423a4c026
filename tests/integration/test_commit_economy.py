"""What a commit sends: what changed, and nothing else, however much is in the commit or was committed before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.box import Box
from tests.integration.commit_proxy import CommitProxy
from tests.integration.proxy import ByteProxy

MIB = 1 << 20


class Wire:
    """A daemon behind a proxy that counts calls and one that counts bytes."""

    def __init__(self, box: Box, stack: ExitStack) -> None:
        self.box = box
        self.server = box.server()
        self.calls = stack.enter_context(CommitProxy(self.server.address))
        self.bytes = stack.enter_context(ByteProxy(self.calls.address))
        box.ok("login", self.bytes.address)

    def mounted(self, files: dict[str, bytes]) -> str:
        name = self.box.repo("economy", self.server.address)
        self.box.put(name, files, address=self.server.address)
        self.box.ok("mount", name, "--rw")
        return name

    @property
    def transferred(self) -> int:
        """Bytes, both ways."""
        return self.bytes.up_bytes + self.bytes.down_bytes

    def committed(self, name: str) -> tuple[str, int]:
        """What a commit says, and how many bytes of file sets it sends."""
        self.calls.sent_bytes.clear()
        said = self.box.ok("commit", name, timeout=600)
        return said, self.calls.sent_bytes["CreateFileSet"] + self.calls.sent_bytes["ModifyFile"]


@pytest.fixture(scope="module")
def wire(fuse: None) -> Iterator[Wire]:
    box = Box()
    with ExitStack() as stack:
        try:
            yield Wire(box, stack)
            box.clean()
            box.stop()
        finally:
            box.close()


def write_many(top: Path, number: int) -> None:
    for index in range(number):
        directory = top / f"d{index % 100}"
        directory.mkdir(exist_ok=True)
        (directory / str(index)).write_bytes(b"%d\n" % index * 100)


@pytest.mark.parametrize("number", [1000, pytest.param(10_000, marks=pytest.mark.long)])
@pytest.mark.timeout(900)
def test_one_more_change_after_many_sends_one_file(wire: Wire, number: int) -> None:
    name = wire.mounted({"/file": b"file"})
    top = wire.box.path(name)
    write_many(top, number)
    said, sent = wire.committed(name)
    assert f"committed {number:,} changes" in said
    assert sent > 200 * number
    (top / "d7/7").write_bytes(b"changed")
    (top / "d7/107").unlink()
    (top / "d8/8").rename(top / "d9" / "moved")
    wire.calls.calls.clear()
    said, sent = wire.committed(name)
    assert "committed 3 changes " in said
    assert sent < 1500
    assert wire.calls.calls["WalkFile"] == 0  # the listing is made of the former one
    assert (top / "d7/7").read_bytes() == b"changed"
    assert (top / "d9/moved").read_bytes() == b"8\n" * 100
    assert sum(1 for path in top.rglob("*") if path.is_file()) == number
    said, sent = wire.committed(name)
    assert "nothing to commit" in said
    assert sent == 0


def test_appending_to_a_big_file_transfers_next_to_nothing(wire: Wire) -> None:
    name = wire.mounted({"/big": bytes(range(256)) * (64 * MIB // 256)})
    before = wire.transferred
    with (wire.box.path(name) / "big").open("ab") as file:
        file.write(b"x" * 1024)
    assert wire.transferred - before < 100_000
    _, sent = wire.committed(name)
    assert sent < 2000
    assert wire.transferred - before < 200_000


def test_renaming_a_directory_sends_no_content(wire: Wire) -> None:
    name = wire.mounted({f"/d/{number}": bytes(100_000) + b"%d" % number for number in range(50)})
    (wire.box.path(name) / "d").rename(wire.box.path(name) / "e")
    said, sent = wire.committed(name)
    assert "committed 50 changes" in said
    assert sent < 20_000
