"""Archives in every format that a server may send are read right, wherever the stream is cut; damage is an error."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachmount.errors import DataError
from pachmount.vfs.tar import members
from tests.fakes import tar_of

FORMATS = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
elements = st.text(st.characters(codec="ascii", exclude_characters="/", min_codepoint=32), min_size=1, max_size=90)
names = st.lists(elements, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


def cut(data: bytes, piece: int) -> Iterator[memoryview]:
    return (memoryview(data)[start : start + piece] for start in range(0, len(data), piece))


def contents(data: bytes, piece: int = 1 << 20) -> dict[str, bytes | None]:
    return {name.decode(): content for name, content in members(cut(data, piece), lambda name, size: True)}


@settings(deadline=None)
@given(
    st.dictionaries(names, st.binary(max_size=1100), max_size=6),
    st.sampled_from(FORMATS[:2]),
    st.one_of(st.integers(1, 3000), st.just(1 << 20)),
)
def test_what_tarfile_writes_is_read(files: dict[str, bytes], form: int, piece: int) -> None:
    assert contents(tar_of(files, form), piece) == files


@pytest.mark.parametrize(
    ("form", "length"),
    [
        *((form, length) for form in FORMATS for length in (99, 100, 102, 150, 155, 156, 180)),
        *((form, length) for form in FORMATS[:2] for length in (101, 200, 221)),  # ustar cannot hold these
    ],
)
def test_long_names_survive_every_format(form: int, length: int) -> None:
    name = ("/" + "d" * 79) * 2 + "/" + "f" * 60
    files = {name[:length]: b"one", "/after": b"two"}
    assert contents(tar_of(files, form)) == files


def test_names_that_look_like_pax_records_or_numbers() -> None:
    files = {f"/{'x' * 120}/12 path=a": b"1", f"/{'=' * 130} 7": b"2"}
    assert contents(tar_of(files, tarfile.PAX_FORMAT)) == files


def test_directories_links_and_global_headers_are_passed_over() -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "g"}) as tar:
        for name, kind in (("/", tarfile.DIRTYPE), ("/d/", tarfile.DIRTYPE), ("/l", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "x" * 200
            tar.addfile(info)
        info = tarfile.TarInfo("/d/file")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    assert contents(archive.getvalue(), 700) == {"/d/file": b"abc"}


def test_a_refused_member_is_passed_over_without_being_held() -> None:
    data = tar_of({"/a": b"1", "/large": bytes(100_000), "/z": b"2"})
    found = members(cut(data, 1000), lambda name, size: size < 1000)
    assert list(found) == [(b"/a", b"1"), (b"/large", None), (b"/z", b"2")]


def test_a_size_as_gnu_writes_large_ones() -> None:
    data = bytearray(tar_of({"/a": b"abc"}))
    data[124:136] = b"\x80" + (3).to_bytes(11, "big")
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert contents(bytes(data)) == {"/a": b"abc"}


@given(st.integers(0, 3 * 1024 - 1))
def test_a_truncated_archive_is_an_error(length: int) -> None:
    data = tar_of({"/a": b"x" * 500, "/b": b"y" * 500})
    with pytest.raises(DataError):
        contents(data[: min(length, 4 * 512)])


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 5000), st.integers(1, 255), st.sampled_from(FORMATS))
def test_damage_gives_an_error_or_other_members_but_never_a_surprise(position: int, flip: int, form: int) -> None:
    data = bytearray(tar_of({"/a": b"x" * 500, "/" + "long/" * 30 + "b": b"y" * 700}, form))
    data[position % len(data)] ^= flip
    with contextlib.suppress(DataError):
        assert len(list(members(cut(bytes(data), 777), lambda name, size: True))) <= 2


@given(st.binary(max_size=2000))
def test_rubbish_is_an_error(data: bytes) -> None:
    if data[:512] != bytes(512):
        with pytest.raises(DataError):
            contents(data)
