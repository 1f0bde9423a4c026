"""Browsing without FUSE: directories and files of mounts as their readers see them, and of commits not mounted."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from pachmount.cache.pages import Block
from pachmount.errors import (
    BusyError,
    GoneError,
    InvalidPathError,
    IsADirectoryInSourceError,
    NotADirectoryInSourceError,
    NotFoundError,
    PachmountError,
    UsageError,
)
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.datum_mode import OUT
from pachmount.mounts.manager import MountManager
from pachmount.mounts.mount import Mount
from pachmount.mounts.open_views import OpenViews
from pachmount.mounts.resolved_commits import ResolvedCommits
from pachmount.mounts.states import State
from pachmount.names import Source, parse_source
from pachmount.overlay import pages as staged_pages
from pachmount.overlay.attributes import Handle
from pachmount.overlay.inodes import Inode
from pachmount.overlay.names import BaseNode, is_directory
from pachmount.overlay.overlay import Overlay
from pachmount.vfs.pages import Asked, Entry, Page, entry_of, page_of
from pachmount.vfs.tree import Node
from pachmount.vfs.view import CommitView


class Content(Protocol):
    """The bytes of a file, which stay the same while they are read. `etag` names them, as HTTP has it."""

    size: int
    etag: str

    def read(self, offset: int, size: int) -> Block:
        """The bytes [offset, offset + size). Raises PachmountError; BusyError if the file was changed."""

    def close(self) -> None: ...


class Place(Protocol):
    """A file or directory that was found. All of it raises PachmountError. `note` tells if the head of the branch that
    was asked for has an error, and an older commit is shown.
    """

    source: Source
    path: bytes
    is_writable: bool
    note: str

    @property
    def directory(self) -> bytes:
        """The directory that the entries of its pages are in, with a trailing slash."""

    def entry(self) -> Entry:
        """What it is."""

    def page(self, asked: Asked) -> Page:
        """A page of it, if it is a directory; a file is a directory of itself."""

    def open(self) -> Content:
        """Its bytes; UsageError if it is no file."""


class Browser:
    """Finds places. Thread-safe."""

    def __init__(self, manager: MountManager, cluster: Cluster, views: OpenViews) -> None:
        self.views = views
        self._manager = manager
        self._cluster = cluster
        self._resolved = ResolvedCommits()

    @contextmanager
    def in_source(self, text: str) -> Iterator[Place]:
        """The place that a source names."""
        source = parse_source(text, self._cluster.default_project)
        resolved = self._resolved.get(self._cluster.client, source)
        with self.views.use(resolved) as view:
            where = f"in {resolved.source}" + (f" ({resolved.note})" if resolved.note else "")
            yield _found(view, (source.path or "/").encode(), resolved.source, where, resolved.note)

    @contextmanager
    def in_mount(self, name: str, path: bytes) -> Iterator[Place]:
        """The place at a path of a mount, as its reader sees it now."""
        mount = self._mount(name)
        key = _normalized(path)
        where = f"in mount '{name}'"
        overlay = mount.overlay
        if mount.spec.mode != "rw":
            assert mount.view is not None  # noqa: S101  # checked by _mount
            yield _found(mount.view, key, mount.spec.source, where)
        elif overlay is None:
            raise BusyError(f"mount '{name}' is not mounted now", "it is being changed", "try again in a moment")
        else:
            with _explained(key, where):
                yield _InOverlay(mount.spec.source, overlay, key, overlay.find(key))

    def _mount(self, name: str) -> Mount:
        try:
            mount = self._manager.get(name)
        except NotFoundError as error:
            if name == OUT and self._manager.datums.is_on:
                error.why = f"what is written to {self._manager.datums.out} is in that directory alone"
            raise
        if mount.state is State.ERROR and mount.gone is not None:
            raise GoneError(mount.gone.what, mount.gone.why, mount.gone.hint)
        if mount.state is State.ERROR or mount.view is None:
            raise BusyError(f"mount '{name}' is not mounted now", str(mount.error or ""), "pachmount status")
        return mount


def _found(view: CommitView, path: bytes, source: Source, where: str, note: str = "") -> Place:
    node = view.find(path)
    if node is None:
        raise NotFoundError(f"no file or directory '{_text(path)}'", where)
    return _InCommit(source, view, path, node, note=note)


@dataclass(frozen=True)
class _InCommit(Place):
    source: Source
    view: CommitView
    path: bytes
    node: Node
    is_writable: bool = False
    note: str = ""

    @property
    def directory(self) -> bytes:
        return _directory(self.path, is_dir=self.node.is_dir)

    def entry(self) -> Entry:
        return entry_of(self.view, self.node)

    def page(self, asked: Asked) -> Page:
        return page_of(self.view, self.path, asked) if self.node.is_dir else _alone(self.entry(), asked)

    def open(self) -> Content:
        if self.node.is_dir:
            raise _is_directory(self.path)
        return _CommitContent(self.view, self.node)


class _CommitContent(Content):
    def __init__(self, view: CommitView, node: Node) -> None:
        self.size = node.size
        self.etag = f'"{view.content(node)[0].hex()}"'
        self._view = view
        self._node = node

    def read(self, offset: int, size: int) -> Block:
        return self._view.read_node(self._node, offset, size)

    def close(self) -> None:
        """There is nothing to give up."""


@dataclass(frozen=True)
class _InOverlay(Place):
    source: Source
    overlay: Overlay
    path: bytes
    found: Inode | BaseNode
    is_writable: bool = True
    note: str = ""

    @property
    def directory(self) -> bytes:
        return _directory(self.path, is_dir=is_directory(self.found))

    def entry(self) -> Entry:
        return staged_pages.entry_of(self.overlay, self.path, self.found)

    def page(self, asked: Asked) -> Page:
        entry = self.entry()
        if entry.kind != "dir":
            return _alone(entry, asked)
        return staged_pages.page_of(self.overlay, self.path, asked)

    def open(self) -> Content:
        kind = self.entry().kind
        if kind == "dir":
            raise _is_directory(self.path)
        if kind != "file":
            why = "it is a symbolic link" if kind == "link" else "it is a special file"
            raise UsageError(_no_content(self.path), why)
        return _StagedContent(self.overlay, self.overlay.open(self.path, os.O_RDONLY), self.path)


class _StagedContent(Content):
    """A file of a read-write mount: open as by a program, so that it can be read to the end when it is deleted."""

    def __init__(self, overlay: Overlay, handle: Handle, path: bytes) -> None:
        self._overlay = overlay
        self._handle = handle
        self._path = path
        file = handle.file
        with file.lock:
            self.size = file.size
            self._version = file.version
            self.etag = f'"{file.number:x}-{file.version:x}-{file.mtime:x}-{file.size:x}"'

    def read(self, offset: int, size: int) -> Block:
        with _explained(self._path, "it was there before"):
            data = self._overlay.read(self._handle, offset, size)
        if self._handle.file.version != self._version:
            raise BusyError(f"'{_text(self._path)}' was changed while it was read", "", "try again")
        return data

    def close(self) -> None:
        with _explained(self._path, ""):
            self._overlay.release(self._handle)


def _normalized(path: bytes) -> bytes:
    """As `names.normalize_path`, of a path that need not be UTF-8; b"/" for the root."""
    parts = [part for part in path.split(b"/") if part]
    if b"." in parts or b".." in parts or b"\0" in path:
        raise InvalidPathError(f"invalid path '{_text(path)}'", "'.' and '..' are not allowed in it")
    return b"/" + b"/".join(parts)


def _directory(path: bytes, *, is_dir: bool) -> bytes:
    return path.rstrip(b"/") + b"/" if is_dir else path[: path.rindex(b"/") + 1]


def _alone(entry: Entry, asked: Asked) -> Page:
    """A file as the only entry of a page."""
    return Page([] if asked.marker else [entry], 1, is_last=True)


def _no_content(path: bytes) -> str:
    return f"'{_text(path)}' has no content"


def _is_directory(path: bytes) -> IsADirectoryInSourceError:
    return IsADirectoryInSourceError(_no_content(path), "it is a directory")


@contextmanager
def _explained(path: bytes, where: str) -> Iterator[None]:
    """Say the system's errors as ours."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            raise NotADirectoryInSourceError(f"no file or directory '{_text(path)}'", "a file is on the way") from error
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            raise NotFoundError(f"no file or directory '{_text(path)}'", where) from error
        raise PachmountError(f"cannot read '{_text(path)}'", error.strerror or str(error)) from error


def _text(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
