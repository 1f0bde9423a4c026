"""The rows of `scripts/bench reading` about use over time: a new commit, and memory, also over minutes of mixed use."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable

from pachmount.api import schema
from tests.bench.reading_rows import check
from tests.bench.reading_targets import CHANGE_FILES, MIB, RANDOM_READS, SMALL_BYTES, STREAMS
from tests.bench.reading_user import Bench, Peak, Times, User, alternate
from tests.bench.reading_work import Done, together, work

_SOAK_CACHE = "512M"
"""Smaller than what is read, so that blocks are evicted all the time."""


def change(bench: Bench) -> None:
    first, second = bench.data.change()
    whole = CHANGE_FILES * bench.sizes.changed_file_bytes
    moves, shares = Times(), []

    def ours() -> float:
        with bench.user(first) as user:
            check(work("tree", directory=user.path()), whole)
            before = user.fetched()
            listing = work("walk", **bench.at(second)).seconds
            moves.all.append(max(0.0, _refresh(user, "data", second.id) - listing) * 1000)
            took = check(work("tree", directory=user.path()), whole)
            shares.append((user.fetched() - before) / whole * 100)
            return took

    times, reference = alternate(
        bench.sizes.rounds, ours, lambda: check(_only_files(work("get_tar", **bench.at(second)), whole), whole)
    )
    bench.put("change-refresh", moves)
    bench.put("change-bytes", max(shares))
    bench.put("change-read", times, "one GetFileTAR", reference)


def _only_files(done: Done, whole: int) -> Done:
    """An archive is somewhat more than its files."""
    return dataclasses.replace(done, amount=whole) if done.amount >= whole else done


def _refresh(user: User, name: str, commit: str) -> float:
    """Move a mount as `pachmount refresh` does; the seconds of the request, without the start of a command."""
    with user.box.daemon() as client:
        client.health()
        start = time.perf_counter()
        client.refresh([schema.RefreshEntry(name=name, commit=commit)])
        return time.perf_counter() - start


def memory(bench: Bench) -> None:
    many, pair = bench.data.many(), bench.data.pair()
    part = bench.sizes.file_bytes // (STREAMS // 2)
    with bench.user(many) as user:
        idle = user.memory()
        with Peak(user) as listing:
            status = user.box.listed("data", 1800)
        if status["files"] < bench.sizes.memory_files:
            raise RuntimeError(f"{status['files']} files listed")
        top = user.mount(pair, "pair")
        with Peak(user) as streams:
            jobs = [
                ("file", {"path": f"{top}/{name}", "offset": n * part, "size": part}) for name in "ab" for n in range(4)
            ]
            for done in together(*jobs):
                check(done, part)
        bench.put("memory-peak", max(listing.bytes, streams.bytes) / 1e6)
        for what, figure in (
            ("daemon at its start", idle),
            ("while listing", listing.bytes),
            ("8 streams", streams.bytes),
        ):
            bench.note(what, figure / 1e6, "MB")


def soak(bench: Bench, minutes: float) -> None:
    """Everything that users do, at random, with a small cache; the memory of the first quarter against the last."""
    data, source = bench.data, random.Random(7)
    first, second = data.change()
    commits = {
        "listing": data.listing(),
        "small": data.small(),
        "big": data.big(),
        "pair": data.pair(),
        "change": first,
    }
    env = {**bench.env, "PACHMOUNT_CACHE_SIZE": _SOAK_CACHE}
    samples: list[tuple[float, float]] = []
    with dataclasses.replace(bench, env=env).user() as user:
        for name, commit in commits.items():
            user.mount(commit, name)
        acts = _acts(bench, user, source, [first.id, second.id])
        start = time.monotonic()
        while (passed := time.monotonic() - start) < minutes * 60:
            for act in source.sample(acts, len(acts)):
                act()
            user.box.unmount("small")
            user.mount(commits["small"], "small")
            samples.append((passed, user.memory()))
    early = max(memory for passed, memory in samples if passed <= minutes * 15)
    late = max(memory for passed, memory in samples if passed >= samples[-1][0] - minutes * 15)
    bench.put("memory-growth", (late / early - 1) * 100)
    bench.note(f"most in the first quarter of {minutes:g} min", early / 1e6, "MB")
    bench.note(f"most in the last quarter, after {len(samples)} turns", late / 1e6, "MB")


def _acts(bench: Bench, user: User, source: random.Random, commits: list[str]) -> list[Callable[[], object]]:
    sizes = bench.sizes

    def anywhere() -> None:
        offsets = [source.randrange(sizes.big_bytes // SMALL_BYTES) * SMALL_BYTES for _ in range(RANDOM_READS)]
        done = work("reads", path=f"{user.path('big')}/big", offsets=offsets, size=SMALL_BYTES)
        check(done, RANDOM_READS * SMALL_BYTES)

    def sequence() -> None:
        offset, size = source.randrange(sizes.file_bytes // 2), min(64 * MIB, sizes.file_bytes // 2)
        check(work("file", path=f"{user.path('pair')}/a", offset=offset, size=size), size)

    def moved() -> None:
        _refresh(user, "change", source.choice(commits))
        check(work("tree", directory=user.path("change")), CHANGE_FILES * sizes.changed_file_bytes)

    return [
        anywhere,
        sequence,
        moved,
        lambda: check(work("ls", directory=user.path("listing")), sizes.listed_files),
        lambda: check(work("tree", directory=user.path("small"), threads=8), sizes.small_files * SMALL_BYTES),
    ]
