"""One mount: what it shows, where, in which state."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from pachmount.beneath import checked
from pachmount.errors import GoneError, InvalidNameError, PachmountError
from pachmount.fuse.session import Session
from pachmount.mounts.committing import Pending, Progress
from pachmount.mounts.datum_readers import DatumPart
from pachmount.mounts.states import Event, State, next_state
from pachmount.names import Source, check_mount_name
from pachmount.overlay.overlay import Overlay
from pachmount.vfs.statistics import MountStatistics
from pachmount.vfs.view import CommitView

_NAME = re.compile(r"[A-Za-z0-9_-]{0,255}")
_LAST_SECOND = 1 << 40
_MAX_ID = 1000


class RepoIdentity(NamedTuple):
    """What tells a repo from another one of the same name: the id of its cluster ("" = not known), and when it was made
    (s since the epoch, 0 = not known).
    """

    cluster: str = ""
    created: float = 0.0


UNKNOWN_REPO = RepoIdentity()


@dataclass(frozen=True)
class MountSpec:
    """What a mount shows. `source.commit` is always an id here.

    `time` is what files show as their time (s since the epoch); `pinned` tells that the user named the commit;
    `complete` is False for an open commit without a finished ancestor, shown as empty until it is refreshed.
    `own_directory` tells that the mount point was made by us and goes with the mount. `follow` tells that it moves
    along when its branch does. `datum`: what a datum has of it; such a mount is not remembered. `identity` tells the
    repo that the commit is of from others of the same name.
    """

    name: str
    source: Source
    mountpoint: Path
    paths: tuple[str, ...] = ()
    mode: str = "ro"
    time: float = 0.0
    pinned: bool = False
    complete: bool = True
    own_directory: bool = True
    follow: bool = False
    datum: DatumPart | None = None
    identity: RepoIdentity = UNKNOWN_REPO

    def at(self, commit: str, finished: float, *, complete: bool, pinned: bool) -> MountSpec:
        """The same mount on another commit."""
        source = self.source.at(commit)
        return replace(self, source=source, time=finished, complete=complete, pinned=pinned)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, for the file that outlives the daemon."""
        source = self.source
        return {
            "name": self.name,
            "project": source.project,
            "repo": source.repo,
            "branch": source.branch,
            "commit": source.commit,
            "paths": list(self.paths),
            "mode": self.mode,
            "mountpoint": str(self.mountpoint),
            "time": self.time,
            "pinned": self.pinned,
            "complete": self.complete,
            "own_directory": self.own_directory,
            "follow": self.follow,
            "cluster": self.identity.cluster,
            "repo_created": self.identity.created,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> MountSpec:
        """The opposite of `to_dict`; ValueError, KeyError or TypeError for something else."""
        names = [data[key] for key in ("project", "repo", "branch", "commit")]
        mode, time, paths, mountpoint = data["mode"], data["time"], data["paths"], data["mountpoint"]
        flags = [data[key] for key in ("pinned", "complete", "own_directory")] + [data.get("follow", False)]
        if not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
            raise ValueError("a mount has a source that can be none")
        if mode not in ("ro", "rw") or type(time) not in (int, float) or not 0 <= time < _LAST_SECOND:
            raise ValueError("a mount has a mode or a time that can be none")
        if not all(type(flag) is bool for flag in flags) or type(paths) is not list:
            raise TypeError("a mount has a field of a wrong type")
        if type(mountpoint) is not str or not mountpoint.startswith("/"):
            raise ValueError("a mount has a mount point that can be none")
        return cls(
            name=_checked_name(data["name"]),
            source=Source(*names),
            mountpoint=Path("/", checked(mountpoint[1:])),
            paths=tuple(_checked_path(path) for path in paths),
            mode=mode,
            time=float(time),
            pinned=flags[0],
            complete=flags[1],
            own_directory=flags[2],
            follow=flags[3],
            identity=_identity(data.get("cluster", ""), data.get("repo_created", 0.0)),
        )


def _identity(cluster: Any, created: Any) -> RepoIdentity:
    if type(cluster) is not str or len(cluster) > _MAX_ID or type(created) not in (int, float):
        raise TypeError("a mount has a field of a wrong type")
    if not 0 <= created < _LAST_SECOND:
        raise ValueError("a mount has a time that can be none")
    return RepoIdentity(cluster, float(created))


def _checked_name(name: Any) -> str:
    try:
        return check_mount_name(checked(name))
    except InvalidNameError as error:
        raise ValueError(str(error)) from error


def _checked_path(path: Any) -> str:
    """A path of a repo: "" or one with a leading slash."""
    if type(path) is not str or (path and not path.startswith("/")):
        raise ValueError("a mount has a path that can be none")
    return f"/{checked(path[1:])}" if path else path


@dataclass
class BranchPosition:
    """Where a mounted commit stands on its branch, as far as was learned.

    `latest` is the head. `behind` counts the commits after the mounted one that a mount may show; `total` is the length
    of the history, None when that is too long or was not needed; `depth` the same for the mounted commit. `newest` is
    the newest commit that can be shown, where that is known and is not the head, and `note` then says why.
    `is_settled`: False while the head is not finished. `checked_at` is on the monotonic clock.
    """

    latest: str = ""
    behind: int = 0
    total: int | None = None
    depth: int | None = None
    newest: str = ""
    note: str = ""
    is_settled: bool = True
    checked_at: float = float("-inf")


@dataclass
class Pace:
    """When a following mount may be moved next (on the monotonic clock), and how often that failed since it worked."""

    not_before: float = float("-inf")
    failures: int = 0


@dataclass
class Mount:
    """A mount and its running parts. `operation` is held while its state changes, never over a wait for a person.

    `overlay` has the staged changes of a read-write mount, `progress` is that of the commit under way,
    `pending` one that was cut off. `note` says, for
    people, why it does not show what it might: a branch that is gone (`lost_branch`), a commit that is not finished.
    `gone` tells that its commit does not exist on the cluster any more, and why.
    """

    spec: MountSpec
    state: State = State.UNMOUNTED
    error: PachmountError | None = None
    view: CommitView | None = None
    session: Session | None = None
    overlay: Overlay | None = None
    progress: Progress | None = None
    pending: Pending | None = None
    mounted_at: float = field(default_factory=time.time)
    position: BranchPosition = field(default_factory=BranchPosition)
    note: str = ""
    lost_branch: bool = False
    gone: GoneError | None = None
    operation: threading.Lock = field(default_factory=threading.Lock)
    pace: Pace = field(default_factory=Pace)
    statistics: MountStatistics = field(default_factory=MountStatistics)

    def on(self, event: Event, error: PachmountError | None = None) -> None:
        """Change the state; BusyError if the event is not possible in it."""
        self.state = next_state(self.state, event)
        self.error = error

    def status_text(self) -> str:
        """One line for people, in the words of the original (rest-api.md section 3.2)."""
        if self.error is not None:
            return f"in error state, last error message was: {self.error}"
        if self.gone is not None:
            return str(self.gone)
        commit, position = self.spec.source.commit, self.position
        if not commit:
            return "branch does not contain any commits"
        if not self.spec.complete:
            return f"commit {commit[:8]} is not finished; refresh when it is"
        if not position.latest:
            return f"pinned to commit {commit[:8]}" if self.spec.pinned else f"on commit {commit[:8]}"
        if position.behind <= 0:
            return f"up to date on latest commit {(position.newest or position.latest)[:8]}"
        current, latest = commit[:8], (position.newest or position.latest)[:8]
        if position.total is not None:
            last = position.total - 1
            current, latest = f"{current} ({last - position.behind}'th)", f"{latest} ({last}'th)"
        return f"{position.behind} commits behind latest; current = {current}, latest = {latest}"
