"""The command tree: what there is, and a group that imports a command's module only when it is used.

A command line starts in half the time so. A test compares the summaries here with the commands' own help.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer.main
from typer.models import TyperInfo

from pachmount.cli.app import App, Command, Group, PerhapsRunningCommand, RunningCommand

MOUNTS, DATA, CLUSTER, PROGRAM = "Mounts", "Data", "Cluster", "The program"
GROUP = "build"
"""The function that makes a group's App."""


@dataclass(frozen=True)
class Entry:
    """A command, or a group whose module has a function `build`."""

    name: str
    panel: str
    module: str
    function: str
    summary: str
    hidden: bool = False
    uses_daemon: bool = True
    cls: type[Command] = Command

    def load(self) -> Any:
        """Import the module and make the command."""
        function = getattr(importlib.import_module(f"pachmount.cli.{self.module}"), self.function)
        if self.function == GROUP:
            group = TyperInfo(function(), name=self.name, rich_help_panel=self.panel)
            return typer.main.get_group_from_info(
                group, pretty_exceptions_short=False, suggest_commands=True, rich_markup_mode=None
            )
        app = App()
        app.add(function, self.name, self.panel, hidden=self.hidden, uses_daemon=self.uses_daemon, cls=self.cls)
        [info] = app.registered_commands
        return typer.main.get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)


ENTRIES = (
    Entry("mount", MOUNTS, "mounts", "mount", "Mount a repository's files, or list the mounts."),
    Entry("unmount", MOUNTS, "mounts", "unmount", "End mounts."),
    Entry("umount", MOUNTS, "mounts", "unmount", "End mounts.", hidden=True),
    Entry("refresh", MOUNTS, "moving", "refresh", "Move mounts to the newest commit, or to a given one."),
    Entry("follow", MOUNTS, "moving", "follow", "Let mounts move along with their branches, or stay."),
    Entry("diff", MOUNTS, "writing", "diff", "Show what a commit of a read-write mount would change."),
    Entry("commit", MOUNTS, "writing", "commit", "Commit what is staged in a read-write mount."),
    Entry(
        "discard", MOUNTS, "writing", "discard", "Give up staged changes, of a read-write mount or kept without one."
    ),
    Entry("staged", MOUNTS, "staged", GROUP, "Changes that are staged: see, save or give them up."),
    Entry("remount", MOUNTS, "writing", "remount", "Make a mount read-write or read-only."),
    Entry(
        "exec",
        MOUNTS,
        "execute",
        "execute",
        "Run a command that finds repositories at /pfs, without privileges.",
        uses_daemon=False,
        cls=RunningCommand,
    ),
    Entry(
        "run",
        DATA,
        "run",
        "run",
        "Run code over datums here, as a pipeline would.",
        uses_daemon=False,
        cls=PerhapsRunningCommand,
    ),
    Entry("warmup", MOUNTS, "warmup", "warmup", "Bring files into the cache, so that reading them needs no cluster."),
    Entry("status", MOUNTS, "status", "status", "Show the daemon, the mounts and the cluster."),
    Entry("stats", MOUNTS, "stats", "stats", "Show what mounts did: operations, cache hits, requests, times."),
    Entry("list", DATA, "listing", "list_", "List repos, branches, commits or files."),
    Entry("ls", DATA, "listing", "list_", "List repos, branches, commits or files.", hidden=True),
    Entry("tree", DATA, "tree_view", "tree", "Show the directories and files of a commit as a tree."),
    Entry("cat", DATA, "cat", "cat", "Print files of a commit, without a mount."),
    Entry("get", DATA, "get", "get", "Copy files of a commit, without a mount."),
    Entry(
        "checkout",
        DATA,
        "checkout",
        "checkout",
        "Copy a commit into a directory, without a mount, and keep it up to date.",
    ),
    Entry("import", DATA, "importing", "import_", "Put a directory tree into a repo as one commit."),
    Entry("publish", DATA, "publish", "publish", "Make a pipeline of a notebook or a script."),
    Entry("pipelines", DATA, "publish", "pipelines", "Show pipelines, each with the last job of its version."),
    Entry("login", CLUSTER, "account", "login", "Connect to a cluster and log in, or go back to the embedded server."),
    Entry("logout", CLUSTER, "account", "logout", "Forget the session token of the cluster in use."),
    Entry("whoami", CLUSTER, "account", "whoami", "Print as whom you are logged in."),
    Entry(
        "serve",
        CLUSTER,
        "serve",
        "serve",
        "Run the embedded server in the foreground, for others to connect to.",
        uses_daemon=False,
    ),
    Entry(
        "mount-server",
        PROGRAM,
        "mount_server",
        "mount_server",
        "Run the daemon in the place of Pachyderm's mount-server.",
    ),
    Entry("doctor", PROGRAM, "doctor", "doctor", "Check everything that the program needs."),
    Entry(
        "completion",
        PROGRAM,
        "completion",
        "completion",
        "Print the completion script of a shell.",
        uses_daemon=False,
    ),
    Entry("version", PROGRAM, "version", "version", "Print the versions of this program, the daemon and the cluster."),
    Entry("datum", DATA, "datum", GROUP, "See what a pipeline's code would see, datum by datum."),
    Entry("context", CLUSTER, "contexts", GROUP, "The clusters that pachctl's file knows, and which one is used."),
    Entry("config", PROGRAM, "config", GROUP, "Look at the settings and change them."),
    Entry("daemon", PROGRAM, "daemon", GROUP, "Start, stop and look after the daemon."),
    Entry("debug", PROGRAM, "debug", GROUP, "Find out what goes wrong: what mounts do, all that a report needs."),
    Entry("cache", PROGRAM, "cache", GROUP, "Look at, check and empty the cache on disk."),
)


class _Commands(Mapping[str, Any]):
    """The commands by name, each made when it is asked for."""

    def __init__(self) -> None:
        self._entries = {entry.name: entry for entry in ENTRIES}
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = self._entries[name].load()
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class Root(Group):
    """The program itself."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()  # type: ignore[assignment]

    def summaries(self) -> Iterator[tuple[str, str, str]]:
        for entry in ENTRIES:
            if not entry.hidden:
                yield entry.panel, entry.name, entry.summary.rstrip(".")
