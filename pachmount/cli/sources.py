"""What the commands share that read commits without a mount: places such as `images@master:/2024/*.png`, opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pachmount import names
from pachmount.cli.state import State
from pachmount.errors import NotFoundError

if TYPE_CHECKING:
    from pachmount.clients import Clients
    from pachmount.reading import FileInfo, Snapshot


class Opener:
    """Commits, each opened once."""

    def __init__(self, state: State) -> None:
        from pachmount.clients import Clients

        self._state = state
        self._clients: Clients = Clients(lambda: state.client())
        self._opened: dict[str, Snapshot] = {}

    def open(self, source: str) -> Snapshot:
        """The whole commit of a source; a note tells if it is not the branch's head. Starts the daemon if need be."""
        from pachmount.reading import Snapshot

        names.parse_source(source)
        repo = source.partition(":")[0]
        if repo not in self._opened:
            if not self._opened:
                self._state.client(start=True)
            snapshot = self._opened[repo] = Snapshot(self._clients, repo)
            if snapshot.note:
                self._state.note(snapshot.note)
        return self._opened[repo]

    def find(self, source: str) -> tuple[Snapshot, list[FileInfo]]:
        """What a source with a path or glob names, one or more. Raises NotFoundError."""
        snapshot = self.open(source)
        path = path_of(source)
        from pachmount.globbing import is_glob

        if not is_glob(path):
            return snapshot, [snapshot.info(path)]
        found = list(snapshot.glob(path))
        if not found:
            hint = f"pachmount tree {source.partition(':')[0]}"
            raise NotFoundError(f"nothing matches '{path}'", f"in {snapshot}", hint)
        return snapshot, found


def path_of(source: str) -> str:
    """The path in a source as it was typed; "/" if there is none."""
    return source.partition(":")[2] or "/"
