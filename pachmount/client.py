"""DaemonClient: the daemon's REST API as typed calls over its unix socket, for the CLI and the lab extension."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from pachmount.api import schema
from pachmount.errors import InternalError, UsageError
from pachmount.transport import Connection, Transport, UnixConnection

POLL_TIMEOUT = 10.0
"""For questions that the daemon answers from memory."""
CLUSTER_TIMEOUT = 60.0
"""For questions that the daemon hands on to the cluster, each of whose calls has a deadline of its own."""
MOUNT_TIMEOUT = 120.0
"""For requests that mount or unmount."""
UPLOAD_TIMEOUT = 24 * 3600.0
"""For requests that send staged data, however much; each piece has a deadline of its own in the daemon."""
LOGIN_TIMEOUT = 200.0
"""For the request that waits until a person has logged in."""
DEFAULT_PORT = 9002
"""That of the original."""

_HEADERS = {schema.CLIENT_HEADER: "1"}
_Model = TypeVar("_Model", bound=BaseModel)


class DaemonClient:
    """The routes of one daemon. Errors arrive as the exceptions of `pachmount.errors`.

    A client holds one keep-alive connection; use it from one thread at a time.
    """

    def __init__(self, socket_path: Path | str) -> None:
        self._transport = Transport(UnixConnection(os.fspath(socket_path)), _HEADERS)

    @classmethod
    def at_url(cls, url: str, token: str = "") -> DaemonClient:
        """The client of a daemon that listens at `http://HOST:PORT`, with its token. Raises UsageError."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise UsageError(f"cannot use the daemon's URL '{url}'", "it is http://HOST:PORT", "see PACHMOUNT_URL")
        client = cls("")
        headers = {**_HEADERS, "Authorization": f"Bearer {token}"} if token else _HEADERS
        client._transport = Transport(Connection(parts.hostname, parts.port or DEFAULT_PORT), headers)
        return client

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        self._transport.close()

    def __enter__(self) -> DaemonClient:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    # -- questions

    def health(self) -> schema.HealthAnswer:
        return _one(schema.HealthAnswer, self._get("/health", POLL_TIMEOUT))

    def status(self) -> schema.StatusAnswer:
        return _one(schema.StatusAnswer, self._get("/status", POLL_TIMEOUT))

    def stats(self, names: Sequence[str] = ()) -> schema.StatsAnswer:
        """What the daemon and the mounts did so far; NotFoundError if one of `names` is no mount."""
        return _one(schema.StatsAnswer, self._get("/stats", POLL_TIMEOUT, mount=list(names)))

    def reload(self) -> schema.ReloadAnswer:
        """Let the daemon read its settings again; what changed."""
        return _one(schema.ReloadAnswer, self._put("/daemon/_reload", POLL_TIMEOUT))

    def trace(self, name: str, after: int | None = None) -> schema.TraceAnswer:
        """File operations of a mount after the one of a number: `next` of the last answer. None begins, with no one."""
        number = {} if after is None else {"after": after}
        return _one(schema.TraceAnswer, self._get("/trace", POLL_TIMEOUT, mount=name, **number))

    def mounts(self) -> schema.MountsAnswer:
        return _one(schema.MountsAnswer, self._get("/mounts", CLUSTER_TIMEOUT))

    def repos(self) -> list[schema.RepoAnswer]:
        return _many(schema.RepoAnswer, self._get("/repos", CLUSTER_TIMEOUT))

    def projects(self) -> list[schema.ProjectAnswer]:
        return _many(schema.ProjectAnswer, self._get("/projects", CLUSTER_TIMEOUT))

    def branches(self, repo: str) -> list[schema.BranchAnswer]:
        """The branches of `repo` (`project/name`)."""
        return _many(schema.BranchAnswer, self._get("/branches", CLUSTER_TIMEOUT, repo=repo))

    def commits(self, repo: str, branch: str = "", number: int = 0) -> list[schema.CommitAnswer]:
        """Commits of `repo`, newest first, of one branch or all; `number` 0 leaves the number to the daemon."""
        answer = self._get("/commits", CLUSTER_TIMEOUT, repo=repo, branch=branch, number=number or "")
        return _many(schema.CommitAnswer, answer)

    def files(
        self,
        source: str = "",
        after: str = "",
        number: int = 0,
        *,
        mount: str = "",
        path: str = "",
        containing: str = "",
    ) -> schema.FilesAnswer:
        """One page of the directory that `source` names, or `path` in a mount; of names containing some text."""
        place = _place(source, mount, path)
        page = {"after": after, "number": number or "", "filter": containing}
        return _one(schema.FilesAnswer, self._get("/files", CLUSTER_TIMEOUT, **place, **page))

    def file_pages(
        self, source: str = "", number: int = 0, *, mount: str = "", path: str = ""
    ) -> Iterator[schema.FilesAnswer]:
        """Every page of a directory."""
        page = self.files(source, number=number, mount=mount, path=path)
        yield page
        while page.next:
            page = self.files(source, page.next, number, mount=mount, path=path)
            yield page

    def file(self, source: str = "", *, mount: str = "", path: str = "") -> schema.EntryAnswer:
        """The file or directory that `source` names, or `path` in a mount."""
        return _one(schema.EntryAnswer, self._get("/file", CLUSTER_TIMEOUT, **_place(source, mount, path)))

    def content(
        self, source: str = "", *, mount: str = "", path: str = "", start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """The bytes [start, end) of a file, in pieces; None = up to its end. OutOfRangeError if it has no byte `start`.

        It has a connection of its own, which ends with the iterator; errors come with the first piece.
        """
        if start < 0 or (end is not None and end <= start):
            raise UsageError(f"invalid range from {start} to {end}", "it has to have a byte at least")
        is_part = start or end is not None
        byte_range = f"bytes={start}-{'' if end is None else end - 1}" if is_part else ""
        return self._transport.pieces("/content", _place(source, mount, path), byte_range, CLUSTER_TIMEOUT)

    def pipelines(self, project: str = "", name: str = "") -> list[schema.PipelineAnswer]:
        """The pipelines of a project (all by default), or the one of that name; raises NeedsClusterError."""
        answer = self._get("/pipelines", CLUSTER_TIMEOUT, project=project, name=name)
        return _many(schema.PipelineAnswer, answer)

    def warmups(self) -> list[schema.WarmupStatus]:
        return _one(schema.WarmupsAnswer, self._get("/warmups", POLL_TIMEOUT)).warmups

    def config(self) -> schema.ConfigAnswer:
        return _one(schema.ConfigAnswer, self._get("/config", POLL_TIMEOUT))

    # -- requests

    def mount(self, entries: Sequence[schema.MountEntry]) -> schema.MountsAnswer:
        body = schema.MountRequest(mounts=list(entries))
        return _one(schema.MountsAnswer, self._put("/_mount", MOUNT_TIMEOUT, body))

    def unmount(
        self, names: Sequence[str], *, staged: schema.AtUnmount = "commit", message: str = ""
    ) -> schema.MountsAnswer:
        """End mounts; what is staged in them is committed with that message, discarded or kept."""
        body = schema.UnmountRequest(mounts=list(names), staged=staged, message=message)
        return _one(schema.MountsAnswer, self._put("/_unmount", UPLOAD_TIMEOUT, body))

    def commit(self, request: schema.CommitRequest) -> schema.CommittedAnswer:
        """Commit what is staged in a mount."""
        return _one(schema.CommittedAnswer, self._put("/_commit", UPLOAD_TIMEOUT, request))

    def diff(self, name: str, paths: Sequence[str] = (), *, patch: bool = False) -> schema.DiffAnswer:
        """What a commit of a mount would change, at some paths (none = all); also as a patch."""
        body = schema.DiffRequest(mount=name, paths=list(paths), patch=patch)
        return _one(schema.DiffAnswer, self._put("/_diff", MOUNT_TIMEOUT, body))

    def discard(self, name: str, paths: Sequence[str]) -> schema.MountsAnswer:
        """Give up staged changes at some paths; none = all."""
        body = schema.DiscardRequest(mount=name, paths=list(paths))
        return _one(schema.MountsAnswer, self._put("/_discard", MOUNT_TIMEOUT, body))

    def staged(self) -> list[schema.StagedEntry]:
        """Changes that are staged, mounted or not."""
        return _one(schema.StagedAnswer, self._get("/staged", CLUSTER_TIMEOUT)).staged

    def discard_staged(self, name: str) -> list[schema.StagedEntry]:
        """Give up all that is staged under a name, mounted or not; what is left of others."""
        body = schema.DiscardStagedRequest(name=name)
        return _one(schema.StagedAnswer, self._put("/staged/_discard", MOUNT_TIMEOUT, body)).staged

    def unmount_all(self) -> schema.MountsAnswer:
        return _one(schema.MountsAnswer, self._put("/_unmount_all", UPLOAD_TIMEOUT))

    def refresh(self, entries: Sequence[schema.RefreshEntry]) -> schema.MountsAnswer:
        body = schema.RefreshRequest(mounts=list(entries))
        return _one(schema.MountsAnswer, self._put("/_refresh", MOUNT_TIMEOUT, body))

    def remount(self, names: Sequence[str], mode: Literal["ro", "rw"]) -> schema.MountsAnswer:
        """Make mounts read-only or read-write, with what is staged kept."""
        body = schema.RemountRequest(mounts=list(names), mode=mode)
        return _one(schema.MountsAnswer, self._put("/_remount", MOUNT_TIMEOUT, body))

    def follow(self, names: Sequence[str], *, on: bool) -> schema.MountsAnswer:
        """Let mounts move along with their branches, or not any more."""
        body = schema.FollowRequest(mounts=list(names), follow=on)
        return _one(schema.MountsAnswer, self._put("/_follow", MOUNT_TIMEOUT, body))

    def warm_up(self, entries: Sequence[schema.WarmupEntry]) -> schema.WarmupStatus:
        """Begin to bring files of mounts into the cache; `warmups` tells how far it is."""
        body = schema.WarmupRequest(mounts=list(entries))
        return _one(schema.WarmupStatus, self._put("/_warmup", MOUNT_TIMEOUT, body))

    def cancel_warmup(self, warmup_id: str) -> schema.WarmupStatus:
        body = schema.WarmupCancelRequest(id=warmup_id)
        return _one(schema.WarmupStatus, self._put("/_warmup_cancel", POLL_TIMEOUT, body))

    def configure(self, request: schema.ConfigRequest) -> schema.ConfigAnswer:
        """Connect to another cluster and remember it; all mounts of the old one end."""
        return _one(schema.ConfigAnswer, self._put("/config", UPLOAD_TIMEOUT, request))

    def mount_datums(self, spec: str) -> schema.DatumAnswer:
        """Show the first datum of the input in a spec (YAML or JSON)."""
        return _one(schema.DatumAnswer, self._transport.send("PUT", "/datums/_mount", UPLOAD_TIMEOUT, body=spec))

    def show_datum(self, *, index: int | None = None, datum_id: str = "") -> schema.DatumAnswer:
        """Show a datum by its index or its id."""
        query = {"id": datum_id} if datum_id else {"idx": index}
        return _one(schema.DatumAnswer, self._transport.send("PUT", "/_show_datum", MOUNT_TIMEOUT, query=query))

    def step_datum(self, by: Literal[1, -1]) -> schema.DatumAnswer:
        """Show the next or the previous datum."""
        return _one(schema.DatumAnswer, self._put("/datums/_next" if by > 0 else "/datums/_prev", MOUNT_TIMEOUT))

    def datums(self, start: int = 0, number: int = 100) -> schema.DatumPageAnswer:
        """A page of the datums that are known so far."""
        return _one(schema.DatumPageAnswer, self._get("/datums/_list", POLL_TIMEOUT, start=start, number=number))

    def unmount_datums(self) -> None:
        """Bring back what was mounted before."""
        self._put("/datums/_unmount", MOUNT_TIMEOUT)

    def publish(self, request: schema.PublishRequest) -> schema.PublishedAnswer:
        """Publish code as a pipeline."""
        return _one(schema.PublishedAnswer, self._put("/pipelines/_publish", UPLOAD_TIMEOUT, request))

    def begin_login(self) -> schema.LoginAnswer:
        """Where to log in with a browser."""
        return _one(schema.LoginAnswer, self._put("/auth/_login", CLUSTER_TIMEOUT))

    def finish_login(self, *, oidc_state: str = "", id_token: str = "") -> None:
        """Wait until the login is done, for LOGIN_TIMEOUT at most; the daemon uses and saves its token."""
        body = schema.LoginTokenRequest(oidc=oidc_state, id_token=id_token)
        self._put("/auth/_login_token", LOGIN_TIMEOUT, body)

    def logout(self, *, staged: schema.AtUnmount = "commit") -> None:
        self._put("/auth/_logout", UPLOAD_TIMEOUT, schema.LogoutRequest(staged=staged))

    # -- transport

    def _get(self, route: str, timeout: float, **query: Any) -> Any:
        return self._transport.send("GET", route, timeout, query=query)

    def _put(self, route: str, timeout: float, body: BaseModel | None = None) -> Any:
        return self._transport.send("PUT", route, timeout, body=body.model_dump_json() if body is not None else None)


def _place(source: str, mount: str, path: str) -> dict[str, str]:
    return {"mount": mount, "path": path} if mount else {"source": source}


def _one(model: type[_Model], data: Any) -> _Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _mismatch(error) from error


def _many(model: type[_Model], data: Any) -> list[_Model]:
    return [_one(model, entry) for entry in data or []]


def _mismatch(error: ValidationError) -> InternalError:
    why = f"{error.error_count()} fields differ, such as {error.errors()[0]['loc']}: another version is running?"
    return InternalError(f"the daemon sent no proper {error.title}", why, "pachmount daemon restart")
