"""A proxy swallows messages of listings and ends them well: nobody believes what came, and nothing keeps it."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from pachmount.pfs.model import RepoRef
from pachmount.pfs.proto import pfs_pb2
from tests.integration.box import Box, wait_until
from tests.integration.call_proxy import Call, Fault, On, content, wrapped
from tests.integration.wire import Wire

FILES = {
    **{f"/dir/sub{number % 3}/file{number:02}": b"%d" % number for number in range(30)},
    "/other/x": b"1",
    "/other/y": b"2",
    "/zero/empty": b"",
    "/zero/full": b"3",
    "/last": b"end",
}
LISTINGS = ("WalkFile", "ListFile")


@pytest.fixture(scope="module")
def shared_wire(fuse: None) -> Iterator[Wire]:
    box = Box({"PACHMOUNT_READ_TIMEOUT": "5", "PACHMOUNT_POLL_INTERVAL": "0.5"})
    wire = None
    try:
        wire = Wire(box)
        wire.login()
        yield wire
        wire.heal()
        box.stop()
    finally:
        box.close()
        if wire is not None:
            wire.close()


@pytest.fixture
def wire(shared_wire: Wire) -> Iterator[Wire]:
    yield shared_wire
    shared_wire.heal()
    shared_wire.box.clean()


def without(*paths: str) -> Fault:
    """The answer without the entries of these paths, and what is below those that end with a slash."""

    def fault(_call: Call, messages: Iterator[bytes]) -> Iterable[bytes]:
        for message in messages:
            path = pfs_pb2.FileInfo.FromString(message).file.path
            if not any(path.rstrip("/") == each or (each.endswith("/") and path.startswith(each)) for each in paths):
                yield message

    return fault


def nothing(_call: Call, messages: Iterator[bytes]) -> Iterable[bytes]:
    list(messages)
    return ()


def only_first(_call: Call, messages: Iterator[bytes]) -> Iterable[bytes]:
    yield next(messages)
    list(messages)


SHORT: dict[str, Fault] = {
    "nothing": nothing,
    "only the root": only_first,
    "one file": without("/dir/sub1/file01"),
    "the last": without("/last"),
    "an empty file": without("/zero/empty"),
    "a directory": without("/other/"),
    "a directory alone": without("/dir/sub1"),
    "what a directory has": without("/dir/sub1/file01", "/dir/sub1/file04"),
}


def names(top: Path) -> set[str]:
    def fail(error: OSError) -> None:
        raise error

    return {
        f"/{Path(folder, name).relative_to(top)}" for folder, _, files in os.walk(top, onerror=fail) for name in files
    }


def saved(box: Box) -> list[Path]:
    return list((Path(box.status()["cache"]["directory"]).parent / "listings").glob("*.listing"))


@pytest.mark.parametrize("kind", SHORT)
def test_a_short_listing_is_an_error_and_is_not_kept(wire: Wire, kind: str) -> None:
    repo = wire.box.repo("short", wire.server.address)
    wire.put(repo, FILES)
    kept = saved(wire.box)
    wire.calls.fault = On(SHORT[kind], methods=LISTINGS)
    wire.box.mount(repo)
    top = wire.box.path(repo)
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is looked at below
        names(top)
    assert caught.value.errno == errno.EIO
    assert wire.box.mount_status(repo)["listing"] != "complete"
    assert saved(wire.box) == kept
    wire.calls.fault = None
    wait_until(lambda: wire.box.mount_status(repo)["listing"] == "complete" or not os.path.exists(top / "x"), "healed")
    assert names(top) == set(FILES)


def test_a_walk_without_its_root_is_not_believed(wire: Wire) -> None:
    repo = wire.box.repo("rootless", wire.server.address)
    wire.put(repo, FILES)
    kept = saved(wire.box)
    wire.calls.fault = On(without(""), methods=LISTINGS)
    wire.box.mount(repo)
    assert names(wire.box.path(repo)) == set(FILES), "each directory can still be asked for"
    assert wire.box.mount_status(repo)["listing"] != "complete"
    assert saved(wire.box) == kept


def test_it_is_asked_once_more(wire: Wire) -> None:
    repo = wire.box.repo("again", wire.server.address)
    wire.put(repo, FILES)
    fault = wire.calls.fault = On(without("/dir/sub1/file01"), methods=("WalkFile",), times=1)
    wire.box.mount(repo)
    assert names(wire.box.path(repo)) == set(FILES)
    assert wire.box.listed(repo)["listing"] == "complete"
    assert fault.struck == 1


def test_status_says_what_is_missing(wire: Wire) -> None:
    repo = wire.box.repo("told", wire.server.address)
    wire.put(repo, FILES)
    wire.calls.fault = On(without("/dir/sub1/file01"), methods=LISTINGS)
    wire.box.mount(repo)
    wait_until(lambda: "/dir/sub1" in wire.box.ok("status") and "incomplete" in wire.box.ok("status"), "status tells")


def test_part_of_a_repo_is_checked_by_its_own_directories(wire: Wire) -> None:
    repo = wire.box.repo("part", wire.server.address)
    wire.put(repo, FILES)
    wire.calls.fault = On(without("/dir/sub1/file01"), methods=LISTINGS)
    wire.box.mount(f"{repo}:/dir", repo)
    with pytest.raises(OSError, match="Input/output"):
        names(wire.box.path(repo))


def test_differences_that_are_short_are_not_believed(wire: Wire) -> None:
    repo = wire.box.repo("differ", wire.server.address)
    wire.put(repo, FILES)
    wire.box.mount(repo)
    wire.box.listed(repo)
    for number, fault in enumerate((nothing, without_new("/other/z0"), without_new("/dir/empty2"))):
        wire.put(repo, {f"/other/z{number - 1}": b"new", f"/dir/empty{number}": b""})
        wire.calls.fault = On(fault, methods=("DiffFile",))
        wire.box.refresh(repo)
        found = names(wire.box.path(repo))
        assert {f"/other/z{number - 1}", f"/dir/empty{number}"} <= found
        assert len(found) == len(FILES) + 2 * (number + 1)


def without_new(*paths: str) -> Fault:
    def fault(_call: Call, messages: Iterator[bytes]) -> Iterable[bytes]:
        for message in messages:
            if pfs_pb2.DiffFileResponse.FromString(message).new_file.file.path not in paths:
                yield message

    return fault


def test_a_conflict_is_not_overlooked_when_differences_are_lost(wire: Wire) -> None:
    repo = wire.box.repo("conflict", wire.server.address)
    wire.put(repo, FILES)
    wire.box.mount(repo, mode="rw")
    (wire.box.path(repo) / "last").write_bytes(b"mine")
    theirs = wire.put(repo, {"/last": b"theirs"})
    wire.calls.fault = On(nothing, methods=("DiffFile",))
    assert "incomplete" in wire.box.refused("commit", repo)
    assert wire.box.cluster(wire.server.address).inspect_branch(RepoRef("default", repo)).head.id == theirs
    wire.calls.fault = None
    wire.box.ok("discard", repo, "--yes")


def test_no_file_of_a_checkout_is_removed_by_a_short_listing(wire: Wire, tmp_path: Path) -> None:
    repo = wire.box.repo("checkout", wire.server.address)
    wire.put(repo, FILES)
    target = tmp_path / "co"
    wire.box.ok("checkout", repo, str(target))
    wire.put(repo, {"/new": b"1"})
    wire.calls.fault = On(without("/other/"), methods=LISTINGS)
    before = names(target)
    assert "incomplete" in wire.box.refused("checkout", "--update", str(target))
    assert names(target) == before
    assert "incomplete" in wire.box.refused("get", "-r", f"{repo}:/", str(tmp_path / "got"))
    assert not (tmp_path / "got").exists()
    assert "incomplete" in wire.box.refused("list", f"{repo}:/")
    wire.calls.fault = None
    wire.box.ok("checkout", "--update", str(target))
    assert {"/new", "/other/x"} <= names(target)


def test_a_datum_is_not_downloaded_in_part(wire: Wire, tmp_path: Path) -> None:
    repo = wire.box.repo("datum", wire.server.address)
    wire.put(repo, FILES)
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"pfs": {"repo": repo, "glob": "/dir"}}))
    wire.calls.fault = On(shorter_archive, methods=("GetFileTAR",))
    assert "did not come" in wire.box.refused("datum", "download", "0", str(spec), str(tmp_path / "d"))
    assert not (tmp_path / "d").exists()
    wire.calls.fault = None
    wire.box.ok("datum", "download", "0", str(spec), str(tmp_path / "d"))


def test_the_distance_is_not_counted_with_commits_left_out(wire: Wire) -> None:
    repo = wire.box.repo("behind", wire.server.address)
    wire.put(repo, {"/a": b"0"})
    wire.box.mount(repo)
    missing = wire.put(repo, {"/a": b"1"})
    last = wire.put(repo, {"/a": b"2"})

    def fault(_call: Call, messages: Iterator[bytes]) -> Iterable[bytes]:
        return (message for message in messages if pfs_pb2.CommitInfo.FromString(message).commit.id != missing)

    gap = wire.calls.fault = On(fault, methods=("ListCommit",))
    wait_until(lambda: gap.struck >= 4, "the commits were listed")
    status = wire.box.mount_status(repo)
    assert (status["latest_commit"], status["behind"]) != (last, 1)
    wire.calls.fault = None
    wait_until(lambda: wire.box.mount_status(repo)["behind"] == 2, "counted")


def shorter_archive(_call: Call, messages: Iterator[bytes]) -> Iterable[bytes]:
    """Without the last file (and its header): an archive that looks whole."""
    data = b"".join(content(messages))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        last = [member for member in archive if member.isfile()][-1]
    yield from wrapped([data[: last.offset] + bytes(1024)])
