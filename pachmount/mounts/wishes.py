"""What a user asks to be mounted, and whether that is what is mounted already."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from pachmount.errors import NameTakenError, UsageError
from pachmount.mounts.mount import MountSpec
from pachmount.mounts.resolve import Resolved
from pachmount.names import DEFAULT_BRANCH, Source
from pachmount.vfs.filters import PathFilter


@dataclass(frozen=True)
class Wish:
    """A mount as asked for: `source.commit` "" = the newest; `mountpoint` None = below the mount directory."""

    name: str
    source: Source
    paths: tuple[str, ...] = ()
    mode: str = "ro"
    mountpoint: Path | None = None
    follow: bool = False

    def check(self, resolved: Resolved) -> None:
        """UsageError if it asks to follow a branch, but names a commit or wants to write."""
        if self.follow and self.mode == "rw":
            refuse_to_follow("leave out --follow")
        if self.follow and resolved.pinned:
            branch = replace(resolved.source, commit="")
            why = f"'{self.source.commit or self.source.branch}' is one commit, and a mount of it stays there"
            raise UsageError("only the mount of a branch can follow it", why, f"pachmount mount {branch} --follow")


def refuse_to_follow(hint: str = "") -> NoReturn:
    """Say that a read-write mount does not."""
    raise UsageError("a read-write mount cannot follow its branch", "staged changes stand on one commit", hint)


def refuse_difference(spec: MountSpec, wish: Wish, resolved: Resolved, path_filter: PathFilter) -> None:
    """NameTakenError if `wish` is not what `spec` shows; where the branch's head is does not matter."""
    source = wish.source
    differing = ""
    if (spec.source.project, spec.source.repo) != (source.project, source.repo):
        differing = "repo"
    elif source.commit and spec.source.commit != resolved.source.commit:
        differing = "commit"
    elif not source.commit and spec.source.branch != (source.branch or DEFAULT_BRANCH):
        differing = "branch"
    elif spec.paths != path_filter.paths:
        differing = "path"
    elif spec.mode != wish.mode:
        differing = "mode"
    elif wish.mountpoint is not None and spec.mountpoint != wish.mountpoint:
        differing = "mount point"
    if differing:
        why = f"{spec.source} is mounted under that name (another {differing})"
        hint = f"give this one another name: --name {wish.name}-2"
        if differing == "commit":
            hint += f"; or move that mount: pachmount refresh {wish.name} --to {source.commit}"
        raise NameTakenError(f"mount at '{wish.name}' already in use", why, hint)
