"""pachctl's config file: which cluster is the active one, with what certificate and token (spec: rest-api.md 5.1)."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from pachmount.errors import ConfigurationError, InvalidAddressError, NotFoundError
from pachmount.names import DEFAULT_PROJECT
from pachmount.pfs.address import parse_address
from pachmount.pfs.config_store import read_document, rewrite_document

OUR_CONTEXT = "mount-server"
"""The context that a connection made through us is saved under, as the original mount server does."""
EMBEDDED_CONTEXT = "local"
"""A context without an address: the embedded server."""

TOKEN_VARIABLE = "PACHMOUNT_TOKEN"  # noqa: S105 (a name)
"""The environment variable that holds a session token to use instead of the file's."""

_SOURCE_HUB = 2
_POD_PATH = Path("/pachctl/config.json")
_BELONGS_TO_ADDRESS = ("server_cas", "session_token", "cluster_deployment_id", "port_forwarders", "auth_info")


class AddressOrigin(Enum):
    """Where the address of a context was found."""

    ENVIRONMENT = "PACHD_ADDRESS"
    CONTEXT = "context"
    PORT_FORWARDER = "port forwarder"
    NONE = "none"


@dataclass(frozen=True)
class Context:
    """How to reach one cluster. `address` is qualified text, or "" when none is configured: use the embedded server.

    `server_cas` is base64 of PEM, as the file holds it.
    """

    name: str
    address: str = ""
    server_cas: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    project: str = DEFAULT_PROJECT
    origin: AddressOrigin = AddressOrigin.NONE


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where the config file is or would be written: PACH_CONFIG, /pachctl/config.json, ~/.pachyderm/config.json."""
    environ = os.environ if environ is None else environ
    if chosen := environ.get("PACH_CONFIG"):
        return Path(chosen)
    if _POD_PATH.exists():
        return _POD_PATH
    return Path(environ.get("HOME") or Path.home()) / ".pachyderm" / "config.json"


class ContextFile:
    """The config file, read anew by each call, so that edits of others are always seen and never lost.

    A missing or empty file is one without contexts. Every call raises ConfigurationError for a file that cannot be
    used; such a file is never overwritten.
    """

    def __init__(self, path: Path | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._must_have_parent = path is None and bool(self._environ.get("PACH_CONFIG"))
        self.path = config_path(self._environ) if path is None else path

    @classmethod
    def load(cls, path: Path | None = None, environ: Mapping[str, str] | None = None) -> ContextFile:
        """Open the file and check that it can be used; raises ConfigurationError."""
        file = cls(path, environ)
        file.names()
        return file

    def document(self) -> dict[str, Any]:
        """The whole file. It holds session tokens: never log it."""
        return read_document(self.path)

    def names(self) -> list[str]:
        """The names of all contexts, in the order of the file."""
        return list(self._contexts(self.document()))

    def get(self, name: str) -> Context:
        """One context as it is in the file, whatever the environment says; raises NotFoundError."""
        return self._context(self.document(), name)

    def active(self) -> Context:
        """The context to use: PACH_CONTEXT or the file's active one, its address overridden by PACHD_ADDRESS."""
        document = self.document()
        contexts = self._contexts(document)  # first: it may migrate an old document
        name = self._environ.get("PACH_CONTEXT") or self._active_name(document)
        if name and name not in contexts:
            origin = "PACH_CONTEXT" if self._environ.get("PACH_CONTEXT") else "active_context"
            why = f"{origin} names a context that does not exist"
            raise ConfigurationError(f"no context '{name}' in {self.path}", why, "pachctl config list context")
        context = self._context(document, name) if name else Context("")
        override = self._environ.get("PACHD_ADDRESS", "")
        context = self._from_environment(context, override) if override else context
        return replace(context, session_token=self.active_token(name) if context.address else "")

    def active_token(self, name: str) -> str:
        """The session token to use with a context: PACHMOUNT_TOKEN, else the file's; "" if there is none."""
        if token := self._environ.get(TOKEN_VARIABLE):
            return token
        entry = self._contexts(self.document()).get(name, {})
        return str(entry.get("session_token") or "")

    def document_of(self, name: str) -> dict[str, Any]:
        """The file with one of its contexts alone: what belongs to others is theirs."""
        document = self.document()
        contexts = self._contexts(document)
        only = {name: contexts[name]} if name in contexts else {}
        metrics = document.get("v2", {}).get("metrics", True)
        kept = {"user_id": document["user_id"]} if document.get("user_id") else {}
        return {**kept, "v2": {"active_context": name, "contexts": only, "metrics": metrics}}

    def write_context(
        self,
        name: str,
        address: str,
        server_cas: str = "",
        *,
        session_token: str = "",
        project: str = "",
        source: int = _SOURCE_HUB,
    ) -> Context:
        """Save a context and make it the active one; `address` "" means the embedded server.

        What belonged to the former address of that context (token, certificate, port forwarder) is dropped; keys we do
        not know are kept, and so is the project unless one is given. Raises InvalidAddressError, ConfigurationError.
        """
        qualified = parse_address(address).qualified if address else ""
        _check_certificate_use(qualified, server_cas, self.path)

        def change(document: dict[str, Any]) -> None:
            v2 = self._v2_for_writing(document)
            context = v2["contexts"].setdefault(name, {})
            for key in _BELONGS_TO_ADDRESS:
                context.pop(key, None)
            context["source"] = source
            _set_or_drop(context, "pachd_address", qualified)
            _set_or_drop(context, "server_cas", server_cas)
            _set_or_drop(context, "session_token", session_token)
            if project:
                context["project"] = project
            v2["active_context"] = name

        self._rewrite(change)
        return self.get(name)

    def set_token(self, name: str, token: str) -> None:
        """Save the session token of a context, "" forgets it; raises NotFoundError when there is no such context."""
        self._rewrite(lambda document: _set_or_drop(self._existing(document, name), "session_token", token))

    def use(self, name: str) -> None:
        """Make a context the active one; raises NotFoundError."""

        def change(document: dict[str, Any]) -> None:
            self._existing(document, name)
            document["v2"]["active_context"] = name

        self._rewrite(change)

    def _rewrite(self, change: Callable[[dict[str, Any]], None]) -> None:
        def checked(document: dict[str, Any]) -> None:
            self._contexts(document)
            change(document)

        rewrite_document(self.path, checked, make_parent=not self._must_have_parent)

    def _from_environment(self, context: Context, address: str) -> Context:
        try:
            qualified = parse_address(address).qualified
        except InvalidAddressError as error:
            raise ConfigurationError("PACHD_ADDRESS cannot be used", error.why or error.what) from error
        bundles = self._environ.get("PACH_CA_CERTS", "")
        certificates = base64.b64encode(_read_certificates(bundles)).decode() if bundles else ""
        _check_certificate_use(qualified, certificates, self.path)
        return Context(
            context.name, qualified, certificates, context.session_token, context.project, AddressOrigin.ENVIRONMENT
        )

    def _context(self, document: dict[str, Any], name: str) -> Context:
        entry = self._existing(document, name)
        texts = {}
        for key in ("pachd_address", "server_cas", "session_token", "project"):
            value = entry.get(key) or ""
            if not isinstance(value, str):
                raise ConfigurationError(f"cannot use {self.path}", f"{key} of context '{name}' is not a text")
            texts[key] = value
        origin = AddressOrigin.CONTEXT
        if not texts["pachd_address"] and (port := self._forwarded_port(entry, name)):
            texts["pachd_address"], origin = f"localhost:{port}", AddressOrigin.PORT_FORWARDER
        if not texts["pachd_address"]:
            origin = AddressOrigin.NONE
        address = self._qualified(name, texts["pachd_address"])
        _check_certificate_use(address, texts["server_cas"], self.path)
        project = texts["project"] or DEFAULT_PROJECT
        return Context(name, address, texts["server_cas"], texts["session_token"], project, origin)

    def _qualified(self, name: str, address: str) -> str:
        try:
            return parse_address(address).qualified if address else ""
        except InvalidAddressError as error:
            why = f"pachd_address of context '{name}': {error.why or error.what}"
            raise ConfigurationError(f"cannot use {self.path}", why) from error

    def _forwarded_port(self, entry: dict[str, Any], name: str) -> int:
        forwarders = entry.get("port_forwarders") or {}
        port = forwarders.get("pachd", 0) if isinstance(forwarders, dict) else None
        if not isinstance(port, int):
            raise ConfigurationError(f"cannot use {self.path}", f"port_forwarders of context '{name}' is unreadable")
        return port

    def _existing(self, document: dict[str, Any], name: str) -> dict[str, Any]:
        contexts = self._contexts(document)
        if name not in contexts:
            raise NotFoundError(f"context '{name}' not found", f"{self.path} does not have it")
        entry: dict[str, Any] = contexts[name]
        return entry

    def _contexts(self, document: dict[str, Any]) -> dict[str, Any]:
        """The contexts of a document, after checking its shape and filling holes that pachctl leaves."""
        _migrate_v1(document)
        v2 = document.get("v2")
        contexts = v2.get("contexts") if isinstance(v2, dict) else None
        if v2 is None or (isinstance(v2, dict) and contexts is None):
            return {}
        if not isinstance(contexts, dict):
            raise ConfigurationError(f"cannot use {self.path}", "'v2.contexts' is not a table of contexts")
        for name, entry in contexts.items():
            if entry is None:
                contexts[name] = {}
            elif not isinstance(entry, dict):
                raise ConfigurationError(f"cannot use {self.path}", f"context '{name}' is not a table")
        return contexts

    def _active_name(self, document: dict[str, Any]) -> str:
        v2 = document.get("v2") or {}
        name = v2.get("active_context") or ""
        if not isinstance(name, str):
            raise ConfigurationError(f"cannot use {self.path}", "'v2.active_context' is not a text")
        return name

    def _v2_for_writing(self, document: dict[str, Any]) -> dict[str, Any]:
        if document.get("v2") is None:
            document["v2"] = {"active_context": "", "contexts": {}, "metrics": True}
        v2: dict[str, Any] = document["v2"]
        if v2.get("contexts") is None:
            v2["contexts"] = {}
        return v2


def _migrate_v1(document: dict[str, Any]) -> None:
    """Files of 1.x hold one cluster in `v1`; it becomes the context `default`, as in pachctl."""
    v1 = document.get("v1")
    if document.get("v2") is not None or not isinstance(v1, dict):
        return
    known = ("pachd_address", "server_cas", "session_token", "active_transaction")
    context = {"source": 1} | {key: v1[key] for key in known if v1.get(key)}
    document["v2"] = {"active_context": "default", "contexts": {"default": context}, "metrics": True}


def _set_or_drop(entry: dict[str, Any], key: str, value: str) -> None:
    if value:
        entry[key] = value
    else:
        entry.pop(key, None)


def _check_certificate_use(address: str, server_cas: str, path: Path) -> None:
    if server_cas and not (address and parse_address(address).secure):
        why = "must set pachd_address to grpcs://... if server_cas is set"
        raise ConfigurationError(f"cannot connect to '{address}' with a certificate", why, f"see {path}")


def _read_certificates(places: str) -> bytes:
    """The PEM texts in PACH_CA_CERTS: files and directories, separated by commas."""
    pieces = []
    for place in filter(None, places.split(",")):
        root = Path(place)
        try:
            files = sorted(found for found in root.rglob("*") if found.is_file()) if root.is_dir() else [root]
            pieces += [file.read_bytes() for file in files]
        except OSError as error:
            raise ConfigurationError("PACH_CA_CERTS cannot be used", f"{place}: {error.strerror}") from error
    return b"\n".join(pieces)
