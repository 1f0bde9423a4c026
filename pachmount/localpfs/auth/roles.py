"""The roles of a cluster: what each permits, where it can be bound, and on which resources it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from pachmount.pfs.proto import auth_pb2

ALL = frozenset(number for number in auth_pb2.Permission.values() if number != auth_pb2.PERMISSION_UNKNOWN)

CLUSTER_ADMIN, PROJECT_OWNER, REPO_OWNER, PROJECT_WRITER, REPO_READER = (
    "clusterAdmin",
    "projectOwner",
    "repoOwner",
    "projectWriter",
    "repoReader",
)

_CLUSTER = (auth_pb2.CLUSTER,)
_PROJECT = (auth_pb2.CLUSTER, auth_pb2.PROJECT)
_REPO = (auth_pb2.CLUSTER, auth_pb2.PROJECT, auth_pb2.REPO)

_READER = """
    REPO_READ REPO_INSPECT_COMMIT REPO_LIST_COMMIT REPO_LIST_BRANCH REPO_INSPECT_FILE REPO_LIST_FILE
    REPO_ADD_PIPELINE_READER REPO_REMOVE_PIPELINE_READER PIPELINE_LIST_JOB
"""
_WRITER = _READER + "REPO_WRITE REPO_DELETE_COMMIT REPO_CREATE_BRANCH REPO_DELETE_BRANCH REPO_ADD_PIPELINE_WRITER"
_OWNER = _WRITER + " REPO_MODIFY_BINDINGS REPO_DELETE"


@dataclass(frozen=True)
class Role:
    """`bindable`: the kinds of resource it is meant to be bound to; `shown`: those on which it is listed."""

    name: str
    permissions: frozenset[int]
    bindable: tuple[int, ...]
    shown: tuple[int, ...]

    def message(self) -> auth_pb2.Role:
        return auth_pb2.Role(
            name=self.name,
            permissions=sorted(self.permissions),  # type: ignore[arg-type]
            can_be_bound_to=self.bindable,  # type: ignore[arg-type]
            returned_for=self.shown,  # type: ignore[arg-type]
        )


def _numbers(names: str) -> frozenset[int]:
    return frozenset(auth_pb2.Permission.Value(name) for name in names.split())


def _starting(*prefixes: str) -> frozenset[int]:
    return frozenset(number for name, number in auth_pb2.Permission.items() if name.startswith(prefixes))


def _of_cluster(name: str, permissions: frozenset[int]) -> Role:
    return Role(name, permissions, _CLUSTER, _CLUSTER)


_ROLES = (
    Role(CLUSTER_ADMIN, ALL, _CLUSTER, _REPO),
    Role(
        PROJECT_OWNER,
        _numbers(_OWNER) | _starting("PROJECT_") - {auth_pb2.PROJECT_CREATE},
        _PROJECT,
        (auth_pb2.PROJECT, auth_pb2.REPO),
    ),
    Role("projectViewer", _numbers("PROJECT_LIST_REPO"), _PROJECT, (auth_pb2.PROJECT,)),
    Role(PROJECT_WRITER, _numbers("PROJECT_LIST_REPO PROJECT_CREATE_REPO"), _PROJECT, (auth_pb2.PROJECT,)),
    Role(REPO_OWNER, _numbers(_OWNER), _REPO, (auth_pb2.REPO,)),
    Role("repoWriter", _numbers(_WRITER), _REPO, (auth_pb2.REPO,)),
    Role(REPO_READER, _numbers(_READER), _REPO, (auth_pb2.REPO,)),
    Role("jobAdmin", _numbers("JOB_SKIP_CTX"), (auth_pb2.JOB, auth_pb2.CLUSTER), (auth_pb2.JOB, auth_pb2.CLUSTER)),
    _of_cluster("debugger", _numbers("CLUSTER_DEBUG_DUMP CLUSTER_GET_PACHD_LOGS CLUSTER_GET_LOKI_LOGS")),
    _of_cluster("identityAdmin", _numbers("CLUSTER_IDENTITY_SET_CONFIG CLUSTER_IDENTITY_GET_CONFIG")),
    _of_cluster(
        "idpAdmin",
        frozenset(number for name, number in auth_pb2.Permission.items() if name.endswith(("_IDP", "_IDPS"))),
    ),
    _of_cluster("licenseAdmin", _starting("CLUSTER_LICENSE_")),
    _of_cluster("lokiLogReader", _numbers("CLUSTER_GET_LOKI_LOGS")),
    _of_cluster(
        "oidcAppAdmin", frozenset(number for name, number in auth_pb2.Permission.items() if "_OIDC_CLIENT" in name)
    ),
    _of_cluster("pachdLogReader", _numbers("CLUSTER_GET_PACHD_LOGS")),
    _of_cluster("projectCreator", _numbers("PROJECT_CREATE")),
    _of_cluster("robotUser", _numbers("CLUSTER_AUTH_GET_ROBOT_TOKEN")),
    _of_cluster("secretAdmin", _numbers("CLUSTER_CREATE_SECRET CLUSTER_LIST_SECRETS SECRET_DELETE SECRET_INSPECT")),
)
ROLES = {role.name: role for role in _ROLES}
