"""The HTTP server: the table of routes, on a unix socket that only its owner may open."""

from __future__ import annotations

import os
from pathlib import Path

import tornado.httpserver
import tornado.netutil
import tornado.web

from pachmount.api import cluster, mounts, statistics, warmups
from pachmount.api.handlers import MAX_BODY_BYTES, Handler, Services, UnknownPath
from pachmount.errors import ConfigurationError
from pachmount.paths import MAX_SOCKET_PATH_BYTES, make_private_dir

ROUTES: dict[str, type[Handler]] = {
    "/health": cluster.HealthHandler,
    "/status": cluster.StatusHandler,
    "/stats": statistics.StatsHandler,
    "/metrics": statistics.MetricsHandler,
    "/repos": cluster.ReposHandler,
    "/projects": cluster.ProjectsHandler,
    "/branches": cluster.BranchesHandler,
    "/commits": cluster.CommitsHandler,
    "/files": cluster.FilesHandler,
    "/config": cluster.ConfigHandler,
    "/auth/_logout": cluster.LogoutHandler,
    "/mounts": mounts.MountsHandler,
    "/_mount": mounts.MountHandler,
    "/_unmount": mounts.UnmountHandler,
    "/_unmount_all": mounts.UnmountAllHandler,
    "/_commit": mounts.CommitHandler,
    "/_diff": mounts.DiffHandler,
    "/_discard": mounts.DiscardHandler,
    "/_refresh": mounts.RefreshHandler,
    "/_remount": mounts.RemountHandler,
    "/_follow": mounts.FollowHandler,
    "/warmups": warmups.WarmupsHandler,
    "/_warmup": warmups.WarmupHandler,
    "/_warmup_cancel": warmups.WarmupCancelHandler,
}


def listen(services: Services, socket_path: Path) -> tornado.httpserver.HTTPServer:
    """Serve the API on `socket_path`, mode 0600.

    The caller holds the daemon's lock, so a socket found there is stale. Raises ConfigurationError.
    """
    if len(os.fsencode(socket_path)) > MAX_SOCKET_PATH_BYTES:
        why = f"a socket path has at most {MAX_SOCKET_PATH_BYTES} bytes"
        raise ConfigurationError(f"cannot listen on '{socket_path}'", why, "set XDG_RUNTIME_DIR or PFS_SOCK_PATH")
    if "PFS_SOCK_PATH" not in os.environ:
        make_private_dir(socket_path.parent)
    application = tornado.web.Application(
        [(path, handler, {"services": services, "route": path}) for path, handler in ROUTES.items()],
        default_handler_class=UnknownPath,
        default_handler_args={"services": services},
    )
    server = tornado.httpserver.HTTPServer(application, max_body_size=MAX_BODY_BYTES)
    former_umask = os.umask(0o177)
    try:
        server.add_socket(tornado.netutil.bind_unix_socket(str(socket_path), mode=0o600))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot listen on '{socket_path}'", str(error)) from error
    finally:
        os.umask(former_umask)
    return server
