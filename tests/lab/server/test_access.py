"""Who may use the extension: whoever Jupyter knows, with its check of requests from other sites."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.box import Box
from tests.lab.server.jupyter import Jupyter, jupyter

READS = [
    "/state", "/health", "/doctor", "/config", "/content", "/contents", "/contents/x", "/pfs", "/pfs/x",
    "/download/x", "/pps/_create/x", "/pps/_pipelines", "/pipelines", "/status", "/stats", "/metrics", "/warmups",
    "/mounts", "/datums", "/datums/_list", "/projects", "/repos", "/branches", "/commits", "/files", "/file",
]  # fmt: skip
WRITES = [
    "/daemon/_start", "/daemon/_restart", "/config", "/auth/_login", "/auth/_login_token", "/auth/_logout",
    "/_commit", "/contents/x/y", "/pps/_create/x", "/pipelines/_publish", "/_mount", "/_follow", "/_refresh",
    "/_remount", "/_diff", "/_discard", "/_warmup", "/_warmup_cancel", "/_unmount", "/_unmount_all",
    "/_mount_datums", "/datums/_mount", "/datums/_unmount", "/datums/_next", "/datums/_prev", "/_show_datum",
]  # fmt: skip
CHANGES = [
    *(("PUT", route) for route in WRITES),
    ("POST", "/_commit"),
    ("POST", "/contents/x"),
    ("PATCH", "/contents/x/y"),
    ("DELETE", "/contents/x/y"),
]
ROUTES = [*(("GET", route) for route in READS), *CHANGES]
POLLS = ["/state", "/status", "/mounts", "/datums", "/datums/_list", "/health", "/stats", "/warmups"]


def test_the_table_above_has_every_route() -> None:
    from pachmount_lab import extension
    from pachmount_lab.forwarding import ROUTES as FORWARDED

    source = re.findall(r'^        \("(/[^"(]+)', Path(extension.__file__).read_text(), re.MULTILINE)
    named = {route.removesuffix("/x") for _, route in ROUTES}
    assert named >= {*source, *FORWARDED}
    for route, how in FORWARDED.items():
        assert (("GET", route) in ROUTES, ("PUT", route) in ROUTES) == (how.get is not None, how.put is not None)


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_nobody_is_let_in_without_a_token(lab: Jupyter, method: str, route: str) -> None:
    answer = requests.request(method, lab.api + route, timeout=60)
    assert answer.status_code == 403
    assert (
        requests.request(method, lab.api + route, timeout=60, headers={"Authorization": "token x"}).status_code == 403
    )


@pytest.mark.parametrize(("method", "route"), CHANGES)
def test_a_cookie_is_not_enough_to_change_something(lab: Jupyter, method: str, route: str) -> None:
    """A page of another site makes a browser send the cookie, but cannot read it."""
    with _browser(lab) as browser:
        answer = browser.request(method, lab.api + route, data="{}", timeout=60)
    assert answer.status_code == 403
    assert "_xsrf" in answer.text


def test_a_cookie_with_its_xsrf_token_is_enough(lab: Jupyter) -> None:
    with _browser(lab) as browser:
        assert browser.get(f"{lab.api}/state", timeout=60).status_code == 200
        headers = {"X-XSRFToken": str(browser.cookies["_xsrf"])}
        assert browser.put(f"{lab.api}/_unmount_all", data="{}", headers=headers, timeout=60).status_code == 200


def test_jupyter_finds_no_handler_of_ours_that_is_open(shared_box: Box) -> None:
    """It names those that do not say whether they need authentication."""
    with jupyter(shared_box, "--ServerApp.allow_unauthenticated_access=False") as lab:
        assert lab.ok("GET", "/state")
        assert not re.search("registered for .*pachyderm", lab.log())


@pytest.mark.parametrize("route", POLLS)
def test_polls_do_not_keep_the_server_alive(lab: Jupyter, route: str) -> None:
    before = _last_activity(lab)
    assert lab.get(route).status_code in (200, 400), "no datums are shown"
    assert _last_activity(lab) == before


def test_work_keeps_the_server_alive(lab: Jupyter) -> None:
    before = _last_activity(lab)
    lab.ok("GET", "/projects")
    assert _last_activity(lab) > before


def test_the_token_in_a_query_is_not_passed_on(lab: Jupyter) -> None:
    with requests.Session() as session:
        answer = session.get(
            f"{lab.api}/files?token={lab.token}&source=no-such-repo", timeout=60, headers={"Accept": "*/*"}
        )
    assert answer.status_code == 404
    assert lab.token not in answer.text


def _browser(lab: Jupyter) -> requests.Session:
    """A browser in which a person has logged in."""
    browser = requests.Session()
    browser.get(f"{lab.url}tree?token={lab.token}", timeout=60)
    assert "_xsrf" in browser.cookies or browser.get(f"{lab.url}login", timeout=60)
    return browser


def _last_activity(lab: Jupyter) -> Any:
    answer = lab.session.get(f"{lab.url}api/status?no_track_activity=1", timeout=60)
    return answer.json()["last_activity"]
