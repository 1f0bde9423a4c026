"""Logging in at the cluster in use: in a browser, or with an id token."""

from __future__ import annotations

import time
from collections.abc import Callable

from pachmount.errors import (
    ClusterError,
    ClusterTimeoutError,
    ClusterUnreachableError,
    ConflictError,
    LoginRequiredError,
    PachmountError,
)
from pachmount.mounts.cluster import Cluster
from pachmount.pfs.model import AuthState, OidcLogin

LOGIN_SECONDS = 185.0
"""A little more than a cluster gives a login in a browser (180 s): for a state that ran out it never answers."""
SLICE_SECONDS = 5.0
"""How long one call waits; its repetition gets the token, too, and in between we notice if nobody wants it any more."""


def begin(cluster: Cluster) -> OidcLogin:
    """Where to log in with a browser. ClusterError if the cluster has no authentication or no provider for it."""
    if cluster.identity().state is AuthState.OFF:
        raise ClusterError("auth isn't activated on the cluster", "everybody may use it", "no login is needed")
    try:
        return cluster.client.start_oidc_login()
    except ClusterUnreachableError:
        raise
    except PachmountError as error:
        raise ClusterError("no authentication providers configured", str(error)) from error


def finish(cluster: Cluster, *, oidc_state: str = "", id_token: str = "", wanted: Callable[[], bool]) -> None:
    """Wait until the login in the browser is done and use its token, or that for an id token.

    Gives up when it is not `wanted` any more. LoginRequiredError if the cluster refuses, ClusterTimeoutError if nobody
    logs in, ConflictError if the cluster was exchanged meanwhile.
    """
    connection = cluster.connection
    deadline = time.monotonic() + LOGIN_SECONDS
    while wanted() and time.monotonic() < deadline:
        try:
            token = connection.client.authenticate(oidc_state=oidc_state, id_token=id_token, timeout=SLICE_SECONDS)
        except ClusterTimeoutError:
            if id_token:
                raise
            continue
        except ClusterError as error:
            raise LoginRequiredError(error.what, error.why, "pachmount login") from error
        if cluster.connection is not connection:
            raise ConflictError("the login came too late", "another cluster is in use now", "pachmount login")
        cluster.set_token(token)
        return
    why = f"nobody logged in within {LOGIN_SECONDS:.0f} s"
    raise ClusterTimeoutError("the login was not completed", why, "pachmount login")
