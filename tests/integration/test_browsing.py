"""The browsing routes tell what a reader of the mount point sees, and what a commit has that is not mounted."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachmount.api import schema
from pachmount.client import DaemonClient
from pachmount.errors import BusyError, InvalidPathError, NotFoundError, PachmountError, UsageError
from tests.integration.auth_cluster import READER, auth_cluster
from tests.integration.box import Box, wait_until

ODD = "/ends in blank /a b &=#%41;'\"~ "
FILES = {
    "/a": b"",
    "/b.txt": b"bb\n",
    "/d.txt": b"not below d\n",
    "/d/e/f": b"deep",
    "/d/g": b"gg",
    "/Readme.TXT": b"read me",
    "/big": bytes(range(256)) * 8192,
    ODD: b"odd",
}
KINDS = {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "link"}


@pytest.fixture(scope="module")
def repo(shared_box: Box) -> str:
    repo = shared_box.repo("browsed")
    shared_box.put(repo, FILES)
    return repo


@pytest.fixture
def daemon(box: Box) -> Iterator[DaemonClient]:
    with box.daemon() as client:
        yield client


def tree(daemon: DaemonClient, mount: str, number: int, path: str = "/") -> dict[str, schema.FileAnswer]:
    """Everything at and below a path, by pages."""
    found: dict[str, schema.FileAnswer] = {}
    for page in daemon.file_pages(mount=mount, path=path, number=number):
        assert len(page.files) <= number
        for entry in page.files:
            assert entry.path not in found
            found[entry.path] = entry
            if entry.type == "dir":
                found |= tree(daemon, mount, number, entry.path)
    return found


def assert_same(daemon: DaemonClient, box: Box, mount: str) -> None:
    """The routes tell of all that is at the mount point, as `lstat` does."""
    top = box.path(mount)
    expected = {f"/{path.relative_to(top)}": path for path in top.rglob("*")}
    found = tree(daemon, mount, 2)
    assert sorted(found) == sorted(expected)
    for name, path in expected.items():
        info = path.lstat()
        alone = daemon.file(mount=mount, path=name)
        assert dict(alone) | dict(found[name]) == dict(alone)
        assert alone.type == KINDS[stat.S_IFMT(info.st_mode)]
        assert alone.modified == pytest.approx(info.st_mtime, abs=1e-3)
        if alone.type == "file":
            assert alone.size_bytes == info.st_size
            assert b"".join(daemon.content(mount=mount, path=name)) == path.read_bytes()
    for path in [top, *(path for path in expected.values() if path.is_dir() and not path.is_symlink())]:
        page = daemon.files(mount=mount, path=f"/{path.relative_to(top)}".removesuffix("/."))
        assert page.total == len(os.listdir(path)) == len(page.files)
        assert page.next == ""


def test_a_mount_is_as_at_its_mount_point(box: Box, repo: str, daemon: DaemonClient) -> None:
    box.mount(repo)
    assert_same(daemon, box, repo)
    box.listed(repo)
    assert_same(daemon, box, repo)
    page = daemon.files(mount=repo)
    assert (page.writable, page.commit) == (False, box.mount_status(repo)["commit"])
    sizes = {entry.path: entry.size_bytes for entry in page.files}
    assert sizes["/d"] == 6
    assert daemon.file(mount=repo, path="/d").size_bytes == 6
    assert daemon.file(mount=repo).size_bytes == sum(map(len, FILES.values()))


def test_a_read_write_mount_shows_its_staged_changes(box: Box, daemon: DaemonClient) -> None:
    repo = box.repo("committed")
    box.put(repo, FILES)
    box.mount(repo, "rw", mode="rw")
    top = box.path("rw")
    assert_same(daemon, box, "rw")
    (top / "new").write_bytes(b"n" * 3000)
    with (top / "big").open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"changed")
    (top / "b.txt").unlink()
    (top / "d").rename(top / "moved")
    (top / "moved" / "h").write_bytes(b"h")
    (top / "a").rename(top / "A")
    (top / "a").mkdir()
    (top / "a" / "in what was a file").write_bytes(b"x")
    (top / "link").symlink_to("new")
    (top / "empty").mkdir()
    (top / "1+1?.ü {*} ").write_bytes(b"2")
    with (top / "sparse").open("wb") as file:
        file.truncate(3 << 20)
    assert_same(daemon, box, "rw")
    page = daemon.files(mount="rw", path="/moved")
    assert ([entry.path for entry in page.files], page.total) == (["/moved/e", "/moved/g", "/moved/h"], 3)
    assert page.writable
    assert daemon.file(mount="rw", path="/moved/e/f").writable
    assert daemon.files(mount="rw", containing="NEW").total == 1
    assert daemon.file(mount="rw", path="/new").hash == ""
    with pytest.raises(NotFoundError):
        daemon.file(mount="rw", path="/b.txt")
    with pytest.raises(UsageError, match="symbolic link"):
        list(daemon.content(mount="rw", path="/link"))
    box.ok("commit", "rw", "--skip-invalid")
    assert_same(daemon, box, "rw")


def test_names_that_are_not_utf8(box: Box, repo: str, daemon: DaemonClient) -> None:
    box.mount(repo, "rw", mode="rw")
    directory = box.path("rw", "bytes")
    directory.mkdir()
    for name in (b"\xff1", b"\xff2", b"\xff3"):
        (directory / os.fsdecode(name)).write_bytes(name)
    pages = list(daemon.file_pages(mount="rw", path="/bytes", number=1))
    files = [entry for page in pages for entry in page.files]
    assert [entry.path for entry in files] == [f"/bytes/\\xff{n}" for n in (1, 2, 3)]
    assert [bytes.fromhex(entry.path_hex) for entry in files] == [b"/bytes/\xff%d" % n for n in (1, 2, 3)]
    assert daemon.file(mount="rw", path="/bytes").path_hex == ""


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_pages_of_a_large_directory_are_quick(box: Box, daemon: DaemonClient, mode: str) -> None:
    repo = box.repo("many")
    number = 20_000
    names = [f"/d/file-{index:06}" for index in range(number)]
    box.put(repo, dict.fromkeys(names, b""))
    box.mount(repo, "many", mode=mode)
    box.listed("many")
    if mode == "rw":
        names.remove("/d/file-012345")
        box.path("many", "d", "file-012345").unlink()
    first = daemon.files(mount="many", path="/d", number=1000)
    assert (first.total, len(first.files)) == (len(names), 1000)
    taken, found, page = [], [entry.path for entry in first.files], first
    while page.next:
        started = time.perf_counter()
        page = daemon.files(mount="many", path="/d", number=1000, after=page.next)
        taken.append(time.perf_counter() - started)
        found += [entry.path for entry in page.files]
    assert found == names
    assert sorted(taken)[len(taken) // 2] < 0.1
    chosen = daemon.files(mount="many", path="/d", number=3, containing="E-0191")
    assert (chosen.total, [entry.path for entry in chosen.files]) == (100, [f"/d/file-01910{n}" for n in range(3)])
    rest = daemon.files(mount="many", path="/d", containing="e-0191", after=chosen.next)
    assert (rest.total, len(rest.files), rest.next) == (100, 97, "")


def test_a_page_goes_on_where_its_marker_was(box: Box, repo: str, daemon: DaemonClient) -> None:
    box.mount(repo, "rw", mode="rw")
    page = daemon.files(mount="rw", number=3)
    last = page.files[-1].path
    box.path("rw", last[1:]).unlink()
    rest = daemon.files(mount="rw", after=page.next)
    shown = {f"/{name}" for name in os.listdir(box.path("rw"))}
    assert {entry.path for entry in rest.files} == shown - {entry.path for entry in page.files}


def test_a_commit_that_is_not_mounted(box: Box, daemon: DaemonClient) -> None:
    repo = box.repo("commits")
    first = box.put(repo, {"/x": b"one", "/d/y": b"why"})
    second = box.put(repo, {"/x": b"two!"})
    for source, content in (
        (repo, b"two!"),
        (f"default/{repo}@master", b"two!"),
        (f"{repo}@{first}", b"one"),
        (f"{repo}@master^", b"one"),
        (f"{repo}@master={first}", b"one"),
    ):
        page = daemon.files(f"{source}:/" if "@" in source else source)
        sizes = [(entry.path, entry.type, entry.size_bytes) for entry in page.files]
        assert sizes == [("/d", "dir", 3), ("/x", "file", len(content))]
        assert (page.total, page.writable, page.commit) == (2, False, second if content == b"two!" else first)
        assert b"".join(daemon.content(f"{source}:/x")) == content
        told = daemon.file(f"{source}:/x")
        assert (told.path, told.size_bytes, told.commit) == ("/x", len(content), page.commit)
    assert [entry.path for entry in daemon.files(f"{repo}:/d/y").files] == ["/d/y"]
    status = box.status()
    assert 2 <= status["browsed_commits"] <= status["browsed_commits_limit"]


def test_a_commit_is_fetched_once_for_mount_and_source(box: Box, daemon: DaemonClient) -> None:
    repo = box.repo("once")
    content = os.urandom(3 << 20)
    box.put(repo, {"/f": content})
    assert b"".join(daemon.content(f"{repo}:/f")) == content
    fetched = daemon.status().cache.fetched_bytes
    box.mount(repo)
    assert b"".join(daemon.content(mount=repo, path="/f")) == content
    assert box.path(repo, "f").read_bytes() == content
    assert daemon.status().cache.fetched_bytes == fetched


def test_views_of_many_commits_stay_few(box: Box, daemon: DaemonClient) -> None:
    repo = box.repo("few")
    limit = daemon.status().browsed_commits_limit
    for number in range(limit + 3):
        commit = box.put(repo, {"/n": str(number).encode()})
        assert b"".join(daemon.content(f"{repo}@{commit}:/n")) == str(number).encode()
    assert daemon.status().browsed_commits == limit


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ({"mount": "m", "path": "/no"}, NotFoundError),
        ({"mount": "m", "path": "/b.txt/no"}, NotFoundError),
        ({"mount": "m", "path": "/../m"}, InvalidPathError),
        ({"mount": "no", "path": "/a"}, NotFoundError),
        ({"mount": "rw", "path": "/no"}, NotFoundError),
        ({"mount": "rw", "path": "/b.txt/no"}, NotFoundError),
        ({"mount": "rw", "path": "/" + "x" * 300}, NotFoundError),
        ({"source": "no-such-repo"}, NotFoundError),
        ({"source": "bad repo"}, UsageError),
        ({}, UsageError),
    ],
)
def test_what_is_not_there(
    box: Box, repo: str, daemon: DaemonClient, place: dict[str, str], error: type[PachmountError]
) -> None:
    box.mount(repo, "m")
    box.mount(repo, "rw", mode="rw")
    for ask in (daemon.files, daemon.file, lambda **where: list(daemon.content(**where))):
        with pytest.raises(error) as caught:
            ask(**place)
        assert type(caught.value).id == caught.value.id != "failure"


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_a_directory_has_no_content(box: Box, repo: str, daemon: DaemonClient, mode: str) -> None:
    box.mount(repo, "m", mode=mode)
    with pytest.raises(UsageError, match="directory"):
        list(daemon.content(mount="m", path="/d"))


def test_what_one_may_not_read(box: Box, tmp_path: Path, new_box: object) -> None:
    with auth_cluster(tmp_path) as cluster:
        other = new_box(PACHMOUNT_TOKEN="")  # type: ignore[operator]
        with other.daemon() as client:
            client.configure(schema.ConfigRequest(pachd_address=cluster.address, token=READER))
            assert client.files("images").total is not None
            with pytest.raises(PachmountError) as caught:
                client.files("private")
            assert caught.value.http_status in (403, 404)
            client.logout()
            with pytest.raises(PachmountError) as caught:
                client.files("images")
            assert caught.value.http_status == 401


def test_another_cluster_closes_the_views(new_box: object) -> None:
    box = new_box()  # type: ignore[operator]
    repo = box.repo("here")
    box.put(repo, {"/f": b"here"})
    server = box.server()
    with box.daemon() as client:
        assert client.files(repo).total == 1
        assert client.status().browsed_commits == 1
        client.configure(schema.ConfigRequest(pachd_address=server.address))
        assert client.status().browsed_commits == 0
        with pytest.raises(NotFoundError):
            client.files(repo)


def test_datums_are_browsed_by_the_names_shown(box: Box, repo: str, daemon: DaemonClient) -> None:
    daemon.mount_datums(f'{{"pfs": {{"repo": "{repo}", "glob": "/d/*", "name": "input"}}}}')
    shown = {entry.path for entry in daemon.files(mount="input", path="/d").files}
    assert shown == {f"/d/{path.name}" for path in box.path("input", "d").iterdir()}
    assert len(shown) == 1
    with pytest.raises(NotFoundError) as caught:
        daemon.files(mount="out")
    assert "out" in caught.value.why


def test_a_mount_in_state_error_says_why(new_box: object) -> None:
    box = new_box()  # type: ignore[operator]
    repo = box.repo("lost")
    box.put(repo, {"/f": b"x"})
    box.mount(repo)
    box.stop()
    with box.daemon() as client:
        box.env["FUSE_LIBRARY_PATH"] = "libnothing.so.2"
        box.ok("daemon", "start")
        wait_until(lambda: client.status().mounts[0].state == "error", "the mount fails")
        with pytest.raises(BusyError, match="libfuse"):
            client.files(mount=repo)
