"""The table of states: complete, and without a way into a dead end."""

from __future__ import annotations

from pathlib import Path

import pytest

from pachmount.errors import BusyError, CannotMountError
from pachmount.mounts.mount import Mount, MountSpec
from pachmount.mounts.states import TRANSITIONS, Event, State, next_state
from pachmount.names import Source

IMPOSSIBLE = {
    State.UNMOUNTED: {Event.MOVE, Event.COMMIT, Event.UNMOUNT, Event.DONE, Event.FAIL},
    State.MOUNTING: {Event.MOUNT, Event.MOVE, Event.COMMIT, Event.UNMOUNT},
    State.MOUNTED: {Event.MOUNT, Event.DONE},
    State.COMMITTING: {Event.MOUNT, Event.MOVE, Event.COMMIT, Event.UNMOUNT},
    State.UNMOUNTING: {Event.MOUNT, Event.MOVE, Event.COMMIT, Event.UNMOUNT},
    State.ERROR: {Event.DONE, Event.FAIL},
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_event_in_every_state_is_decided(state: State, event: Event) -> None:
    if event in IMPOSSIBLE[state]:
        with pytest.raises(BusyError, match=f"cannot {event.value} now"):
            next_state(state, event)
    else:
        assert next_state(state, event) is TRANSITIONS[state, event]


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_reached_and_left_for_unmounted(state: State) -> None:
    def reachable(start: State) -> set[State]:
        found, todo = {start}, [start]
        while todo:
            here = todo.pop()
            for (source, _), target in TRANSITIONS.items():
                if source is here and target not in found:
                    found.add(target)
                    todo.append(target)
        return found

    assert state in reachable(State.UNMOUNTED)
    assert State.UNMOUNTED in reachable(state)


@pytest.mark.parametrize("state", [State.MOUNTING, State.COMMITTING, State.UNMOUNTING])
def test_what_is_under_way_ends_well_or_in_an_error_that_can_be_left(state: State) -> None:
    assert (state, Event.DONE) in TRANSITIONS
    assert TRANSITIONS[state, Event.FAIL] is State.ERROR
    assert {event for (source, event) in TRANSITIONS if source is State.ERROR} >= {Event.MOUNT, Event.UNMOUNT}


def test_an_error_stays_with_the_mount_until_it_goes_on() -> None:
    mount = Mount(MountSpec("n", Source("default", "r", "master", "c" * 32), Path("/pfs/n")))
    mount.on(Event.MOUNT)
    mount.on(Event.FAIL, CannotMountError("cannot mount at '/pfs/n'", "no room"))
    assert mount.state is State.ERROR
    expected = "in error state, last error message was: cannot mount at '/pfs/n' — no room"
    assert mount.status_text() == expected
    mount.on(Event.MOUNT)
    mount.on(Event.DONE)
    assert mount.error is None
    assert mount.state is State.MOUNTED
    with pytest.raises(BusyError):
        mount.on(Event.DONE)
