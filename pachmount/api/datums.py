"""The routes of datums, in both spellings of the original: 2.6 and 2.8."""

from __future__ import annotations

from typing import Any

import yaml

from pachmount.api import schema
from pachmount.api.handlers import Handler
from pachmount.errors import ClusterError, PachmountError, UsageError


class DatumsHandler(Handler):
    """GET /datums: which datum is shown."""

    async def get(self) -> None:
        await self.look(self.require_login)
        self.answer(schema.DatumsAnswer())


class MountDatumsHandler(Handler):
    """PUT /_mount_datums and /datums/_mount: show the datums of an input."""

    async def put(self) -> None:
        await self.look(self.require_login)
        is_newer = self.route.startswith("/datums")
        try:
            _input_of(self.request.body)
        except _NoInputError as error:  # 2.6 answers 500
            error.what = f"error processing input: {error.what}" if is_newer else error.what
            self.fail(error, 400 if is_newer else 500)
            return
        except UsageError as error:
            error.what = f"error reading next CreatePipeline request: {error.what}" if is_newer else error.what
            raise
        raise ClusterError("datums cannot be mounted yet", "this version of pachmount does not know how")


class ShowDatumHandler(Handler):
    """PUT /_show_datum?idx=N or ?id=ID: show another datum."""

    async def put(self) -> None:
        await self.look(self.require_login)
        raise _no_datums()


class OtherDatumHandler(Handler):
    """PUT /datums/_next and /datums/_prev: show the next or the previous datum."""

    async def put(self) -> None:
        await self.look(self.require_login)
        raise _no_datums()


class _NoInputError(UsageError):
    """A pipeline without input."""


def _no_datums() -> PachmountError:
    return UsageError("no datums mounted")


def _input_of(body: bytes) -> dict[str, Any]:
    """The input of the (first) pipeline in a JSON or YAML text. Raises UsageError."""
    if not body.strip():
        raise UsageError("EOF")
    try:
        document = yaml.safe_load(body)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
        raise UsageError(f"malformed pipeline spec: {why}") from error
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        raise UsageError("malformed pipeline spec: it is no object")
    found = document.get("input")
    if not found:
        raise _NoInputError("datum input is not specified", "the pipeline has no 'input'")
    if not isinstance(found, dict):
        raise UsageError("malformed pipeline spec: 'input' is no object")
    return found
