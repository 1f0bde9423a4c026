"""`version`: of this program, of the running daemon and of the cluster."""

from __future__ import annotations

import sys

from pachmount import __version__
from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.state import State
from pachmount.errors import UnreachableError


def version(state: State, as_json: opt.Json = False) -> None:
    """Print the versions of this program, the daemon and the cluster.

    \b
    Examples:
      pachmount version
      pachmount version --json

    The daemon is asked, not started.
    """
    python = ".".join(str(part) for part in sys.version_info[:3])
    try:
        answer = state.client().status()
    except UnreachableError:
        daemon, cluster = None, None
    else:
        daemon, cluster = answer.version, answer.cluster.version or None
    if as_json:
        output.json_answer({"client": __version__, "python": python, "daemon": daemon, "cluster": cluster})
        return
    output.line(f"pachmount  {__version__} (Python {python})")
    output.line(f"daemon     {daemon or 'not running'}")
    output.line(f"cluster    {cluster or 'not connected'}")
    if daemon is not None and daemon != __version__:
        state.hint("'pachmount daemon restart' brings the daemon to this version")
