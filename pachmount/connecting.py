"""A connection of our own to the cluster that a daemon uses, for what sends much data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pachmount.errors import NotConnectedError

if TYPE_CHECKING:
    from pachmount.api.schema import ClusterStatus
    from pachmount.pfs.client import PfsClient


class Connection:
    """A client of our own for the cluster that the daemon uses, and the project of its context."""

    def __init__(self, client: PfsClient, project: str) -> None:
        self._client = client
        self._project = project

    def __enter__(self) -> tuple[PfsClient, str]:
        return self._client, self._project

    def __exit__(self, *_exception: object) -> None:
        self._client.close()


def connect(cluster: ClusterStatus) -> Connection:
    """Connect to the cluster of a daemon. Raises NotConnectedError."""
    from pachmount.pfs.client import PfsClient
    from pachmount.pfs.contexts import Context, ContextFile

    if cluster.state == "none" or not cluster.address:
        why = (cluster.error.why or cluster.error.error) if cluster.error else ""
        raise NotConnectedError(
            "not connected to a cluster", why, "pachmount login ADDRESS, or pachmount login --local"
        )
    context = Context("") if cluster.embedded else ContextFile.load().active()
    if not cluster.embedded and context.address != cluster.address:
        context = Context("")  # the file was changed under the daemon: its token is for somebody else
    client = PfsClient(cluster.address, token=context.session_token, server_cas=context.server_cas)
    return Connection(client, context.project)
