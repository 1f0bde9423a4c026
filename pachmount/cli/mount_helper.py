"""`mount.fuse.pachmount`: what mount(8) runs for `mount -t fuse.pachmount SOURCE DIR -o OPTIONS`, and so fstab(5).

Each mount point has a daemon of its own, which ends with it: service managers end what a mount left running. mount(8)
gives almost no environment, so that places come from the user id, root's from those of the system.
"""

from __future__ import annotations

import argparse
import difflib
import os
import pwd
import sys
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pachmount import __version__, names, paths
from pachmount.errors import CannotMountError, InternalError, NotPermittedError, PachmountError, UsageError

if TYPE_CHECKING:
    from pachmount.api.schema import MountEntry

PROGRAM = "mount.fuse.pachmount"
HINT = f"{PROGRAM} --help"


class MountExit(IntEnum):
    """The exit codes of mount(8). There is none for /etc/mtab (16): the kernel keeps that."""

    OK = 0
    USAGE = 1
    SYSTEM = 2
    FAILED = 32


GENERIC = frozenset(
    """
    rw auto noauto defaults async sync dirsync dev nodev suid nosuid exec noexec atime noatime diratime
    nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime iversion noiversion mand
    nomand silent loud user nouser users owner group nofail _netdev nonempty default_permissions comment
    fsname subtype context fscontext defcontext rootcontext
    """.split()  # noqa: SIM905 (a list of words is read more easily so)
)
"""Options for mount(8), systemd and the kernel, and such as every mount of ours has. mount(8) says `rw` wherever nobody
said `ro`, so that it asks for nothing."""
OWN = {
    "ro": "read-only, the default",
    "mode": "mode=rw: files can be changed; 'pachmount commit' makes a commit of that",
    "project": "the project of a SOURCE that names none",
    "commit": "the commit to mount: an id, or such as master^",
    "follow": "move along when the branch gets a new commit",
    "name": "the mount's name; default: that of the repo",
    "config": "the file with the cluster's address and token that pachctl keeps",
    "home": "keep settings, state, cache and data below this directory, as for a user whose home it is",
    "mount-dir": "join the daemon of this mount directory instead of having one for this mount alone",
    "uid": "to whom the files belong (a name or an id)",
    "gid": "their group",
}
SYSTEM_PLACES = {
    "XDG_CONFIG_HOME": "/etc",
    "XDG_CACHE_HOME": "/var/cache",
    "XDG_STATE_HOME": "/var/lib",
    "XDG_DATA_HOME": "/var/lib",
    "XDG_RUNTIME_DIR": "/run",
}
"""Where root's mounts keep their files, each in `pachmount` below it."""


@dataclass
class Wish:
    """What the option list asks for: options of the mount by name, and settings of its daemon."""

    options: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script; the exit code."""
    try:
        return _mount(_parser().parse_args(arguments))
    except KeyboardInterrupt:
        return MountExit.FAILED
    except PachmountError as error:
        _say(f"error: {error}")
        if error.hint:
            _say(f"hint: {error.hint}")
        return exit_code(error)
    except OSError as error:
        _say(f"error: {error}")
        return MountExit.SYSTEM


def exit_code(error: PachmountError) -> MountExit:
    """How mount(8) is told of an error."""
    if isinstance(error, UsageError | NotPermittedError):
        return MountExit.USAGE
    return MountExit.SYSTEM if isinstance(error, InternalError) else MountExit.FAILED


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, "", HINT)


def _parser() -> argparse.ArgumentParser:
    options = "\n".join(f"  {name:10} {text}" for name, text in OWN.items())
    parser = _Parser(
        PROGRAM,
        description="Mount a Pachyderm repository; for mount(8) and fstab(5).",
        epilog=f"options of ours (-o):\n{options}\n  each setting of 'pachmount config show', such as cache_size=50G",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="[PROJECT/]REPO[@BRANCH|@COMMIT][:/PATH]")
    parser.add_argument("directory", metavar="DIR", type=Path, help="an empty directory")
    parser.add_argument("-o", dest="options", metavar="LIST", action="append", default=[], help="options, by commas")
    parser.add_argument("-s", dest="sloppy", action="store_true", help="ignore options that are unknown")
    parser.add_argument("-f", dest="fake", action="store_true", help="check everything, but do not mount")
    parser.add_argument("-n", dest="no_mtab", action="store_true", help="ignored")
    parser.add_argument("-v", dest="verbose", action="store_true", help="say what is mounted")
    parser.add_argument("-t", dest="type", metavar="TYPE", help="ignored")
    parser.add_argument("-V", "--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


def _mount(given: argparse.Namespace) -> int:
    wish = read_options(given.options, sloppy=given.sloppy)
    directory = Path(os.path.abspath(given.directory))
    entry = _entry(given.source, directory, wish.options)
    if given.fake:
        return MountExit.OK
    prepare(os.environ, wish)
    from pachmount.daemon.spawn import ensure_daemon

    own = "mount-dir" not in wish.options
    places = paths.places(directory if own else Path(wish.options["mount-dir"]))
    started = ensure_daemon(places, ["--until-unmounted"] if own else [])
    _ask(places.socket, entry, stop_on_failure=started)
    if given.verbose:
        _say(f"{given.source} mounted at {directory}")
    return MountExit.OK


def read_options(lists: Sequence[str], *, sloppy: bool = False) -> Wish:
    """Sort the options out. Raises UsageError for one that nobody knows, naming the nearest."""
    from pachmount.settings import Settings

    wish = Wish()
    for option in (option.strip() for each in lists for option in each.split(",") if option.strip()):
        name, equals, value = option.partition("=")
        setting = name.replace("-", "_")
        own = name.replace("_", "-")
        if own in OWN:
            wish.options[own] = value
        elif setting in Settings.model_fields:
            wish.settings[setting] = value if equals else "true"
        elif name == "remount":
            why = "a mount becomes writable or read-only by another command"
            raise UsageError("cannot remount", why, "pachmount remount NAME --rw")
        elif name not in GENERIC and not name.startswith("x-") and not sloppy:
            near = difflib.get_close_matches(setting, [*OWN, *Settings.model_fields, *GENERIC], n=1)
            raise UsageError(f"unknown option '{name}'", f"did you mean '{near[0]}'?" if near else "", HINT)
    _check(wish)
    return wish


def _check(wish: Wish) -> None:
    for name, value in wish.options.items():
        if not value and name not in ("ro", "follow"):
            raise UsageError(f"option '{name}' needs a value", "", HINT)
    for name in ("home", "config", "mount-dir"):
        if not os.path.isabs(wish.options.get(name, "/")):
            raise UsageError(f"invalid option '{name}'", "it is a path from '/' on: mount(8) runs anywhere", HINT)
    mode = wish.options.get("mode", "ro")
    if mode not in ("ro", "rw"):
        raise UsageError(f"invalid option 'mode={mode}'", "it is ro or rw", HINT)
    if mode == "rw" and ("ro" in wish.options or "follow" in wish.options):
        other = "ro" if "ro" in wish.options else "follow"
        raise UsageError(f"'mode=rw' and '{other}' exclude each other", "", "leave out one of the two")


def prepare(environment: MutableMapping[str, str], wish: Wish) -> None:
    """Make the environment of this process, and so of the daemon, what the user id and the options say."""
    uid, user_id = os.geteuid(), wish.options.get("uid", "")
    home = wish.options.get("home", "")
    if home or uid == 0:
        for name, place in SYSTEM_PLACES.items():
            environment.pop(name, None)
            if not home:
                environment[name] = place
    elif os.path.isdir(f"/run/user/{uid}"):
        environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{uid}")
    if home or "HOME" not in environment:
        environment["HOME"] = home or pwd.getpwuid(uid).pw_dir
    environment.setdefault("PATH", os.defpath)
    if "config" in wish.options:
        environment["PACH_CONFIG"] = os.path.abspath(wish.options["config"])
    if user_id or "gid" in wish.options:
        owner = user_id or str(uid)
        wish = replace(wish, settings={**wish.settings, "file_owner": ":".join([owner, *_group(wish)])})
    for name, value in wish.settings.items():
        environment[f"PACHMOUNT_{name.upper()}"] = value


def _group(wish: Wish) -> list[str]:
    return [wish.options["gid"]] if "gid" in wish.options else []


def _entry(source: str, directory: Path, options: dict[str, str]) -> MountEntry:
    from pachmount.api.schema import MountEntry

    parsed = names.parse_source(source, options.get("project", names.DEFAULT_PROJECT))
    if "commit" in options:
        parsed = parsed.at(options["commit"])
    return MountEntry(
        name=names.check_mount_name(options.get("name", parsed.repo)),
        project=parsed.project,
        repo=parsed.repo,
        branch=parsed.branch,
        commit=parsed.commit,
        path=parsed.path,
        mountpoint=str(directory),
        mode=options.get("mode", "ro"),
        follow="follow" in options,
    )


def _ask(socket_path: Path, entry: MountEntry, *, stop_on_failure: bool) -> None:
    """Mount; a daemon that was started for it does not outlive a failure."""
    from pachmount.cli import process
    from pachmount.client import DaemonClient

    with DaemonClient(socket_path) as client:
        try:
            client.mount([entry])
            [mounted] = [each for each in client.status().mounts if each.name == entry.name]
            if mounted.state != "mounted":
                raise CannotMountError(f"cannot mount at '{entry.mountpoint}'", mounted.status or mounted.state)
        except BaseException:
            if stop_on_failure:
                process.stop(client.status().pid)
            raise


def _say(text: str) -> None:
    print(f"{PROGRAM}: {' '.join(text.split())}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
