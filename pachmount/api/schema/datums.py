"""Answers about datums."""

from __future__ import annotations

from typing import Any, Literal

from pachmount.api.schema.base import ErrorAnswer, Model


class DatumsAnswer(Model):
    """Which datum is shown, in the words of all versions."""

    num_datums: int = 0
    input: dict[str, Any] | None = None
    curr_idx: int = 0
    idx: int = 0
    all_datums_received: bool = False


class DatumAnswer(Model):
    """The datum that is shown now. `num_datums` counts those received so far until all are."""

    id: str
    idx: int
    num_datums: int
    all_datums_received: bool


class DatumFileAnswer(Model):
    """A file or directory of a datum: `/pfs/<input><path>` in a pipeline."""

    input: str
    project: str
    repo: str
    branch: str
    commit: str
    path: str
    type: Literal["file", "dir"]
    size_bytes: int
    hash: str


class DatumEntry(Model):
    idx: int
    id: str
    files: list[DatumFileAnswer]


class DatumPageAnswer(Model):
    """`next` is the `start` of the following page, None at the end of what is known."""

    datums: list[DatumEntry]
    next: int | None
    num_datums: int
    all_datums_received: bool


class DatumStatus(Model):
    """The datum that is shown. `matched` counts what the cluster told of so far, `received` the datums that are known;
    `error` is why their listing ended early.
    """

    id: str
    idx: int
    num_datums: int
    received: int
    matched: int
    all_datums_received: bool
    error: ErrorAnswer | None = None
    input: dict[str, Any]
    out: str
    files: list[DatumFileAnswer]
