"""Views of commits that are browsed: few, shared, and closed when nobody needs them."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from pachmount.errors import BusyError
from pachmount.mounts.open_views import IDLE_SECONDS, MAX_LISTING_BYTES, MAX_VIEWS, OpenViews
from pachmount.mounts.resolve import Resolved
from pachmount.names import Source


class World:
    """Views as the mounter makes them, on a clock and a cluster that tests set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cluster = Mock()
        self.made: list[Mock] = []
        mounter = Mock()
        mounter.view.side_effect = self._make
        self.listing_bytes = 0
        self.connect()
        self.views = OpenViews(self.cluster, mounter, lambda: self.now)

    def connect(self) -> None:
        self.cluster.connection = Mock()
        self.cluster.snapshot.return_value.connection = self.cluster.connection

    def _make(self, spec: object, _statistics: object) -> Mock:
        view = Mock()
        view.tree.listing.memory_bytes = self.listing_bytes
        self.made.append(view)
        return view

    def look(self, number: int) -> Mock:
        with self.views.use(commit(number)) as view:
            return view  # type: ignore[return-value]

    @property
    def closed(self) -> list[int]:
        return [number for number, view in enumerate(self.made) if view.close.called]


def commit(number: int) -> Resolved:
    return Resolved(Source("default", "repo", "master", f"{number:032x}"), 1.0, pinned=True)


@pytest.fixture
def world() -> World:
    return World()


def test_the_same_commit_is_the_same_view(world: World) -> None:
    assert world.look(1) is world.look(1)
    assert len(world.views) == 1


def test_the_one_used_longest_ago_makes_room(world: World) -> None:
    for number in range(MAX_VIEWS):
        world.look(number)
    world.look(0)
    world.look(MAX_VIEWS)
    assert (len(world.views), world.closed) == (MAX_VIEWS, [1])


def test_those_in_use_stay(world: World) -> None:
    using = [world.views.use(commit(number)) for number in range(MAX_VIEWS)]
    for each in using:
        each.__enter__()
    world.now = 2 * IDLE_SECONDS
    world.views.close_unneeded()
    with pytest.raises(BusyError):
        world.look(MAX_VIEWS)
    assert world.closed == []
    using[5].__exit__(None, None, None)
    world.look(MAX_VIEWS)
    assert world.closed == [5]


def test_idle_ones_are_closed(world: World) -> None:
    world.look(0)
    world.now = IDLE_SECONDS
    world.look(1)
    world.views.close_unneeded()
    assert world.closed == []
    world.now += 1
    world.views.close_unneeded()
    assert world.closed == [0]


def test_those_of_another_cluster_are_closed(world: World) -> None:
    world.look(0)
    world.connect()
    world.views.close_unneeded()
    assert (world.closed, len(world.views)) == ([0], 0)


def test_a_view_is_never_that_of_another_cluster(world: World) -> None:
    former = world.look(0)
    world.connect()
    assert world.look(0) is not former
    assert world.closed == [0]


def test_large_listings_make_room(world: World) -> None:
    world.listing_bytes = MAX_LISTING_BYTES // 2
    for number in range(5):
        world.look(number)
    assert world.closed == [0, 1]


def test_none_is_opened_after_the_end(world: World) -> None:
    world.look(0)
    world.views.close()
    assert world.closed == [0]
    with pytest.raises(BusyError):
        world.look(1)
