"""`list`, `tree`, `cat` and `get` read commits that nobody has mounted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.box import Box, wait_until

LARGE = os.urandom(3 << 20)
FILES = {
    "/2024/a.png": b"a",
    "/2024/b.txt": b"b",
    "/2024/sub/c.png": b"cc",
    "/empty": b"",
    "/labels.csv": b"name,label\n1,2\n",
    "/large": LARGE,
    "/odd &=#%41;'\"~ ": b"odd",
}


@pytest.fixture(scope="module")
def repo(shared_box: Box) -> str:
    repo = shared_box.repo("seen")
    shared_box.put(repo, FILES)
    return repo


def printed(box: Box, *arguments: str) -> bytes:
    """The bytes on standard output."""
    return subprocess.run(
        [sys.executable, "-m", "pachmount", *arguments],
        env=box.env,
        cwd=box.root,
        capture_output=True,
        timeout=60,
        check=True,
    ).stdout


def files_below(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "path", "listed"),
    [
        ([], "/2024/*.png", ["/2024/a.png"]),
        ([], "/**.png", ["/2024/a.png", "/2024/sub/c.png"]),
        ([], "/{empty,20*}", ["/2024/", "/empty"]),
        (["-r"], "/20*", ["/2024/", "/2024/a.png", "/2024/b.txt", "/2024/sub/", "/2024/sub/c.png"]),
        (["-r"], "/2024/sub", ["/2024/sub/c.png"]),
        (["--limit", "1"], "/**.png", ["/2024/a.png"]),
    ],
)
def test_lists(box: Box, repo: str, arguments: list[str], path: str, listed: list[str]) -> None:
    assert box.ok("list", *arguments, f"{repo}@master:{path}").splitlines() == listed


def test_lists_as_json_are_as_those_of_a_directory(box: Box, repo: str) -> None:
    by_glob = json.loads(box.ok("list", "--json", f"{repo}:/2024/*"))
    assert by_glob == json.loads(box.ok("list", "--json", f"{repo}:/2024"))


def test_what_matches_nothing_is_an_error(box: Box, repo: str) -> None:
    for command in ("list", "cat", "get"):
        assert "nothing matches '/no*'" in box.refused(command, f"{repo}:/no*", code=66)
        assert "invalid pattern '/[a'" in box.refused(command, f"{repo}:/[a", code=2)


def test_tree(box: Box, repo: str) -> None:
    lines = box.ok("tree", f"{repo}:/2024", LC_ALL="C.UTF-8").splitlines()
    assert lines[0].startswith(f"default/{repo}@master=")
    assert lines[1:-1] == ["├── a.png  1 B", "├── b.txt  1 B", "└── sub/  2 B", "    └── c.png  2 B"]
    assert lines[-1] == "1 directory, 3 files, 4 B"
    lines = box.ok("tree", repo, "--depth", "1", "--ascii").splitlines()
    assert lines[1:3] == ["|-- 2024/  4 B", "|-- empty  0 B"]
    assert lines[-2:] == ["`-- odd &=#%41;'\"~   3 B", "1 directory, 4 files, 3.0 MiB"]
    assert [entry["path"] for entry in json.loads(box.ok("tree", "--json", f"{repo}:/2024/sub"))] == ["/2024/sub/c.png"]
    assert "it is a file" in box.refused("tree", f"{repo}:/empty", code=2)


def test_cat(box: Box, repo: str) -> None:
    assert printed(box, "cat", f"{repo}@master:/large", f"{repo}:/empty", f"{repo}:/**.png") == LARGE + b"acc"
    assert printed(box, "cat", f"{repo}:/odd &=#%41;'\"~ ") == b"odd"
    assert "it is a directory" in box.refused("cat", f"{repo}:/2024", code=2)
    assert "'/nothing'" in box.refused("cat", f"{repo}:/labels.csv", f"{repo}:/nothing", code=66)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0-3", slice(0, 4)),
        ("5-", slice(5, None)),
        ("-3", slice(-3, None)),
        ("2+4", slice(2, 6)),
        ("1048570+20", slice(1048570, 1048590)),
        ("9999999-", slice(0, 0)),
    ],
)
def test_cat_a_range(box: Box, repo: str, text: str, wanted: slice) -> None:
    assert printed(box, "cat", f"{repo}:/large", "--range", text) == LARGE[wanted]


@pytest.mark.parametrize("text", ["x", "5-2", "1", "-", "1-2,4-5"])
def test_cat_no_range(box: Box, repo: str, text: str) -> None:
    assert f"invalid range '{text}'" in box.refused("cat", f"{repo}:/large", "--range", text, code=2)


def test_cat_into_a_pipe_that_is_closed(box: Box, repo: str) -> None:
    program = f"{sys.executable} -m pachmount"
    done = box.sh(f"{program} cat '{repo}:/large' | head -c 5 >/dev/null; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_get_files_and_directories(box: Box, repo: str, tmp_path: Path) -> None:
    def get(*arguments: str) -> None:
        box.ok("get", *arguments, cwd=tmp_path)

    get(f"{repo}:/labels.csv")
    get(f"{repo}:/labels.csv", "renamed.csv")
    get(f"{repo}:/labels.csv", "into/")
    get("-r", f"{repo}:/2024")
    get("-r", f"{repo}@master", "all/of/it")
    get(f"{repo}:/2024/**.png", "pngs")
    got = files_below(tmp_path)
    everything = {f"all/of/it{path}": content for path, content in FILES.items()}
    year = {path[1:]: content for path, content in FILES.items() if path.startswith("/2024/")}
    labels = dict.fromkeys(("labels.csv", "renamed.csv", "into/labels.csv"), FILES["/labels.csv"])
    assert got == everything | year | labels | {"pngs/a.png": b"a", "pngs/sub/c.png": b"cc"}
    assert printed(box, "get", f"{repo}:/large", "-") == LARGE
    assert "pachmount get -r" in box.refused("get", f"{repo}:/2024", code=2)


def test_get_replaces_nothing_unless_told_to(box: Box, repo: str, tmp_path: Path) -> None:
    box.ok("get", "-r", repo, "copy", cwd=tmp_path)
    mine = tmp_path / "copy/labels.csv"
    mine.write_bytes(b"mine")
    (tmp_path / "copy/empty").unlink()
    said = box.refused("get", "-r", repo, "copy", code=73, cwd=tmp_path)
    assert "labels.csv'" in said
    assert "large'" not in said
    assert (mine.read_bytes(), (tmp_path / "copy/empty").exists()) == (b"mine", False)
    answer = json.loads(box.ok("get", "-r", "--force", "--json", repo, "copy", cwd=tmp_path))
    assert (answer["files"], answer["found_files"]) == (len(FILES), len(FILES) - 2)
    assert files_below(tmp_path / "copy") == {path[1:]: content for path, content in FILES.items()}
    mine.unlink()
    (mine / "in").mkdir(parents=True)
    assert "a directory or a device is there" in box.refused(
        "get", "-r", "--force", repo, "copy", code=73, cwd=tmp_path
    )


def test_get_never_replaces_what_is_no_file(box: Box, repo: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "device")
    (tmp_path / "link").symlink_to("device")
    for name in ("device", "link"):
        said = box.refused("get", "--force", f"{repo}:/labels.csv", name, code=73, cwd=tmp_path)
        assert "a directory or a device is there" in said
    assert (tmp_path / "device").is_fifo()
    assert (tmp_path / "link").is_symlink()


def test_get_goes_on_after_a_kill(box: Box, tmp_path: Path) -> None:
    repo, data = box.repo("large"), os.urandom(64 << 20)
    box.put(repo, {"/large": data})

    def part(is_enough: Callable[[int], bool] = bool) -> list[Path]:
        return [path for path in tmp_path.glob(".pachmount-*.part") if is_enough(path.stat().st_size)]

    process = subprocess.Popen([sys.executable, "-m", "pachmount", "get", f"{repo}:/large"], env=box.env, cwd=tmp_path)
    wait_until(part, "some of it has come")
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert not (tmp_path / "large").exists()
    [left] = part()
    had = left.stat()
    box.ok("get", f"{repo}:/large", cwd=tmp_path)
    assert (tmp_path / "large").read_bytes() == data
    assert (tmp_path / "large").stat().st_ino == had.st_ino
    assert part(lambda _size: True) == []


def test_import_says_each_name_that_it_skips_on_one_line(box: Box, tmp_path: Path) -> None:
    (tmp_path / "two\nlines").touch()
    (tmp_path / "kept").touch()
    (tmp_path / os.fsdecode(b"\xff")).touch()
    done = box.run("import", str(tmp_path), box.repo("names"), "--skip-invalid")
    assert done.returncode == 0
    skipped = [line for line in done.stderr.splitlines() if line.startswith("skipped ")]
    assert [line.partition(":")[0] for line in skipped] == ["skipped two\\nlines", "skipped \\xff"]


def test_a_disk_that_is_not_writable(box: Box, repo: str) -> None:
    assert "cannot write '/proc/nothing'" in box.refused("get", f"{repo}:/labels.csv", "/proc/nothing")


def test_the_daemon_is_started(new_box: Callable[..., Box]) -> None:
    box = new_box()
    box.put("images", {"/a": b"a"})
    box.ok("daemon", "stop")
    assert box.ok("cat", "images:/a") == "a"
