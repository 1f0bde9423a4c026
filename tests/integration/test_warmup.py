"""`pachmount warmup`: what it brings is not asked for again; interruptions, outages, limits, and wrong use."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from pachmount.api import schema
from pachmount.errors import NotFoundError
from tests.integration.box import EXTERNAL_CLUSTER, Box, wait_until
from tests.integration.call_proxy import On, paused
from tests.integration.wire import Wire, data

pytestmark = pytest.mark.skipif(bool(EXTERNAL_CLUSTER), reason="counts calls at a proxy before a server of its own")

MIB = 1 << 20
READ_TIMEOUT = 6
FILES = {
    "/big": data("big", 9 * MIB + 5),
    "/copy": data("big", 9 * MIB + 5),
    "/empty": b"",
    **{f"/dir{n % 3}/sub/{n}": data(n, 1000 + n) for n in range(60)},
    **{f"/medium/{n}": data(f"m{n}", 2 * MIB) for n in range(8)},
}


def new_wire(new_box: Callable[..., Box], **settings: str) -> Wire:
    box = new_box(
        start=False,
        PACHMOUNT_READ_TIMEOUT=str(READ_TIMEOUT),
        PACHMOUNT_CALL_TIMEOUT="2",
        PACHMOUNT_POLL_INTERVAL="0.5",
        **settings,
    )
    wire = Wire(box)
    wire.login()
    wire.put("r", FILES)
    box.mount("r")
    return wire


@pytest.fixture
def wire(new_box: Callable[..., Box]) -> Iterator[Wire]:
    wire = new_wire(new_box)
    yield wire
    wire.close()


def read_all(wire: Wire, below: str = "") -> None:
    """Read the files of the mount and compare them."""
    for path, content in FILES.items():
        if path.startswith(below):
            assert wire.box.path("r", path[1:]).read_bytes() == content


def test_what_was_warmed_up_is_read_without_the_cluster(wire: Wire) -> None:
    box = wire.box
    total = sum(map(len, FILES.values()))
    done = json.loads(box.ok("warmup", "r", "--json"))
    assert (done["state"], done["error"], done["mounts"]) == ("done", None, ["r"])
    assert (done["done_files"], done["done_bytes"]) == (done["total_files"], done["total_bytes"]) == (len(FILES), total)
    assert wire.calls.content_bytes < total, "equal contents are fetched once"
    asked = wire.calls.content_calls
    read_all(wire)
    assert wire.calls.content_calls == asked
    again = json.loads(box.ok("warmup", "r", "--json"))
    assert (again["found_files"], again["found_bytes"]) == (len(FILES), total)
    box.ok("daemon", "restart")
    read_all(wire)
    assert wire.calls.content_calls == asked, "not by another daemon either"


def test_parts_of_mounts_by_path_and_by_directory(wire: Wire) -> None:
    box = wire.box
    box.ok("mount", "r", "--name", "second")
    said = box.ok("warmup", "r:/dir0", str(box.path("r", "dir1")), "second:/medium/1", "second:/medium")
    assert said.startswith("r, second: 48 files (16"), said
    asked = wire.calls.content_calls
    for below in ("/dir0", "/dir1", "/medium"):
        read_all(wire, below)
    assert wire.calls.content_calls == asked
    read_all(wire, "/dir2")
    assert wire.calls.content_calls > asked, "nothing else was fetched"


def test_what_does_not_exist_is_an_error(wire: Wire) -> None:
    box = wire.box
    assert "no '/nope' in mount 'r'" in box.refused("warmup", "r:/nope", code=66)
    assert "no mount 'other'" in box.refused("warmup", "other", code=66)
    assert "nothing to warm up" in box.refused("warmup", code=2)
    assert "invalid path" in box.refused("warmup", "r:/../x", code=2)
    assert wire.calls.content_calls == 0
    with box.daemon() as daemon:
        with pytest.raises(NotFoundError):
            daemon.warm_up([schema.WarmupEntry(name="r", paths=["/dir0", "/no/such"])])
        with pytest.raises(NotFoundError):
            daemon.cancel_warmup("17")
        assert daemon.warmups() == []


def test_a_warmup_that_is_interrupted_goes_on_where_it_stopped(wire: Wire) -> None:
    box = wire.box
    wire.calls.fault = On(paused(0.3))
    with subprocess.Popen(
        [sys.executable, "-m", "pachmount", "warmup", "r"],
        env=box.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=box.root,
    ) as command:
        wait_until(lambda: any(w["done_bytes"] > 4 * MIB for w in box.status()["warmups"]), "it is in the middle")
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=20)
    assert (command.returncode, out) == (130, "")
    assert "the same command goes on from here" in err
    assert "Traceback" not in err
    wait_until(lambda: box.status()["warmups"][0]["state"] == "cancelled", "the daemon stops")
    wire.calls.fault = None
    done = json.loads(box.ok("warmup", "r", "--json"))
    assert done["found_bytes"] > 3 * MIB
    distinct = sum(map(len, set(FILES.values())))
    assert wire.calls.content_bytes < distinct + 20 * MIB, "at most what was on its way is fetched again"
    asked = wire.calls.content_calls
    read_all(wire)
    assert wire.calls.content_calls == asked


def test_a_cache_that_is_too_small_is_told_before_anything_is_fetched(new_box: Callable[..., Box]) -> None:
    wire = new_wire(new_box, PACHMOUNT_CACHE_SIZE="20M")
    try:
        said = wire.box.refused("warmup", "r", code=1)
        assert "the cache is too small for 'r' — 25 MiB are wanted, 18 MiB fit" in said
        assert wire.calls.content_calls == 0
        assert "8 files (16.0 MiB) in the cache" in wire.box.ok("warmup", "r:/medium")
        off = json.loads(wire.box.run("warmup", "r", "--json").stderr)
        assert (off["id"], off["exit_code"]) == ("storage-full", 1)
    finally:
        wire.close()


def test_a_cache_without_a_disk_cannot_be_warmed_up(new_box: Callable[..., Box]) -> None:
    wire = new_wire(new_box, PACHMOUNT_CACHE_SIZE="0")
    try:
        assert "the block cache is off — cache_size is 0" in wire.box.refused("warmup", "r", code=1)
        assert wire.calls.content_calls == 0
    finally:
        wire.close()


def test_a_short_outage_is_not_noticed_and_a_long_one_is_an_error_from_which_it_goes_on(wire: Wire) -> None:
    box = wire.box
    wire.calls.fault = On(paused(0.2))
    with box.daemon() as daemon:
        begun = daemon.warm_up([schema.WarmupEntry(name="r")])
        wait_until(lambda: daemon.warmups()[0].done_bytes > 3 * MIB, "it is in the middle")
        wire.bytes.refuse()
        wire.bytes.reset()
        wait_until(lambda: box.status()["cluster"]["state"] == "unreachable", "the outage is noticed")
        assert daemon.warmups()[0].state == "fetching"
        wire.bytes.accept()
        wait_until(lambda: daemon.warmups()[0].ended, "it ends", 60)
        assert (daemon.warmups()[0].state, begun.id) == ("done", daemon.warmups()[0].id)
    read_all(wire)
    wire.put("r", {f"/new/{n}": data(f"new{n}", 2 * MIB) for n in range(8)})
    box.refresh("r")
    wire.bytes.refuse()
    wire.bytes.reset()
    said = box.refused("warmup", "r", code=69, timeout=60)
    assert "it goes on where it stopped" in said
    wire.bytes.accept()
    wait_until(lambda: box.status()["cluster"]["state"] == "connected", "the return is noticed")
    box.ok("warmup", "r")
    asked = wire.calls.content_calls
    assert all(box.path("r", f"new/{n}").read_bytes() == data(f"new{n}", 2 * MIB) for n in range(8))
    assert wire.calls.content_calls == asked
    box.log_problems()  # libraries may log what they could not reach


def test_a_warmup_ends_with_its_mount_and_can_be_cancelled_by_its_id(wire: Wire) -> None:
    box = wire.box
    wire.calls.fault = On(paused(0.3))
    with box.daemon() as daemon:
        first = daemon.warm_up([schema.WarmupEntry(name="r")])
        assert first.ended is None
        daemon.cancel_warmup(first.id)
        wait_until(lambda: daemon.warmups()[0].ended, "it is cancelled")
        assert daemon.warmups()[0].state == "cancelled"
        daemon.warm_up([schema.WarmupEntry(name="r", paths=["/medium"])])
        wait_until(lambda: daemon.warmups()[1].state == "fetching", "it fetches")
        box.unmount("r")
        wait_until(lambda: daemon.warmups()[1].ended, "it ends")
        error = daemon.warmups()[1].error
    assert error is not None
    assert error.error == "mount 'r' is gone"
    assert box.mounts_in_kernel() == []


def test_a_reader_is_served_while_a_warmup_is_at_work(wire: Wire) -> None:
    wire.calls.fault = On(paused(0.5))
    with wire.box.daemon() as daemon:
        daemon.warm_up([schema.WarmupEntry(name="r", paths=["/medium", "/big"])])
        wait_until(lambda: daemon.warmups()[0].done_bytes, "it has begun")
        assert wire.box.path("r", "dir1/sub/1").read_bytes() == FILES["/dir1/sub/1"]
        assert daemon.warmups()[0].ended is None, "the reader did not wait for it"
