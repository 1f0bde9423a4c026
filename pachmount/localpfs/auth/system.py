"""Authentication as a whole, made of an auth file's settings: what the server plugs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pachmount.localpfs import model, rpc
from pachmount.localpfs.access import Resource
from pachmount.localpfs.auth import principals
from pachmount.localpfs.auth.bindings import Bindings
from pachmount.localpfs.auth.guard import Authenticating, Guard
from pachmount.localpfs.auth.issuer import Issuer
from pachmount.localpfs.auth.logins import MAX_WAITING, Logins
from pachmount.localpfs.auth.service_logins import NEED_NO_TOKEN, LoginService
from pachmount.localpfs.auth.service_roles import RoleService
from pachmount.localpfs.auth.settings import AuthSettings
from pachmount.localpfs.auth.tokens import Tokens
from pachmount.localpfs.model import RepoName
from pachmount.localpfs.store import Store
from pachmount.pfs.proto import auth_pb2

MAX_LOGINS = MAX_WAITING

_SERVICE = "auth_v2.API"
_GUARDED = ("pfs_v2.API", "pps_v2.API", _SERVICE)


class AuthSystem:
    """Users, tokens, roles and logins of one server. All of it is kept in memory and begins anew with the server."""

    def __init__(self, settings: AuthSettings, store: Store) -> None:
        """Raises BusyError if the port for logins is taken."""
        self._store = store
        tokens = Tokens()
        tokens.add(settings.root_token, principals.ROOT)
        for token in settings.tokens:
            tokens.add(token.token, token.principal, token.expires)
        bindings = Bindings(self._exists)
        for binding in settings.bindings:
            bindings.announce(binding.on(), binding.principal, binding.roles)
        for user in settings.users:
            for group in user.groups:
                bindings.change_members(group, [principals.USER + user.email], [])
        self.guard = Guard(tokens, bindings)
        self._logins = Logins(settings.state_lifetime)
        self._issuer = Issuer(settings, self._logins)
        self._methods = (
            LoginService(self.guard, tokens, self._logins, self._issuer, settings.token_lifetime).methods()
            | RoleService(self.guard, bindings).methods()
        )

    def services(self) -> dict[str, dict[str, rpc.Handler]]:
        """The methods of the service about users."""
        return {_SERVICE: self._methods}

    def interceptor(self, services: dict[str, dict[str, rpc.Handler]]) -> Authenticating:
        """What asks for a token in the calls of these services that need one."""
        methods = [(service, method) for service in _GUARDED for method in services[service]]
        free = [(_SERVICE, method) for method in NEED_NO_TOKEN]
        return Authenticating(self.guard, [f"/{service}/{method}" for service, method in set(methods) - set(free)])

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve the pages of logins for the length of the block; calls that wait for logins end with it."""
        self._issuer.start()
        try:
            yield
        finally:
            self._logins.close()
            self._issuer.stop()

    def _exists(self, resource: Resource) -> bool:
        with self._store.database.read() as db:
            if resource.kind == auth_pb2.PROJECT:
                return model.project_exists(db, resource.name)
            project, _, repo = resource.name.partition("/")
            return model.find_repo(db, RepoName(project, repo, "user")) is not None
