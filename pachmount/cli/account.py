"""`login` and `logout`: which cluster, and as whom."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.state import State
from pachmount.errors import ClusterUnreachableError, ConfigurationError, LoginRequiredError, UsageError

if TYPE_CHECKING:
    from pachmount.api.schema import ClusterStatus
    from pachmount.client import DaemonClient

Address = Annotated[
    str | None,
    typer.Argument(
        metavar="ADDRESS", help="[grpc://|grpcs://]HOST[:PORT] or unix:///PATH. Default: the cluster in use."
    ),
]
TokenStdin = Annotated[
    bool, typer.Option("--token-stdin", metavar="", help="Read a session token from standard input.")
]
ServerCa = Annotated[
    Path | None,
    typer.Option("--server-ca", metavar="FILE", help="Trust the certificates in this PEM file (with grpcs://)."),
]
Local = Annotated[bool, typer.Option("--local", metavar="", help="Use the embedded server instead of a cluster.")]


def login(
    state: State,
    address: Address = None,
    token_stdin: TokenStdin = False,
    server_ca: ServerCa = None,
    local: Local = False,
    as_json: opt.Json = False,
) -> None:
    """Connect to a cluster, or to the embedded server.

    \b
    Examples:
      pachmount login grpc://pachd.example:30650
      pachmount login grpcs://pachd.example:443 --server-ca ca.pem
      pachmount login grpcs://pachd.example:443 --token-stdin < token
      pachmount login --token-stdin < token      a new token for the same cluster
      pachmount login --local

    The address and the token go into pachctl's file, ~/.pachyderm/config.json
    (PACH_CONFIG names another), so that pachctl uses the same cluster. Mounts
    of the former cluster end. Login in a browser is not in this version.
    """
    if local and (address or token_stdin or server_ca):
        raise UsageError("--local stands alone", "the embedded server needs no address, token or certificate")
    if not (local or address or token_stdin):
        why = "login in a browser comes with a later version"
        raise UsageError("nothing to log in with", why, "pachmount login [ADDRESS] --token-stdin < token")
    from pachmount.api.schema import ConfigRequest

    request = ConfigRequest(
        pachd_address=address or "",
        server_cas=_certificates(server_ca) if server_ca else "",
        embedded=local,
        token=_read_token() if token_stdin else "",
    )
    client = state.client(start=True)
    if not local and not address:
        request.pachd_address = _current_address(client)
    answer = client.configure(request)
    cluster = client.status().cluster
    if answer.cluster_status == "INVALID" or cluster.state != "connected":
        why = (cluster.error.why or cluster.error.error) if cluster.error else "it does not answer"
        raise ClusterUnreachableError(f"cannot connect to '{answer.pachd_address}'", why, "pachmount doctor")
    if as_json:
        output.json_answer(cluster)
    else:
        output.line(_connected(cluster))
    if cluster.auth == "logged-out":
        why = "the cluster asks for a login, and login in a browser comes with a later version"
        raise LoginRequiredError("connected, but not logged in", why, "pachmount login --token-stdin < token")
    state.hint("'pachmount list' shows what it has")


def _connected(cluster: ClusterStatus) -> str:
    if cluster.embedded:
        return "connected to the embedded server"
    text = f"connected to {cluster.address}"
    if cluster.version:
        text += f" (version {cluster.version})"
    if cluster.auth == "logged-in":
        text += f", logged in as {cluster.username or 'an unnamed user'}"
    return text


def _current_address(client: DaemonClient) -> str:
    cluster = client.status().cluster
    if cluster.embedded or not cluster.address:
        raise UsageError("no cluster to log in to", "no address is configured", "pachmount login ADDRESS --token-stdin")
    return cluster.address


def _certificates(path: Path) -> str:
    """The file as the daemon and pachctl want it: base64 of PEM."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read '{path}'", error.strerror or str(error)) from error
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise ConfigurationError(f"cannot use '{path}'", "it holds no PEM certificate")
    return base64.b64encode(text).decode()


def _read_token() -> str:
    ask = sys.stdin.isatty()
    token = str(typer.prompt("Session token", hide_input=True, err=True)) if ask else sys.stdin.read()
    token = token.strip()
    if not token or any(not "!" <= char <= "~" for char in token):
        why = "it is empty" if not token else "a token is one word of ASCII characters"
        raise UsageError("no token on standard input", why, "pachmount login --token-stdin < token")
    return token


def logout(state: State) -> None:
    """Forget the session token of the cluster in use.

    \b
    Examples:
      pachmount logout
    """
    client = state.client()
    cluster = client.status().cluster
    if cluster.embedded:
        state.note("the embedded server has no login")
        return
    client.logout()
    output.line(f"logged out of {cluster.address}")
