"""Role bindings and groups: who has which roles where, and what that permits. Kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator

from pachmount.localpfs.access import CLUSTER, Resource, of_project
from pachmount.localpfs.auth import principals
from pachmount.localpfs.auth.roles import CLUSTER_ADMIN, PROJECT_OWNER, PROJECT_WRITER, REPO_OWNER, REPO_READER, ROLES
from pachmount.localpfs.status import unknown
from pachmount.pfs.proto import auth_pb2

Entries = dict[str, frozenset[str]]

_DEFAULT_PROJECT = of_project("default")


class Bindings:
    """All bindings and groups of a server; thread-safe.

    `exists` tells whether there is such a project or repo. Those that were there before have a binding without entries.
    """

    def __init__(self, exists: Callable[[Resource], bool]) -> None:
        self._exists = exists
        self._lock = threading.Lock()
        self._entries: dict[Resource, Entries] = {
            CLUSTER: {principals.ROOT: frozenset([CLUSTER_ADMIN])},
            _DEFAULT_PROJECT: {principals.EVERYBODY: frozenset([PROJECT_WRITER])},
        }
        self._announced: dict[Resource, Entries] = {}
        self._members: dict[str, set[str]] = {}

    def entries(self, resource: Resource) -> Entries:
        """The roles of each principal on a resource; none if there is no such resource."""
        with self._lock:
            return dict(self._entries.get(resource, {}))

    def bind(self, resource: Resource, principal: str, roles: Iterable[str]) -> None:
        """Give a principal these roles in the place of those it had. Raises Refusal for what does not exist."""
        wanted = frozenset(roles)
        _check(principal, wanted)
        self._check_exists(resource)
        with self._lock:
            entries = self._entries.setdefault(resource, {})
            entries.pop(principal, None)
            if wanted:
                entries[principal] = wanted

    def announce(self, resource: Resource, principal: str, roles: Iterable[str]) -> None:
        """Like `bind`; for what does not exist, it is done as soon as it is created."""
        wanted = frozenset(roles)
        _check(principal, wanted)
        ready = resource == CLUSTER or self._exists(resource)
        with self._lock:
            entries = (self._entries if ready else self._announced).setdefault(resource, {})
            entries[principal] = entries.get(principal, frozenset()) | wanted

    def created(self, resource: Resource, owner: str) -> None:
        """A new binding, in which the one who made the resource is its owner."""
        role = PROJECT_OWNER if resource.kind == auth_pb2.PROJECT else REPO_OWNER
        with self._lock:
            entries = self._announced.pop(resource, {})
            entries[owner] = entries.get(owner, frozenset()) | {role}
            self._entries[resource] = entries

    def removed(self, resource: Resource) -> None:
        with self._lock:
            self._entries.pop(resource, None)

    def satisfied(self, principal: str, resource: Resource, wanted: Collection[int]) -> set[int]:
        """Those of the wanted permissions that a principal has on a resource.

        Looks from the cluster down and no further than needed. Raises Refusal when it comes to a binding that does not
        exist.
        """
        missing = set(wanted)
        for roles in self._roles(principal, resource):
            for role in roles:
                missing -= ROLES[role].permissions
            if not missing:
                break
        return set(wanted) - missing

    def held(self, principal: str, resource: Resource) -> tuple[list[int], list[str]]:
        """Permissions and roles that a principal has on a resource, without roles that do not concern its kind.

        Raises Refusal if there is no such resource.
        """
        kind = auth_pb2.REPO if resource.kind == auth_pb2.SPEC_REPO else resource.kind
        roles = set[str]().union(*self._roles(principal, resource))
        shown = sorted(role for role in roles if kind in ROLES[role].shown)
        return sorted(set[int]().union(*(ROLES[role].permissions for role in shown))), shown

    def groups(self, principal: str) -> list[str]:
        with self._lock:
            return sorted(group for group, members in self._members.items() if principal in members)

    def members(self, group: str) -> list[str]:
        with self._lock:
            return sorted(self._members.get(group, ()))

    def change_members(self, group: str, add: Iterable[str], remove: Iterable[str]) -> None:
        with self._lock:
            members = self._members.setdefault(group, set())
            members.update(add)
            members.difference_update(remove)

    def _roles(self, principal: str, resource: Resource) -> Iterator[set[str]]:
        """The roles that count for a principal, one binding after the other, from the cluster down."""
        names = {principal, principals.EVERYBODY, *self.groups(principal)}
        yield self._bound(CLUSTER, names)
        if resource.kind == auth_pb2.CLUSTER:
            return
        if resource.kind == auth_pb2.SPEC_REPO:  # everybody may look at the specifications of pipelines
            yield {REPO_READER}
            resource = Resource(auth_pb2.REPO, resource.name)
        if resource.kind == auth_pb2.REPO:
            project = of_project(resource.name.partition("/")[0])
            self._check_exists(project)
            yield self._bound(project, names)
        self._check_exists(resource)
        yield self._bound(resource, names)

    def _bound(self, resource: Resource, names: set[str]) -> set[str]:
        with self._lock:
            entries = self._entries.get(resource, {})
            return {role for name in names for role in entries.get(name, ())}

    def _check_exists(self, resource: Resource) -> None:
        if resource != CLUSTER and not self._exists(resource):
            raise unknown(f"no role binding exists for {resource}")


def _check(principal: str, roles: frozenset[str]) -> None:
    principals.check(principal)
    for role in sorted(roles):
        if role not in ROLES:
            raise unknown(f'unknown role "{role}"')
