"""Content: hashes that depend on bytes only, one copy of equal bytes, cheap offsets."""

from __future__ import annotations

import random
from hashlib import blake2b

import pytest

from pachmount.localpfs.content import CHUNK_BYTES
from pachmount.localpfs.pages import Entry
from pachmount.localpfs.store import Store
from pachmount.localpfs.writing import FileBuilder
from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.replay import fill
from tests.localpfs.servers import Server, add, delete, modify, on_branch, read, walk

_SIZES = [0, 1, 999_999, 1_000_000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 17]


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


def _built(store: Store, *pieces: bytes) -> Entry:
    """The entry of a file appended piece by piece, each piece in a call of its own."""
    entry: Entry | None = None
    for piece in pieces:
        with store.staging() as staging:
            builder = FileBuilder(staging.writer, entry)
            builder.append(piece)
            entry = builder.finish()
            staging.writer.seal()
            with store.change() as db:
                staging.writer.record(db)
    assert entry is not None
    return entry


@pytest.mark.parametrize("size", _SIZES)
def test_hash_does_not_depend_on_the_pieces(store: Store, size: int) -> None:
    data = fill("content", size)
    whole = _built(store, data)
    assert whole.size == size
    if size < 1_000_000:
        assert whole.hash == (_hash(_hash(data)) if data else _hash(b""))
    chance = random.Random(size)
    cuts = sorted(chance.randint(0, size) for _ in range(3))
    pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, size], strict=True)]
    assert _built(store, *pieces) == whole
    with store.staging() as staging:
        builder = FileBuilder(staging.writer, _built(store, data[: cuts[1]]))
        builder.extend(_built(store, data[cuts[1] :]))
        assert builder.finish() == whole


def test_reading_from_any_offset(store: Store) -> None:
    size = 2 * CHUNK_BYTES + 1000
    data = fill("offsets", size)
    entry = _built(store, data)
    for offset in (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 5, 2 * CHUNK_BYTES, size - 1, size, size + 9):
        pieces = list(store.content.pieces(entry, offset, 1_000_000))
        assert b"".join(pieces) == data[offset:]
        assert all(0 < len(piece) <= 1_000_000 for piece in pieces)


def test_equal_content_is_stored_once(server: Server, new_repo: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    packs = next(tmp_path_factory.getbasetemp().glob("pfs*/store/packs"))

    def stored() -> int:
        return sum(path.stat().st_size for path in packs.iterdir())

    data = fill("dedup", 5_000_000)
    modify(server, on_branch(new_repo), add("/one", data))
    before = stored()
    modify(server, on_branch(new_repo), add("/two", data), add("/three", data), add("/four", data[:3_000_000]))
    modify(server, on_branch(new_repo), add("/four", data[3_000_000:]))
    hashes = {info.hash for info in walk(server, on_branch(new_repo)) if info.file_type == pfs_pb2.FILE}
    assert len(hashes) == 1
    assert stored() - before < 5_100_000  # the two parts of a file before they were joined


def test_overwriting_and_appending_over_the_wire(server: Server, new_repo: str) -> None:
    data = fill("wire", 9_000_001)
    pieces = [add("/f", data[start : start + 2_000_000]) for start in range(0, len(data), 2_000_000)]
    modify(server, on_branch(new_repo), *pieces)
    assert read(server, on_branch(new_repo), "/f") == data
    assert read(server, on_branch(new_repo), "/f", 8_999_990) == data[8_999_990:]
    modify(server, on_branch(new_repo), delete("/f"), add("/f", b"short"))
    assert read(server, on_branch(new_repo), "/f") == b"short"


def test_first_bytes_of_a_far_offset_come_alone(server: Server, new_repo: str) -> None:
    data = fill("far", 40_000_000)
    modify(
        server, on_branch(new_repo), *(add("/f", data[at : at + 2_000_000]) for at in range(0, len(data), 2_000_000))
    )
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=on_branch(new_repo), path="/f"), offset=30_000_000)
    call = server.pfs.GetFile(request)
    first = next(call).value
    call.cancel()
    assert 0 < len(first) <= 2 * 1024 * 1024
    assert first == data[30_000_000 : 30_000_000 + len(first)]
