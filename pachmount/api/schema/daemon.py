"""`/daemon/_reload` and `/trace`: looking after the daemon itself."""

from __future__ import annotations

from pachmount.api.schema.base import Model


class SettingChange(Model):
    """A setting that is another one than the daemon had; `needs_restart`: it goes on with the one `before`."""

    name: str
    before: str | float | int | bool | None
    now: str | float | int | bool | None
    needs_restart: bool


class ReloadAnswer(Model):
    """What differs from the settings in force; without `needs_restart` it holds from now on."""

    changes: list[SettingChange] = []


class TracedOperation(Model):
    """A file operation of the kernel. `time` in seconds since the epoch; `result`: bytes of a read or write, 0, or the
    negative errno, whose name is in `error`. Operations on files that are open for writing have no path.
    """

    number: int
    time: float
    operation: str
    path: str
    offset: int | None
    size: int | None
    result: int
    error: str = ""
    seconds: float


class TraceAnswer(Model):
    """`lost` operations came between those asked for, too many to be kept; `next` is what to ask for `after` this."""

    operations: list[TracedOperation] = []
    lost: int = 0
    next: int
