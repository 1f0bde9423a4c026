"""The daemon's pools of threads: bounded, and told of."""

from __future__ import annotations

import threading

import pytest

from pachmount.api.pools import WAITING_PER_THREAD, Pool
from pachmount.errors import OverloadedError


def test_a_full_pool_refuses_and_takes_work_again_when_there_is_room() -> None:
    pool, hold = Pool("test", 2), threading.Event()
    try:
        futures = [pool.submit(hold.wait, 20) for _ in range(2 + 2 * WAITING_PER_THREAD)]
        state = pool.state()
        assert (state.running, state.threads) == (2, 2)
        assert state.waiting == state.waiting_limit == 2 * WAITING_PER_THREAD
        with pytest.raises(OverloadedError) as caught:
            pool.submit(int)
        assert caught.value.http_status == 503
        hold.set()
        assert all(future.result(20) for future in futures)
        assert pool.submit(int).result(20) == 0
        assert pool.state().running == pool.state().waiting == 0
    finally:
        hold.set()
        pool.shutdown()


def test_a_request_that_is_cancelled_or_fails_leaves_its_place() -> None:
    pool, hold = Pool("test", 1), threading.Event()
    try:
        first = pool.submit(hold.wait, 20)
        assert pool.submit(int).cancel()
        hold.set()
        assert first.result(20)
        with pytest.raises(ValueError, match="invalid literal"):
            pool.submit(int, "x").result(20)
        assert pool.state() == ("test", 0, 1, 0, WAITING_PER_THREAD)
    finally:
        hold.set()
        pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.submit(int)
    assert pool.state().running == 0
