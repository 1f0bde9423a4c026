"""Contents as Jupyter has them: models of files and directories, made of what the daemon tells."""

from __future__ import annotations

import base64
import mimetypes
from datetime import datetime, timezone
from typing import Any, Literal

import nbformat
from nbformat.validator import NotebookValidationError

from pachmount.errors import UsageError
from pachmount_lab.places import Place

MAX_BYTES = 50 << 20
"""A longer file is not opened: it would be in memory, here and in the browser, several times."""

Type = Literal["directory", "file", "notebook"]
Model = dict[str, Any]


def directory(place: Place, modified: float | None = None, *, writable: bool = False) -> Model:
    """A directory without what is in it."""
    return _model(place, "directory", modified, None, writable=writable)


def entry(above: Place, told: Model, *, writable: bool) -> Model:
    """An entry of a directory, of what the daemon tells of it."""
    return _of(above / told_name(told), told, writable=writable)


def itself(place: Place, told: Model) -> Model:
    """What a path names, of what the daemon tells of it."""
    return _of(place, told, writable=bool(told["writable"]))


def told_name(told: Model) -> bytes:
    """The name of an entry that the daemon tells of."""
    path = bytes.fromhex(told.get("path_hex", "")) or str(told["path"]).encode()
    return path.rstrip(b"/").rpartition(b"/")[2]


def listed(model: Model, entries: list[Model], *, following: str = "", total: int | None = None) -> Model:
    """A directory with a page of what is in it."""
    return {**model, "format": "json", "content": entries, "next": following, "total": total}


def check_type(model: Model, asked: str, style: str) -> Model:
    """The model as the type that was asked for ("" = its own). Raises UsageError if it is something else."""
    if asked and asked != model["type"]:
        kinds = {asked, model["type"]}
        if kinds != {"file", "notebook"} or (asked == "notebook" and not str(model["name"]).endswith(".ipynb")):
            raise UsageError(f"'{model['path']}' is no {asked}", f"it is a {model['type']}")
        model = {**model, "type": asked}
    if model["type"] == "directory" and style not in ("", "json"):
        raise UsageError(f"'{model['path']}' is a directory", f"it has no format '{style}'")
    return model


def opened(model: Model, content: bytes, style: str) -> Model:
    """A file or notebook with its content, in the format `style` ("" = text if it is any). It takes a while for long
    ones. Raises UsageError.
    """
    if model["type"] == "notebook":
        return {**model, "format": "json", "content": _notebook(model["path"], content)}
    guessed = mimetypes.guess_type(model["name"])[0]
    text: str | None = None
    if style != "base64":
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            if style == "text":
                raise UsageError(f"'{model['path']}' is no text in UTF-8", str(error), "format=base64") from error
    if text is None:
        encoded = base64.b64encode(content).decode()
        mimetype = guessed or "application/octet-stream"
        return {**model, "format": "base64", "mimetype": mimetype, "content": encoded}
    return {**model, "format": "text", "mimetype": guessed or "text/plain", "content": text}


def saved(model: Model) -> bytes:
    """The bytes of a file, of the model that a front end saves. Raises UsageError. It takes a while for long ones."""
    kind, style, content = model.get("type"), model.get("format"), model.get("content")
    if kind == "notebook":
        return _notebook_text(content).encode()
    if kind != "file":
        raise UsageError(f"cannot save a '{kind}'", "type is 'file', 'notebook' or 'directory'")
    if not isinstance(content, str):
        raise UsageError("there is no content to save", "it is a text")
    if style == "text":
        return content.encode()
    if style != "base64":
        raise UsageError(f"cannot save in the format '{style}'", "it is 'text' or 'base64'")
    try:
        return base64.b64decode(content, validate=True)
    except ValueError as error:
        raise UsageError("the content is no base64", str(error)) from error


def empty_notebook() -> bytes:
    return _notebook_text(nbformat.v4.new_notebook()).encode()


def _of(place: Place, told: Model, *, writable: bool) -> Model:
    if told["type"] == "dir":
        return _model(place, "directory", told["modified"], None, writable=writable)
    kind: Type = "notebook" if place.name.endswith(".ipynb") else "file"
    return _model(place, kind, told["modified"], told["size_bytes"], writable=writable)


def _model(place: Place, kind: Type, modified: float | None, size: int | None, *, writable: bool) -> Model:
    time = None
    if modified is not None:
        time = datetime.fromtimestamp(modified, timezone.utc).isoformat().replace("+00:00", "Z")
    return {
        "name": place.name,
        "path": place.path,
        "type": kind,
        "writable": writable,
        "created": time,
        "last_modified": time,
        "mimetype": None,
        "format": None,
        "content": None,
        "size": size,
    }


def _notebook(path: str, content: bytes) -> Any:
    try:
        return nbformat.reads(content.decode(), as_version=4)
    except (ValueError, NotebookValidationError, nbformat.reader.NotJSONError) as error:
        what = f"cannot read the notebook '{path}'"
        raise UsageError(what, f"{error}"[:200], "open it as text: type=file") from error


def _notebook_text(content: Any) -> str:
    if not isinstance(content, dict) or content.get("nbformat") != 4 or not isinstance(content.get("cells"), list):
        raise UsageError("there is no notebook to save", "its content is an object of nbformat 4")
    try:
        return f"{nbformat.writes(nbformat.from_dict(content), version=nbformat.NO_CONVERT)}\n"
    except (ValueError, KeyError, AttributeError, TypeError, NotebookValidationError) as error:
        raise UsageError("cannot save the notebook", f"{error}"[:200]) from error
