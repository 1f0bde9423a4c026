"""Where things live: the mount directory, the daemon's socket, lock, log and state, the cache, the embedded store.

One daemon serves one mount directory of one user; everything that belongs to it is named after that directory. This
module imports nothing heavy: every command starts with it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pachmount.errors import ConfigurationError

MAX_SOCKET_PATH_BYTES = 107
"""sizeof(sockaddr_un.sun_path) - 1 on Linux."""

SYSTEM_MOUNT_DIR = Path("/pfs")


def _xdg(env: Mapping[str, str], variable: str, default: str) -> Path:
    value = env.get(variable, "")
    base = Path(value) if os.path.isabs(value) else home(env) / default
    return base / "pachmount"


def home(env: Mapping[str, str] = os.environ) -> Path:
    """The user's home directory; `HOME` wins, as in a shell."""
    return Path(env.get("HOME") or os.path.expanduser("~"))


def config_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where settings are, by default."""
    return _xdg(env, "XDG_CONFIG_HOME", ".config")


def cache_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where cached data is, by default."""
    return _xdg(env, "XDG_CACHE_HOME", ".cache")


def state_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where logs, the list of mounts and staged changes are, by default."""
    return _xdg(env, "XDG_STATE_HOME", ".local/state")


def data_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where the embedded server's files are, by default."""
    return _xdg(env, "XDG_DATA_HOME", ".local/share")


def local_store(env: Mapping[str, str] = os.environ) -> Path:
    """Where the embedded server keeps repositories."""
    return data_dir(env) / "local"


def runtime_dir(env: Mapping[str, str] = os.environ) -> Path:
    """The directory of sockets and locks: below `XDG_RUNTIME_DIR`, else below the state directory."""
    value = env.get("XDG_RUNTIME_DIR", "")
    return Path(value) / "pachmount" if os.path.isabs(value) else state_dir(env) / "run"


def default_mount_dir(env: Mapping[str, str] = os.environ) -> Path:
    """`PFS_MOUNT_DIR`, else `/pfs` where the user can use or make it, else `~/pfs`."""
    chosen = env.get("PFS_MOUNT_DIR", "")
    if chosen:
        return Path(os.path.abspath(chosen))
    usable = SYSTEM_MOUNT_DIR if SYSTEM_MOUNT_DIR.is_dir() else SYSTEM_MOUNT_DIR.parent
    if os.access(usable, os.W_OK | os.X_OK):
        return SYSTEM_MOUNT_DIR
    return home(env) / "pfs"


def sidecar_mode(env: Mapping[str, str] = os.environ) -> bool:
    """Whether the daemon is in a container of its own, beside that of the user (`SIDECAR_MODE`)."""
    return env.get("SIDECAR_MODE", "").lower() in ("1", "true")


def embedded_socket(env: Mapping[str, str] = os.environ) -> Path:
    """The socket of the embedded server that daemons share."""
    return _short(runtime_dir(env) / "localpfs.sock", env)


def _short(socket: Path, env: Mapping[str, str]) -> Path:
    if len(os.fsencode(socket)) <= MAX_SOCKET_PATH_BYTES:
        return socket
    digest = hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]
    short = Path(env.get("TMPDIR", "/tmp")) / f"pachmount-{os.getuid()}" / f"{digest}.sock"  # noqa: S108 (0700, checked)
    if len(os.fsencode(short)) > MAX_SOCKET_PATH_BYTES:
        short = Path(f"/tmp/pachmount-{os.getuid()}/{digest}.sock")  # noqa: S108
    return short


@dataclass(frozen=True)
class Places:
    """The paths of one daemon."""

    mount_dir: Path
    socket: Path
    lock_file: Path
    log_file: Path
    mounts_file: Path
    staged: Path
    token_file: Path

    @property
    def mounts_aside(self) -> Path:
        """Where the table of mounts is put, beside the socket, when its own place cannot be written."""
        return self.socket.with_suffix(".mounts")


def runs_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Where `pachmount run` keeps logs and outputs of datums."""
    return state_dir(env) / "runs"


def exec_dir(env: Mapping[str, str] = os.environ) -> Path:
    """An empty directory over which `pachmount exec` and `run` mount the private files of its daemon."""
    usual = state_dir(env) / "exec"
    socket = private_places(SYSTEM_MOUNT_DIR, usual).socket
    return usual if len(os.fsencode(socket)) <= MAX_SOCKET_PATH_BYTES else Path(f"/tmp/pachmount-{os.getuid()}/exec")  # noqa: S108


def private_places(mount_dir: Path, directory: Path) -> Places:
    """The paths of a daemon that has all its own files in `directory`."""
    return Places(
        mount_dir=mount_dir,
        socket=directory / "daemon.sock",
        lock_file=directory / "daemon.lock",
        log_file=directory / "daemon.log",
        mounts_file=directory / "mounts.json",
        staged=directory / "staged",
        token_file=directory / "rest-token",
    )


def daemon_url(env: Mapping[str, str] = os.environ) -> str:
    """Where the daemon listens over TCP: `PACHMOUNT_URL`, or the original's `DEFAULT_SCHEMA=http`; "" = its socket."""
    fallback = "http://127.0.0.1:9002" if env.get("DEFAULT_SCHEMA", "") == "http" else ""
    return env.get("PACHMOUNT_URL", "") or fallback


def places(mount_dir: Path | None = None, env: Mapping[str, str] = os.environ) -> Places:
    """The paths of the daemon for `mount_dir` (default: `default_mount_dir`); `PFS_SOCK_PATH` overrides the socket."""
    directory = Path(os.path.abspath(mount_dir)) if mount_dir is not None else default_mount_dir(env)
    real = os.path.realpath(directory)  # one directory has one daemon, by whatever links it is reached
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:8]
    instance = f"{os.path.basename(real) or 'root'}-{digest}"
    state = state_dir(env) / instance
    chosen = env.get("PFS_SOCK_PATH", "")
    socket = Path(os.path.abspath(chosen)) if chosen else _short(runtime_dir(env) / f"{instance}.sock", env)
    return Places(
        mount_dir=directory,
        socket=socket,
        lock_file=state / "daemon.lock",
        log_file=state / "daemon.log",
        mounts_file=state / "mounts.json",
        staged=state / "staged",
        token_file=state / "rest-token",
    )


_outer_umask = 0o022


def keep_private() -> None:
    """Let all that this process makes from now on be its user's alone, unless it is given a mode of its own.

    The umask that it was started with still decides about directories that others may see (`visible_mode`).
    """
    global _outer_umask  # as the umask itself is
    _outer_umask = os.umask(0o077)


def visible_mode() -> int:
    """The mode of a directory that others may see, such as the mount directory: nobody else writes to it."""
    return 0o777 & ~((_outer_umask | 0o022) & 0o077)


def make_dirs(directory: Path, mode: int = 0o700) -> None:
    """Create `directory` and what is missing above it, all with that very mode, whatever the umask. Raises OSError."""
    missing, level = [], directory
    while not level.exists() and level != level.parent:
        missing.append(level)
        level = level.parent
    for level in reversed(missing):
        try:
            level.mkdir(mode)
        except FileExistsError:
            continue
        level.chmod(mode)  # the umask took bits of it
    directory.mkdir(mode, exist_ok=True)


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file, made with mode 0600 whatever the umask if `flags` say so; an `opener`. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    info = os.fstat(descriptor)
    if flags & os.O_CREAT and info.st_uid == os.getuid() and stat.S_IMODE(info.st_mode) != 0o600:
        os.fchmod(descriptor, 0o600)
    return descriptor


def make_private_dir(directory: Path) -> None:
    """Create `directory` with mode 0700; refuse one that belongs to somebody else or is a symlink."""
    try:
        make_dirs(directory)
        info = directory.lstat()
    except OSError as error:
        raise ConfigurationError(f"cannot use directory '{directory}'", error.strerror or str(error)) from error
    if not stat.S_ISDIR(info.st_mode):
        raise ConfigurationError(f"cannot use directory '{directory}'", "it is not a directory")
    if info.st_uid != os.getuid():
        raise ConfigurationError(f"cannot use directory '{directory}'", "it belongs to another user")
    if stat.S_IMODE(info.st_mode) & 0o077:
        directory.chmod(0o700)
