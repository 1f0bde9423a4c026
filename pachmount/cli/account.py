"""`login`, `logout` and `whoami`: which cluster, and as whom."""

from __future__ import annotations

import base64
import os
import sys
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachmount.cli import options as opt
from pachmount.cli import output
from pachmount.cli.state import State
from pachmount.errors import ClusterUnreachableError, ConfigurationError, LoginRequiredError, UsageError

if TYPE_CHECKING:
    from pachmount.api.schema import AtUnmount, ClusterStatus
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
IdTokenStdin = Annotated[
    bool, typer.Option("--id-token-stdin", metavar="", help="Read an OIDC id token from standard input.")
]
NoBrowser = Annotated[
    bool, typer.Option("--no-browser", metavar="", help="Only print the address to log in at; open no browser.")
]
ServerCa = Annotated[
    Path | None,
    typer.Option("--server-ca", metavar="FILE", help="Trust the certificates in this PEM file (with grpcs://)."),
]
Local = Annotated[bool, typer.Option("--local", metavar="", help="Use the embedded server instead of a cluster.")]
Keep = Annotated[
    bool, typer.Option("--keep", metavar="", help="Keep staged changes instead of committing them to the cluster left.")
]


def login(
    state: State,
    address: Address = None,
    no_browser: NoBrowser = False,
    token_stdin: TokenStdin = False,
    id_token_stdin: IdTokenStdin = False,
    server_ca: ServerCa = None,
    local: Local = False,
    keep: Keep = False,
    as_json: opt.Json = False,
) -> None:
    """Connect to a cluster and log in, or go back to the embedded server.

    \b
    Examples:
      pachmount login grpc://pachd.example:30650
      pachmount login grpcs://pachd.example:443 --server-ca ca.pem
      pachmount login                            again, at the same cluster
      pachmount login --token-stdin < token      with a session token
      pachmount login --local

    If the cluster asks for it, the login is done in a browser, or with the token
    in PACHMOUNT_TOKEN or the OIDC id token in DEX_TOKEN. The address and the
    session token go into pachctl's file, ~/.pachyderm/config.json (PACH_CONFIG
    names another), so that pachctl uses the same cluster. Mounts stay when the
    cluster does; those of a former cluster end, after what is staged in them was
    committed.
    """
    if local and (address or token_stdin or id_token_stdin or server_ca):
        raise UsageError("--local stands alone", "the embedded server needs no address, token or certificate")
    if token_stdin and id_token_stdin:
        raise UsageError("--token-stdin and --id-token-stdin exclude each other", "standard input is one token")
    from pachmount.api.schema import ConfigRequest

    client = state.client(start=True)
    former = None if local or address else _current(client)
    if former is None or token_stdin or server_ca:
        request = ConfigRequest(
            pachd_address=address or (former.address if former else ""),
            server_cas=_certificates(server_ca) if server_ca else "",
            embedded=local,
            token=_read_token("Session token", "--token-stdin") if token_stdin else "",
            staged=_at_leave(keep),
        )
        answer = client.configure(request)
        _require_connection(client.status().cluster, answer.pachd_address)
    if id_token_stdin:
        client.finish_login(id_token=_read_token("OIDC id token", "--id-token-stdin"))
    cluster = client.status().cluster
    _require_connection(cluster, cluster.address)
    if cluster.auth == "logged-out":
        _log_in(state, client, open_browser=not no_browser, with_token=token_stdin)
        cluster = client.status().cluster
    if as_json:
        output.json_answer(cluster)
    else:
        output.line(_connected(cluster))
    state.hint("'pachmount list' shows what it has")


def _log_in(state: State, client: DaemonClient, *, open_browser: bool, with_token: bool) -> None:
    """Log in with what the environment offers, else in the browser."""
    if with_token:
        why = "the cluster does not know this token, or not any more"
        raise LoginRequiredError("connected, but not logged in", why, "pachmount login")
    if id_token := os.environ.get("DEX_TOKEN"):
        client.finish_login(id_token=id_token)
        return
    if state.no_input:
        hint = "pachmount login --token-stdin < token"
        raise LoginRequiredError("the login needs a person", "--no-input forbids to wait for one", hint)
    begun = client.begin_login()
    opened = open_browser and _has_browser() and webbrowser.open(begun.auth_url)
    output.note("log in with your browser, which shows:" if opened else "open this address in a browser to log in:")
    output.note(f"  {begun.auth_url}")
    with output.waiting("waiting for the login (Ctrl-C gives up)", enabled=not state.quiet):
        client.finish_login(oidc_state=begun.oidc_state)


def _has_browser() -> bool:
    """Whether there is one with a window of its own: one in the terminal would take ours away."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


def _connected(cluster: ClusterStatus) -> str:
    if cluster.embedded:
        return "connected to the embedded server"
    text = f"connected to {cluster.address}"
    if cluster.version:
        text += f" (version {cluster.version})"
    if cluster.auth == "logged-in":
        text += f", logged in as {cluster.username or 'an unnamed user'}"
    return text


def _current(client: DaemonClient) -> ClusterStatus:
    cluster = client.status().cluster
    if cluster.embedded or not cluster.address:
        raise UsageError("no cluster to log in to", "no address is configured", "pachmount login ADDRESS")
    return cluster


def _require_connection(cluster: ClusterStatus, address: str) -> None:
    if cluster.state != "connected":
        why = (cluster.error.why or cluster.error.error) if cluster.error else "it does not answer"
        raise ClusterUnreachableError(f"cannot connect to '{address}'", why, "pachmount doctor")


def _certificates(path: Path) -> str:
    """The file as the daemon and pachctl want it: base64 of PEM."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read '{path}'", error.strerror or str(error)) from error
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise ConfigurationError(f"cannot use '{path}'", "it holds no PEM certificate")
    return base64.b64encode(text).decode()


def _read_token(name: str, flag: str) -> str:
    ask = sys.stdin.isatty()
    token = str(typer.prompt(name, hide_input=True, err=True)) if ask else sys.stdin.read()
    token = token.strip()
    if not token or any(not "!" <= char <= "~" for char in token):
        why = "it is empty" if not token else "a token is one word of ASCII characters"
        raise UsageError("no token on standard input", why, f"pachmount login {flag} < token")
    return token


def _at_leave(keep: bool) -> AtUnmount:
    return "keep" if keep else "commit"


def logout(state: State, keep: Keep = False) -> None:
    """Forget the session token of the cluster in use.

    \b
    Examples:
      pachmount logout

    All mounts end, after what is staged in them was committed.
    """
    client = state.client()
    cluster = client.status().cluster
    if cluster.embedded:
        state.note("the embedded server has no login")
        return
    client.logout(staged=_at_leave(keep))
    output.line(f"logged out of {cluster.address}")


def whoami(state: State, as_json: opt.Json = False) -> None:
    """Print as whom you are logged in.

    \b
    Examples:
      pachmount whoami

    Nothing is printed if the server asks nobody for a login.
    """
    cluster = state.client(start=True).status().cluster
    if cluster.auth == "logged-out":
        raise LoginRequiredError(f"not logged in at {cluster.address}", "", "pachmount login")
    if not cluster.embedded:
        _require_connection(cluster, cluster.address)
    if as_json:
        output.json_answer(cluster)
        return
    if cluster.auth != "logged-in":
        state.note("the embedded server has no login" if cluster.embedded else f"{cluster.address} asks for no login")
        return
    output.line(cluster.username)
    if cluster.login_expires is not None:
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(cluster.login_expires))
        state.note(f"at {cluster.address}, until {until}")
