"""A small OIDC issuer on this machine, and the callback to which it sends browsers: what a login needs of HTTP."""

from __future__ import annotations

import hmac
import json
import secrets
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from pachmount.errors import BusyError
from pachmount.localpfs.auth import pages
from pachmount.localpfs.auth.idtokens import CLIENT_ID, IdTokens
from pachmount.localpfs.auth.logins import Logins
from pachmount.localpfs.auth.settings import AuthSettings, User

_HOST = "127.0.0.1"
_CODE_SECONDS = 60.0
_MAX_BODY = 64 * 1024
_HTML, _TEXT, _JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"


class _Code(NamedTuple):
    email: str
    nonce: str
    ends: float


class Answer(NamedTuple):
    """What is sent back: status, media type, body, and where to go on with a redirect."""

    status: int
    kind: str
    body: str
    location: str = ""


class Issuer:
    """Serves the pages of a login from `start` to `stop`. Passwords, codes and states are never logged."""

    def __init__(self, settings: AuthSettings, logins: Logins) -> None:
        """Raises BusyError if the port is taken."""
        self._users = {user.login: user for user in settings.users}
        self._logins = logins
        self._codes: dict[str, _Code] = {}
        self._lock = threading.Lock()
        try:
            self._server = _Server((_HOST, settings.login_port), _handler(self))
        except OSError as error:
            where = f"{_HOST}:{settings.login_port}"
            raise BusyError(f"cannot listen on {where} for logins", error.strerror or str(error)) from error
        base = f"http://{_HOST}:{self._server.server_port}"
        self._callback = f"{base}/authorization-code/callback"
        self.id_tokens = IdTokens(f"{base}/dex", settings.id_token_lifetime)

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, name="issuer", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def login_url(self, state: str, nonce: str) -> str:
        """Where a browser begins."""
        query = {
            "client_id": CLIENT_ID,
            "nonce": nonce,
            "redirect_uri": self._callback,
            "response_type": "code",
            "scope": "email profile groups openid",
            "state": state,
        }
        return f"{self.id_tokens.issuer}/auth?{urlencode(query)}"

    def answer(self, method: str, target: str, body: str) -> Answer:
        """The answer to one HTTP request; `target` is its path and query."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        fields = dict(parse_qsl(body))
        if (method, parts.path) == ("GET", "/authorization-code/callback"):
            return self._finish(query)
        if (method, parts.path) == ("GET", "/dex/.well-known/openid-configuration"):
            return Answer(200, _JSON, json.dumps(self._description()))
        if (method, parts.path) == ("POST", "/dex/token"):
            return self._exchange(fields)
        if parts.path == "/dex/auth":
            return self._authorize(query, fields if method == "POST" else None)
        return Answer(404, _TEXT, "there is nothing here")

    def _authorize(self, query: dict[str, str], fields: dict[str, str] | None) -> Answer:
        if query.get("client_id") != CLIENT_ID or query.get("redirect_uri") != self._callback:
            return Answer(400, _TEXT, "this is no login of this server")
        if fields is None:
            return Answer(200, _HTML, pages.form())
        user = self._user(fields.get("login", ""), fields.get("password", ""))
        if user is None:
            return Answer(401, _HTML, pages.form(fields.get("login", ""), wrong=True))
        code = secrets.token_urlsafe(24)
        now = time.monotonic()
        with self._lock:
            self._codes = {name: one for name, one in self._codes.items() if one.ends > now}
            self._codes[code] = _Code(user.email, query.get("nonce", ""), now + _CODE_SECONDS)
        back = urlencode({"code": code, "state": query.get("state", "")})
        return Answer(303, _TEXT, "", f"{self._callback}?{back}")

    def _finish(self, query: dict[str, str]) -> Answer:
        code, state = query.get("code"), query.get("state")
        if not code or not state:
            return Answer(400, _TEXT, pages.INCOMPLETE)
        used = self._use(code)
        if used is None:
            self._logins.fail(state)
            return Answer(401, _TEXT, pages.failed(state))
        if not self._logins.complete(state, used.nonce, used.email):
            return Answer(500, _TEXT, pages.too_late(state))
        return Answer(200, _TEXT, pages.LOGGED_IN)

    def _exchange(self, fields: dict[str, str]) -> Answer:
        used = self._use(fields.get("code", ""))
        if fields.get("grant_type") != "authorization_code" or used is None:
            return Answer(400, _JSON, json.dumps({"error": "invalid_grant"}))
        token = self.id_tokens.sign(used.email, used.nonce)
        made = {"id_token": token, "access_token": token, "token_type": "bearer"}
        return Answer(200, _JSON, json.dumps(made | {"expires_in": int(self.id_tokens.lifetime)}))

    def _use(self, code: str) -> _Code | None:
        """What a code was given for; it is good once."""
        with self._lock:
            found = self._codes.pop(code, None)
        return found if found is not None and found.ends > time.monotonic() else None

    def _user(self, login: str, password: str) -> User | None:
        user = self._users.get(login)
        right = user is not None and hmac.compare_digest(user.password.encode(), password.encode())
        return user if right else None

    def _description(self) -> dict[str, object]:
        issuer = self.id_tokens.issuer
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/auth",
            "token_endpoint": f"{issuer}/token",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["HS256"],
        }


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks the resolver for a name that nobody needs
        self.server_name, self.server_port = _HOST, self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away is no news."""


def _handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 30
        server_version, sys_version = "pachmount", ""

        def reply(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            if not 0 <= size <= _MAX_BODY:
                self.send_error(413)
                return
            body = self.rfile.read(size).decode(errors="replace")
            answer = issuer.answer(self.command, self.path, body)
            data = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("X-Frame-Options", "DENY")
            if answer.location:
                self.send_header("Location", answer.location)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = reply  # noqa: N815 - the names are http.server's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
            """Nothing: the path of a request holds codes and states."""

    return Handler
