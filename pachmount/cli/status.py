"""`status`: its command; what it prints is in `status_view.py`."""

from __future__ import annotations

from pachmount.cli import options as opt
from pachmount.cli.state import State
from pachmount.cli.status_view import show_status, watch_status
from pachmount.errors import ExitCode


def status(state: State, watch: opt.Watch = False, interval: opt.Interval = 2.0, as_json: opt.Json = False) -> ExitCode:
    """Show the daemon, the mounts and the cluster.

    \b
    Examples:
      pachmount status
      pachmount status --json | jq '.mounts[].source'
      pachmount status && echo running
      pachmount status --watch --interval 5

    Exit code 0: the daemon runs; 3: it does not. With --watch it goes on, also
    while the daemon does not run or does not answer; with --json it prints a
    line each time.
    """
    if watch:
        watch_status(state, interval, as_json=as_json)
    return show_status(state, as_json=as_json)
