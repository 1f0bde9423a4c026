"""The guard: looks at the token of every call, and answers the services' questions about permissions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from pachmount.localpfs import rpc
from pachmount.localpfs.access import Access, Resource
from pachmount.localpfs.auth.bindings import Bindings
from pachmount.localpfs.auth.tokens import Caller, Tokens
from pachmount.localpfs.rpc import Context
from pachmount.localpfs.status import Code, Refusal, unknown
from pachmount.pfs.proto import auth_pb2, pfs_pb2

_KEY = "authn-token"


class Guard(Access):
    """Knows who calls, for as long as the call lasts: the token is looked at once, when it begins."""

    def __init__(self, tokens: Tokens, bindings: Bindings) -> None:
        self._tokens = tokens
        self._bindings = bindings
        self._callers: dict[Context, Caller] = {}

    @contextmanager
    def admitted(self, context: Context) -> Iterator[None]:
        """Around a call that needs a token; ends the call if it has no good one."""
        try:
            caller = self._tokens.caller(_token(context))
        except Refusal as refusal:
            context.abort(refusal.code, refusal.text)
        self._callers[context] = caller
        try:
            yield
        finally:
            del self._callers[context]

    def caller(self, context: Context) -> Caller:
        """Who makes a call that was admitted."""
        return self._callers[context]

    def require(self, context: Context, resource: Resource, *permissions: int, prefix: str = "") -> None:
        principal = self._callers[context].principal
        try:
            satisfied = self._bindings.satisfied(principal, resource, permissions)
        except Refusal as refusal:
            raise Refusal(refusal.code, prefix + refusal.text) from refusal
        if not satisfied.issuperset(permissions):
            names = " ".join(auth_pb2.Permission.Name(number) for number in permissions)
            raise Refusal(
                Code.PERMISSION_DENIED,
                f"{prefix}{principal} is not authorized to perform this operation - needs permissions [{names}] on"
                f" {resource}. Run `pachctl auth roles-for-permission` to find roles that grant a given permission.",
            )

    def info(self, context: Context, resource: Resource) -> pfs_pb2.AuthInfo | None:
        permissions, roles = self._bindings.held(self._callers[context].principal, resource)
        return pfs_pb2.AuthInfo(permissions=permissions, roles=roles)  # type: ignore[arg-type]

    def created(self, context: Context, resource: Resource) -> None:
        self._bindings.created(resource, self._callers[context].principal)

    def removed(self, resource: Resource) -> None:
        self._bindings.removed(resource)


class Authenticating(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Has the guard look at the calls of some methods, which are given by their full paths."""

    def __init__(self, guard: Guard, methods: Collection[str]) -> None:
        self._guard = guard
        self._methods = frozenset(methods)

    def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> rpc.Handler:
        handler: rpc.Handler = continuation(handler_call_details)
        if handler_call_details.method not in self._methods:
            return handler
        return rpc.inside(handler, self._guard.admitted)


def _token(context: Context) -> str:
    values = [value for key, value in context.invocation_metadata() if key == _KEY]
    if not values:
        raise Refusal(Code.UNAUTHENTICATED, "no authentication token (try logging in)")
    if len(values) > 1:
        raise unknown("multiple authentication token keys found in context")
    return values[0] if isinstance(values[0], str) else values[0].decode(errors="replace")
