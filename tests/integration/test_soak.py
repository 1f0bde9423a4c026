"""Many clients make, change and end many mounts while commits arrive and the server comes and goes.

In the end nothing may be left of it but what was committed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from pachmount.api import schema
from pachmount.errors import CannotMountError
from pachmount.names import parse_source
from tests.integration.box import Box, wait_until
from tests.integration.soak_client import CALL_SECONDS, PARTS, SoakClient
from tests.integration.soak_left import Held, files_left
from tests.integration.soak_slots import KINDS, Slot, Tally
from tests.integration.soak_world import World

MIB = 1 << 20
MORE_THREADS = 16
"""Threads of pools with a bound (docs/architecture.md) that the first round had no work for yet."""
MORE_DESCRIPTORS = 8
MORE_MEMORY = 150 * MIB
"""Blocks in memory (64 MiB), and what the allocator keeps of 200 mounts."""


@dataclass(frozen=True)
class Size:
    """How long (s), how many clients, how many mounts of each one's own and shared by all, how seldom outages (s)."""

    seconds: float
    clients: int
    own: int
    shared: int
    outage_pause: float
    commit_pause: float


SHORT = Size(seconds=18, clients=10, own=5, shared=10, outage_pause=6, commit_pause=1)
LONG = Size(seconds=300, clients=20, own=10, shared=20, outage_pause=20, commit_pause=2)


class Soak:
    """One box with a daemon, a world, and the clients."""

    def __init__(self, box: Box, size: Size, seed: int) -> None:
        self.box, self.size = box, size
        self.world = World(box, seed)
        self.tally = Tally()
        shared = [self._slot(f"shared{number}", number, owned=False) for number in range(size.shared)]
        self.slots = [
            [self._slot(f"client{client}-{number}", client + number, number) for number in range(size.own)]
            for client in range(size.clients)
        ]
        self.clients = [
            SoakClient(client, seed, self.world, own, shared, self.tally) for client, own in enumerate(self.slots)
        ]

    def _slot(self, name: str, repo: int, number: int = 0, *, owned: bool = True) -> Slot:
        kind = KINDS[number % len(KINDS)]
        place = self.box.path(name)
        if owned and kind == "elsewhere":
            place = self.box.root / "elsewhere" / name
            place.mkdir(parents=True)
        return Slot(name, self.world.repos[repo % len(self.world.repos)], kind, place, owned)

    def each(
        self, what: Callable[[SoakClient, threading.Event], None], seconds: float, *others: Callable[..., None]
    ) -> None:
        """Let every client do something for some time, or until it is done, beside others."""
        stop = threading.Event()
        with ThreadPoolExecutor(len(self.clients) + len(others)) as pool:
            side = [pool.submit(_until_stopped, other, stop) for other in others]
            main = [pool.submit(what, client, stop) for client in self.clients]
            try:
                wait([*main, *side], seconds, return_when="FIRST_EXCEPTION")
            finally:
                stop.set()
            _, hanging = wait([*main, *side], 2 * CALL_SECONDS)
            if hanging:
                os.kill(self.box.pid, signal.SIGUSR1)
                doing = [client.doing for client in self.clients if client.doing]
                self.box.close()  # lets go of whoever waits
                raise AssertionError(f"these do not end: {doing}")
            for each in [*main, *side]:
                each.result()

    def end_all(self) -> None:
        """Unmount everything, and give up what is kept of read-write mounts."""
        self.box.clean()
        self.wait_for_sessions()
        kept = {each["name"]: each["source"] for each in self.box.status()["kept_changes"]}
        for name in os.listdir(self.box.places.staged):  # a mount that was held open when it ended leaves an empty one
            source = parse_source(kept.get(name) or self.world.repos[0])
            entry = schema.MountEntry(name=name, repo=source.repo, mode="rw")
            with self.box.daemon() as daemon:
                try:
                    daemon.mount([entry])
                except CannotMountError:  # it was staged in a mount of parts
                    entry.paths = PARTS
                    daemon.mount([entry])
            self.box.clean()
        for own in self.slots:
            for slot in own:
                slot.known, slot.mode, slot.follow = False, "ro", False
                slot.staged.clear()

    def settled(self) -> Held:
        """What the daemon holds when nothing is mounted and no session is left."""
        self.wait_for_sessions()
        wait_until(lambda: all(warmup["ended"] for warmup in self.box.status()["warmups"]), "no warm-up runs", 60)
        wait_until(lambda: not Held.by(self.box.pid).descriptors["/dev/fuse"], "no session is open")
        return Held.by(self.box.pid)

    def wait_for_sessions(self) -> None:
        wait_until(lambda: self.box.status()["lingering_sessions"] == 0, "no session lingers", 60)


def _until_stopped(what: Callable[[threading.Event], None], stop: threading.Event) -> None:
    try:
        what(stop)
    except BaseException:
        stop.set()
        raise


@contextmanager
def _seed_told(seed: int) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("size", [SHORT, pytest.param(LONG, marks=pytest.mark.long)], ids=["short", "long"])
@pytest.mark.timeout(1500)
def test_nothing_is_left_of_many_mounts_of_many_clients(new_box: Callable[..., Box], size: Size) -> None:
    seed = int(os.environ.get("PACHMOUNT_SOAK_SEED", "0")) or int(time.time())
    box = new_box(
        start=False,
        PACHMOUNT_READ_TIMEOUT="10",
        PACHMOUNT_CALL_TIMEOUT="5",
        PACHMOUNT_POLL_INTERVAL="1",
    )
    with _seed_told(seed):
        soak = Soak(box, size, seed)
        world, tally = soak.world, soak.tally
        soak.each(SoakClient.fill, 120)
        soak.each(SoakClient.run, size.seconds / 6, lambda stop: world.write(stop, size.commit_pause))
        soak.end_all()
        before = soak.settled()
        soak.each(SoakClient.fill, 120)
        began, operations = time.monotonic(), tally.done.total()
        soak.each(
            SoakClient.run,
            size.seconds,
            lambda stop: world.write(stop, size.commit_pause),
            lambda stop: world.interrupt(stop, size.outage_pause),
        )
        rate = (tally.done.total() - operations) / (time.monotonic() - began)
        wait_until(lambda: box.status()["cluster"]["state"] == "connected", "the cluster is back", 30)
        soak.end_all()
        assert tally.most_mounts >= size.clients * size.own
        assert box.mounts_in_kernel() == []
        assert os.listdir(box.mount_dir) == []
        wait_until(lambda: soak.settled().threads <= before.threads + MORE_THREADS, "the threads of mounts end")
        after = soak.settled()
        print(f"\nseed {seed}: {rate:.1f} operations/s, {world.commits} commits, {world.outages.count} outages")
        print(f"most mounts at once {tally.most_mounts}; before: {before}; after: {after}; {tally}")
        more = after.descriptors - before.descriptors
        assert more.total() <= MORE_DESCRIPTORS, more
        assert after.rss_bytes <= before.rss_bytes + MORE_MEMORY
        assert files_left(box) == []
        _require_committed(world, tally)
        _require_newest(box, world)


def _require_committed(world: World, tally: Tally) -> None:
    for repo in world.repos:
        expected = {path: data for (where, path), data in tally.committed.items() if where == repo}
        found = world.files(repo, list(expected))
        wrong = [path for path, data in expected.items() if found[path] != data]
        assert not wrong, f"{repo}: {len(wrong)} of {len(expected)} committed files are not on the server: {wrong[:5]}"
    print(f"{len(tally.committed)} files committed by clients")


def _require_newest(box: Box, world: World) -> None:
    repo = world.repos[0]
    world.put(repo)
    box.mount(repo, "last")
    data = (box.path("last") / "all" / "tiny").read_bytes()
    assert int(data[:12]) == world.finished(repo)
    box.unmount("last")
