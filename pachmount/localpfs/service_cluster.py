"""Calls about the server itself: version, health, and the services that it does not have."""

from __future__ import annotations

import platform

import grpc
from google.protobuf.empty_pb2 import Empty

from pachmount.localpfs import rpc
from pachmount.localpfs.rpc import Context
from pachmount.localpfs.status import Code, Refusal, not_found, unimplemented
from pachmount.localpfs.store import Store
from pachmount.pfs.proto import admin_pb2, enterprise_pb2, health_pb2, version_pb2

VERSION = version_pb2.Version(
    major=2,
    minor=11,
    micro=6,
    additional="-localpfs",
    go_version="none, this is the embedded server of pachmount",
    platform=f"{platform.machine()}",
)
_AUTH_METHODS_WITHOUT_LOGINS = (
    "Activate",
    "Authenticate",
    "Authorize",
    "Deactivate",
    "GetConfiguration",
    "GetGroups",
    "GetPermissions",
    "GetRobotToken",
    "GetRoleBinding",
    "ModifyRoleBinding",
    "RevokeAuthToken",
    "WhoAmI",
)
_NO_AUTH = Refusal(Code.UNIMPLEMENTED, "the auth service is not activated")
_NO_LOGIN = Refusal(Code.UNKNOWN, "OIDC ID provider configuration not found")
_OLD = unimplemented("this is the API of Pachyderm 1.x: please upgrade the client to one for 2.x")


def without_logins() -> dict[str, dict[str, rpc.Handler]]:
    """The methods of the services about users, on a server that has none."""
    return {
        "auth_v2.API": {name: rpc.refuse(_NO_AUTH) for name in _AUTH_METHODS_WITHOUT_LOGINS}
        | {"GetOIDCLogin": rpc.refuse(_NO_LOGIN)},
        "enterprise_v2.API": {"GetState": rpc.unary(_get_state, enterprise_pb2.GetStateRequest)},
    }


def services(store: Store) -> dict[str, dict[str, rpc.Handler]]:
    """The methods of the services that everybody may call, by the name of the service."""

    def inspect_cluster(request: admin_pb2.InspectClusterRequest, _: Context) -> admin_pb2.ClusterInfo:
        warnings = (
            [] if request.HasField("client_version") else ["the client did not say its version; it may be too old"]
        )
        return admin_pb2.ClusterInfo(
            id=store.cluster_id,
            warnings_ok=True,
            warnings=warnings,
            web_resources=admin_pb2.WebResource(),
        )

    return {
        "versionpb_v2.API": {"GetVersion": rpc.unary(lambda _request, _context: VERSION, Empty)},
        "admin_v2.API": {"InspectCluster": rpc.unary(inspect_cluster, admin_pb2.InspectClusterRequest)},
        "grpc.health.v1.Health": {"Check": rpc.unary(_check, health_pb2.HealthCheckRequest)},
        "pfs.API": {"ListRepo": rpc.refuse(_OLD), "InspectRepo": rpc.refuse(_OLD)},
    }


class Rest(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Every call that no other handler knows: refused with a sentence that says why."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> rpc.Handler:
        service, _, method = handler_call_details.method.removeprefix("/").partition("/")
        text = (
            f"unknown method {method} for service {service}: the embedded server keeps projects, repos and files only"
        )
        return rpc.refuse(unimplemented(text))


def _get_state(_request: enterprise_pb2.GetStateRequest, _: Context) -> enterprise_pb2.GetStateResponse:
    return enterprise_pb2.GetStateResponse(state=enterprise_pb2.NONE)


def _check(request: health_pb2.HealthCheckRequest, _: Context) -> health_pb2.HealthCheckResponse:
    if request.service:
        raise not_found("unknown service")
    return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
