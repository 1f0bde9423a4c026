"""`pachmount.open`: a commit's files from a program, without a mount."""

from __future__ import annotations

import io
import multiprocessing
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pachmount.clients import Clients
from pachmount.errors import NotADirectoryInSourceError, NotFoundError, UsageError
from pachmount.reach import reach
from pachmount.reading import Snapshot
from tests.integration.box import Box

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/python.md"
BIG = bytes(range(256)) * (80 << 10)
"""20 MiB, so that an open file asks for it in several ranges."""
FILES = {
    "/a": b"",
    "/b.txt": b"one\ntwo\n",
    "/d/e/f": b"deep",
    "/d/g": b"gg",
    "/big": BIG,
    "/ends in blank /a b &=#%41;'\"~ ": b"odd",
}


@pytest.fixture
def snapshot(box: Box) -> Iterator[Snapshot]:
    repo = box.repo("read")
    box.put(repo, FILES)
    with Snapshot(Clients(lambda: reach(box.places)), repo) as opened:
        yield opened


def test_it_tells_what_there_is(snapshot: Snapshot) -> None:
    walked = {entry.path: entry for entry in snapshot.walk()}
    assert {path for path, entry in walked.items() if not entry.is_dir} == set(FILES)
    assert all(walked[path].size == len(content) for path, content in FILES.items())
    assert [entry.name for entry in snapshot] == [entry.name for entry in snapshot.ls("/")]
    assert [entry.path for entry in snapshot.ls("/d/")] == ["/d/e", "/d/g"]
    assert [entry.path for entry in snapshot.ls("/b.txt")] == ["/b.txt"]
    assert (snapshot.info("/d").size, snapshot.info("d/g").type, snapshot.info().path) == (6, "file", "/")
    assert snapshot.exists("/d/e/f")
    assert not snapshot.exists("/d/e/f/g")
    with pytest.raises(NotFoundError):
        snapshot.ls("/nothing")


def test_bytes_and_ranges(snapshot: Snapshot) -> None:
    for path, content in FILES.items():
        assert snapshot.read_bytes(path) == content
        for start, end in ((0, 3), (2, None), (1, 1), (len(content), None), (len(content) + 9, len(content) + 10)):
            assert snapshot.read_bytes(path, start, end) == content[start:end]
    for wrong in ((-1, None), (3, 2)):
        with pytest.raises(UsageError):
            snapshot.read_bytes("/b.txt", *wrong)
    with pytest.raises(UsageError, match="directory"):
        snapshot.read_bytes("/d")


def test_an_open_file_is_as_one_of_python(snapshot: Snapshot) -> None:
    ours, reference = snapshot.open("/big"), io.BytesIO(BIG)
    for step in ((0, 10), (5, 100), (9 << 20, 70_000), (1, 9 << 20), (len(BIG) - 3, 10), (len(BIG) + 5, 1), (0, -1)):
        assert (ours.seek(step[0]), ours.read(step[1])) == (reference.seek(step[0]), reference.read(step[1]))
    assert ours.seek(-7, io.SEEK_END) == len(BIG) - 7
    assert ours.read() == BIG[-7:]
    with pytest.raises(ValueError, match="negative"):
        ours.seek(-1)
    ours.close()
    with snapshot.open("/b.txt", "r") as text:
        assert list(text) == ["one\n", "two\n"]
    with snapshot.open("/a") as empty:
        assert empty.read() == b""
    for path, mode in (("/d", "rb"), ("/b.txt", "w")):
        with pytest.raises(UsageError):
            snapshot.open(path, mode)  # type: ignore[arg-type]


def test_a_directory_as_the_root(box: Box, snapshot: Snapshot) -> None:
    with Snapshot(Clients(lambda: reach(box.places)), f"{snapshot.source.repo}:/d") as below:
        assert [entry.path for entry in below.walk()] == ["/e", "/e/f", "/g"]
        assert below.read_bytes("/e/f") == b"deep"
        assert below.info().path == "/"
        assert str(below).endswith(":/d")
    with pytest.raises(NotADirectoryInSourceError):
        Snapshot(Clients(lambda: reach(box.places)), f"{snapshot.source.repo}:/b.txt")


def test_it_stays_at_its_commit(box: Box, snapshot: Snapshot) -> None:
    file = snapshot.open("/b.txt")
    box.put(snapshot.source.repo, {"/b.txt": b"changed"})
    assert file.read() == FILES["/b.txt"] == snapshot.read_bytes("/b.txt")


def test_threads_and_forked_processes_share_it(snapshot: Snapshot) -> None:
    with ThreadPoolExecutor(16) as pool:
        for path, content in zip(FILES, pool.map(snapshot.read_bytes, FILES), strict=True):
            assert content == FILES[path]
        assert all(pool.map(snapshot.exists, [*FILES] * 10))
    ended = multiprocessing.get_context("fork").Process(target=snapshot.read_bytes, args=("/d/g",))
    ended.start()
    assert snapshot.read_bytes("/b.txt") == FILES["/b.txt"]
    ended.join(30)
    assert ended.exitcode == 0


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("/*", ["/a", "/b.txt", "/big", "/d", "/ends in blank "]),
        ("/**", None),
        ("/d/*", ["/d/e", "/d/g"]),
        ("/*/e/f", ["/d/e/f"]),
        ("/{a,d/g}", ["/a", "/d/g"]),
        ("/[ab]", ["/a"]),
        ("/d/@(g|e)", ["/d/e", "/d/g"]),
        ("b.txt", ["/b.txt"]),
        ("/nothing/*", []),
        ("/b.txt/*", []),
        ("/nothing", []),
    ],
)
def test_globs(snapshot: Snapshot, pattern: str, matching: list[str] | None) -> None:
    everything = [entry.path for entry in snapshot.walk()]
    assert [entry.path for entry in snapshot.glob(pattern)] == (everything if matching is None else matching)


def test_a_glob_that_is_none(snapshot: Snapshot) -> None:
    with pytest.raises(UsageError, match=r"\[a"):
        list(snapshot.glob("/[a"))


def test_the_examples_of_the_document(new_box: object) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("note", "x")
    box: Box = new_box()  # type: ignore[operator]
    files = {"/labels.csv": b"name,label\n", "/2024/a.png": b"png", "/2024/table.csv": b"a,b\n"}
    box.put("images", files | {"/2024/notes.zip": packed.getvalue()})
    box.ok("daemon", "stop")
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=box.env,
        cwd=box.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "['note']\n['a', 'b']\n" in done.stdout
    assert "/labels.csv file 11" in done.stdout


def test_the_package_alone_imports_little(box: Box) -> None:
    loaded = box.python("import pachmount, sys; print([name for name in sys.modules if name.startswith('pachmount')])")
    assert loaded == "['pachmount']\n"
