"""The grammar of `pfs://` URLs: `[project/]repo@branch[=commit]/path`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pachmount.errors import InvalidPathError, InvalidSourceError, ReadOnlyError
from pachmount.names import DEFAULT_BRANCH, Source, parse_source, unstorable_reason
from pachmount.own_files import is_in_own
from pachmount.pfs.model import RepoRef

_HINT = "pfs://REPO@BRANCH/PATH or pfs://PROJECT/REPO@BRANCH/PATH"


@dataclass(frozen=True)
class Place:
    """A file or directory of a commit. `root` is `[project/]repo@branch` as it was written, `path` "" or `/a/b`."""

    root: str
    path: str
    source: Source

    @property
    def repo(self) -> RepoRef:
        return RepoRef(self.source.project, self.source.repo)

    @property
    def branch(self) -> str:
        """The branch to write to. Raises ReadOnlyError for a commit."""
        if self.source.commit:
            raise ReadOnlyError(f"cannot write to {self.root}", "a commit cannot change: name a branch")
        return self.source.branch or DEFAULT_BRANCH

    def require_writable(self) -> None:
        """Raises ReadOnlyError in a commit, InvalidPathError for a name that no file in a repo can have."""
        _ = self.branch
        if reason := unstorable_reason(self.path) if self.path else "it names no file on the branch":
            raise InvalidPathError(f"invalid path '{self.path or '/'}'", reason)
        if is_in_own(self.path):
            raise InvalidPathError(f"cannot write '{self.path}'", "pachmount keeps its own files under such names")

    @property
    def address(self) -> str:
        """The place in the words of the daemon."""
        return f"{self.source}:{self.path or '/'}"

    def at(self, commit: str) -> Place:
        """The same place in a commit: it stays the same when the branch moves on."""
        root = f"{self.root.partition('=')[0]}={commit}" if self.source.branch else self.root
        return replace(self, root=root, source=self.source.at(commit))


def find_place(path: str, project: str) -> Place | None:
    """The place of a path without its protocol; None for what is above the branches: "", PROJECT, PROJECT/REPO.

    Raises InvalidSourceError.
    """
    parts = path.split("/")
    for number, part in enumerate(parts[:2], 1):
        if "@" in part:
            root, below = "/".join(parts[:number]), "/".join(parts[number:])
            return Place(root, f"/{below}" if below else "", parse_source(root, project))
    if len(parts) > 2:
        raise InvalidSourceError(f"invalid URL 'pfs://{path}'", "it names no branch", _HINT)
    return None
