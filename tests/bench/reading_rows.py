"""The rows of `scripts/bench reading` about time: listings, small files, first bytes, sequences, random reads."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable

from pachmount.pfs.model import CommitRef
from tests.bench.reading_targets import FIRST_BYTES, MIB, RANDOM_READS, SMALL_BYTES, SMALL_PER_DIRECTORY
from tests.bench.reading_user import Bench, Times, User, alternate
from tests.bench.reading_work import Done, together, work

_SAMPLE = 200
"""GetFile calls of the reference that asks for each file alone: enough to know what one takes."""


def check(done: Done, amount: int) -> float:
    """The seconds of a job, if it read as much as it should."""
    if done.amount != amount:
        raise RuntimeError(f"{done.amount} read, not {amount}")
    return done.seconds


def listing(bench: Bench) -> None:
    commit, count = bench.data.listing(), bench.sizes.listed_files
    warm, second, calls, cpu = Times(), Times(), [], []

    def ours() -> float:
        with bench.user(commit) as user:
            cold = check(work("ls", directory=user.path()), count)
            cpu.append(user.cpu())
            warm.all.append(check(work("ls", directory=user.path()), count))
            user.new_daemon()
            user.mount(commit)
            second.all.append(check(work("ls", directory=user.path()), count))
            calls.append(user.requests("listing"))
        work("walk", **bench.at(commit))  # the server is warm again
        return cold

    cold, walk = alternate(bench.sizes.rounds, ours, lambda: check(work("walk", **bench.at(commit)), count))
    bench.put("listing-cold", cold, "plain WalkFile", walk)
    bench.note("processor time of the daemon", min(cpu), "s")
    bench.put("listing-warm", warm, "plain WalkFile", walk)
    bench.put("listing-second", second, "plain WalkFile", walk)
    bench.put("listing-calls", max(calls))


def small(bench: Bench) -> None:
    commit, count = bench.data.small(), bench.sizes.small_files
    step = max(1, count // _SAMPLE)
    numbers = range(0, count, step)
    paths = [f"/d{number // SMALL_PER_DIRECTORY:04}/f{number:07}" for number in numbers]

    def each() -> float:
        done = work("get_each", **bench.at(commit), paths=paths)
        return check(done, len(paths) * SMALL_BYTES) / len(paths) * count

    order = Times()
    for key, arguments in (("order", {}), ("threads", {"threads": 8}), ("random", {"seed": 1})):
        cpu: list[float] = []
        calls: list[int] = []

        def ours(arguments: dict[str, int] = arguments, cpu: list[float] = cpu, calls: list[int] = calls) -> float:
            with bench.user(commit) as user:
                before = user.cpu()
                took = check(work("tree", directory=user.path(), **arguments), count * SMALL_BYTES)
                cpu.append(user.cpu() - before)
                calls.append(user.requests("content"))
                return took

        times, reference = alternate(bench.sizes.rounds, ours, each)
        bench.put(f"small-{key}", times, "a plain GetFile each", reference)
        bench.note("processor time of the daemon", min(cpu), "s")
        bench.note("content requests", max(calls), "")
        order = order if order.all else times
    tar = Times([work("get_tar", **bench.at(commit)).seconds for _ in range(bench.sizes.rounds)])
    bench.put("small-tar", order, "one GetFileTAR", tar)


def first(bench: Bench) -> None:
    commit, size = bench.data.big(), bench.sizes.big_bytes
    fetched: list[int] = []

    def ours() -> float:
        with bench.user(commit) as user:
            took = check(work("file", path=f"{user.path()}/big", size=FIRST_BYTES), FIRST_BYTES)
            if not fetched:
                fetched.append(user.fetched())
            return took

    def message() -> float:
        return work("first_messages", **bench.at(commit), path="/big", offsets=[0], size=FIRST_BYTES).seconds

    times, reference = alternate(max(3, bench.sizes.rounds), ours, message)
    bench.put("first-time", times, "first message", reference)
    whole = check(work("download", **bench.at(commit), path="/big"), size)
    bench.put("first-download", times, "download at open", whole)
    bench.put("first-bytes", fetched[0] / MIB)


def sequential(bench: Bench) -> None:
    commit, size = bench.data.pair(), bench.sizes.file_bytes
    cpu = []

    def one() -> float:
        with bench.user(commit) as user:
            before = user.cpu()
            took = check(work("file", path=f"{user.path()}/a"), size)
            cpu.append(user.cpu() - before)
            return took

    def two() -> float:
        with bench.user(commit) as user:
            jobs = [("file", {"path": f"{user.path()}/{name}"}) for name in "ab"]
            done = together(*jobs)
            for reader in done:
                check(reader, size)
            return max(reader.end for reader in done) - min(reader.start for reader in done)

    def plain() -> float:
        done = [check(work("get", **bench.at(commit), path=f"/{name}"), size) for name in "ba"]  # both files warm
        return min(done)

    rounds = max(3, bench.sizes.rounds)
    ones, reference = alternate(rounds, one, plain)
    bench.put("sequential-one", ones, "plain GetFile", reference)
    bench.note("speed of it", size / ones.best / 1e6, "MB/s")
    bench.note("processor time of the daemon", min(cpu), "s")
    twos, again = Times(), Times()
    for _ in range(bench.sizes.rounds):
        twos.all.append(two())
        again.all.append(one())
    bench.put("sequential-two", twos, "twice one reader", 2 * min(ones.best, again.best))


def warm(bench: Bench) -> None:
    local = bench.folder / "local"
    pair, tree = bench.data.pair(), bench.data.small()
    with bench.user() as user:
        for name, commit in (("pair", pair), ("tree", tree)):
            shutil.copytree(user.mount(commit, name), local / name)
        _warm(bench, "warm-big", 3, lambda top: work("file", path=f"{top}/pair/a"), user, bench.sizes.file_bytes)
        amount = bench.sizes.small_files * SMALL_BYTES
        _warm(bench, "warm-small", 5, lambda top: work("tree", directory=f"{top}/tree", calls=True), user, amount)
        _warm(bench, "warm-small-python", 5, lambda top: work("tree", directory=f"{top}/tree"), user, amount)
    shutil.rmtree(local)


def _warm(bench: Bench, key: str, rounds: int, job: Callable[[str], Done], user: User, amount: int) -> None:
    job(str(user.box.mount_dir))
    times, reference = alternate(
        rounds,
        lambda: check(job(str(user.box.mount_dir)), amount),
        lambda: check(job(str(bench.folder / "local")), amount),
    )
    bench.put(key, times, "local disk, warm", reference)


def random_reads(bench: Bench) -> None:
    commit, size = bench.data.big(), bench.sizes.big_bytes
    source = random.Random(5)
    offsets = [source.randrange(size // SMALL_BYTES) * SMALL_BYTES for _ in range(RANDOM_READS)]
    again = Times()
    fetched: list[int] = []

    def ours() -> float:
        with bench.user(commit) as user:
            job = {"path": f"{user.path()}/big", "offsets": offsets, "size": SMALL_BYTES}
            took = check(work("reads", **job), RANDOM_READS * SMALL_BYTES)
            again.all.append(check(work("reads", **job), RANDOM_READS * SMALL_BYTES))
            if not fetched:
                fetched.append(user.fetched())
            return took

    times, reference = alternate(bench.sizes.rounds, ours, lambda: _first_messages(bench, commit, offsets))
    bench.put("random-cold", times, "first messages there", reference)
    bench.note("transferred for them", fetched[0] / MIB, "MiB")
    bench.put("random-again", again)


def _first_messages(bench: Bench, commit: CommitRef, offsets: list[int]) -> float:
    return work("first_messages", **bench.at(commit), path="/big", offsets=offsets, size=SMALL_BYTES).seconds
