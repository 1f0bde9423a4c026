"""The staged tree of a read-write mount over its commit, and how operations change it: as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pachmount.overlay import names, rows
from pachmount.overlay.bytes import Bytes
from pachmount.overlay.changes import Changes
from pachmount.overlay.closing import ClosingFiles
from pachmount.overlay.inodes import ROOT_ID, Directory, File, Inode
from pachmount.overlay.names import Base, BaseNode, Facts, Found
from pachmount.overlay.staging import Staging
from pachmount.vfs.last_used import LastUsed

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755
T = TypeVar("T")


class Owner(NamedTuple):
    """User and group id of who makes something."""

    uid: int
    gid: int


class StagedTree:
    """Thread-safe. No lock is held while the cluster is asked."""

    def __init__(self, base: Base, store: Staging, owner: Owner, limit: int) -> None:
        """`owner` has what the commit brings; at most `limit` bytes are staged."""
        self.base = base
        self._store = store
        self._owner = owner
        self._lock = threading.RLock()
        self._generation = 0
        self._unchanged: dict[bytes, File] = {}  # files of the commit that are open and unchanged
        self.bytes = Bytes(store, limit)
        self.closing = ClosingFiles()
        self.listed: LastUsed[Any] = LastUsed()  # of overlay/pages.py
        root = store.load()
        self._next = store.next_id()
        if root is None:
            self._next = max(self._next, ROOT_ID + 1)
            now = int(base.time * 1e9)
            mode = stat.S_IFDIR | DIRECTORY_MODE
            root = Directory(ROOT_ID, base.inode(b"/"), mode, *owner, now, now, now, 2, b"/")
            changes = Changes()
            changes.set(root)
            changes.keep(store)
        self.root = root
        for file in self._files(root):
            file.reader = base
            self.bytes.budget.used += file.extents.size
            if file.data.is_unsynced:
                self.bytes.found_unsynced(file)

    # --- the lock is held in what is called below, but for _look and _change

    @property
    def directory(self) -> Path:
        """Where the changes are staged."""
        return self._store.directory

    def _look(self, operation: Callable[[Facts], T]) -> T:
        def attempt(facts: Facts) -> T:
            with self._lock:
                facts.check(self.base)
                return operation(facts)

        return names.with_facts(lambda: self.base, attempt)

    def _change(self, operation: Callable[[Facts, Changes], T]) -> T:
        def attempt(facts: Facts) -> T:
            with self._lock:
                facts.check(self.base)
                changes = Changes()
                try:
                    result = operation(facts, changes)
                    self._generation += changes.keep(self._store)
                except BaseException:
                    changes.undo()
                    raise
                return result

        return names.with_facts(lambda: self.base, attempt)

    def _need(self, path: bytes, facts: Facts) -> Found:
        found = names.resolve(self.root, path, facts)
        if found is None:
            raise system_error(errno.ENOENT)
        return found

    def _staged(self, path: bytes, facts: Facts, changes: Changes) -> Inode:
        """The inode at a path; one of the commit's object, entered into its directory, if there is none yet."""
        found = self._need(path, facts)
        if isinstance(found, Inode):
            return found
        where, name = self._place(path, facts, changes)
        inode = self._of_base(found)
        changes.afterwards(lambda: self._unchanged.pop(found.path, None))
        changes.set(inode, links=2 if inode.is_directory else 1)
        changes.enter(where, name, inode)
        return inode

    def _place(self, path: bytes, facts: Facts, changes: Changes) -> tuple[Directory, bytes]:
        """The directory that a path is in, staged, and the name there. ENOENT, ENOTDIR if there is none."""
        *above, name = names.parts(path)
        where = self._staged(b"/" + b"/".join(above), facts, changes)
        if not isinstance(where, Directory):
            raise system_error(errno.ENOTDIR)
        return where, name

    def _drop(self, changes: Changes, found: Found) -> None:
        """Count a name less, and forget what has none and is not open."""
        if isinstance(found, BaseNode):
            file = self._unchanged.get(found.path)
            if file is not None:  # open, and from now on without a name
                changes.set(file, links=0, ctime=time.time_ns())
                changes.afterwards(lambda: self._unchanged.pop(found.path, None))
            return
        links = 0 if found.is_directory else found.links - 1
        changes.set(found, links=links, ctime=time.time_ns())
        if isinstance(found, File) and not links and not found.handles:
            changes.afterwards(lambda: self.bytes.forget(found))

    def _numbered(self, number: int | None = None) -> dict[str, int]:
        key = self._next
        self._next += 1
        return {"id": key, "number": key << 2 | 1 if number is None else number}  # bit 1 is set in those of a commit

    def _of_base(self, found: BaseNode) -> Inode:
        """An inode for an object of the commit, without a name yet."""
        path, node = found
        opened = self._unchanged.get(path)
        if opened is not None:
            return opened
        kind, links = (stat.S_IFDIR | DIRECTORY_MODE, 2) if node.is_dir else (stat.S_IFREG | FILE_MODE, 1)
        now = int(self.base.time * 1e9)
        known: dict[str, Any] = {
            **self._numbered(self.base.inode(path)),
            "mode": kind,
            "uid": self._owner.uid,
            "gid": self._owner.gid,
            "links": links,
            "base": path,
            "atime": now,
            "mtime": now,
            "ctime": now,
        }
        if node.is_dir:
            return Directory(**known)
        return File(**known, size=node.size, base_size=node.size, reader=self.base)

    def _keep(self, file: File, *, durable: bool = False, is_last: bool = False) -> None:
        with self._lock, file.lock:
            if file.dirty and file.links:
                self.bytes.check(file)
                self._store.apply(rows.keep(file), durable=durable, is_urgent=is_last)
            elif durable:
                self._store.apply([], durable=True)
            file.dirty = False

    def sync_files(self, files: Collection[File]) -> None:
        """All that was written to some files and done to names survives a power loss. Call it without a lock."""
        self.bytes.sync(files)
        with self._lock:
            named = [file for file in files if file.links]
            versions = [file.version for file in named]
            with contextlib.ExitStack() as locks:  # the checksums must hold until the store has them
                for file in named:
                    locks.enter_context(file.lock)
                    self.bytes.check(file)
                self._store.apply([change for file in named for change in rows.keep(file)], durable=True)
            for file, version in zip(named, versions, strict=True):
                with file.lock:
                    file.dirty = file.dirty and (file.version != version or file.data.is_unsynced)

    def sync_changed(self) -> None:
        """The same for all files and names, if there is anything to do."""
        files = self.bytes.unsynced()
        if files or self._store.is_pending:
            self.sync_files(files)
        self._store.rotate()

    def _files(self, directory: Directory) -> Iterator[File]:
        """Every staged file once."""
        seen: set[int] = set()
        rest: list[Directory] = [directory]
        while rest:
            for inode in list(rest.pop().entries.values()):  # they may change meanwhile
                if isinstance(inode, Directory):
                    rest.append(inode)
                elif isinstance(inode, File) and inode.id not in seen:
                    seen.add(inode.id)
                    yield inode


def system_error(number: int) -> OSError:
    """The error of the system with a number."""
    return OSError(number, os.strerror(number))
