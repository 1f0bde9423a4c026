"""The way to the daemon, for the command line and for programs: over TCP, or its socket, started if need be."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from pachmount import paths
from pachmount.client import DaemonClient
from pachmount.daemon.spawn import ensure_daemon, is_listening
from pachmount.errors import ConfigurationError, DaemonNotRunningError
from pachmount.paths import Places


def reach(places: Places) -> DaemonClient:
    """A client of the daemon that the environment names, else of that of `places`. Nothing is connected yet.

    Raises UsageError and ConfigurationError for a URL or a token file that cannot be used.
    """
    url = paths.daemon_url()
    return DaemonClient.at_url(url, _token()) if url else DaemonClient(places.socket)


def ensure_reachable(places: Places, starting: Callable[[], AbstractContextManager[object]] = nullcontext) -> bool:
    """Make sure that there is a daemon; True if this call started it, within what `starting` makes.

    One that is reached over TCP, or in sidecar mode, is somebody else's and never started from here. Raises
    DaemonNotRunningError, and the error of a daemon that cannot start.
    """
    if paths.daemon_url() or is_listening(places.socket):
        return False
    if paths.sidecar_mode():
        why = f"nothing listens on '{places.socket}', and in sidecar mode another container runs it"
        raise DaemonNotRunningError("the daemon is not running", why, "there: pachmount daemon run")
    with starting():
        return ensure_daemon(places)


def _token() -> str:
    """The token of a daemon that we reach over TCP."""
    path = os.environ.get("PACHMOUNT_TOKEN_FILE", "")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read token file '{path}'", str(error), "see PACHMOUNT_TOKEN_FILE") from error
