"""Putting it together: the routes, and what becomes of the daemon when Jupyter's server ends."""

from __future__ import annotations

import atexit
import os
import re
from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from traitlets import Bool, default
from traitlets.config import Configurable

from pachmount_lab import contents, forwarding, publish, state
from pachmount_lab.archives import Archives
from pachmount_lab.daemon import Daemon
from pachmount_lab.handlers import PREFIX, Services
from pachmount_lab.login import Logins
from pachmount_lab.outputs import Outputs
from pachmount_lab.tree import Tree
from pachmount_lab.uploads import Uploads
from pachmount_lab.workers import Workers

STOP_VARIABLE = "PACHMOUNT_LAB_STOP_DAEMON"


class PachmountLab(Configurable):
    """Settings in Jupyter's configuration: `c.PachmountLab.stop_daemon = True`."""

    stop_daemon = Bool(help="Whether a daemon that Jupyter's server started ends with it.").tag(config=True)

    @default("stop_daemon")
    def _stop_daemon_default(self) -> bool:
        return os.environ.get(STOP_VARIABLE, "").lower() in ("1", "true")


def load(server_app: ServerApp) -> None:
    """Add the routes to a server; the daemon is not started before one of them is used."""
    daemon = Daemon()
    if PachmountLab(parent=server_app).stop_daemon:
        atexit.register(daemon.stop_if_ours)
    workers = Workers()
    root_dir = os.path.abspath(os.path.expanduser(server_app.root_dir))
    services = Services(daemon, workers, Uploads(workers), Logins(daemon), root_dir)
    base = url_path_join(server_app.web_app.settings["base_url"], PREFIX)
    routes = [(re.escape(base) + path, handler, more) for path, handler, more in _routes(services)]
    server_app.web_app.add_handlers(".*$", routes)  # type: ignore[no-untyped-call]
    server_app.log.info("pachmount: the daemon is at %s", daemon.address)


def _routes(services: Services) -> list[tuple[str, Any, dict[str, Any]]]:
    shared = {"services": services}
    watched = {**shared, "watch": state.Watch(services.daemon, services.logins, services.root_dir)}
    outputs = Outputs(services.daemon, services.workers)
    drive = {**shared, "tree": Tree(services.daemon, outputs)}
    packing = {**drive, "archives": Archives(services.daemon, outputs)}
    return [
        ("/state", state.StateHandler, watched),
        ("/health", state.HealthHandler, shared),
        ("/doctor", state.DoctorHandler, shared),
        ("/daemon/_start", state.StartHandler, watched),
        ("/daemon/_restart", state.RestartHandler, watched),
        ("/config", forwarding.ConfigHandler, shared),
        ("/auth/_login", forwarding.LoginHandler, shared),
        ("/_commit", forwarding.CommitHandler, shared),
        ("/content", forwarding.ContentHandler, shared),
        ("/contents((?:/.*)?)", contents.ContentsHandler, drive),
        ("/pfs((?:/.*)?)", contents.PfsHandler, drive),
        ("/download(/.+)", contents.DownloadHandler, packing),
        ("/pps/_create(/.+)", publish.CreateHandler, shared),
        *((route, forwarding.ForwardHandler, {**shared, "route": route}) for route in forwarding.ROUTES),
    ]
