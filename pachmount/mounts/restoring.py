"""Mounting again what was mounted before."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pachmount.errors import PachmountError
from pachmount.mounts.mount import MountSpec
from pachmount.mounts.sessions import Sessions
from pachmount.mounts.states import Event
from pachmount.mounts.table import MountTable

log = logging.getLogger(__name__)


def bring_back(table: MountTable, sessions: Sessions, specs: Iterable[MountSpec]) -> None:
    """Mount what is not mounted; what fails is listed in state error, and can be tried again."""
    for spec in specs:
        mount, is_new = table.reserve(spec.name, lambda spec=spec: spec)  # type: ignore[misc]
        if not is_new:
            continue
        try:
            sessions.start(mount)
        except PachmountError as error:
            mount.on(Event.FAIL, error)
            log.warning("could not mount %s again: %s", spec.name, error)
        finally:
            mount.operation.release()
