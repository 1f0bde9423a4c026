"""`/pps/_create`: a notebook on Jupyter's disk becomes a pipeline, by way of the daemon's `/pipelines/_publish`."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from pachmount.client import CLUSTER_TIMEOUT, UPLOAD_TIMEOUT
from pachmount.errors import NotFoundError, UsageError
from pachmount.publishing import notebook
from pachmount_lab.disk import names_of
from pachmount_lab.forwarding import Forwarding

PUBLISH = "/pipelines/_publish"


class CreateHandler(Forwarding):
    """GET /pps/_create/NOTEBOOK: the pipeline that it would be. PUT: make it so."""

    @authenticated
    @authorized
    async def get(self, _path: str) -> None:
        path = self._notebook()
        asked = await self.services.workers.run(lambda: _asked(path, dry_run=True))
        reply = await self.forward(CLUSTER_TIMEOUT, PUBLISH, asked, "PUT")
        if reply.is_ok:
            self.answer(reply.json()["spec"])
        else:
            self.pass_on(reply)

    @authenticated
    @authorized
    async def put(self, _path: str) -> None:
        path, told = self._notebook(), self.json_object().get("last_modified_time")
        asked = await self.services.workers.run(lambda: _fresh(path, told))
        self.pass_on(await self.forward(UPLOAD_TIMEOUT, PUBLISH, asked, "PUT"))

    def _notebook(self) -> Path:
        """The notebook's file, below the directory that Jupyter shows. Raises InvalidPathError."""
        names = names_of(self.path_below("/pps/_create"))
        return Path(self.services.root_dir, *map(os.fsdecode, names))


def _fresh(path: Path, told: Any) -> bytes:
    """What to ask the daemon, if the notebook is the one that the browser saved. Raises UsageError."""
    on_disk = _modified(path)
    if not told:
        raise UsageError("Bad Request: last_modified_time not specified")
    if _time(told) != on_disk:
        raise UsageError(f"stale notebook: client time ({told}) != on-disk time ({on_disk})", "", "save it first")
    return _asked(path, dry_run=False)


def _asked(path: Path, *, dry_run: bool) -> bytes:
    """The body for the daemon. Raises UsageError in the original's words for what is missing."""
    try:
        read = notebook.read_notebook(path)
        config = read.complete_config()
        requirements = path.parent / config.requirements if config.requirements else None
        others = [notebook.beside(path, name) for name in config.external_files]
        code = notebook.code_files(read.script(), requirements, others)
    except NotFoundError as error:  # the original answers 400
        raise UsageError(error.what, error.why, error.hint) from error
    body = {
        "name": config.name,
        "project": config.project,
        "image": config.image,
        "input": config.input_spec,
        "code": code,
        "port": config.port,
        "gpu_mode": config.gpu_mode,
        "resource_spec": config.resource_spec,
        "dry_run": dry_run,
    }
    return json.dumps(body).encode()


def _modified(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    except OSError as error:
        raise UsageError(f"notebook does not exist: {path}", error.strerror or "", "check the path") from error


def _time(told: Any) -> datetime:
    try:
        time = datetime.fromisoformat(str(told).replace("Z", "+00:00"))
    except ValueError as error:
        why = f"'{told}' is no time as Jupyter has it"
        raise UsageError("Bad Request: last_modified_time cannot be read", why) from error
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
