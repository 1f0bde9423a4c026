"""TLS in front of a plain server, as an ingress does it, with certificates made for the occasion."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from pathlib import Path

import trustme


def authority(directory: Path, name: str = "ca") -> tuple[trustme.CA, Path]:
    """A certificate authority, and the file with its certificate."""
    made = trustme.CA()
    path = directory / f"{name}.pem"
    made.cert_pem.write_to_path(str(path))
    return made, path


def expired_certificate(authority: trustme.CA) -> trustme.LeafCert:
    """One for this machine that ended yesterday."""
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.timezone.utc)
    return authority.issue_cert("127.0.0.1", not_before=now - 3 * day, not_after=now - day)


class TlsProxy:
    """Listens on 127.0.0.1:`port` and hands on what is in the connections; a context manager."""

    def __init__(self, certificate: trustme.LeafCert, target: str) -> None:
        """`target`: host:port of the plain server."""
        host, _, port = target.removeprefix("grpc://").rpartition(":")
        self._target = host, int(port)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.set_alpn_protocols(["h2"])
        certificate.configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def address(self) -> str:
        return f"grpcs://127.0.0.1:{self.port}"

    def __enter__(self) -> TlsProxy:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(20)
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(20)
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            inside = self._context.wrap_socket(connection, server_side=True)
        except OSError:  # the client does not trust us
            connection.close()
            return
        outside = socket.create_connection(self._target)
        self._ends += [inside, outside]
        self._start(_hand_on, outside, inside)
        _hand_on(inside, outside)

    def _start(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
