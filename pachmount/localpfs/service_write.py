"""Calls that write files: ModifyFile, and the file sets that are made apart from any commit."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from google.protobuf.empty_pb2 import Empty

from pachmount.localpfs import diff, filetree, handles, history, listing, model, paths, rpc, tree
from pachmount.localpfs.access import Access
from pachmount.localpfs.database import mark_garbage
from pachmount.localpfs.filetree import Deletions, Problem
from pachmount.localpfs.handles import require
from pachmount.localpfs.model import RepoName, Revision
from pachmount.localpfs.pages import Item
from pachmount.localpfs.pagestore import PageBatch
from pachmount.localpfs.rpc import Context
from pachmount.localpfs.staging import Staging, copied_files
from pachmount.localpfs.status import Code, Refusal, invalid, not_found, unknown
from pachmount.localpfs.store import Store
from pachmount.localpfs.writing import ChunkWriter
from pachmount.pfs.proto import auth_pb2, pfs_pb2

CANCEL_NOTICE_SECONDS = 0.02
"""How long after the end of a stream gRPC may take to say that the client broke it off; mostly spent in the fsync."""
_LIFE_S = 600  # of a new file set
_MAX_LIFE_S = 1800


class _OneOff(NamedTuple):
    """A write to a branch whose head is finished, or that does not exist: it gets a commit of its own."""

    repo: RepoName
    branch: str


class WriteService:
    """Writing over one store."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access

    def methods(self) -> dict[str, rpc.Handler]:
        return {
            "ModifyFile": rpc.client_stream(self._modify, pfs_pb2.ModifyFileRequest),
            "CreateFileSet": rpc.client_stream(self._create_fileset, pfs_pb2.ModifyFileRequest),
            "GetFileSet": rpc.unary(self._get_fileset, pfs_pb2.GetFileSetRequest),
            "AddFileSet": rpc.unary(self._add_fileset, pfs_pb2.AddFileSetRequest),
            "RenewFileSet": rpc.unary(self._renew_fileset, pfs_pb2.RenewFileSetRequest),
            "ComposeFileSet": rpc.unary(self._compose_filesets, pfs_pb2.ComposeFileSetRequest),
            "ShardFileSet": rpc.unary(self._shard_fileset, pfs_pb2.ShardFileSetRequest),
        }

    def _modify(self, requests: Iterator[pfs_pb2.ModifyFileRequest], context: Context) -> Empty:
        first = next(requests, None)
        if first is None:
            raise unknown("EOF")
        if first.WhichOneof("body") != "set_commit":
            raise unknown("first message must be a commit")
        self._access.require_in(context, first.set_commit, auth_pb2.REPO_WRITE)
        with self._store.database.read() as db:
            _target(db, first.set_commit)  # tell the client early; what counts is the look at the end
        with self._store.staging() as staging:
            self._stage(staging, requests, context)
            with self._store.change() as db:
                target = _target(db, first.set_commit)
                one_off = isinstance(target, _OneOff)
                revision = history.start(db, *target, None) if isinstance(target, _OneOff) else target
                batch = self._store.batch(db)
                delta = staging.finish(batch)
                additions = filetree.files(tree.scan(batch, delta.root))
                self._apply(db, batch, revision, delta.deletions, additions, staging.writer)
                if one_off:
                    history.finish(db, self._store.pages, model.revision(db, revision.key))
        return Empty()

    def _stage(self, staging: Staging, requests: Iterable[pfs_pb2.ModifyFileRequest], context: Context) -> None:
        gone = threading.Event()
        if not context.add_callback(gone.set):
            gone.set()
        for request in requests:
            self._stage_one(staging, request, context)
        ended = time.monotonic()
        staging.seal()
        # A stream that broke off is not a stream that ended, but gRPC ends the iteration in both cases, and says that
        # the call was cancelled a moment later: its events come one after the other.
        if gone.wait(max(0.0, ended + CANCEL_NOTICE_SECONDS - time.monotonic())):
            raise Refusal(Code.CANCELLED, "the client has gone")

    def _stage_one(self, staging: Staging, request: pfs_pb2.ModifyFileRequest, context: Context) -> None:
        body = request.WhichOneof("body")
        if body == "add_file":
            add = request.add_file
            paths.check_writable(add.path)
            if add.WhichOneof("source") == "url":
                raise unknown("the embedded server does not fetch files from URLs")
            staging.add(paths.file_key(add.path, add.datum), add.raw.value)
        elif body == "delete_file":
            delete = request.delete_file
            paths.check_writable(delete.path)
            if delete.path.endswith("/"):
                staging.delete_tree(paths.directory_key(delete.path), delete.datum)
            else:
                staging.delete_file(paths.file_key(delete.path, delete.datum))
        elif body == "copy_file":
            self._stage_copy(staging, request.copy_file, context)
        elif body == "set_commit":
            raise unknown("cannot set commit")
        else:
            raise unknown("unrecognized message type")

    def _stage_copy(self, staging: Staging, copy: pfs_pb2.CopyFile, context: Context) -> None:
        if not copy.HasField("src"):
            raise invalid("validate recv: invalid CopyFile.Src: value is required")
        if not copy.src.HasField("commit"):
            raise Refusal(Code.ABORTED, "the source of a copy has no commit")
        self._access.require_in(context, copy.src.commit, auth_pb2.REPO_READ)
        with self._store.database.read() as db:
            view = handles.view(db, copy.src.commit)
        self._access.require_of(context, view.revision, auth_pb2.REPO_READ)
        found = copied_files(self._store.pages, view.root, copy.src.path, copy.dst, copy.src.datum)
        for path, (_, entry) in found:
            staging.copy(paths.file_key(path, copy.datum), entry, copy.append)

    def _apply(
        self,
        db: sqlite3.Connection,
        batch: PageBatch,
        revision: Revision,
        deletions: Deletions,
        additions: Iterable[Item],
        writer: ChunkWriter,
    ) -> None:
        """Change the files of an open commit, in the transaction `db`."""
        root, touched = filetree.lay_over(batch, revision.root, deletions, additions, writer)
        root, problems = filetree.settle(batch, root, touched, revision.problems)
        writer.record(db)
        written = batch.finish(root)
        if revision.root != revision.base:
            mark_garbage(db, written)  # each took the place of one that only this commit had
        db.execute(
            "UPDATE revision SET root = ?, problems = ?, updated = ? WHERE key = ?",
            (root, model.dump_problems(problems), time.time_ns(), revision.key),
        )

    def _create_fileset(
        self, requests: Iterator[pfs_pb2.ModifyFileRequest], context: Context
    ) -> pfs_pb2.CreateFileSetResponse:
        with self._store.staging() as staging:
            self._stage(staging, requests, context)
            return self._keep_fileset(staging)

    def _keep_fileset(self, staging: Staging) -> pfs_pb2.CreateFileSetResponse:
        with self._store.database.write() as db:
            batch = self._store.batch(db)
            delta = staging.finish(batch)
            additions = list(filetree.files(tree.scan(batch, delta.root)))
            return _save_fileset(db, batch, [(delta.deletions, additions)], staging.writer, _LIFE_S)

    def _get_fileset(self, request: pfs_pb2.GetFileSetRequest, context: Context) -> pfs_pb2.CreateFileSetResponse:
        require(request, "commit", "commit cannot be nil")
        if handles.commit_repo(request.commit).name != handles.FILESETS_REPO:
            self._access.require_in(context, request.commit, auth_pb2.REPO_READ)
        with self._store.staging() as staging, self._store.database.write() as db:
            view = handles.view(db, request.commit)
            self._access.require_of(context, view.revision, auth_pb2.REPO_READ)
            if request.type == pfs_pb2.GetFileSetRequest.TOTAL or view.revision is None:
                return _insert_fileset(db, view.root, view.problems, Deletions(), _LIFE_S)
            deletions = Deletions()
            additions: list[Item] = []
            revision = view.revision
            for key, new, old in diff.differences(self._store.pages, revision.root, revision.base, b"", b"\xff"):
                if old is not None and not old.is_dir:
                    deletions.files.add(key)
                if new is not None and not new.is_dir:
                    additions.append((key, new))
            return _save_fileset(db, self._store.batch(db), [(deletions, additions)], staging.writer, _LIFE_S)

    def _add_fileset(self, request: pfs_pb2.AddFileSetRequest, context: Context) -> Empty:
        require(request, "commit", "commit cannot be nil")
        self._access.require_in(context, request.commit, auth_pb2.REPO_WRITE)
        with self._store.staging() as staging, self._store.change() as db:
            revision = handles.resolve(db, request.commit)
            deletions, root = _load_fileset(db, request.file_set_id)
            if revision.finished is not None:
                raise unknown(f"commit {revision} has already finished")
            batch = self._store.batch(db)
            staging.seal()
            self._apply(db, batch, revision, deletions, filetree.files(tree.scan(batch, root)), staging.writer)
        return Empty()

    def _renew_fileset(self, request: pfs_pb2.RenewFileSetRequest, _: Context) -> Empty:
        handles.check_fileset_id(request.file_set_id)
        _check_life(request.ttl_seconds)
        with self._store.database.write() as db:
            if handles.fileset_row(db, request.file_set_id) is None:
                raise not_found(f"tracker does not contain item: (fileset/{request.file_set_id})")
            row = (_expiry(request.ttl_seconds), request.file_set_id)
            db.execute("UPDATE fileset SET expires = ? WHERE id = ?", row)
        return Empty()

    def _compose_filesets(self, request: pfs_pb2.ComposeFileSetRequest, _: Context) -> pfs_pb2.CreateFileSetResponse:
        life = request.ttl_seconds or _LIFE_S
        _check_life(life)
        with self._store.staging() as staging, self._store.database.write() as db:
            staging.seal()
            batch = self._store.batch(db)
            layers = []
            for fileset_id in request.file_set_ids:
                deletions, root = _load_fileset(db, fileset_id)
                layers.append((deletions, filetree.files(tree.scan(batch, root))))
            return _save_fileset(db, batch, layers, staging.writer, life)

    def _shard_fileset(self, request: pfs_pb2.ShardFileSetRequest, _: Context) -> pfs_pb2.ShardFileSetResponse:
        with self._store.database.read() as db:
            root = _load_fileset(db, request.file_set_id)[1]
        bounds = [""]
        number = size = 0
        for key, entry in filetree.files(listing.subtree(self._store.pages, root, paths.ROOT)):
            full = request.num_files and number >= request.num_files
            if full or (request.size_bytes and number and size + entry.size > request.size_bytes):
                bounds.append(paths.split_key(key)[0].decode())
                number = size = 0
            number += 1
            size += entry.size
        shards = [pfs_pb2.PathRange(lower=low, upper=high) for low, high in zip(bounds, [*bounds[1:], ""], strict=True)]
        return pfs_pb2.ShardFileSetResponse(shards=shards)


def _target(db: sqlite3.Connection, commit: pfs_pb2.Commit) -> Revision | _OneOff:
    """Where a ModifyFile stream writes to."""
    repo = handles.commit_repo(commit)
    found: Revision | None = None
    if commit.id or not commit.branch.name:
        try:
            found = handles.resolve(db, commit)
        except Refusal as refusal:
            if refusal.code is not Code.NOT_FOUND or not commit.branch.name:
                raise
    if found is None:
        branch_repo = handles.repo_name(commit.branch.repo)
        handles.require_repo(db, branch_repo)
        handles.check_branch_name(commit.branch.name)
        branch = model.find_branch(db, branch_repo, commit.branch.name)
        head = model.revision(db, branch.head) if branch is not None else None
        if head is None or head.finished is not None:
            return _OneOff(repo, commit.branch.name)
        return head
    if found.finished is not None:
        raise unknown(f"commit {found} has already finished")
    return found


def _save_fileset(
    db: sqlite3.Connection,
    batch: PageBatch,
    layers: Iterable[tuple[Deletions, Iterable[Item]]],
    writer: ChunkWriter,
    life_s: int,
) -> pfs_pb2.CreateFileSetResponse:
    """A new file set out of changes that are laid over each other."""
    root = tree.EMPTY
    problems: list[Problem] = []
    gone = Deletions()
    for deletions, additions in layers:
        root, touched = filetree.lay_over(batch, root, deletions, additions, writer)
        root, problems = filetree.settle(batch, root, touched, problems)
        gone.files |= deletions.files
        gone.trees |= deletions.trees
    writer.record(db)
    batch.finish(root)
    return _insert_fileset(db, root, tuple(problems), gone, life_s)


def _insert_fileset(
    db: sqlite3.Connection, root: int, problems: tuple[Problem, ...], deletions: Deletions, life_s: int
) -> pfs_pb2.CreateFileSetResponse:
    fileset_id = uuid.uuid4().hex
    gone = {
        "files": sorted(key.hex() for key in deletions.files),
        "trees": sorted((key.hex(), datum) for key, datum in deletions.trees),
    }
    row = (fileset_id, root, model.dump_problems(problems), json.dumps(gone), _expiry(life_s))
    db.execute("INSERT INTO fileset (id, root, problems, deletions, expires) VALUES (?, ?, ?, ?, ?)", row)
    return pfs_pb2.CreateFileSetResponse(file_set_id=fileset_id)


def _load_fileset(db: sqlite3.Connection, fileset_id: str) -> tuple[Deletions, int]:
    row = handles.fileset_row(db, fileset_id)
    if row is None:
        raise unknown("path does not exist")
    gone = json.loads(row[2])
    files = {bytes.fromhex(key) for key in gone["files"]}
    return Deletions(files, {(bytes.fromhex(key), datum) for key, datum in gone["trees"]}), row[0]


def _check_life(seconds: int) -> None:
    if seconds < 1:
        raise unknown(f"ttl ({seconds}s) must be at least one second")
    if seconds > _MAX_LIFE_S:
        raise unknown(f"ttl ({seconds}s) exceeds max ttl ({_MAX_LIFE_S}s)")


def _expiry(seconds: int) -> int:
    return time.time_ns() + seconds * 1_000_000_000
