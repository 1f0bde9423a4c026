"""The daemon as a process: is it alive, which pid, stop it. Read from its lock file and /proc; no Typer, no Rich."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

from pachmount.errors import CannotMountError, DaemonUnreachableError, NotPermittedError
from pachmount.paths import Places

STOP_TIMEOUT = 35.0
"""The daemon gives its mounts 30 s; a little more, so that its own limit comes first."""
SECOND_TIMEOUT = 5.0
_POLL_INTERVAL = 0.05


def check_mount_dir(directory: Path) -> None:
    """Refuse a mount directory that cannot be used before a daemon is started for it."""
    existing = directory
    try:
        while not existing.exists():
            existing = existing.parent
        usable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
        why = "" if usable else f"'{existing}' is not {'writable' if existing.is_dir() else 'a directory'}"
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        hint = "choose another with --mount-dir DIR or PFS_MOUNT_DIR"
        raise CannotMountError(f"cannot use the mount directory '{directory}'", why, hint)


def recorded_pid(places: Places) -> int | None:
    """The pid in the lock file: of a running daemon, or of one that had no chance to clean up."""
    try:
        found = re.search(r"\d+", places.lock_file.read_text(errors="replace"))
    except OSError:
        return None  # never started, or not ours to read
    return int(found.group()) if found else None


def is_alive(pid: int) -> bool:
    """Whether `pid` runs; a zombie that nobody reaps (usual in containers) does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def is_daemon(pid: int) -> bool:
    """Whether `pid` is a daemon of ours and not another program that got its number."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return is_alive(pid) and b"pachmount" in command


def remembered_mounts(places: Places) -> list[str]:
    """The names of the mounts that the next start brings back."""
    from pachmount import documents
    from pachmount.beneath import Beneath
    from pachmount.files import text_aside

    try:
        text = text_aside(places.mounts_file, places.mounts_aside, documents.MOUNTS.limit)
        if text is not None:
            return documents.parsed(_names, documents.decode(documents.MOUNTS, text.encode(errors="surrogateescape")))
        with Beneath(places.mounts_file.parent) as directory:
            found = documents.Document(directory, places.mounts_file.stem, documents.MOUNTS).read(_names)
    except (OSError, documents.DamagedError):
        return []  # nothing recorded; the daemon sets aside what is damaged
    return found[0] if found is not None else []


def _names(content: dict[str, Any]) -> list[str]:
    return [str(entry.get("name", "?")) for entry in content["mounts"]]


def stop(pid: int, timeout: float = STOP_TIMEOUT) -> bool:
    """Ask the daemon to end and wait until it is gone; False if it took a second request, which ends it at once."""
    for wait in (timeout, SECOND_TIMEOUT):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return wait == timeout
        except PermissionError as error:
            raise NotPermittedError(f"cannot stop process {pid}", "it belongs to another user") from error
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            if not is_alive(pid):
                return wait == timeout
            time.sleep(_POLL_INTERVAL)
    why = f"it still runs {timeout + SECOND_TIMEOUT:.0f} s after SIGTERM, and after a second one"
    raise DaemonUnreachableError(f"cannot stop the daemon (pid {pid})", why, f"pachmount daemon logs; kill -9 {pid}")
