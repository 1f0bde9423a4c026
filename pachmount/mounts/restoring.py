"""Mounting again what was mounted before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from pachmount.errors import GoneError, PachmountError, UnreachableError
from pachmount.mounts.mount import Mount, MountSpec
from pachmount.mounts.sessions import Sessions
from pachmount.mounts.states import Event
from pachmount.mounts.table import MountTable

log = logging.getLogger(__name__)

Losses = Callable[[MountSpec], GoneError | None]
"""Why a commit is gone; None if it exists. Raises what keeps us from asking."""


def bring_back(table: MountTable, sessions: Sessions, specs: Iterable[MountSpec], find_loss: Losses) -> None:
    """Mount what is not mounted; what fails, or has lost its commit, is listed in state error, and can be tried again.

    While the cluster does not answer all commits are taken for existing.
    """
    is_answering = True
    for spec in specs:
        mount, is_new = table.reserve(spec.name, lambda spec=spec: spec)  # type: ignore[misc]
        if not is_new:
            continue
        try:
            if is_answering:
                is_answering = _look(mount, find_loss)
            sessions.start(mount, mount.gone)
            if mount.gone is not None:
                log.warning("mount %s: %s", spec.name, mount.gone)
            if mount.gone is not None and spec.mode == "ro" and not spec.follow:
                mount.on(Event.FAIL, mount.gone)
        except PachmountError as error:
            mount.on(Event.FAIL, error)
            log.warning("could not mount %s again: %s", spec.name, error)
        finally:
            mount.operation.release()


def _look(mount: Mount, find_loss: Losses) -> bool:
    """Find out whether a mount's commit is there; whether the cluster answers."""
    try:
        mount.gone = find_loss(mount.spec)
    except UnreachableError as error:
        log.info("it is not known whether the commits of the mounts exist: %s", error)
        return False
    except PachmountError as error:
        log.info("it is not known whether commit %s exists: %s", mount.spec.source, error)
    return True
