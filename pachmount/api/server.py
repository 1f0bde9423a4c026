"""The HTTP server: the table of routes, on a unix socket and, if asked for, over TCP."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import tornado.httpserver
import tornado.netutil
import tornado.web

from pachmount.api import account, cluster, daemon, datums, files, mounts, pipelines, statistics, warmups
from pachmount.api.access import Access, Endpoint, PeerAccess, TokenAccess
from pachmount.api.handlers import MAX_BODY_BYTES, Handler, Services, UnknownPath
from pachmount.errors import ConfigurationError
from pachmount.paths import MAX_SOCKET_PATH_BYTES, make_private_dir

log = logging.getLogger(__name__)

BODY_SECONDS = 120.0
"""How long a client may take to send a request."""

ROUTES: dict[str, type[Handler]] = {
    "/health": cluster.HealthHandler,
    "/status": cluster.StatusHandler,
    "/stats": statistics.StatsHandler,
    "/metrics": statistics.MetricsHandler,
    "/daemon/_reload": daemon.ReloadHandler,
    "/trace": daemon.TraceHandler,
    "/repos": cluster.ReposHandler,
    "/projects": cluster.ProjectsHandler,
    "/branches": cluster.BranchesHandler,
    "/commits": cluster.CommitsHandler,
    "/files": files.FilesHandler,
    "/file": files.FileHandler,
    "/content": files.ContentHandler,
    "/config": cluster.ConfigHandler,
    "/auth/_login": account.LoginHandler,
    "/auth/_login_token": account.LoginTokenHandler,
    "/auth/_logout": account.LogoutHandler,
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
    "/datums": datums.DatumsHandler,
    "/_mount_datums": datums.MountDatumsHandler,
    "/_show_datum": datums.ShowDatumHandler,
    "/datums/_mount": datums.MountDatumsHandler,
    "/datums/_next": datums.OtherDatumHandler,
    "/datums/_prev": datums.OtherDatumHandler,
    "/datums/_list": datums.DatumPageHandler,
    "/datums/_unmount": datums.UnmountDatumsHandler,
    "/pipelines": pipelines.PipelinesHandler,
    "/pipelines/_publish": pipelines.PublishHandler,
    "/warmups": warmups.WarmupsHandler,
    "/_warmup": warmups.WarmupHandler,
    "/_warmup_cancel": warmups.WarmupCancelHandler,
}


class RestServer:
    """The API on all its listeners."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._servers: list[tornado.httpserver.HTTPServer] = []

    def listen(self, socket_path: Path, access: PeerAccess) -> None:
        """Serve on the unix socket `socket_path`: mode 0600, or 0666 if more users have access.

        The caller holds the daemon's lock, so a socket found there is stale. Raises ConfigurationError.
        """
        if len(os.fsencode(socket_path)) > MAX_SOCKET_PATH_BYTES:
            why = f"a socket path has at most {MAX_SOCKET_PATH_BYTES} bytes"
            raise ConfigurationError(f"cannot listen on '{socket_path}'", why, "set XDG_RUNTIME_DIR or PFS_SOCK_PATH")
        if not access.is_shared and not _is_chosen(socket_path):
            make_private_dir(socket_path.parent)
        mode = 0o666 if access.is_shared else 0o600
        former_umask = os.umask(0o777 & ~mode)
        try:
            listener = tornado.netutil.bind_unix_socket(str(socket_path), mode=mode)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"cannot listen on '{socket_path}'", str(error)) from error
        finally:
            os.umask(former_umask)
        self._serve(access, [listener])

    def listen_tcp(self, endpoint: Endpoint, access: TokenAccess) -> str:
        """Serve over TCP; the URL of it. Raises ConfigurationError."""
        try:
            listeners = tornado.netutil.bind_sockets(endpoint.port, endpoint.host)
        except OSError as error:
            why = error.strerror or str(error)
            hint = "choose another: --listen HOST:PORT"
            raise ConfigurationError(f"cannot listen on {endpoint}", why, hint) from error
        self._serve(access, listeners)
        url = f"http://{Endpoint(endpoint.host, listeners[0].getsockname()[1])}"
        log.info("listening on %s", url)
        return url

    def stop(self) -> None:
        """Take no more connections."""
        for server in self._servers:
            server.stop()

    def _serve(self, access: Access, listeners: list[socket.socket]) -> None:
        shared = {"services": self._services, "access": access}
        application = tornado.web.Application(
            [(path, handler, {**shared, "route": path}) for path, handler in ROUTES.items()],
            default_handler_class=UnknownPath,
            default_handler_args=shared,
        )
        server = tornado.httpserver.HTTPServer(application, max_body_size=MAX_BODY_BYTES, body_timeout=BODY_SECONDS)
        server.add_sockets(listeners)
        self._servers.append(server)


def _is_chosen(socket_path: Path) -> bool:
    """Whether the user named the socket: then the directory is the user's business, too."""
    return os.path.abspath(os.environ.get("PFS_SOCK_PATH", "") or "/") == str(socket_path)
