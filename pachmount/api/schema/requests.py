"""Requests, decoded as leniently as the original does."""

from __future__ import annotations

from typing import Literal

from pachmount.api.schema.base import Request

AtUnmount = Literal["commit", "discard", "keep"]
"""What becomes of staged changes when their mount ends."""


class MountEntry(Request):
    """One mount to make. Ours: `mountpoint` puts it at a directory of the user's instead of the mount directory,
    `follow` moves it along with its branch.
    """

    name: str = ""
    project: str = ""
    repo: str = ""
    branch: str = ""
    commit: str = ""
    files: list[str] = []
    paths: list[str] = []
    path: str = ""
    mode: str = ""
    mountpoint: str = ""
    follow: bool = False


class MountRequest(Request):
    mounts: list[MountEntry | None] = []


class UnmountRequest(Request):
    """`staged` and `message` are ours: what becomes of staged changes, and the message of their commit."""

    mounts: list[str] = []
    staged: AtUnmount = "commit"
    message: str = ""


class RefreshEntry(Request):
    """`commit`: an id, a branch or an ancestry such as `master^`; empty = the newest commit of the mounted branch."""

    name: str = ""
    commit: str = ""


class RefreshRequest(Request):
    mounts: list[RefreshEntry] = []


class RemountRequest(Request):
    """Mounts that are read-only or read-write from now on."""

    mounts: list[str] = []
    mode: Literal["ro", "rw"] = "ro"


class FollowRequest(Request):
    """`follow`: whether these mounts move along with their branches from now on."""

    mounts: list[str] = []
    follow: bool = True


class CommitRequest(Request):
    """Ours: everything but `mount`. `branch`: commit to this branch; `ours`: over newer versions of the files;
    `theirs`: paths at which newer versions take the place of what is staged. `to`: commit whole files into this other
    `[project/]repo[@branch]`, which needs no mount.
    """

    mount: str = ""
    message: str = ""
    branch: str = ""
    allow_open: bool = False
    skip_invalid: bool = False
    ours: bool = False
    theirs: list[str] = []
    to: str = ""


class DiffRequest(Request):
    """Paths as in DiscardRequest; `patch`: also tell the changes line by line."""

    mount: str = ""
    paths: list[str] = []
    patch: bool = False


class DiscardRequest(Request):
    """Paths in the mount, with or without a leading slash; none = everything that is staged."""

    mount: str = ""
    paths: list[str] = []


class DiscardStagedRequest(Request):
    """`name`: that of the mount whose changes are given up, mounted or not."""

    name: str = ""


class ConfigRequest(Request):
    """Ours: `context` of pachctl's file to use, or `embedded` for the embedded server; `token` to store in the new
    context; what becomes of changes that are `staged` on the former cluster.
    """

    pachd_address: str = ""
    server_cas: str = ""
    embedded: bool = False
    context: str = ""
    token: str = ""
    staged: AtUnmount = "commit"


class LoginTokenRequest(Request):
    """`oidc` is the state of a login in the browser; `id_token` (ours) one of an OIDC provider."""

    oidc: str = ""
    id_token: str = ""


class LogoutRequest(Request):
    """Ours: what becomes of staged changes."""

    staged: AtUnmount = "commit"


class WarmupEntry(Request):
    """Paths of one mount to bring into the cache; none = everything."""

    name: str = ""
    paths: list[str] = []


class WarmupRequest(Request):
    mounts: list[WarmupEntry] = []


class WarmupCancelRequest(Request):
    id: str = ""
