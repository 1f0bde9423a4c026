"""The routes of login and logout."""

from __future__ import annotations

import threading

from pachmount.api import schema
from pachmount.api.decode import decode_body
from pachmount.api.handlers import Handler
from pachmount.errors import BusyError, LoginRequiredError, NotConnectedError, PachmountError, UsageError
from pachmount.mounts import login


class LoginHandler(Handler):
    """PUT /auth/_login: begin a login in the browser."""

    async def put(self) -> None:
        self.answer(await self.work(self._begin))

    def _begin(self) -> schema.LoginAnswer:
        self.require_cluster()
        begun = login.begin(self.services.cluster)
        return schema.LoginAnswer(auth_url=begun.url, oidc_state=begun.state)


class LoginTokenHandler(Handler):
    """PUT /auth/_login_token: wait until the login is done; the context it was for, as in pachctl's file."""

    def initialize(self, *arguments: object, **settings: object) -> None:
        super().initialize(*arguments, **settings)  # type: ignore[arg-type]
        self._gone = threading.Event()

    async def put(self) -> None:
        request = _login_request(self.request.body)
        logins = self.services.logins
        if not logins.enter():
            raise BusyError("too many logins at once", f"{logins.taken} are waited for", "try again")
        try:
            limit = login.LOGIN_SECONDS + login.SLICE_SECONDS
            await self.run(self.services.pools.login, lambda: self._finish(request), limit)
        finally:
            logins.leave()
        self.answer(self.services.cluster.context_document())

    def compatible_status(self, error: PachmountError) -> int:
        """A login that fails is no missing login."""
        return 500 if isinstance(error, LoginRequiredError) else super().compatible_status(error)

    def on_connection_close(self) -> None:
        self._gone.set()

    def _finish(self, request: schema.LoginTokenRequest) -> None:
        try:
            self.require_cluster()
        except NotConnectedError as error:
            raise UsageError(error.what, error.why, error.hint) from error
        wanted = lambda: not self._gone.is_set()  # noqa: E731
        try:
            login.finish(self.services.cluster, oidc_state=request.oidc, id_token=request.id_token, wanted=wanted)
        except PachmountError:
            self.services.cluster.forget_identity()
            raise


class LogoutHandler(Handler):
    """PUT /auth/_logout: unmount all and forget the token."""

    async def put(self) -> None:
        # ours may forget a token that is no good any more
        await self.look(self.require_cluster if self.is_own_client else self.require_login)
        text = self.request.body.strip()  # the original does not look at it
        request = decode_body(text if text.startswith(b"{") else b"{}", schema.LogoutRequest)
        await self.upload(lambda: self._logout(request))
        self.clear_header("Content-Type")
        self.finish()

    def _logout(self, request: schema.LogoutRequest) -> None:
        self.services.manager.unmount_all(request.staged)
        self.services.cluster.set_token("")


def _login_request(body: bytes) -> schema.LoginTokenRequest:
    """The state as it is (2.6), or JSON with it (2.8)."""
    text = body.decode("utf-8", errors="replace").strip()
    if not text.startswith("{"):
        if not text:
            raise UsageError("EOF")
        return schema.LoginTokenRequest(oidc=text.strip('"'))
    request = decode_body(body, schema.LoginTokenRequest)
    if not (request.oidc or request.id_token):
        raise UsageError("no login to wait for", "'oidc' is the state that /auth/_login told")
    return request
