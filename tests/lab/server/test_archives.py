"""Directories as zip files."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from pachmount.errors import TooLongError
from pachmount_lab import archives
from pachmount_lab.archives import MAX_ARCHIVES, Archives
from pachmount_lab.daemon import Daemon
from pachmount_lab.outputs import Outputs
from pachmount_lab.places import Place
from pachmount_lab.workers import Workers
from tests.integration.box import Box, wait_until
from tests.lab.server.jupyter import Jupyter
from tests.lab.server.test_contents import ODD_NAMES

FILES = {"/a.txt": b"one\n", "/dir/b.bin": b"\xff\x00", "/dir/deep/er/c": b"", "/large": bytes(range(256)) * 5000}
LARGE = 64 << 20
"""More than all buffers on the way have."""


def opened(answer: requests.Response) -> zipfile.ZipFile:
    assert answer.status_code == 200, answer.text
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def until_cut_off(pieces: Iterator[bytes]) -> bytes:
    got = bytearray()
    with contextlib.suppress(requests.exceptions.ChunkedEncodingError):
        for piece in pieces:
            got += piece
        raise AssertionError("the answer ended as if it were whole")
    return bytes(got)


def files(archive: zipfile.ZipFile) -> dict[str, bytes]:
    return {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}


@pytest.fixture
def repo(box: Box) -> str:
    name = box.repo("packed")
    box.put(name, FILES)
    return name


@pytest.fixture
def large(box: Box) -> str:
    """A mount of two large files."""
    name = box.repo("large")
    box.put(name, {"/dir/1": os.urandom(1 << 20) * (LARGE >> 20), "/dir/2": b"x" * LARGE})
    box.mount(name)
    return name


def test_a_mount_and_a_directory_and_what_is_not_mounted(lab: Jupyter, box: Box, repo: str) -> None:
    box.mount(repo)
    answer = lab.get(f"/download/{repo}")
    assert answer.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{repo}.zip"
    assert answer.headers["Content-Type"] == "application/zip"
    archive = opened(answer)
    assert files(archive) == {f"{repo}{path}": content for path, content in FILES.items()}
    assert archive.getinfo(f"{repo}/a.txt").date_time >= (2026, 1, 1, 0, 0, 0)
    assert lab.ok("GET", f"/download/{repo}?content=0") == {"files": 4, "size_bytes": 1_280_006}
    assert files(opened(lab.get(f"/download/{repo}/dir"))) == {"dir/b.bin": b"\xff\x00", "dir/deep/er/c": b""}
    below = lab.get(f"/download/@/default/{repo}/master/dir/deep")
    assert files(opened(below)) == {"deep/er/c": b""}
    for path in ("@", "@/default", f"@/default/{repo}"):
        assert lab.get(f"/download/{path}").status_code == 400


def test_odd_names_empty_directories_and_links(lab: Jupyter, box: Box, repo: str, tmp_path: Path) -> None:
    box.mount(repo, "rw", mode="rw")
    top = box.path("rw", "dir")
    for odd in ODD_NAMES:
        (top / odd).write_text(odd)
    Path(os.fsdecode(os.fsencode(top) + b"/no\xfftext")).write_text("bytes")
    (top / "empty").mkdir()
    (top / "link").symlink_to(tmp_path)
    archive = opened(lab.get("/download/rw/dir"))
    expected = {f"dir/{odd}": odd.encode() for odd in ODD_NAMES} | {"dir/no\\xfftext": b"bytes"}
    assert files(archive) == {**expected, "dir/b.bin": b"\xff\x00", "dir/deep/er/c": b""}
    assert "dir/empty/" in archive.namelist()


def test_what_a_datum_puts_out(lab: Jupyter, box: Box, repo: str) -> None:
    lab.ok("PUT", "/datums/_mount", {"input": {"pfs": {"repo": repo, "glob": "/a.txt", "name": "in"}}})
    box.path("out", "deep").mkdir()
    box.path("out", "deep", "result").write_text("42")
    assert files(opened(lab.get("/download/out"))) == {"out/deep/result": b"42"}
    assert files(opened(lab.get("/download/in"))) == {"in/a.txt": b"one\n"}


def test_an_archive_that_cannot_be_finished_does_not_look_whole(lab: Jupyter, box: Box, large: str) -> None:
    """Here because the mount moves to another commit in the middle."""
    with lab.get(f"/download/{large}", stream=True) as answer:
        pieces = answer.iter_content(1 << 20)
        got = next(pieces)
        box.put(large, {"/new": b"new\n"})
        lab.ok("PUT", "/_refresh", {"mounts": [{"name": large}]})
        got += until_cut_off(pieces)
    assert len(got) > LARGE
    assert not zipfile.is_zipfile(io.BytesIO(got))
    wait_until(lambda: "another commit" in lab.log(), "the log tells why", 10)


def test_so_many_at_once_until_a_browser_leaves(lab: Jupyter, large: str) -> None:
    route = f"/download/{large}"
    with ExitStack() as stack:
        begun = [stack.enter_context(lab.get(route, stream=True)) for _ in range(MAX_ARCHIVES)]
        for each in begun:
            assert each.raw.read(1000)
        for query in ("", "?content=0"):
            refused = lab.get(route + query)
            assert refused.json()["id"] == "busy"
            assert "Content-Disposition" not in refused.headers
        begun[0].close()
        wait_until(lambda: lab.get(f"{route}?content=0").ok, "one has ended", 20)


def test_the_archive_is_never_whole_in_memory(lab: Jupyter, large: str) -> None:
    before, most, got = lab.rss_bytes(), 0, 0
    with lab.get(f"/download/{large}", stream=True) as answer:
        for piece in answer.iter_content(1 << 20):
            got += len(piece)
            most = max(most, lab.rss_bytes())
    assert got > 2 * LARGE
    assert most - before < 32 << 20


def test_too_many_files_are_refused(box: Box, repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 7)

    async def size(path: str) -> archives.Size:
        daemon = Daemon(box.places)
        return await Archives(daemon, Outputs(daemon, Workers())).size(Place.of(path))

    top = f"@/default/{repo}/master"
    assert asyncio.run(size(f"{top}/dir")).files == 2
    assert asyncio.run(size(top)).files == 4, "and three directories"
    box.put(repo, {"/one more": b""})
    with pytest.raises(TooLongError, match="more than 7"):
        asyncio.run(size(top))
