"""Small files: those read one after another come in batches, and whatever a batch does, every read is right."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pachmount.cache.blocks import BlockCache
from pachmount.errors import ClusterError, ClusterUnreachableError
from pachmount.names import Source
from pachmount.vfs import bundle, neighbours
from pachmount.vfs.content import Contents
from pachmount.vfs.filters import PathFilter
from pachmount.vfs.statistics import MountStatistics
from pachmount.vfs.view import CommitView, WaitGate
from tests.fakes import FakeCluster

MIB = 1 << 20
SOURCE = Source("default", "fake", "master", "0123456789ab4cdef0123456789abcde")


class Mount:
    """A view of fake files whose listing is complete."""

    def __init__(
        self, files: dict[str, bytes], *, memory: int = 64 * MIB, timeout: float = 5.0, paths: tuple[str, ...] = ()
    ) -> None:
        self.files = files
        self.cluster = FakeCluster(files)
        self.cache = BlockCache(None, memory)
        self.contents = Contents(self.cache, timeout, 8 * MIB)
        gate = WaitGate(64, timeout)
        statistics = MountStatistics()
        self.view = CommitView(self.cluster, SOURCE, 0.0, PathFilter(paths), self.contents, gate, timeout, statistics)
        self.view.tree.start()
        assert self.view.tree.wait_complete(5)

    def read(self, path: str) -> None:
        assert self.view.read(path.encode(), 0, MIB) == self.files[path], path

    def idle(self) -> None:
        """Wait until no batch is under way."""
        deadline = time.monotonic() + 5
        while self.contents.transfers:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    @property
    def calls(self) -> int:
        return len(self.cluster.opens) + len(self.cluster.tars)

    def close(self) -> None:
        self.view.close()
        self.contents.close()
        self.cache.close()


@pytest.fixture
def mount() -> Iterator[Callable[..., Mount]]:
    made: list[Mount] = []

    def make(files: dict[str, bytes], **options: object) -> Mount:
        made.append(Mount(files, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def tree(directories: int, files: int, size: int = 1000) -> dict[str, bytes]:
    rng = random.Random(directories * files * size)
    return {f"/d{d:03}/f{f:03}": rng.randbytes(size) for d in range(directories) for f in range(files)}


def test_files_read_in_order_come_in_few_calls_and_once(mount: Callable[..., Mount]) -> None:
    shown = mount(tree(20, 50))
    for path in shown.files:
        shown.read(path)
    shown.idle()
    assert len(shown.cluster.opens) <= 3
    assert len(shown.cluster.tars) <= 20
    assert sum(map(len, shown.files.values())) <= shown.contents.fetched_bytes < 1.7 * 20 * 50 * 1000


@pytest.mark.parametrize("threads", [1, 8])
def test_random_order_within_directories(mount: Callable[..., Mount], threads: int) -> None:
    shown = mount(tree(20, 50))
    order = [path for d in range(20) for path in random.Random(d).sample(list(shown.files)[d * 50 : d * 50 + 50], 50)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(shown.read, order))
    shown.idle()
    assert shown.calls < 60


def test_backwards(mount: Callable[..., Mount]) -> None:
    shown = mount(tree(10, 50))
    for path in reversed(shown.files):
        shown.read(path)
    assert shown.calls < 60


def test_one_file_among_many_is_fetched_alone(mount: Callable[..., Mount]) -> None:
    shown = mount(tree(1, 1000))
    shown.read("/d000/f500")
    shown.read("/d000/f500")
    shown.read("/d000/f100")
    assert shown.cluster.opens == [("/d000/f500", 0), ("/d000/f100", 0)]
    assert shown.cluster.tars == []


def test_what_is_there_is_not_fetched_again(mount: Callable[..., Mount]) -> None:
    shown = mount(tree(4, 50))
    for path in shown.files:
        shown.read(path)
    shown.idle()
    calls = shown.calls
    for path in shown.files:
        shown.read(path)
    shown.idle()
    assert shown.calls == calls


def test_equal_contents_come_once(mount: Callable[..., Mount]) -> None:
    shown = mount({f"/{n:03}": b"x" * 4000 for n in range(200)})
    for path in shown.files:
        shown.read(path)
    shown.idle()
    assert shown.calls == 1


def test_empty_files_and_large_ones_among_small_ones(mount: Callable[..., Mount]) -> None:
    files = tree(3, 40) | {f"/d{d:03}/f{n:03}~": bytes([n]) * (2 * MIB) for d in range(3) for n in (10, 11, 30)}
    files |= {f"/d000/f{n:03}-": b"" for n in range(40)}
    shown = mount(dict(sorted(files.items())))
    for path in shown.files:
        for start in range(0, max(1, len(files[path])), MIB):
            assert shown.view.read(path.encode(), start, MIB) == files[path][start : start + MIB]
    shown.idle()
    opened = [path for path, _ in shown.cluster.opens]
    assert sum(len(files[path]) < MIB for path in opened) < 12
    total = sum(map(len, files.values()))
    assert shown.cluster.sent_bytes < 1.05 * total


def test_paths_that_the_mount_does_not_show_are_not_fetched(mount: Callable[..., Mount]) -> None:
    files = tree(3, 40)
    shown = mount(files, paths=("/d000", "/d002"))
    for path in files:
        if not path.startswith("/d001"):
            shown.read(path)
    shown.idle()
    assert all(directory in ("/d000", "/d002") for directory, _, _ in shown.cluster.tars)
    assert shown.cluster.tars


def test_a_server_that_cannot_do_it_is_asked_once_in_a_while(mount: Callable[..., Mount]) -> None:
    shown = mount(tree(5, 50))

    def refuse() -> None:
        raise ClusterError("unknown method GetFileTAR")

    shown.cluster.on_tar = refuse
    for path in shown.files:
        shown.read(path)
    assert len(shown.cluster.tars) <= 3
    assert len(shown.cluster.opens) == len(shown.files)


def test_after_a_pause_batches_are_tried_again(mount: Callable[..., Mount], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "FIRST_PAUSE", 0.0)
    shown = mount(tree(5, 50))
    broken = [ClusterUnreachableError("gone")]

    def fail_once() -> None:
        if broken:
            raise broken.pop()

    shown.cluster.on_tar = fail_once
    for path in shown.files:
        shown.read(path)
    assert len(shown.cluster.tars) > 1
    assert len(shown.cluster.opens) < 100


@pytest.mark.parametrize("damage", ["missing", "other", "longer", "twice"])
def test_a_member_that_is_not_as_listed_is_fetched_alone(mount: Callable[..., Mount], damage: str) -> None:
    shown = mount(tree(1, 50))
    victim = "/d000/f020"

    def harm(files: dict[str, bytes]) -> dict[str, bytes]:
        changed = {"missing": None, "other": bytes(1000), "longer": bytes(2000), "twice": None}[damage]
        if damage == "twice":
            return {**files, f"/.{victim}": files[victim]}
        return {path: changed if path == victim else data for path, data in files.items() if path != victim or changed}  # type: ignore[misc]

    shown.cluster.in_tar = harm
    for path in shown.files:
        shown.read(path)
    assert victim in [path for path, _ in shown.cluster.opens] or damage == "twice"


def test_a_stream_that_breaks_gives_what_came_and_the_rest_alone(mount: Callable[..., Mount]) -> None:
    shown = mount(tree(1, 60))
    shown.cluster.piece = 10_000

    def fault(start: int, piece: bytes) -> bytes:
        if start >= 20_000:
            raise ClusterUnreachableError("connection reset")
        return piece

    shown.cluster.fault = fault
    for path in shown.files:
        shown.read(path)
    assert 30 < len(shown.cluster.opens) < 60


def test_rubbish_instead_of_an_archive(mount: Callable[..., Mount]) -> None:
    shown = mount(tree(1, 60))
    shown.cluster.fault = lambda start, piece: piece if len(piece) == 1000 else bytes(len(piece) - 1) + b"\1"
    for path in shown.files:
        shown.read(path)


def test_a_stalled_batch_is_given_up(mount: Callable[..., Mount], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "PATIENCE", 0.2)
    shown = mount(tree(1, 60))
    stalled = threading.Event()

    def stall(start: int, piece: bytes) -> bytes:
        if len(piece) > 1000:
            stalled.wait(10)
        return piece

    shown.cluster.fault = stall
    for path in shown.files:
        shown.read(path)
    assert len(shown.cluster.opens) == 60
    stalled.set()
    shown.idle()


def test_readers_of_one_batch_wait_for_it(mount: Callable[..., Mount]) -> None:
    shown = mount(tree(1, 60))
    shown.read("/d000/f000")
    arrived = threading.Event()

    def hold(start: int, piece: bytes) -> bytes:
        arrived.wait(5)
        return piece

    shown.cluster.fault = hold
    with ThreadPoolExecutor(8) as pool:
        reads = [pool.submit(shown.read, f"/d000/f{n:03}") for n in range(1, 9)]
        while not shown.cluster.tars:
            time.sleep(0.005)
        arrived.set()
        for read in reads:
            read.result()
    assert len(shown.cluster.opens) == 1
    assert len(shown.cluster.tars) == 1


def test_a_cache_that_forgets_is_filled_in_batches_again(mount: Callable[..., Mount]) -> None:
    shown = mount(tree(40, 50, 20_000), memory=16 * MIB)
    for _ in range(2):
        for path in shown.files:
            shown.read(path)
    shown.idle()
    assert shown.cache.memory_bytes <= 16 * MIB
    assert len(shown.cluster.opens) < 200
    assert len(shown.cluster.tars) < 300


def test_closing_the_view_ends_its_batches(mount: Callable[..., Mount]) -> None:
    shown = mount(tree(4, 50))
    shown.cluster.piece = 1000
    waiting = threading.Event()

    def slow(start: int, piece: bytes) -> bytes:
        waiting.wait(0.02)
        return piece

    shown.read("/d000/f000")
    shown.cluster.fault = slow
    shown.read("/d000/f001")
    assert shown.contents.transfers
    shown.view.close()
    shown.idle()
    assert shown.cluster.streams[-1].cancelled.is_set()
