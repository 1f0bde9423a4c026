"""The HTTP server: the table of routes, on a unix socket and, if asked for, over TCP."""

from __future__ import annotations

import asyncio
import errno
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
SOCKET_SECONDS = 2.0
"""How often to look whether the socket's file is still there."""
BACKLOG = 128
"""How many connections may wait to be accepted."""

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
    "/staged": mounts.StagedHandler,
    "/staged/_discard": mounts.DiscardStagedHandler,
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
        self._unix: tuple[Path, PeerAccess, tornado.httpserver.HTTPServer] | None = None

    def listen(self, socket_path: Path, access: PeerAccess) -> None:
        """Serve on the unix socket `socket_path`: mode 0600, or 0666 if more users have access.

        The caller holds the daemon's lock, so a socket found there is stale. Raises ConfigurationError.
        """
        if len(os.fsencode(socket_path)) > MAX_SOCKET_PATH_BYTES:
            why = f"a socket path has at most {MAX_SOCKET_PATH_BYTES} bytes"
            raise ConfigurationError(f"cannot listen on '{socket_path}'", why, "set XDG_RUNTIME_DIR or PFS_SOCK_PATH")
        if not access.is_shared and not _is_chosen(socket_path):
            make_private_dir(socket_path.parent)
        try:
            listener = _bind(socket_path, 0o666 if access.is_shared else 0o600)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on '{socket_path}'", error.strerror or str(error)) from error
        self._unix = socket_path, access, self._serve(access, [listener])

    async def keep_listening(self) -> None:
        """Make the unix socket anew whenever its file was removed; while that fails, the reason is logged once.

        logind removes the runtime directory with a user's last session, while daemon and mounts live on.
        """
        told = ""
        while True:
            await asyncio.sleep(SOCKET_SECONDS)
            try:
                if self._listen_again():
                    log.warning("the socket was removed and is made anew")
                told = ""
            except ConfigurationError as error:
                if str(error) != told:
                    log.warning("the socket was removed: %s", error)
                    told = str(error)

    def _listen_again(self) -> bool:
        if self._unix is None or os.path.lexists(self._unix[0]):
            return False
        socket_path, access, unreachable = self._unix
        self.listen(socket_path, access)
        unreachable.stop()  # no more connections; those that exist go on
        self._servers.remove(unreachable)
        return True

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

    def _serve(self, access: Access, listeners: list[socket.socket]) -> tornado.httpserver.HTTPServer:
        shared = {"services": self._services, "access": access}
        application = tornado.web.Application(
            [(path, handler, {**shared, "route": path}) for path, handler in ROUTES.items()],
            default_handler_class=UnknownPath,
            default_handler_args=shared,
        )
        server = tornado.httpserver.HTTPServer(application, max_body_size=MAX_BODY_BYTES, body_timeout=BODY_SECONDS)
        server.add_sockets(listeners)
        self._servers.append(server)
        return server


def _bind(socket_path: Path, mode: int) -> socket.socket:
    """A listening unix socket that nobody without `mode` can ever connect to, in the place of a stale one."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(listener.fileno(), mode)  # before it has a name; unlike a umask it is no other thread's business
        if socket_path.is_socket():
            socket_path.unlink()
        elif os.path.lexists(socket_path):
            raise FileExistsError(errno.EEXIST, "something that is no socket is there")
        listener.bind(os.fspath(socket_path))
        os.chmod(socket_path, mode)  # the umask took bits of it
        listener.setblocking(False)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_chosen(socket_path: Path) -> bool:
    """Whether the user named the socket: then the directory is the user's business, too."""
    return os.path.abspath(os.environ.get("PFS_SOCK_PATH", "") or "/") == str(socket_path)
