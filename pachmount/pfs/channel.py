"""Opening gRPC channels to a cluster: limits, keepalive, TLS, quick reconnection."""

from __future__ import annotations

import os

# Both must be set before the first import of grpc in the process: its fork handlers start threads and print warnings
# when we start other programs, and it logs to stderr on its own.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import base64
import binascii
import ssl
from pathlib import Path

import grpc
import grpc.experimental

from pachmount.errors import ConfigurationError
from pachmount.pfs.address import ClusterAddress

MAX_MESSAGE_BYTES = 20 * 1024 * 1024
"""What pachd sends and accepts at most; file content comes in messages of up to 19 MiB."""

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_http_proxy", 0),
    # One TCP connection per channel, not one shared by all channels to the same address.
    ("grpc.use_local_subchannel_pool", 1),
    # A server that comes back is noticed within a second. The minimum is also the time a connection attempt may take.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 10_000),
    # A reader that pauses holds the server back: without these two, gRPC takes in up to 50 MiB that nobody asked for
    # (measured with messages of 19 MiB). A message that is waited for may always come whole.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 4 << 20),
    # A stream is read by the thread that wants its messages, without a helper thread in between: about twice as fast.
    (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
]


def open_channel(address: ClusterAddress, server_cas: str = "") -> grpc.Channel:
    """A channel to `address`; nothing is dialled before the first call.

    `server_cas` is base64 of PEM: authorities to trust beside the system's. Raises ConfigurationError if unreadable.
    """
    if not address.secure:
        if server_cas:
            why = "must set pachd_address to grpcs://... if server_cas is set"
            raise ConfigurationError(f"cannot connect to {address} with a certificate", why)
        return grpc.insecure_channel(address.target, _OPTIONS)
    roots = _system_roots() + b"\n" + decode_certificates(server_cas) if server_cas else None
    return grpc.secure_channel(address.target, grpc.ssl_channel_credentials(roots), _OPTIONS)


def decode_certificates(server_cas: str) -> bytes:
    """The PEM text in the base64 form of config files; raises ConfigurationError unless it holds certificates."""
    what = "could not decode server CA certs"
    try:
        pem = base64.b64decode(server_cas, validate=True)
        ssl.create_default_context(cadata=pem.decode("ascii"))
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(what, f"not base64 of PEM text ({error})") from error
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(what, f"no usable certificate in it ({error})") from error
    return pem


def _system_roots() -> bytes:
    # gRPC trusts either its default roots or the ones it is given, so the system's have to be added by hand.
    place = ssl.get_default_verify_paths().cafile
    return Path(place).read_bytes() if place else b""
