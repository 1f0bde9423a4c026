"""Calls about commits and commit sets, those included that wait for one."""

from __future__ import annotations

import functools
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.empty_pb2 import Empty

from pachmount.localpfs import handles, history, messages, model, rpc
from pachmount.localpfs.access import CLUSTER, Access, of_repo
from pachmount.localpfs.handles import require
from pachmount.localpfs.model import RepoName, Revision
from pachmount.localpfs.rpc import Context
from pachmount.localpfs.status import Code, Refusal, invalid, not_found, unimplemented, unknown
from pachmount.localpfs.store import Store
from pachmount.pfs.proto import auth_pb2, pfs_pb2

MAX_WAITING = 64  # calls; each holds a thread, and the server has more threads than this

_NO_SEARCH = unimplemented("the embedded server does not search for the commits that changed a file")


class CommitService:
    """Commits over one store."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access
        self._places = threading.BoundedSemaphore(MAX_WAITING)

    def methods(self) -> dict[str, rpc.Handler]:
        return {
            "StartCommit": rpc.unary(self._start, pfs_pb2.StartCommitRequest),
            "FinishCommit": rpc.unary(self._finish, pfs_pb2.FinishCommitRequest),
            "ClearCommit": rpc.unary(self._clear, pfs_pb2.ClearCommitRequest),
            "InspectCommit": rpc.unary(self._inspect, pfs_pb2.InspectCommitRequest),
            "ListCommit": rpc.stream(self._list, pfs_pb2.ListCommitRequest),
            "SubscribeCommit": rpc.stream(self._subscribe, pfs_pb2.SubscribeCommitRequest),
            "FindCommits": rpc.refuse(_NO_SEARCH),
            "SquashCommit": rpc.unary(self._squash, pfs_pb2.SquashCommitRequest),
            "DropCommit": rpc.unary(self._drop, pfs_pb2.DropCommitRequest),
            "InspectCommitSet": rpc.stream(self._inspect_set, pfs_pb2.InspectCommitSetRequest),
            "ListCommitSet": rpc.stream(self._list_sets, pfs_pb2.ListCommitSetRequest),
            "SquashCommitSet": rpc.unary(self._squash_set, pfs_pb2.SquashCommitSetRequest),
            "DropCommitSet": rpc.unary(self._drop_set, pfs_pb2.DropCommitSetRequest),
        }

    def _start(self, request: pfs_pb2.StartCommitRequest, context: Context) -> pfs_pb2.Commit:
        if not request.branch.name:
            raise unknown("start commit in transaction: branch must be specified")
        if not request.branch.HasField("repo"):
            raise Refusal(Code.ABORTED, "the branch has no repo")
        repo = handles.repo_name(request.branch.repo)
        prefix = "start commit in transaction: "
        self._access.require(context, of_repo(repo), auth_pb2.REPO_WRITE, prefix=prefix)
        if request.HasField("parent"):
            for name in handles.commit_repos(request.parent):
                if name != repo:  # whose files the commit begins with
                    self._access.require(context, of_repo(name), auth_pb2.REPO_READ, prefix=prefix)
        with self._store.change() as db:
            handles.check_branch_name(request.branch.name)
            handles.require_repo(db, repo)
            parent = None
            if request.HasField("parent"):
                parent = handles.resolve(db, request.parent)
                if parent.repo != repo:
                    self._access.require_of(context, parent, auth_pb2.REPO_READ, prefix=prefix)
            made = history.start(db, repo, request.branch.name, parent, request.description)
        return messages.commit_handle(made)

    def _finish(self, request: pfs_pb2.FinishCommitRequest, context: Context) -> Empty:
        require(request, "commit", "check new file commit: commit cannot be nil")
        self._access.require_in(context, request.commit, auth_pb2.REPO_WRITE)
        with self._store.change() as db:
            found = handles.resolve(db, request.commit)
            history.finish(db, self._store.pages, found, request.description, request.error)
        return Empty()

    def _clear(self, request: pfs_pb2.ClearCommitRequest, context: Context) -> Empty:
        require(request, "commit", "commit cannot be nil")
        self._access.require_in(context, request.commit, auth_pb2.REPO_WRITE)
        with self._store.change() as db:
            history.clear(db, handles.resolve(db, request.commit))
        return Empty()

    def _inspect(self, request: pfs_pb2.InspectCommitRequest, context: Context) -> pfs_pb2.CommitInfo:
        require(request, "commit", "commit cannot be nil")
        self._access.require_in(context, request.commit, auth_pb2.REPO_INSPECT_COMMIT)
        if handles.commit_repo(request.commit).name == handles.FILESETS_REPO:
            return self._virtual_commit(request.commit)
        with self._store.database.read() as db:
            found = handles.resolve(db, request.commit)
            self._access.require_of(context, found, auth_pb2.REPO_INSPECT_COMMIT)
            if found.finished is not None or request.wait < pfs_pb2.FINISHING:
                return messages.commit_info(db, found)
        with self._waiting(context):
            found = self._finished(found, context)
        with self._store.database.read() as db:
            return messages.commit_info(db, found)

    def _virtual_commit(self, commit: pfs_pb2.Commit) -> pfs_pb2.CommitInfo:
        with self._store.database.read() as db:
            view = handles.view(db, commit)
        info = pfs_pb2.CommitInfo(commit=view.commit, description="FileSet - Virtual Commit")
        info.finished.GetCurrentTime()
        return info

    def _list(self, request: pfs_pb2.ListCommitRequest, context: Context) -> Iterator[pfs_pb2.CommitInfo]:
        require(request, "repo", "repo cannot be nil")
        if request.reverse and (request.HasField("from") or request.HasField("to")):
            raise unknown("cannot use 'Reverse' while also using 'From' or 'To'")
        if request.HasField("from") and not request.HasField("to"):
            raise unknown("cannot use `from` commit without `to` commit")
        self._access.require(context, of_repo(handles.full_name(request.repo)), auth_pb2.REPO_LIST_COMMIT)
        infos = []
        with self._store.database.read() as db:
            for found in self._selected(db, request):
                if request.origin_kind and found.origin != request.origin_kind:
                    continue
                if request.HasField("started_time") and found.started >= request.started_time.ToNanoseconds():
                    continue
                infos.append(messages.commit_info(db, found, listed=True))
                if len(infos) == request.number:
                    break
        return iter(infos)

    def _selected(self, db: sqlite3.Connection, request: pfs_pb2.ListCommitRequest) -> Iterator[Revision]:
        repo = handles.repo_name(request.repo) if request.repo.name else None
        if repo is not None:
            handles.require_repo(db, repo)
        if not request.HasField("to"):
            return model.revisions(db, repo, newest_first=not request.reverse)
        start: pfs_pb2.Commit | None = getattr(request, "from") if request.HasField("from") else None
        for end in (request.to, start):
            if end is not None and handles.commit_repo(end) != repo:
                raise unknown(f"`from` and `to` commits need to be from repo {repo}")
        excluded = ""
        if start is not None:
            # pachd compares the id as it was given, so that ancestry in it has no effect
            excluded = start.id or handles.resolve(db, start).id
            handles.resolve(db, start)
        return _line(db, handles.resolve(db, request.to), excluded)

    def _subscribe(self, request: pfs_pb2.SubscribeCommitRequest, context: Context) -> Iterator[pfs_pb2.CommitInfo]:
        require(request, "repo", "repo cannot be nil")
        repo = handles.repo_name(request.repo)
        excluded: pfs_pb2.Commit = getattr(request, "from")
        if request.HasField("from"):
            handles.commit_repo(excluded)
        with self._store.database.read() as db:
            handles.require_repo(db, repo)
        self._access.require(context, of_repo(repo), auth_pb2.REPO_INSPECT_COMMIT)
        with self._waiting(context):
            for found in self._coming(repo, request.branch, context):
                if found.id == excluded.id or (request.origin_kind and found.origin != request.origin_kind):
                    continue
                current = self._finished(found, context) if request.state >= pfs_pb2.FINISHING else found
                self._access.require(context, of_repo(repo), auth_pb2.REPO_INSPECT_COMMIT)
                with self._store.database.read() as db:
                    info = messages.commit_info(db, current)
                yield info

    def _coming(self, repo: RepoName, branch: str, context: Context) -> Iterator[Revision]:
        """The commits of a repo, or of one branch of it, as they are made; ends when the client has gone."""
        last = 0
        while context.is_active() and not self._store.news.closed:
            seen = self._store.news.number
            with self._store.database.read() as db:
                found = list(model.revisions(db, repo, after=last))
            for revision in found:
                last = revision.key
                if branch in ("", revision.branch):
                    yield revision
            self._store.news.wait(seen, context.is_active)

    def _finished(self, revision: Revision, context: Context) -> Revision:
        """Wait until a commit is finished. Raises Refusal when it is dropped, or the wait is in vain."""
        while True:
            seen = self._store.news.number
            with self._store.database.read() as db:
                current = model.find_revision(db, revision.repo, revision.id)
            if current is None:
                raise not_found(f"commit {revision} not found")
            if current.finished is not None:
                return current
            if self._store.news.closed:
                raise Refusal(Code.UNAVAILABLE, "the server is shutting down")
            if not context.is_active():
                raise Refusal(Code.CANCELLED, "the client has gone")
            self._store.news.wait(seen, context.is_active)

    @contextmanager
    def _waiting(self, context: Context) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise Refusal(Code.RESOURCE_EXHAUSTED, f"more than {MAX_WAITING} calls are waiting for commits")
        try:
            context.add_callback(self._store.news.announce)  # or a cancelled call would sleep on
            yield
        finally:
            self._places.release()

    def _squash(self, request: pfs_pb2.SquashCommitRequest, context: Context) -> pfs_pb2.SquashCommitResponse:
        require(request, "commit", "commit cannot be nil")
        self._access.require_in(context, request.commit, auth_pb2.REPO_DELETE_COMMIT)
        with self._store.change() as db:
            found = handles.resolve(db, request.commit)
            self._access.require_of(context, found, auth_pb2.REPO_DELETE_COMMIT)
            history.squash(db, [found])
        return pfs_pb2.SquashCommitResponse()

    def _drop(self, request: pfs_pb2.DropCommitRequest, context: Context) -> pfs_pb2.DropCommitResponse:
        require(request, "commit", "commit cannot be nil")
        self._access.require_in(context, request.commit, auth_pb2.REPO_DELETE_COMMIT)
        with self._store.change() as db:
            found = handles.resolve(db, request.commit)
            self._access.require_of(context, found, auth_pb2.REPO_DELETE_COMMIT)
            history.drop(db, [found])
        return pfs_pb2.DropCommitResponse()

    def _inspect_set(self, request: pfs_pb2.InspectCommitSetRequest, context: Context) -> Iterator[pfs_pb2.CommitInfo]:
        require(request, "commit_set", "commitset cannot be nil")
        with self._store.database.read() as db:
            found = model.revisions_of_set(db, request.commit_set.id)
        if not found and request.commit_set.id:
            raise not_found(f"no commits found for commitset {request.commit_set.id}")
        for name in {revision.repo for revision in found}:
            self._access.require(context, of_repo(name), auth_pb2.REPO_INSPECT_COMMIT)
        for revision in found:
            current = revision
            if request.wait and revision.finished is None:
                with self._waiting(context):
                    current = self._finished(revision, context)
            with self._store.database.read() as db:
                info = messages.commit_info(db, current)
            yield info

    def _list_sets(self, request: pfs_pb2.ListCommitSetRequest, context: Context) -> Iterator[pfs_pb2.CommitSetInfo]:
        sets: dict[str, pfs_pb2.CommitSetInfo] = {}
        visible = functools.cache(lambda name: self._access.allows(context, of_repo(name), auth_pb2.REPO_LIST_COMMIT))
        with self._store.database.read() as db:
            for found in model.revisions(db, None, newest_first=True):
                if request.project.name in ("", found.repo.project) and visible(found.repo):
                    fresh = pfs_pb2.CommitSetInfo(commit_set=pfs_pb2.CommitSet(id=found.id))
                    sets.setdefault(found.id, fresh).commits.append(messages.commit_info(db, found))
        return iter(sets.values())

    def _squash_set(self, request: pfs_pb2.SquashCommitSetRequest, context: Context) -> Empty:
        require(request, "commit_set", "commitset cannot be nil")
        self._access.require(context, CLUSTER, auth_pb2.REPO_DELETE_COMMIT)
        with self._store.change() as db:
            history.squash(db, self._set(db, request.commit_set))
        return Empty()

    def _drop_set(self, request: pfs_pb2.DropCommitSetRequest, context: Context) -> Empty:
        if not request.HasField("commit_set"):
            raise invalid("validate request: invalid DropCommitSetRequest.CommitSet: value is required")
        self._access.require(context, CLUSTER, auth_pb2.REPO_DELETE_COMMIT)
        with self._store.change() as db:
            history.drop(db, self._set(db, request.commit_set))
        return Empty()

    def _set(self, db: sqlite3.Connection, commit_set: pfs_pb2.CommitSet) -> list[Revision]:
        return model.revisions_of_set(db, commit_set.id) if commit_set.id else []


def _line(db: sqlite3.Connection, start: Revision, excluded: str) -> Iterator[Revision]:
    """A commit and its ancestors, up to the one with the id `excluded`, which is left out."""
    found: Revision | None = start
    while found is not None and found.id != excluded:
        yield found
        found = model.revision(db, found.parent) if found.parent is not None else None
