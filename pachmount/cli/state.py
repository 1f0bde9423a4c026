"""What one invocation of the command line shares: the global flags, the places and the connection to the daemon."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pachmount import __version__, paths
from pachmount.cli import output, process
from pachmount.errors import UsageError

if TYPE_CHECKING:
    from pachmount.api.schema import StatusAnswer
    from pachmount.client import DaemonClient

PROGRAM = "pachmount"
STATUS_TIMEOUT = 10.0


@dataclass
class State:
    """The global flags as given, before or after the sub-command, and what was opened for it."""

    quiet: bool = False
    verbose: int = 0
    debug: bool = False
    no_input: bool = False
    as_json: bool = False
    mount_dir: Path | None = None
    command: str = PROGRAM
    """The command as typed, for hints."""
    program: list[str] = field(default_factory=list)
    """What follows `--` in a command that runs another program."""
    _clients: list[DaemonClient] = field(default_factory=list)

    @property
    def places(self) -> paths.Places:
        """The paths of the daemon that this invocation talks to."""
        return paths.places(self.mount_dir)

    def client(self, *, start: bool = False) -> DaemonClient:
        """A connection to the daemon; with `start`, the daemon is started if it is not running.

        In sidecar mode it is another container's, and never started from here.
        """
        from pachmount import reach

        if start and reach.ensure_reachable(self.places, self._starting):
            self.note(f"started the daemon for {self.places.mount_dir}")
        client = reach.reach(self.places)
        self._clients.append(client)
        return client

    def status(self) -> StatusAnswer:
        """What GET /status answers: as it came, if the daemon is of our own version, else checked by the client."""
        if not paths.daemon_url():
            from pachmount.glance import glance

            answer = glance(self.places.socket, "/status", STATUS_TIMEOUT)
            if answer is not None and answer.version == __version__:
                return answer  # type: ignore[no-any-return]
        return self.client().status()

    def _starting(self) -> AbstractContextManager[object]:
        process.check_mount_dir(self.places.mount_dir)
        return output.waiting("starting the daemon", enabled=not self.quiet)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    def note(self, text: str) -> None:
        """Say something beside the answer, on stderr; nothing with --quiet or --json."""
        if not self.quiet and not self.as_json:
            output.note(text)

    def hint(self, text: str) -> None:
        """Suggest the next step, on stderr; nothing with --quiet or --json."""
        if not self.quiet and not self.as_json:
            output.hint(text)

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Ask on the terminal; without one (or with --no-input) the answer must come as --yes."""
        if yes:
            return True
        if self.no_input or not sys.stdin.isatty():
            raise UsageError("this needs a confirmation", "there is no terminal to ask on", "add --yes")
        import typer

        return typer.confirm(question, err=True)

    def configure_logging(self) -> None:
        """-v shows what is asked of the daemon and the cluster, -vv and --debug the log of every library too."""
        import logging

        everything = self.debug or self.verbose > 1
        level = logging.DEBUG if everything else logging.WARNING
        logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr, force=True)
        logging.getLogger("pachmount").setLevel(logging.DEBUG if self.verbose or everything else logging.WARNING)
