"""The states of a mount and what leads from one to another: pure data."""

from __future__ import annotations

import enum

from pachmount.errors import BusyError


class State(enum.Enum):
    """Where a mount is in its life. In ERROR programs see none of its files; its staged changes are kept."""

    MOUNTING = "mounting"
    MOUNTED = "mounted"
    COMMITTING = "committing"
    UNMOUNTING = "unmounting"
    UNMOUNTED = "unmounted"
    ERROR = "error"


class Event(enum.Enum):
    """What happens to a mount. MOVE puts another commit at the same place."""

    MOUNT = "mount"
    MOVE = "move"
    COMMIT = "commit"
    UNMOUNT = "unmount"
    DONE = "done"
    FAIL = "fail"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.UNMOUNTED, Event.MOUNT): State.MOUNTING,
    (State.MOUNTING, Event.DONE): State.MOUNTED,
    (State.MOUNTING, Event.FAIL): State.ERROR,
    (State.MOUNTED, Event.MOVE): State.MOUNTING,
    (State.MOUNTED, Event.COMMIT): State.COMMITTING,
    (State.MOUNTED, Event.FAIL): State.ERROR,
    (State.MOUNTED, Event.UNMOUNT): State.UNMOUNTING,
    (State.COMMITTING, Event.DONE): State.MOUNTED,
    (State.COMMITTING, Event.FAIL): State.ERROR,
    (State.UNMOUNTING, Event.DONE): State.UNMOUNTED,
    (State.UNMOUNTING, Event.FAIL): State.ERROR,
    (State.ERROR, Event.MOUNT): State.MOUNTING,
    (State.ERROR, Event.MOVE): State.MOUNTING,
    (State.ERROR, Event.COMMIT): State.COMMITTING,
    (State.ERROR, Event.UNMOUNT): State.UNMOUNTING,
}


def next_state(state: State, event: Event) -> State:
    """The state after an event; BusyError where the event is not possible (another operation is under way)."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise BusyError(f"cannot {event.value} now", f"the mount is {state.value}", "try again in a moment") from None
