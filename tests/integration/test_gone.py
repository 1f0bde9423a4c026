"""Commits, repos and clusters that are gone or exchanged under a mount: an error, never an empty directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pachmount import names, reading
from pachmount.errors import GoneError
from pachmount.pfs.model import CommitRef, RepoRef
from pachmount.pfs.proto import pfs_pb2
from tests.integration.box import Box, Server, wait_until
from tests.integration.wire import data

NewBox = Callable[..., Box]
REPO = RepoRef("default", "images")
BIG = 3 << 20
FILES = {"/cached": b"cached", "/dir/cached": b"also", "/uncached": data("u", BIG), "/dir/uncached": data("v", BIG)}


@dataclass
class World:
    """A user whose repo `images` is on a server that tests exchange."""

    box: Box
    server: Server
    first: str

    @property
    def client(self) -> Any:
        return self.box.cluster(self.server.address)

    def put(self, files: dict[str, bytes]) -> str:
        return self.box.put("images", files, address=self.server.address)

    def path(self, *below: str) -> Path:
        return self.box.path("images", *below)

    def mounted(self, source: str = "images", **options: Any) -> dict[str, Any]:
        """Mount, know all names, have `cached` in the cache."""
        self.box.mount(source, "images", **options)
        told = self.box.listed("images")
        assert self.path("cached").read_bytes() == b"cached"
        assert self.path("dir", "cached").read_bytes() == b"also"
        return told

    def restart(self) -> None:
        self.box.ok("daemon", "restart")

    def lost(self) -> dict[str, Any]:
        """Wait until the loss is noticed; the mount."""

        def is_told() -> bool:
            error = self.box.mount_status("images")["error"]
            return error is not None and error["id"] == "gone"

        wait_until(is_told, "the loss is told")
        return self.box.mount_status("images")


@pytest.fixture
def world(new_box: NewBox) -> Iterator[World]:
    box = new_box(PACHMOUNT_POLL_INTERVAL="0.3", PACHMOUNT_READ_TIMEOUT="5")
    server = box.server()
    box.ok("login", server.address)
    world = World(box, server, "")
    world.first = world.put(FILES)
    yield world
    box.log_problems()


def drop(world: World) -> None:
    """The mounted commit is dropped: the branch is back where it was."""
    world.client.drop_commit_set(world.box.mount_status("images")["commit"])


def squash(world: World) -> None:
    """The mounted commit is squashed into the one after it."""
    commit = world.box.mount_status("images")["commit"]
    world.put({"/newer": b"newer"})
    request = pfs_pb2.SquashCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=commit))
    world.client._change("SquashCommitSet", request)


def delete_repo(world: World) -> None:
    world.client.delete_repo(REPO, force=True)


def make_anew(world: World) -> None:
    delete_repo(world)
    world.put({"/other": b"of the new repo"})


def replace(world: World) -> None:
    world.server.replace()
    wait_until(lambda: world.box.status()["cluster"]["state"] == "connected", "the other cluster answers")
    world.put({"/other": b"of the other cluster"})


WAYS = {
    "dropped": (drop, "dropped or squashed", ["older"]),
    "squashed": (squash, "dropped or squashed", None),
    "deleted": (delete_repo, "was deleted", []),
    "made anew": (make_anew, "deleted and made anew", ["other"]),
    "another cluster": (replace, "another cluster answers", ["other"]),
}


def stale(look: Callable[[], object]) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        look()
    assert caught.value.errno == errno.ESTALE, caught.value


@pytest.mark.parametrize("way", WAYS)
def test_a_mount_whose_commit_is_gone(world: World, way: str) -> None:
    lose, why, newest = WAYS[way]
    world.put({"/older": b"1"})
    world.client.create_branch(REPO, "master", CommitRef(REPO, world.put({"/newest": b"1"})))
    world.mounted()
    lose(world)

    told = world.lost()
    assert (told["state"], why in told["error"]["why"]) == ("mounted", True), told["error"]
    assert "up to date" not in told["status"]
    shown = world.box.run("status")
    assert why in shown.stdout
    assert "commits behind" not in shown.stdout
    assert "pachmount unmount images" in shown.stderr
    assert sorted(os.listdir(world.path())) == ["cached", "dir", "newest", "older", "uncached"], "names were all known"
    assert world.path("cached").read_bytes() == b"cached"
    stale(lambda: world.path("uncached").read_bytes())
    stale(lambda: world.path("dir", "uncached").read_bytes())

    world.restart()
    stale(lambda: os.listdir(world.path()))
    stale(lambda: world.path("cached").read_bytes())
    listed = world.box.sh("ls $1", world.path())
    assert (listed.returncode != 0, listed.stdout) == (True, "")
    told = world.box.mount_status("images")
    assert (told["state"], told["error"]["id"], why in told["error"]["why"]) == ("error", "gone", True)
    assert why in world.box.ok("status")

    if not newest and newest is not None:
        said = world.box.refused("refresh", "images")
        assert "was deleted" in said
        assert "pachmount unmount images" in said
        stale(lambda: os.listdir(world.path()))
        world.box.ok("unmount", "images")
        assert not world.path().exists()
        return
    said = world.box.run("refresh", "images")
    assert (said.returncode, why in said.stderr) == (0, True), said
    there = os.listdir(world.path())
    assert set(newest or ["newer"]) <= set(there)
    assert world.box.mount_status("images")["error"] is None
    wait_until(lambda: not world.box.mount_status("images")["note"], "all is well")
    world.box.ok("unmount", "images")


def test_what_was_not_listed_is_not_missing(world: World) -> None:
    """The listing never ends before the commit is gone: names are neither absent nor listed."""
    commit = names.parse_source(f"images@{world.first}")
    world.box.mount(str(commit), "other")
    world.box.listed("other")
    world.client.delete_repo(REPO, force=True)
    stale(lambda: world.box.path("other", "uncached").read_bytes())
    told = world.box.sh("rsync -a --delete $1/ copy/ 2>&1 || cp -r $1 copy", world.box.path("other"))
    assert told.returncode != 0


@pytest.mark.parametrize("rw", [False, True])
def test_a_restored_mount_while_the_cluster_is_away(world: World, rw: bool) -> None:
    world.mounted(mode="rw" if rw else "")
    world.server.kill()
    world.restart()
    told = world.box.mount_status("images")
    assert told["state"] == "mounted", "an outage takes nothing away"
    assert world.path("cached").read_bytes() == b"cached"
    world.server.start()
    wait_until(lambda: world.box.status()["cluster"]["state"] == "connected", "it is back")
    assert world.path("uncached").read_bytes() == FILES["/uncached"]
    assert world.box.mount_status("images")["error"] is None


def test_a_cluster_that_comes_back_shows_its_mounts_again(world: World) -> None:
    world.mounted()
    root = world.server._root
    replace(world)
    world.lost()
    world.restart()
    stale(lambda: os.listdir(world.path()))
    world.server.kill()
    world.server._root = root
    world.server.start()
    wait_until(lambda: world.box.mount_status("images")["error"] is None, "its commit is there again")
    assert world.box.mount_status("images")["state"] == "mounted"
    assert world.path("uncached").read_bytes() == FILES["/uncached"]


def test_mounting_again_takes_what_is_there_now(world: World) -> None:
    world.mounted()
    make_anew(world)
    world.lost()
    assert "deleted and made anew" in world.box.run("mount", "images").stderr, "it is not passed over in silence"
    world.restart()
    stale(lambda: os.listdir(world.path()))
    world.box.ok("mount", "images")
    assert os.listdir(world.path()) == ["other"]


def test_following_goes_on_in_a_repo_of_that_name_but_not_on_another_cluster(world: World) -> None:
    world.mounted()
    world.box.ok("follow", "images")
    replace(world)
    wait_until(lambda: "another cluster" in world.box.mount_status("images")["note"], "it says why it does not follow")
    assert sorted(os.listdir(world.path())) == ["cached", "dir", "uncached"]
    world.box.ok("refresh", "images")
    assert os.listdir(world.path()) == ["other"]
    commit = world.put({"/more": b"m"})
    wait_until(lambda: world.box.mount_status("images")["commit"] == commit, "it follows again")


def test_polls_of_other_clients_unmount_nothing_that_is_of_another_cluster(world: World) -> None:
    world.mounted()
    world.server.replace()
    wait_until(lambda: world.box.status()["cluster"]["state"] == "connected", "the other cluster answers")
    with world.box.daemon() as daemon:
        assert [mount.name for mount in daemon.mounts().mounted] == ["images"]


def test_a_read_write_mount_keeps_what_is_staged(world: World) -> None:
    world.mounted(mode="rw")
    world.path("mine").write_bytes(b"mine")
    make_anew(world)
    world.lost()
    assert world.path("mine").read_bytes() == b"mine"
    stale(lambda: world.path("uncached").read_bytes())
    world.path("more").write_bytes(b"more")
    assert {"mine", "more", "cached"} <= set(os.listdir(world.path()))
    world.restart()
    assert world.box.mount_status("images")["error"]["id"] == "gone"
    assert world.path("mine").read_bytes() == b"mine"


@pytest.mark.parametrize("branch", ["master", "new"])
def test_nothing_is_committed_to_another_cluster(world: World, branch: str) -> None:
    """Also where the branch had no commit, so that none is missed."""
    world.box.mount(f"images@{branch}", "images", mode="rw")
    world.path("mine").write_bytes(b"mine")
    replace(world)
    for command in (("commit", "images"), ("refresh", "images")):
        assert "another cluster" in world.box.refused(*command)
    assert world.path("mine").read_bytes() == b"mine"
    heads = {info.name: info.head for info in world.client.list_branches(REPO)}
    assert set(heads) == {"master"}
    assert [entry.path for entry in world.client.walk(heads["master"])] == ["/other"]


def test_a_pinned_mount_notices(world: World) -> None:
    commit = world.put({"/x": b"x"})
    world.mounted(f"images@{commit}")
    assert "pinned" in world.box.mount_status("images")["status"] or world.box.mount_status("images")["branch"]
    squash(world)
    assert "dropped or squashed" in world.lost()["error"]["why"]


def test_a_datum_whose_commit_is_gone(world: World) -> None:
    world.box.ok("datum", "mount", "--pfs", "images:/*")
    world.box.listed("images")
    delete_repo(world)
    for index in range(3):
        world.box.run("datum", "show", str(index))
        there = world.box.sh("ls $1 && cat $1/*", world.path())
        assert there.returncode != 0 or there.stdout, "an error, or what was in the datum"
        if "dir" in there.stdout.split() or index == 1:
            assert there.returncode != 0
    world.box.ok("datum", "unmount")


def test_an_open_snapshot_whose_commit_is_gone(world: World) -> None:
    with _open(world) as snapshot:
        assert not snapshot.exists("/nothing")
        delete_repo(world)
        wait_until(lambda: _is_gone(snapshot), "it is noticed")
        with pytest.raises(GoneError):
            snapshot.exists("/cached")
        with pytest.raises(GoneError):
            list(snapshot.walk())
        with pytest.raises(GoneError):
            list(snapshot.glob("/dir/*"))


def _open(world: World) -> reading.Snapshot:
    from pachmount.client import DaemonClient
    from pachmount.clients import Clients

    return reading.Snapshot(Clients(lambda: DaemonClient(world.box.places.socket)), "images")


def _is_gone(snapshot: reading.Snapshot) -> bool:
    try:
        snapshot.info("/")
    except GoneError:
        return True
    return False


@pytest.mark.parametrize(("lose", "says"), [(delete_repo, "not found"), (make_anew, "does not exist any more")])
def test_a_checkout_keeps_its_files(world: World, lose: Callable[[World], None], says: str) -> None:
    world.box.ok("checkout", "images", "co")
    lose(world)
    assert says in world.box.refused("checkout", "--update", "co")
    assert (world.box.root / "co" / "uncached").read_bytes() == FILES["/uncached"]


def test_a_checkout_is_not_emptied_without_force(world: World) -> None:
    world.box.ok("checkout", "images", "co")
    (world.box.root / "none").mkdir()
    world.box.ok("import", "none", "images", "--replace")
    said = world.box.refused("checkout", "--update", "co")
    assert "has no files" in said
    assert "--force" in said
    assert (world.box.root / "co" / "cached").exists()
    world.box.ok("checkout", "--update", "--force", "co")
    assert not (world.box.root / "co" / "cached").exists()


def test_an_import_from_a_mount_that_is_gone_replaces_nothing(world: World) -> None:
    world.mounted()
    world.box.put("target", {"/kept": b"k"}, address=world.server.address)
    delete_repo(world)
    world.lost()
    world.restart()
    said = world.box.refused("import", str(world.path()), "target", "--replace", "--skip-invalid")
    assert "nothing was sent" in said
    assert world.box.ok("list", "target@master") == "/kept\n"
