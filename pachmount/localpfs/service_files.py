"""Calls that read files: listings, patterns, content, archives and differences."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

from pachmount.datums.glob import BadPatternError, Glob, clean_path, compile_glob
from pachmount.localpfs import diff, handles, listing, messages, model, paths, rpc, tree
from pachmount.localpfs.access import Access
from pachmount.localpfs.archive import archive
from pachmount.localpfs.broken import Scope
from pachmount.localpfs.handles import FileView, require
from pachmount.localpfs.listing import Window
from pachmount.localpfs.pages import Item
from pachmount.localpfs.rpc import Context
from pachmount.localpfs.status import Refusal, invalid, not_found, unimplemented, unknown
from pachmount.localpfs.store import Store
from pachmount.pfs.proto import auth_pb2, pfs_pb2

_PIECE = 2 * 1024 * 1024
_DOT_DOT = "/.."

T = TypeVar("T")


class FileService:
    """Reading over one store."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access
        self._pages = store.pages

    def methods(self) -> dict[str, rpc.Handler]:
        return {
            "ListFile": rpc.stream(self._list, pfs_pb2.ListFileRequest),
            "WalkFile": rpc.stream(self._walk, pfs_pb2.WalkFileRequest),
            "InspectFile": rpc.unary(self._inspect, pfs_pb2.InspectFileRequest),
            "GlobFile": rpc.stream(self._glob, pfs_pb2.GlobFileRequest),
            "DiffFile": rpc.stream(self._diff, pfs_pb2.DiffFileRequest),
            "GetFile": rpc.stream(self._get, pfs_pb2.GetFileRequest),
            "GetFileTAR": rpc.stream(self._get_tar, pfs_pb2.GetFileRequest),
        }

    def _view(self, context: Context, file: pfs_pb2.File, *permissions: int) -> FileView:
        require(file, "commit", "commit cannot be nil")
        return self._view_commit(context, file.commit, *permissions)

    def _view_commit(self, context: Context, commit: pfs_pb2.Commit, *permissions: int, prefix: str = "") -> FileView:
        """The files that a commit handle means, for a caller with these permissions on the repo."""
        self._access.require_in(context, commit, *permissions, prefix=prefix)
        with self._store.database.read() as db:
            view = handles.view(db, commit)
        self._access.require_of(context, view.revision, *permissions, prefix=prefix)
        return view

    def _list(self, request: pfs_pb2.ListFileRequest, context: Context) -> Iterator[bytes]:
        require(request, "file", "file cannot be nil")
        window = _window(request)
        view = self._view(context, request.file, auth_pb2.REPO_LIST_FILE)
        path = clean_path(request.file.path)
        if path == _DOT_DOT:  # what pachd's look-up by prefix makes of a path that leads out of the tree
            found = (item for item in listing.children(self._pages, view.root, "/", window) if item[0][:3] == b"/..")
            return _infos(view, found)
        items: Iterable[Item] = listing.children(self._pages, view.root, path, window, view.problems)
        datum = request.file.datum
        if datum:
            items = (item for item in items if item[1].is_dir or paths.split_key(item[0])[1] == datum)
        return _infos(view, items)

    def _walk(self, request: pfs_pb2.WalkFileRequest, context: Context) -> Iterator[bytes]:
        require(request, "file", "file cannot be nil")
        window = _window(request)
        view = self._view(context, request.file, auth_pb2.REPO_READ, auth_pb2.REPO_LIST_FILE)
        path = clean_path(request.file.path)
        found = listing.file_and_subtree(self._pages, view.root, path, window, view.problems)
        if found is None:
            raise not_found(f"commit/{view.commit.id} does not contain item: ({path})")
        return _infos(view, found)

    def _inspect(self, request: pfs_pb2.InspectFileRequest, context: Context) -> bytes:
        require(request, "file", "file cannot be nil")
        view = self._view(context, request.file, auth_pb2.REPO_INSPECT_FILE)
        path = clean_path(request.file.path)
        Scope("" if path == "/" else path).refuse(view.problems)
        item = listing.find(self._pages, view.root, path, request.file.datum)
        if item is None:
            raise _no_file(request.file.path, view.commit)
        answer = messages.file_info_maker(view)(*item)
        if item[0] == paths.ROOT and tree.get(self._pages, view.root, b"") is not None:
            info = pfs_pb2.FileInfo.FromString(answer)  # a file was written to "/": the root has its datum
            info.file.datum = paths.DEFAULT_DATUM
            return info.SerializeToString()
        return answer

    def _glob(self, request: pfs_pb2.GlobFileRequest, context: Context) -> Iterator[bytes]:
        require(request, "commit", "commit cannot be nil")
        view = self._view_commit(context, request.commit, auth_pb2.REPO_READ, auth_pb2.REPO_LIST_FILE)
        found = self._matches(view, request.pattern, request.path_range)
        return _infos(view, found)

    def _matches(self, view: FileView, pattern: str, within: pfs_pb2.PathRange) -> Iterator[Item]:
        glob = _compiled(pattern)
        scope = Scope(low=within.lower, high=within.upper)
        return listing.matches(self._pages, view.root, glob, pattern, scope, view.problems)

    def _get(self, request: pfs_pb2.GetFileRequest, context: Context) -> Iterator[bytes]:
        view = self._readable(context, request, "get file: ")
        if request.offset < 0:
            raise invalid("the offset must not be negative")
        item = self._one_file(request, view)
        return map(messages.bytes_value, self._store.content.pieces(item[1], request.offset, _PIECE))

    def _readable(self, context: Context, request: pfs_pb2.GetFileRequest, prefix: str = "") -> FileView:
        require(request, "file", "file cannot be nil")
        if request.URL:
            raise unimplemented("the embedded server does not copy files to object stores")
        require(request.file, "commit", "commit cannot be nil")
        commit = request.file.commit
        if handles.commit_repo(commit).name == handles.FILESETS_REPO:
            return self._view_commit(context, commit)  # who knows its id may read it
        return self._view_commit(context, commit, auth_pb2.REPO_READ, prefix=prefix)

    def _one_file(self, request: pfs_pb2.GetFileRequest, view: FileView) -> Item:
        found: Item | None = None
        for item in self._matches(view, request.file.path, request.path_range):
            if item[1].is_dir:
                raise unknown("cannot get directory or non-regular file. Use GetFileTAR instead")
            if request.file.datum in ("", paths.split_key(item[0])[1]):
                if found is not None:
                    raise unknown("matched multiple files. Use GetFileTAR instead")
                found = item
        if found is None:
            raise _no_file(request.file.path, request.file.commit)
        return found

    def _get_tar(self, request: pfs_pb2.GetFileRequest, context: Context) -> Iterator[bytes]:
        view = self._readable(context, request)
        found = self._matches(view, request.file.path, request.path_range)
        first = next(found, None)
        if first is None:
            raise _no_file(request.file.path, request.file.commit)
        return map(messages.bytes_value, archive(self._store.content, self._expanded(view, first, found)))

    def _expanded(self, view: FileView, first: Item, rest: Iterator[Item]) -> Iterator[Item]:
        """The matches, each directory with what lies below it, nothing twice."""
        done = b""
        for item in _chained(first, rest):
            if item[0] < done:
                continue
            if item[1].is_dir:
                yield from listing.subtree(self._pages, view.root, item[0])
                done = paths.subtree_end(item[0])
            else:
                yield item

    def _diff(self, request: pfs_pb2.DiffFileRequest, context: Context) -> Iterator[pfs_pb2.DiffFileResponse]:
        require(request, "new_file", "file cannot be nil")
        require(request.new_file, "commit", "check new file commit: commit cannot be nil")
        new_path = old_path = clean_path(request.new_file.path)
        if request.HasField("old_file"):
            require(request.old_file, "commit", "check old file commit: commit cannot be nil")
            self._access.require_in(context, request.old_file.commit, auth_pb2.REPO_READ)
            old_path = clean_path(request.old_file.path)
        new = self._view(context, request.new_file, auth_pb2.REPO_READ)
        if request.HasField("old_file"):
            old: FileView | None = self._view(context, request.old_file, auth_pb2.REPO_READ)
        else:
            old = self._parent_view(new)
        return self._differences(new, new_path, old, old_path)

    def _parent_view(self, view: FileView) -> FileView | None:
        if view.revision is None or view.revision.parent is None:
            return None
        with self._store.database.read() as db:
            parent = model.revision(db, view.revision.parent)  # perhaps of another repo
            return handles.view(db, messages.commit_handle(parent))

    def _differences(
        self, new: FileView, new_path: str, old: FileView | None, old_path: str
    ) -> Iterator[pfs_pb2.DiffFileResponse]:
        for view, path in ((new, new_path), (old, old_path)):
            if view is not None:
                Scope("" if path == "/" else path).refuse(view.problems)
        old_root = old.root if old else tree.EMPTY
        of_new = messages.file_info_maker(new)
        of_old = messages.file_info_maker(old) if old else of_new
        pairs: Iterable[diff.Pair]
        if new_path == old_path:
            pairs = itertools.chain.from_iterable(
                diff.differences(self._pages, new.root, old_root, *within) for within in _ranges(new_path)
            )
        else:
            pairs = diff.apart(self._scanned(new.root, new_path), self._scanned(old_root, old_path))
        for key, come, gone in pairs:
            if key == b"":
                continue
            response = pfs_pb2.DiffFileResponse()
            if come is not None:
                response.new_file.MergeFromString(of_new(key, come))
            if gone is not None:
                response.old_file.MergeFromString(of_old(key, gone))
            yield response

    def _scanned(self, root: int, path: str) -> Iterator[Item]:
        return itertools.chain.from_iterable(tree.scan(self._pages, root, *within) for within in _ranges(path))


def _ranges(path: str) -> list[tuple[bytes, bytes]]:
    """The ranges of keys of the file and of the directory at a path."""
    directory = paths.directory_key(path)
    below = (directory, paths.subtree_end(directory))
    return [(b"", b""), below] if path == "/" else [(path.encode(), path.encode() + b"\1"), below]


def _window(request: pfs_pb2.ListFileRequest | pfs_pb2.WalkFileRequest) -> Window:
    marker = request.paginationMarker.path or "/" if request.HasField("paginationMarker") else ""
    return Window(marker, request.number, request.reverse)


def _compiled(pattern: str) -> Glob:
    try:
        return compile_glob(pattern)
    except BadPatternError as error:
        raise unknown(str(error)) from error


def _infos(view: FileView, items: Iterable[Item]) -> Iterator[bytes]:
    make = messages.file_info_maker(view)
    return (make(key, entry) for key, entry in items)


def _no_file(path: str, commit: pfs_pb2.Commit) -> Refusal:
    repo = handles.commit_repo(commit)
    name = commit.id or commit.branch.name
    return not_found(f"file {path} not found in repo {repo} at commit {name}")


def _chained(first: T, rest: Iterable[T]) -> Iterator[T]:
    yield first
    yield from rest
