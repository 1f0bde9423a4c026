"""Fixtures of pytest-jupyter with our extension in its server, beside the module's daemon.

pytest-jupyter is imported here and nowhere above, because it gives every test that knows it an event loop.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pytest_jupyter.jupyter_server import *  # noqa: F403 (fixtures and hooks)
from tornado.httpclient import HTTPResponse

from pachmount.api.schema import CLIENT_HEADER
from tests.integration.box import Box
from tests.integration.conftest import box, shared_box  # noqa: F401 (fixtures)

Ask = Callable[..., Awaitable[HTTPResponse]]


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {"ServerApp": {"jpserver_extensions": {"pachmount_lab": True}}}


@pytest.fixture
def user_of_the_box(jp_environ: None, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Whoever runs Jupyter's server."""
    for name, value in box.env.items():
        if name.startswith(("HOME", "XDG_", "PFS_", "PACH")):
            monkeypatch.setenv(name, value)


@pytest.fixture
def ask(user_of_the_box: None, jp_fetch: Callable[..., Awaitable[HTTPResponse]]) -> Ask:
    """Send a request to one of our routes, as the front end does; errors are answers, too."""

    async def send(method: str, route: str, body: Any = None, **headers: str) -> HTTPResponse:
        path, _, query = route.partition("?")
        return await jp_fetch(
            "pachyderm/v2",
            path,
            method=method,
            params=dict(pair.split("=", 1) for pair in query.split("&") if pair),
            body=None if method in ("GET", "DELETE") else body if isinstance(body, str) else json.dumps(body or {}),
            headers={CLIENT_HEADER: "1", **headers},
            raise_error=False,
            follow_redirects=False,
            request_timeout=60,
        )

    return send
