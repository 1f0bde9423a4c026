"""The recorder: percentiles within a bucket of the truth, nothing lost between threads, memory that does not grow."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachmount.vfs.statistics import BOUNDS, Histogram, MountStatistics

STEP = 1.15
"""Two bounds that follow each other are at most so far apart."""

durations = st.lists(st.integers(0, 10 * BOUNDS[-1]), min_size=1, max_size=300)


def histogram(values: list[int]) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


def test_the_bounds_grow_evenly() -> None:
    assert (BOUNDS[0], BOUNDS[-1]) == (1000, 100 * 10**9)
    assert all(1 < after / before <= STEP for before, after in pairwise(BOUNDS))


@given(durations, st.floats(0, 1))
def test_a_percentile_is_at_most_a_bucket_above_the_exact_one(values: list[int], part: float) -> None:
    found = histogram(values).percentile(part)
    ordered = sorted(values)
    index = next(i for i in range(len(ordered)) if (i + 1) >= part * len(ordered))  # nearest rank
    exact = ordered[index]
    assert exact <= found
    if exact <= BOUNDS[-1]:
        assert found <= max(exact * STEP, BOUNDS[0])
    else:
        assert found == ordered[-1]


@given(durations)
def test_count_sum_and_maximum_are_exact(values: list[int]) -> None:
    made = histogram(values)
    assert (made.count, made.total, made.longest) == (len(values), sum(values), max(values))
    assert made.percentile(1.0) == max(values)
    filled = made.filled()
    assert sum(count for _, count in filled) == len(values)
    for bound, _ in filled:
        assert sum(count for upper, count in filled if upper <= bound) == sum(value <= bound for value in values)


@given(durations, st.integers(1, 20))
def test_a_weight_stands_for_so_many(values: list[int], weight: int) -> None:
    weighted = Histogram()
    for value in values:
        weighted.record(value, weight)
    repeated = histogram([value for value in values for _ in range(weight)])
    assert (weighted.buckets, weighted.total) == (repeated.buckets, repeated.total)


def test_of_nothing_there_is_nothing() -> None:
    empty = Histogram()
    assert (empty.count, empty.percentile(0.5), empty.longest, empty.filled()) == (0, 0, 0, [])


def test_it_takes_no_memory_for_what_it_records() -> None:
    made = Histogram()
    before = len(made.buckets)
    for value in range(0, 10**9, 10**4 + 1):
        made.record(value)
    assert len(made.buckets) == before


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that are interrupted as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_threads")
def test_no_count_is_lost_between_threads() -> None:
    statistics, rounds, workers = MountStatistics(), 20_000, 6

    def work() -> None:
        for number in range(rounds):
            statistics.reads.record(number)
            statistics.lookups += 1
            statistics.read_bytes += 3
            statistics.received(2)
            with statistics.request("GetFile"):
                pass
            statistics.failed(5)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = rounds * workers
    assert statistics.reads.count == statistics.lookups == total
    assert (statistics.read_bytes, statistics.fetched_bytes) == (3 * total, 2 * total)
    assert statistics.snapshot() == ({"GetFile": total}, {5: total})
    assert statistics.requests_in_flight == 0


def test_a_request_that_fails_is_not_in_flight_any_more() -> None:
    statistics = MountStatistics()

    def break_off() -> None:
        with statistics.request("WalkFile"):
            assert statistics.requests_in_flight == 1
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        break_off()
    assert statistics.requests_in_flight == 0
    assert statistics.snapshot() == ({"WalkFile": 1}, {})
