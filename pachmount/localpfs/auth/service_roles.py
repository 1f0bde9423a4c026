"""Calls of auth_v2 about what one may do: permissions, role bindings, groups."""

from __future__ import annotations

from google.protobuf.message import Message

from pachmount.localpfs import rpc
from pachmount.localpfs.access import CLUSTER, Resource
from pachmount.localpfs.auth import principals
from pachmount.localpfs.auth.bindings import Bindings
from pachmount.localpfs.auth.guard import Guard
from pachmount.localpfs.auth.roles import ROLES
from pachmount.localpfs.rpc import Context
from pachmount.localpfs.status import Refusal, invalid, unimplemented, unknown
from pachmount.pfs.proto import auth_pb2

_TO_BIND = {
    auth_pb2.CLUSTER: auth_pb2.CLUSTER_MODIFY_BINDINGS,
    auth_pb2.PROJECT: auth_pb2.PROJECT_MODIFY_BINDINGS,
    auth_pb2.REPO: auth_pb2.REPO_MODIFY_BINDINGS,
}
_NOT_OFFERED = {
    "GetConfiguration": auth_pb2.CLUSTER_AUTH_GET_CONFIG,
    "SetConfiguration": auth_pb2.CLUSTER_AUTH_SET_CONFIG,
    "ExtractAuthTokens": auth_pb2.CLUSTER_AUTH_EXTRACT_TOKENS,
    "RestoreAuthToken": auth_pb2.CLUSTER_AUTH_RESTORE_TOKEN,
    "RotateRootToken": auth_pb2.CLUSTER_AUTH_ROTATE_ROOT_TOKEN,
    "Activate": auth_pb2.CLUSTER_AUTH_ACTIVATE,
    "Deactivate": auth_pb2.CLUSTER_AUTH_DEACTIVATE,
}


class RoleService:
    """Permissions, bindings and groups."""

    def __init__(self, guard: Guard, bindings: Bindings) -> None:
        self._guard = guard
        self._bindings = bindings

    def methods(self) -> dict[str, rpc.Handler]:
        return {
            "Authorize": rpc.unary(self._authorize, auth_pb2.AuthorizeRequest),
            "GetPermissions": rpc.unary(self._get_permissions, auth_pb2.GetPermissionsRequest),
            "GetPermissionsForPrincipal": rpc.unary(
                self._get_permissions_of, auth_pb2.GetPermissionsForPrincipalRequest
            ),
            "GetRolesForPermission": rpc.unary(self._get_roles, auth_pb2.GetRolesForPermissionRequest),
            "GetRoleBinding": rpc.unary(self._get_binding, auth_pb2.GetRoleBindingRequest),
            "ModifyRoleBinding": rpc.unary(self._modify_binding, auth_pb2.ModifyRoleBindingRequest),
            "GetGroups": rpc.unary(self._get_groups, auth_pb2.GetGroupsRequest),
            "GetGroupsForPrincipal": rpc.unary(self._get_groups_of, auth_pb2.GetGroupsForPrincipalRequest),
            "GetUsers": rpc.unary(self._get_users, auth_pb2.GetUsersRequest),
            "ModifyMembers": rpc.unary(self._modify_members, auth_pb2.ModifyMembersRequest),
        } | {name: self._not_offered(permission) for name, permission in _NOT_OFFERED.items()}

    def _not_offered(self, permission: int) -> rpc.Handler:
        def refuse(_: Message, context: Context) -> Message:
            self._guard.require(context, CLUSTER, permission)
            raise unimplemented("what the embedded server knows about users stands in its auth file")

        return rpc.unary(refuse, auth_pb2.WhoAmIRequest)

    def _authorize(self, request: auth_pb2.AuthorizeRequest, context: Context) -> auth_pb2.AuthorizeResponse:
        principal = self._guard.caller(context).principal
        satisfied = self._bindings.satisfied(principal, _resource(request), request.permissions)
        return auth_pb2.AuthorizeResponse(
            authorized=satisfied.issuperset(request.permissions),
            satisfied=[number for number in request.permissions if number in satisfied],
            missing=[number for number in request.permissions if number not in satisfied],
            principal=principal,
        )

    def _get_permissions(
        self, request: auth_pb2.GetPermissionsRequest, context: Context
    ) -> auth_pb2.GetPermissionsResponse:
        return self._held(self._guard.caller(context).principal, _resource(request))

    def _get_permissions_of(
        self, request: auth_pb2.GetPermissionsForPrincipalRequest, context: Context
    ) -> auth_pb2.GetPermissionsResponse:
        resource = _resource(request)
        self._guard.require(context, CLUSTER, auth_pb2.CLUSTER_AUTH_GET_PERMISSIONS_FOR_PRINCIPAL)
        return self._held(request.principal, resource)

    def _held(self, principal: str, resource: Resource) -> auth_pb2.GetPermissionsResponse:
        try:
            permissions, roles = self._bindings.held(principal, resource)
        except Refusal as refusal:
            prefix = "cannot get permissions for principal: cannot evaluate role binding: "
            raise Refusal(refusal.code, prefix + refusal.text) from refusal
        return auth_pb2.GetPermissionsResponse(permissions=permissions, roles=roles)  # type: ignore[arg-type]

    def _get_roles(
        self, request: auth_pb2.GetRolesForPermissionRequest, _: Context
    ) -> auth_pb2.GetRolesForPermissionResponse:
        found = [role.message() for role in ROLES.values() if request.permission in role.permissions]
        return auth_pb2.GetRolesForPermissionResponse(roles=found)

    def _get_binding(self, request: auth_pb2.GetRoleBindingRequest, _: Context) -> auth_pb2.GetRoleBindingResponse:
        binding = auth_pb2.RoleBinding()
        for principal, roles in self._bindings.entries(_resource(request)).items():
            for role in sorted(roles):
                binding.entries[principal].roles[role] = True
        return auth_pb2.GetRoleBindingResponse(binding=binding)

    def _modify_binding(
        self, request: auth_pb2.ModifyRoleBindingRequest, context: Context
    ) -> auth_pb2.ModifyRoleBindingResponse:
        resource = _resource(request)
        if resource.kind not in _TO_BIND:
            raise unknown(f"unknown resource type {auth_pb2.ResourceType.Name(request.resource.type)}")
        self._guard.require(context, resource, _TO_BIND[request.resource.type])
        if resource == CLUSTER and request.principal.startswith(principals.PACH):
            raise unknown("cannot modify cluster role bindings for pach: users")
        self._bindings.bind(resource, request.principal, request.roles)
        return auth_pb2.ModifyRoleBindingResponse()

    def _get_groups(self, _: auth_pb2.GetGroupsRequest, context: Context) -> auth_pb2.GetGroupsResponse:
        return auth_pb2.GetGroupsResponse(groups=self._bindings.groups(self._guard.caller(context).principal))

    def _get_groups_of(
        self, request: auth_pb2.GetGroupsForPrincipalRequest, context: Context
    ) -> auth_pb2.GetGroupsResponse:
        self._guard.require(context, CLUSTER, auth_pb2.CLUSTER_AUTH_GET_GROUPS)
        return auth_pb2.GetGroupsResponse(groups=self._bindings.groups(request.principal))

    def _get_users(self, request: auth_pb2.GetUsersRequest, context: Context) -> auth_pb2.GetUsersResponse:
        self._guard.require(context, CLUSTER, auth_pb2.CLUSTER_AUTH_GET_GROUP_USERS)
        return auth_pb2.GetUsersResponse(usernames=self._bindings.members(request.group))

    def _modify_members(
        self, request: auth_pb2.ModifyMembersRequest, context: Context
    ) -> auth_pb2.ModifyMembersResponse:
        self._guard.require(context, CLUSTER, auth_pb2.CLUSTER_AUTH_MODIFY_GROUP_MEMBERS)
        for principal in request.add:
            principals.check(principal)
        self._bindings.change_members(request.group, request.add, request.remove)
        return auth_pb2.ModifyMembersResponse()


def _resource(
    request: auth_pb2.AuthorizeRequest
    | auth_pb2.GetPermissionsRequest
    | auth_pb2.GetPermissionsForPrincipalRequest
    | auth_pb2.GetRoleBindingRequest
    | auth_pb2.ModifyRoleBindingRequest,
) -> Resource:
    """The resource that a request is about; the name that a request gives the cluster does not matter."""
    if not request.HasField("resource"):
        kind = type(request).__name__
        raise invalid(f"validate request: invalid {kind}.Resource: value is required")
    if request.resource.type not in auth_pb2.ResourceType.values():
        raise unknown(f"unknown resource type {request.resource.type}")
    if request.resource.type == auth_pb2.CLUSTER:
        return CLUSTER
    return Resource(request.resource.type, request.resource.name)
