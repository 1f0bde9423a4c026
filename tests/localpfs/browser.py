"""A browser for the login pages of the embedded server: no more than posting a form and following redirects."""

from __future__ import annotations

import http.client
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

_FORM = "application/x-www-form-urlencoded"


class Page(NamedTuple):
    """What a request ended with."""

    status: int
    url: str
    kind: str
    body: str
    location: str = ""


def request(url: str, fields: dict[str, str] | None = None) -> Page:
    """One GET, or a POST of fields; no redirects are followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    try:
        target = f"{parts.path}?{parts.query}"
        if fields is None:
            connection.request("GET", target)
        else:
            connection.request("POST", target, urlencode(fields), {"Content-Type": _FORM})
        answer = connection.getresponse()
        body = answer.read().decode()
        location = answer.getheader("location")
        kind = answer.getheader("content-type", "")
        return Page(answer.status, url, kind, body, urljoin(url, location) if location else "")
    finally:
        connection.close()


def log_in(url: str, login: str, password: str, *, stop_at: str = "none") -> Page:
    """Fill in the form behind a login URL; stops before it goes to an address that begins with `stop_at`."""
    page = request(url)
    while page.location:
        page = request(page.location)
    page = request(page.url, {"login": login, "password": password})
    while page.location and not page.location.startswith(stop_at):
        page = request(page.location)
    return page


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))
