"""What surrounds the daemon: its process, the paths that it may use, who may call it over TCP."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
from pathlib import Path

from pachmount import paths
from pachmount.api.access import TokenAccess, parse_endpoint, parse_hosts, read_or_make_token
from pachmount.errors import ConfigurationError
from pachmount.paths import Places
from pachmount.settings import Settings

log = logging.getLogger(__name__)

MEMORY_POOLS = 2
_M_ARENA_MAX = -8


def bound_memory_pools() -> None:
    """Let the C library keep few pools of memory: with one for each thread, buffers of MiB pile up in all of them."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, MEMORY_POOLS)


def client_access(where: Places, settings: Settings) -> TokenAccess:
    """The rule for clients over TCP."""
    endpoint = parse_endpoint(settings.listen)
    token = read_or_make_token(settings.token_file or where.token_file) if settings.require_token else None
    if token is None and not endpoint.is_loopback:
        log.warning("whoever reaches %s may use the mounts and the session: there is no token", endpoint)
    return TokenAccess(token, parse_hosts(settings.allowed_hosts), endpoint.host)


def refuse_own_paths_below(where: Places, settings: Settings) -> None:
    """A daemon that reads or writes below its own mounts waits for itself for ever."""
    for path in (
        settings.cache_dir,
        where.log_file,
        where.mounts_file,
        where.staged,
        where.socket,
        paths.local_store(),
    ):
        if f"{os.path.realpath(path)}/".startswith(f"{os.path.realpath(where.mount_dir)}/"):
            why = f"it lies below the mount directory {where.mount_dir}"
            raise ConfigurationError(f"cannot use '{path}'", why, "choose another mount directory: --mount-dir DIR")


def rss_bytes() -> int:
    """How much memory this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
