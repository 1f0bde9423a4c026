"""The checks of `doctor`: each thing the program needs, found or what to do. No Typer, no Rich.

No check touches a path that may lie below a mount: a dead or hung mount would take us with it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pachmount import paths
from pachmount.errors import CannotMountError, ConfigurationError, ExitCode, PachmountError
from pachmount.fuse import kernel, library

LOW_DISK_BYTES = 1 << 30
PROBE_SECONDS = 3.0
STORE_SECONDS = 30.0
LAB_EXTENSION = "pachmount-lab"
FUSE3_HINT = "apt install fuse3"


class Verdict(Enum):
    """What the doctor thinks of something."""

    OK = "ok"
    NOTE = "note"
    """Works, but look at it."""
    PROBLEM = "problem"


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report; `advice` says what to do about a problem."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def ok(name: str, found: str) -> Check:
    return Check(name, Verdict.OK, found)


def note(name: str, found: str, advice: str = "") -> Check:
    return Check(name, Verdict.NOTE, found, advice)


def problem(name: str, found: str, advice: str) -> Check:
    return Check(name, Verdict.PROBLEM, found, advice)


def system_checks(places: paths.Places) -> list[Check]:
    """What this machine must have, in the order in which a mount needs it."""
    checks: list[Callable[[], list[Check]]] = [
        lambda: [fuse_device()],
        lambda: [libfuse()],
        lambda: [fusermount()],
        settings,
        unread_variables,
        lambda: [mount_directory(places.mount_dir)],
        lambda: dead_mounts(places.mount_dir),
        stray_mounts,
        lambda: socket_owner(places.socket),
        lambda: directories(places),
        local_store,
        lambda: staged_stores(places),
        lambda: damaged_files(places),
        lambda: [context_file()],
        lambda: [clock()],
        lambda: [lab_extension()],
    ]
    return [result for check in checks for result in check()]


def fuse_device(device: Path = Path("/dev/fuse")) -> Check:
    name = str(device)
    try:
        os.close(os.open(device, os.O_RDWR))
    except FileNotFoundError:
        return problem(name, "missing", "modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN")
    except PermissionError:
        return problem(name, "may not be opened by you", f"chmod 666 {device}; in a container: --device /dev/fuse")
    except OSError as error:
        return problem(name, error.strerror or str(error), "modprobe fuse")
    return ok(name, "can be opened")


def libfuse(environment: Mapping[str, str] = os.environ) -> Check:
    try:
        found = library.choose(environment)
    except CannotMountError as error:
        return problem("libfuse", error.why, error.hint)
    return ok("libfuse", f"libfuse {found.version} with {found.binding}")


def fusermount(is_root: bool | None = None, which: Callable[[str], str | None] = shutil.which) -> Check:
    program = which("fusermount") or which("fusermount3")
    root = os.geteuid() == 0 if is_root is None else is_root
    if program is not None:
        info = os.stat(program)
        if root or (info.st_mode & 0o4000 and info.st_uid == 0):
            return ok("fusermount", program)
        return problem("fusermount", f"{program} is not setuid root", f"chmod u+s {program}, or {FUSE3_HINT}")
    if root:
        return ok("fusermount", "not found, and root does not need it")
    return problem("fusermount", "not found", FUSE3_HINT)


def settings(fuse_conf: Path = Path("/etc/fuse.conf")) -> list[Check]:
    """The settings file and variables; with allow_other the permission for it."""
    from pachmount import settings as module

    try:
        loaded = module.load()
    except ConfigurationError as error:
        return [problem("settings", str(error), error.hint or f"correct {paths.config_dir() / 'pachmount.toml'}")]
    results = [ok("settings", "valid")]
    if loaded.allow_other and not kernel.may_mount():
        if kernel.others_are_permitted(fuse_conf):
            results.append(ok("allow_other", f"permitted by {fuse_conf}"))
        else:
            results.append(
                problem("allow_other", f"not permitted by {fuse_conf}", "add the line user_allow_other to it")
            )
    return results


def unread_variables() -> list[Check]:
    """Variables that look like settings, but are none."""
    from pachmount.settings import unread_variables

    found = unread_variables()
    return [
        note(name, "nothing reads it", f"did you mean {near}?" if near else f"unset {name}") for name, near in found
    ]


def mount_directory(directory: Path) -> Check:
    name = "mount directory"
    covering = mount_above(directory)
    if covering == str(directory):
        return ok(name, f"{directory} is itself a mount, with a daemon of its own")
    if covering is not None:
        return problem(name, f"{directory} lies in the mount at {covering}", "choose another with --mount-dir")
    return _usable_directory(name, directory, "choose another with --mount-dir DIR or PFS_MOUNT_DIR")


def dead_mounts(mount_dir: Path) -> list[Check]:
    """Mounts of a daemon that died, and mounts that do not answer."""
    results = []
    for mount in kernel.our_mounts(mount_dir):
        state = probe(mount.mountpoint)
        if state == "dead":
            results.append(problem("mount", f"{mount.mountpoint} is dead", "pachmount daemon start (it cleans up)"))
        elif state == "hung":
            advice = f"pachmount daemon restart; if that fails: fusermount -u -z {mount.mountpoint}"
            results.append(problem("mount", f"{mount.mountpoint} does not answer", advice))
        else:
            results.append(ok("mount", f"{mount.mountpoint} answers"))
    return results


def stray_mounts() -> list[Check]:
    """Mounts that answer nobody any more and were made at other places: by mount(8), say."""
    results = []
    below = paths.default_mount_dir()
    for mount in kernel.mount_table():
        place = mount.mountpoint
        if mount.fs_type != kernel.FS_TYPE or Path(place).is_relative_to(below) or probe(place) == "ok":
            continue
        advice = f"pachmount daemon start --mount-dir {place}; or fusermount -u -z {place}"
        results.append(problem("mount", f"{place} does not answer: its daemon is gone or hangs", advice))
    return results


def socket_owner(socket: Path) -> list[Check]:
    """Whose the daemon's socket is; nothing where there is none."""
    if not os.path.lexists(socket):
        return []
    owner = socket.lstat().st_uid
    if 0 in (owner, os.geteuid()) or owner == os.geteuid():
        return [ok("socket", str(socket))]
    return [note("socket", f"{socket} belongs to user {owner}", "set socket_users, or --mount-dir DIR")]


def probe(mountpoint: str, seconds: float = PROBE_SECONDS) -> str:
    """`ok`, `dead` or `hung`, asked by another process, which is abandoned if it never comes back."""
    process = subprocess.Popen(  # -f: a plain stat of a dead mount is answered from the kernel's cache
        ["stat", "-f", "--", mountpoint],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        return "ok" if process.wait(timeout=seconds) == 0 else "dead"
    except subprocess.TimeoutExpired:
        process.kill()
        return "hung"


def mount_above(path: Path) -> str | None:
    """The mount of ours at or above `path`, by name only."""
    for mount in kernel.mount_table():
        if mount.fs_type == kernel.FS_TYPE and f"{path}/".startswith(f"{mount.mountpoint}/"):
            return mount.mountpoint
    return None


def directories(places: paths.Places) -> list[Check]:
    """Where the daemon writes: usable, not below a mount of ours, with room."""
    try:
        from pachmount import settings as module

        cache = module.load().cache_dir
    except ConfigurationError:
        cache = paths.cache_dir()  # reported by the check of the settings
    results = []
    for name, directory in (
        ("runtime directory", places.socket.parent),
        ("state directory", places.log_file.parent),
        ("cache directory", cache),
        ("data directory", paths.local_store()),
        ("staging directory", places.staged),
    ):
        covering = mount_above(directory)
        if covering is not None:
            results.append(problem(name, f"{directory} lies in the mount at {covering}", "put it somewhere else"))
            continue
        check = _usable_directory(name, directory, "make it writable for you, or set another place")
        if check.verdict is Verdict.OK and name in ("cache directory", "data directory", "staging directory"):
            check = _with_room(check, directory)
        results.append(check)
    return results


def local_store() -> list[Check]:
    """Whether the embedded server would find its data as it left them; nothing if there are none or they are in use."""
    store = paths.local_store()
    if not any((store / name).exists() for name in ("pfs.db", "packs", "ledger")):
        return []
    command = [sys.executable, "-m", "pachmount.localpfs", "--root", str(store), "--glance", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STORE_SECONDS, check=False)
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return [note("embedded server", f"looking at {store} took too long", "pachmount serve --check")]
    except ValueError:
        if done.returncode == ExitCode.BUSY:
            return [ok("embedded server", f"has {store} open")]
        return [problem("embedded server", done.stderr.strip() or f"{store} cannot be read", "pachmount serve --check")]
    if found["problem"]:
        text = f"{store} is damaged: {found['problem']}"
        return [problem("embedded server", text, "pachmount daemon stop, then: pachmount serve --repair")]
    return [ok("embedded server", f"its data in {store} are as it left them")]


def staged_stores(places: paths.Places) -> list[Check]:
    """Whether changes that are staged and not mounted are as they were left."""
    from pachmount.overlay.kept import kept_in, repair_hint

    return [
        problem("staged changes", f"those of '{each.name}' are damaged: {each.damage}", repair_hint(each.name))
        for each in kept_in(places.staged)
        if each.damage
    ]


def damaged_files(places: paths.Places) -> list[Check]:
    """Lists of mounts that were damaged, which the daemon has set aside."""
    from pachmount.documents import aside_in

    advice = "look with 'pachmount status' whether a mount is missing, 'pachmount mount' makes it; then delete the file"
    return [
        note("list of mounts", f"it was damaged and set aside as {file}", advice)
        for file in aside_in(places.mounts_file.parent)
    ]


def _usable_directory(name: str, directory: Path, advice: str) -> Check:
    try:
        existing = _nearest_existing(directory)
    except OSError as error:
        return problem(name, f"{directory}: {error.strerror or error}", advice)
    if not existing.is_dir():
        return problem(name, f"{existing} is not a directory", advice)
    if not os.access(existing, os.W_OK | os.X_OK):
        return problem(name, f"{existing} is not writable for you", advice)
    return ok(name, str(directory) if existing == directory else f"{directory} can be made")


def _nearest_existing(path: Path) -> Path:
    while True:
        try:
            path.lstat()
            return path
        except (FileNotFoundError, NotADirectoryError):
            path = path.parent


def _with_room(check: Check, directory: Path) -> Check:
    usage = shutil.disk_usage(_nearest_existing(directory))
    if usage.free < LOW_DISK_BYTES:
        return note(check.name, f"{check.found}, only {usage.free >> 20} MiB free", "free some disk space")
    return ok(check.name, f"{check.found}, {usage.free >> 30} GiB free")


def context_file() -> Check:
    from pachmount.pfs.contexts import ContextFile, config_path

    path = config_path()
    try:
        file = ContextFile.load()
        active = file.active()
    except PachmountError as error:
        return problem("context file", str(error), error.hint or f"correct or remove {path}")
    if not active.address:
        return ok("context file", f"{path} names no cluster: the embedded server is used")
    return ok("context file", f"{path}, context '{active.name}': {active.address}")


def clock(now: float | None = None) -> Check:
    """Our own files cannot be from the future, unless the clock is wrong."""
    newest = os.stat(__file__).st_mtime
    behind = newest - (time.time() if now is None else now)
    if behind > 86400:
        return problem("clock", f"{behind / 86400:.0f} days behind the date of this program", "set the clock (ntp)")
    return ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def lab_extension(prefix: Path = Path(sys.prefix)) -> Check:
    """Whether JupyterLab has our panel."""
    name, lab = "JupyterLab panel", prefix / "share/jupyter/labextensions"
    if not lab.parent.is_dir():
        return ok(name, "there is no Jupyter here")
    if not (lab / LAB_EXTENSION).is_dir():
        return note(name, "not installed", "pip install 'pachmount[lab]'")
    return ok(name, "installed")
