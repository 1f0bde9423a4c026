"""Calls of auth_v2 about who one is: logins, tokens, robots."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from pachmount.localpfs import rpc
from pachmount.localpfs.access import CLUSTER
from pachmount.localpfs.auth import principals
from pachmount.localpfs.auth.guard import Guard
from pachmount.localpfs.auth.issuer import Issuer
from pachmount.localpfs.auth.logins import Logins
from pachmount.localpfs.auth.tokens import Tokens
from pachmount.localpfs.rpc import Context
from pachmount.localpfs.status import unknown
from pachmount.pfs.proto import auth_pb2

NEED_NO_TOKEN = ("GetOIDCLogin", "Authenticate")


class LoginService:
    """Logins and tokens. `token_lifetime` in seconds is that of a login through a browser."""

    def __init__(self, guard: Guard, tokens: Tokens, logins: Logins, issuer: Issuer, token_lifetime: float) -> None:
        self._guard = guard
        self._tokens = tokens
        self._logins = logins
        self._issuer = issuer
        self._token_lifetime = token_lifetime

    def methods(self) -> dict[str, rpc.Handler]:
        return {
            "GetOIDCLogin": rpc.unary(self._get_login, auth_pb2.GetOIDCLoginRequest),
            "Authenticate": rpc.unary(self._authenticate, auth_pb2.AuthenticateRequest),
            "WhoAmI": rpc.unary(self._who_am_i, auth_pb2.WhoAmIRequest),
            "GetRobotToken": rpc.unary(self._get_robot_token, auth_pb2.GetRobotTokenRequest),
            "RevokeAuthToken": rpc.unary(self._revoke, auth_pb2.RevokeAuthTokenRequest),
            "RevokeAuthTokensForUser": rpc.unary(self._revoke_all, auth_pb2.RevokeAuthTokensForUserRequest),
            "DeleteExpiredAuthTokens": rpc.unary(self._delete_expired, auth_pb2.DeleteExpiredAuthTokensRequest),
        }

    def _get_login(self, _request: auth_pb2.GetOIDCLoginRequest, _: Context) -> auth_pb2.GetOIDCLoginResponse:
        state, nonce = self._logins.start()
        return auth_pb2.GetOIDCLoginResponse(login_url=self._issuer.login_url(state, nonce), state=state)

    def _authenticate(self, request: auth_pb2.AuthenticateRequest, context: Context) -> auth_pb2.AuthenticateResponse:
        lifetime = self._token_lifetime
        if request.oidc_state:
            context.add_callback(self._logins.wake)
            email = self._logins.wait(request.oidc_state, context.is_active)
        elif request.id_token:
            email, lifetime = self._issuer.id_tokens.verify(request.id_token)
        else:
            raise unknown("unrecognized authentication mechanism (old pachd?)")
        return auth_pb2.AuthenticateResponse(pach_token=self._tokens.issue(principals.USER + email, lifetime))

    def _who_am_i(self, _: auth_pb2.WhoAmIRequest, context: Context) -> auth_pb2.WhoAmIResponse:
        caller = self._guard.caller(context)
        answer = auth_pb2.WhoAmIResponse(username=caller.principal)
        if caller.expires is not None:
            answer.expiration.CopyFrom(Timestamp(seconds=int(caller.expires)))
        return answer

    def _get_robot_token(
        self, request: auth_pb2.GetRobotTokenRequest, context: Context
    ) -> auth_pb2.GetRobotTokenResponse:
        self._guard.require(context, CLUSTER, auth_pb2.CLUSTER_AUTH_GET_ROBOT_TOKEN)
        lifetime = float(request.ttl) if request.ttl > 0 else None
        return auth_pb2.GetRobotTokenResponse(token=self._tokens.issue(principals.robot(request.robot), lifetime))

    def _revoke(self, request: auth_pb2.RevokeAuthTokenRequest, _: Context) -> auth_pb2.RevokeAuthTokenResponse:
        return auth_pb2.RevokeAuthTokenResponse(number=self._tokens.revoke(request.token))

    def _revoke_all(
        self, request: auth_pb2.RevokeAuthTokensForUserRequest, context: Context
    ) -> auth_pb2.RevokeAuthTokensForUserResponse:
        self._guard.require(context, CLUSTER, auth_pb2.CLUSTER_AUTH_REVOKE_USER_TOKENS)
        return auth_pb2.RevokeAuthTokensForUserResponse(number=self._tokens.revoke_all(request.username))

    def _delete_expired(
        self, _: auth_pb2.DeleteExpiredAuthTokensRequest, context: Context
    ) -> auth_pb2.DeleteExpiredAuthTokensResponse:
        self._guard.require(context, CLUSTER, auth_pb2.CLUSTER_AUTH_DELETE_EXPIRED_TOKENS)
        self._tokens.sweep()
        return auth_pb2.DeleteExpiredAuthTokensResponse()
