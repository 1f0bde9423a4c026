"""Every route in the server of pytest-jupyter: what it answers with the token, and that nothing goes without."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from jupyter_server.serverapp import ServerApp
from tornado.httpclient import HTTPResponse

from tests.integration.box import Box
from tests.lab.plugin.conftest import Ask
from tests.lab.server.test_access import CHANGES, ROUTES


class Case(NamedTuple):
    """A request, with REPO for the repo of the test, and its answer. `before`: requests that go before it."""

    method: str
    route: str
    body: Any = None
    status: int = 200
    has: str = ""
    before: tuple[tuple[str, Any], ...] = ()


MOUNT = (
    "/_mount",
    {"mounts": [{"name": "in", "project": "default", "repo": "REPO", "branch": "master", "mode": "rw"}]},
)
SPEC = {"input": {"pfs": {"repo": "REPO", "name": "in", "glob": "/*"}}}
DATUMS = ("/_mount_datums", SPEC)
NOTEBOOK = {"type": "notebook", "format": "json", "content": {"cells": [], "metadata": {}, "nbformat": 4}}

CASES = [
    Case("GET", "/state", has='"daemon":"running"'),
    Case("GET", "/health", has="running"),
    Case("GET", "/doctor", has='"checks"'),
    Case("GET", "/config", has="AUTH_DISABLED"),
    Case("GET", "/content?source=REPO:/a.txt", has="one\n"),
    Case("GET", "/contents", has='"in"', before=(MOUNT,)),
    Case("GET", "/contents/in", has='"a.txt"', before=(MOUNT,)),
    Case("GET", "/pfs", has='"in"', before=(MOUNT,)),
    Case("GET", "/pfs/in/a.txt", has="one", before=(MOUNT,)),
    Case("GET", "/download/in/a.txt", has="one\n", before=(MOUNT,)),
    Case("GET", "/pps/_create/nothing.ipynb", status=400, has="nothing.ipynb"),
    Case("GET", "/pps/_pipelines", status=501, has="needs-cluster"),
    Case("GET", "/pipelines", status=501, has="needs-cluster"),
    Case("GET", "/status", has='"mount_dir"'),
    Case("GET", "/stats", has='"threads"'),
    Case("GET", "/metrics", has="pachmount_"),
    Case("GET", "/warmups", has='"warmups"'),
    Case("GET", "/mounts", has='"name":"in"', before=(MOUNT,)),
    Case("GET", "/datums", has='"num_datums":2', before=(DATUMS,)),
    Case("GET", "/datums/_list", has='"datums"', before=(DATUMS,)),
    Case("GET", "/projects", has='"default"'),
    Case("GET", "/repos", has="REPO"),
    Case("GET", "/branches?repo=REPO", has='"master"'),
    Case("GET", "/commits?repo=REPO&branch=master", has='"commit"'),
    Case("GET", "/files?source=REPO", has="/dir"),
    Case("GET", "/file?source=REPO:/a.txt", has='"size_bytes":4'),
    Case("PUT", "/daemon/_start", has="running"),
    Case("PUT", "/daemon/_restart", has="running"),
    Case("PUT", "/config", {"pachd_address": "http://"}, status=400, has="address"),
    Case("PUT", "/auth/_login", status=500, has="auth isn't activated"),
    Case("PUT", "/auth/_login_token", {}, status=400, has="no login to wait for"),
    Case("PUT", "/auth/_logout", has=""),
    Case("PUT", "/_commit", {"mount": "in", "message": "nothing"}, has='"changes":0', before=(MOUNT,)),
    Case("POST", "/_commit", {"mount": "in", "message": "nothing"}, has='"changes":0', before=(MOUNT,)),
    Case("PUT", "/contents/in/n.ipynb", NOTEBOOK, has="n.ipynb", before=(MOUNT,)),
    Case("POST", "/contents/in", {"type": "directory"}, status=201, has="Untitled Folder", before=(MOUNT,)),
    Case("PATCH", "/contents/in/a.txt", {"path": "in/z.txt"}, has="in/z.txt", before=(MOUNT,)),
    Case("DELETE", "/contents/in/a.txt", status=204, before=(MOUNT,)),
    Case("PUT", "/pps/_create/nothing.ipynb", status=400, has="nothing.ipynb"),
    Case("PUT", "/pipelines/_publish", status=400, has="usage"),
    Case("PUT", *MOUNT, has='"name":"in"'),
    Case("PUT", "/_follow", {"mounts": ["no"], "follow": True}, status=404, has="not-found", before=(MOUNT,)),
    Case("PUT", "/_refresh", {"mounts": [{"name": "in"}]}, has='"name":"in"', before=(MOUNT,)),
    Case("PUT", "/_remount", {"mounts": ["in"], "mode": "ro"}, has='"mode":"ro"', before=(MOUNT,)),
    Case("PUT", "/_diff", {"mount": "in"}, has='"changes":[]', before=(MOUNT,)),
    Case("PUT", "/_discard", {"mount": "in"}, before=(MOUNT,)),
    Case("PUT", "/_warmup", {"mounts": [{"name": "in"}]}, has='"id"', before=(MOUNT,)),
    Case("PUT", "/_warmup_cancel", {"id": "no"}, status=404, has="not-found"),
    Case("PUT", "/_unmount", {"mounts": ["in"]}, has='"mounted":[]', before=(MOUNT,)),
    Case("PUT", "/_unmount_all", has='"mounted":[]', before=(MOUNT,)),
    Case("PUT", *DATUMS, has='"num_datums":2'),
    Case("PUT", "/datums/_mount", SPEC, has='"num_datums":2'),
    Case("PUT", "/datums/_unmount", before=(DATUMS,)),
    Case("PUT", "/datums/_next", has='"idx":1', before=(DATUMS,)),
    Case("PUT", "/datums/_prev", has='"idx"', before=(DATUMS, ("/datums/_next", None))),
    Case("PUT", "/_show_datum?idx=1", has='"idx":1', before=(DATUMS,)),
]


@pytest.fixture
def repo(box: Box) -> str:
    name = box.repo("plugin")
    box.put(name, {"/a.txt": b"one\n", "/dir/b": b"two"})
    return name


def test_the_cases_have_every_route() -> None:
    def first(route: str) -> str:
        """A route without the place that it names."""
        path = route.partition("?")[0]
        trees = ("/contents", "/pfs", "/download", "/pps/_create")
        return next((tree for tree in trees if path.startswith(tree)), path)

    assert {(case.method, first(case.route)) for case in CASES} == {(method, first(route)) for method, route in ROUTES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.route.partition('?')[0]}")
async def test_with_the_token(ask: Ask, repo: str, case: Case) -> None:
    def named(value: Any) -> Any:
        return json.loads(json.dumps(value).replace("REPO", repo))

    for route, body in case.before:
        answer = await ask("PUT", named(route), named(body))
        assert answer.code == 200, answer.body
    answer = await ask(case.method, named(case.route), named(case.body))
    assert answer.code == case.status, answer.body
    assert named(case.has) in _text(answer)


async def test_nothing_without_a_token(ask: Ask) -> None:
    for method, route in ROUTES:
        for header in ("", "token wrong"):
            answer = await ask(method, route, Authorization=header)
            assert answer.code == 403, (method, route, header)


async def test_no_change_with_a_cookie_alone(
    ask: Ask, jp_fetch: Callable[..., Awaitable[HTTPResponse]], jp_serverapp: ServerApp
) -> None:
    """A page of another site makes the browser send its cookies, but cannot read the one with the XSRF token."""

    async def cookies(**more: Any) -> dict[str, str]:
        answer = await jp_fetch("login", follow_redirects=False, raise_error=False, **more)
        pairs = [each.partition(";")[0].partition("=") for each in answer.headers.get_list("Set-Cookie")]
        return {name: value for name, _, value in pairs}

    token = str(jp_serverapp.identity_provider.token)
    login = _cookie_header(await cookies(params={"token": token}, headers={"Authorization": ""}))
    browser = {"Authorization": "", "Cookie": login}
    assert (await ask("GET", "/state", **browser)).code == 200
    for method, route in CHANGES:
        answer = await ask(method, route, **browser)
        assert answer.code == 403, (method, route)
        assert "_xsrf" in _text(answer)
    given = await cookies(headers={"Authorization": ""})
    browser |= {"Cookie": f"{login}; {_cookie_header(given)}", "X-XSRFToken": given["_xsrf"]}
    assert (await ask("PUT", "/_unmount_all", **browser)).code == 200


def _cookie_header(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def _text(answer: HTTPResponse) -> str:
    """The body; JSON without blanks."""
    try:
        return json.dumps(json.loads(answer.body), separators=(",", ":"))
    except ValueError:
        return answer.body.decode(errors="replace")
