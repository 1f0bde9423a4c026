"""The end of all mounts when the daemon stops: side by side, within one time, so that no dead mount is left."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from pachmount.errors import PachmountError
from pachmount.fuse import kernel
from pachmount.mounts.mount import Mount
from pachmount.mounts.sessions import Sessions
from pachmount.mounts.table import MountTable

log = logging.getLogger(__name__)

WORKERS = 16
GRACE_SHARE = 1 / 3
"""The part of the time that operations under way get before their calls to the cluster are cut off."""
LAST_SHARE = 1 / 6
"""The part that is left for taking away by force what is still busy then."""


def end_all(
    table: MountTable, sessions: Sessions, cut_off: Callable[[], None], places: Collection[Path], end: float
) -> None:
    """Take all mounts of a closed table away, until `end` (on the monotonic clock) at the latest.

    A mount with an operation under way is waited for. After a third of the time `cut_off` ends the calls to the
    cluster, so that operations fail; a mount that is busy even then is detached without being asked. What is staged
    stays staged. `places`: directories below which nothing of ours may be left mounted.
    """
    began = time.monotonic()
    span = max(0.0, end - began)
    workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="ending")
    futures = {workers.submit(_take_away, table, sessions, mount, end): mount for mount in table.all()}
    _, late = wait(futures, max(0.0, began + span * GRACE_SHARE - time.monotonic()))
    if late:
        log.info("%d mounts are busy: their calls to the cluster are cut off", len(late))
        carry_on(cut_off)
        _, late = wait(late, max(0.0, end - span * LAST_SHARE - time.monotonic()))
    workers.shutdown(wait=False, cancel_futures=True)
    for future, mount in futures.items():
        if future in late or _has_failed(future, mount):
            log.warning("%s is taken away while an operation is under way", mount.spec.name)
            _detach(mount.spec.mountpoint)
    _detach_leftovers(places)


def _take_away(table: MountTable, sessions: Sessions, mount: Mount, end: float) -> None:
    with table.last_operation(mount, max(0.0, end - time.monotonic())):
        sessions.take_away(mount)


def _has_failed(future: Future[None], mount: Mount) -> bool:
    if future.cancelled():
        return True
    error = future.exception()
    if error is not None:
        log.warning("%s could not be taken away: %s", mount.spec.name, error)
    return error is not None


def _detach(mountpoint: Path) -> None:
    try:
        kernel.detach_all(mountpoint)
    except (PachmountError, OSError) as error:
        log.warning("%s stays mounted: %s", mountpoint, error)


def _detach_leftovers(places: Collection[Path]) -> None:
    """Whatever an operation that nobody waited for has mounted meanwhile."""
    prefixes = tuple(f"{os.path.realpath(place)}/" for place in places)
    for found in kernel.mount_table():
        if found.fs_type == kernel.FS_TYPE and f"{found.mountpoint}/".startswith(prefixes):
            log.warning("%s was still mounted", found.mountpoint)
            _detach(Path(found.mountpoint))


def carry_on(step: Callable[[], object]) -> None:
    """Whatever goes wrong with one step of the end, the others follow."""
    try:
        step()
    except PachmountError as error:
        log.warning("while ending: %s", error)
    except Exception:
        log.exception("while ending")
