"""Choosing datums by number or id, and whom their code runs as."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable, Sequence

from pachmount.datums.model import Datum
from pachmount.errors import NotFoundError, UsageError
from pachmount.running.command import User
from pachmount.running.job import Numbered

ID_DIGITS = 64
LEAST_DIGITS = 8
"""How much of an id has to be given if it has no letter in it."""


def choose(datums: Sequence[Datum], wanted: Iterable[str]) -> list[Numbered]:
    """All datums, or those wanted by number (from 0) or by id or its beginning. Raises NotFoundError and UsageError."""
    chosen: dict[int, None] = {}
    for text in wanted:
        chosen[_index_of(datums, text)] = None
    return [Numbered(index, datums[index]) for index in (sorted(chosen) if chosen else range(len(datums)))]


def _index_of(datums: Sequence[Datum], text: str) -> int:
    is_number = text.isdecimal() and len(text) < ID_DIGITS
    if is_number and int(text) < len(datums):
        return int(text)
    # a number that is too high is not taken for an id that happens to begin with it
    is_id = text != "" and not (is_number and len(text) < LEAST_DIGITS)
    found = [index for index, datum in enumerate(datums) if is_id and datum.id.startswith(text.lower())]
    if len(found) > 1:
        raise UsageError(f"'{text}' is the beginning of {len(found)} ids", "give more of it")
    if not found:
        raise NotFoundError(f"no datum '{text}'", f"there are {len(datums):,}, numbered from 0")
    return found[0]


def user_of(text: str) -> User | None:
    """The user that a spec names, as `name`, `id` or `user:group`; None if this process cannot become it."""
    if not text:
        return User()
    name, _, group = text.partition(":")
    try:
        account = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        uid, gid = account.pw_uid, account.pw_gid
    except KeyError:
        if not name.isdecimal():
            return None
        uid = gid = int(name)
    if group:
        try:
            gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        except KeyError:
            return None
    if uid == os.geteuid():
        return User()
    return User(uid, gid) if os.geteuid() == 0 else None
