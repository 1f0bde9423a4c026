"""Writes docs/openapi.json from the routes and `schema`: `python -m pachmount.api.openapi`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pachmount import __version__
from pachmount.api import schema
from pachmount.api.handlers import Handler
from pachmount.api.server import ROUTES

PAGE = Path("docs/openapi.json")
"""Seen from the top of the repository."""
REFERENCE = "#/components/schemas/{model}"

_TEXT = {"type": "string"}
_NUMBER = {"type": "integer", "minimum": 0}
_PLACE: dict[str, dict[str, Any]] = {"mount": _TEXT, "path": _TEXT, "source": _TEXT}
"""A place in a mount or, without one, in a commit."""


@dataclass(frozen=True)
class Operation:
    """What one method of a route takes and answers; `answers_ours` instead to a request with our header.

    `query` maps names of parameters to their schema.
    """

    answers: type[BaseModel] | None = None
    reads: type[BaseModel] | None = None
    is_list: bool = False
    content: str = "application/json"
    query: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_ours: bool = True
    answers_ours: type[BaseModel] | None = None


def _theirs(answers: type[BaseModel] | None, reads: type[BaseModel] | None = None, **more: Any) -> Operation:
    return Operation(answers, reads, is_ours=False, **more)


_MOUNTS = schema.MountsAnswer
OPERATIONS: dict[tuple[str, str], Operation] = {
    ("get", "/health"): _theirs(schema.HealthAnswer),
    ("get", "/status"): Operation(schema.StatusAnswer),
    ("get", "/stats"): Operation(schema.StatsAnswer, query={"mount": {"type": "array", "items": _TEXT}}),
    ("put", "/daemon/_reload"): Operation(schema.ReloadAnswer),
    ("get", "/trace"): Operation(schema.TraceAnswer, query={"mount": _TEXT, "after": _NUMBER}),
    ("get", "/metrics"): Operation(content="text/plain"),
    ("get", "/repos"): _theirs(schema.RepoAnswer, is_list=True),
    ("get", "/projects"): _theirs(schema.ProjectAnswer, is_list=True),
    ("get", "/branches"): Operation(schema.BranchAnswer, is_list=True, query={"repo": _TEXT}),
    ("get", "/commits"): Operation(
        schema.CommitAnswer, is_list=True, query={"repo": _TEXT, "branch": _TEXT, "number": _NUMBER}
    ),
    ("get", "/files"): Operation(
        schema.FilesAnswer, query={**_PLACE, "after": _TEXT, "number": _NUMBER, "filter": _TEXT}
    ),
    ("get", "/file"): Operation(schema.EntryAnswer, query=_PLACE),
    ("get", "/content"): Operation(content="application/octet-stream", query=_PLACE),
    ("get", "/config"): _theirs(schema.ConfigAnswer),
    ("put", "/config"): _theirs(schema.ConfigAnswer, schema.ConfigRequest),
    ("put", "/auth/_login"): _theirs(schema.LoginAnswer),
    ("put", "/auth/_login_token"): _theirs(schema.ContextAnswer, schema.LoginTokenRequest),
    ("put", "/auth/_logout"): _theirs(None, schema.LogoutRequest),
    ("get", "/mounts"): _theirs(_MOUNTS),
    ("put", "/_mount"): _theirs(_MOUNTS, schema.MountRequest),
    ("put", "/_unmount"): _theirs(_MOUNTS, schema.UnmountRequest),
    ("put", "/_unmount_all"): _theirs(_MOUNTS),
    ("put", "/_commit"): _theirs(_MOUNTS, schema.CommitRequest, answers_ours=schema.CommittedAnswer),
    ("put", "/_diff"): Operation(schema.DiffAnswer, schema.DiffRequest),
    ("put", "/_discard"): Operation(_MOUNTS, schema.DiscardRequest),
    ("get", "/staged"): Operation(schema.StagedAnswer),
    ("put", "/staged/_discard"): Operation(schema.StagedAnswer, schema.DiscardStagedRequest),
    ("put", "/_refresh"): Operation(_MOUNTS, schema.RefreshRequest),
    ("put", "/_remount"): Operation(_MOUNTS, schema.RemountRequest),
    ("put", "/_follow"): Operation(_MOUNTS, schema.FollowRequest),
    ("get", "/datums"): _theirs(schema.DatumsAnswer),
    ("put", "/_mount_datums"): _theirs(schema.DatumAnswer),
    ("put", "/_show_datum"): _theirs(schema.DatumAnswer, query={"idx": _NUMBER, "id": _TEXT}),
    ("put", "/datums/_mount"): _theirs(schema.DatumAnswer),
    ("put", "/datums/_next"): _theirs(schema.DatumAnswer),
    ("put", "/datums/_prev"): _theirs(schema.DatumAnswer),
    ("get", "/datums/_list"): Operation(schema.DatumPageAnswer, query={"start": _NUMBER, "number": _NUMBER}),
    ("put", "/datums/_unmount"): Operation(schema.DatumsAnswer),
    ("get", "/pipelines"): Operation(schema.PipelineAnswer, is_list=True, query={"project": _TEXT, "name": _TEXT}),
    ("put", "/pipelines/_publish"): Operation(schema.PublishedAnswer, schema.PublishRequest),
    ("get", "/warmups"): Operation(schema.WarmupsAnswer),
    ("put", "/_warmup"): Operation(schema.WarmupStatus, schema.WarmupRequest),
    ("put", "/_warmup_cancel"): Operation(schema.WarmupStatus, schema.WarmupCancelRequest),
}

_HEAD = """\
The REST API of the pachmount daemon, on a unix socket and, if asked for, over TCP with a token. Operations tagged
`compatible` are those of Pachyderm's mount-server; docs/rest.md shows each with curl.\
"""
_ERROR = """\
Plain text; with the header `X-Pachmount-Client: 1` JSON. Compatible operations answer 400 (a bad request), 401 (a \
login or the token is missing), 403 (the daemon is somebody else's), 404 (no cluster is configured) or 500; the rest, \
and all with that header, use 409, 501, 503, 504 and 507 as well.\
"""


def document() -> dict[str, Any]:
    """The whole of it as nested dicts."""
    told = [(each.reads, each.answers, each.answers_ours) for each in OPERATIONS.values()]
    models = {model for each in told for model in each if model}
    models.add(schema.ErrorAnswer)
    ordered = sorted(models, key=lambda model: model.__name__)
    inputs = {operation.reads for operation in OPERATIONS.values()}
    modes = [(model, "validation" if model in inputs else "serialization") for model in ordered]
    _, definitions = models_json_schema(modes, ref_template=REFERENCE)  # type: ignore[arg-type]
    paths: dict[str, Any] = {}
    for method, path in sorted(operations()):
        paths.setdefault(path, {})[method] = _described(path, method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "pachmount", "version": __version__, "description": _HEAD},
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "responses": {"Error": _error()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def operations() -> Iterator[tuple[str, str]]:
    """Every method of every route that handlers implement."""
    for path, handler in ROUTES.items():
        for method in ("get", "put"):
            if getattr(handler, method) is not getattr(Handler, method):
                yield method, path


def _described(path: str, method: str) -> dict[str, Any]:
    operation = OPERATIONS[method, path]
    answer: dict[str, Any] = {"description": "Done."}
    if operation.answers is not None:
        found = _reference(operation.answers)
        if operation.answers_ours is not None:
            found = {"anyOf": [found, _reference(operation.answers_ours)]}
        answer["content"] = {operation.content: {"schema": _many(found) if operation.is_list else found}}
    elif operation.content != "application/json":
        answer["content"] = {operation.content: {"schema": _TEXT}}
    described: dict[str, Any] = {
        "operationId": f"{method}{path.replace('/', '_').replace('__', '_')}",
        "summary": _summary(ROUTES[path]),
        "tags": ["ours" if operation.is_ours else "compatible"],
        "responses": {"200": answer, "default": {"$ref": "#/components/responses/Error"}},
    }
    if operation.query:
        described["parameters"] = [
            {"name": name, "in": "query", "schema": kind} for name, kind in operation.query.items()
        ]
    if operation.reads is not None:
        described["requestBody"] = {"content": {"application/json": {"schema": _reference(operation.reads)}}}
    return described


def _summary(handler: type[Handler]) -> str:
    """What the first line of a handler's docstring says after its routes."""
    text = (inspect.getdoc(handler) or "").split("\n")[0]
    return text.partition(": ")[2] or text


def _error() -> dict[str, Any]:
    content = {"text/plain": {"schema": _TEXT}, "application/json": {"schema": _reference(schema.ErrorAnswer)}}
    return {"description": _ERROR, "content": content}


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": REFERENCE.format(model=model.__name__)}


def _many(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


if __name__ == "__main__":
    import sys

    from pachmount import generated

    sys.exit(
        generated.main("pachmount.api.openapi", {PAGE: json.dumps(document(), indent=1, ensure_ascii=False) + "\n"})
    )
