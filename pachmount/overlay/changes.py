"""Changes of names and inodes that happen as a whole: in memory and in the store, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from pachmount.overlay import rows
from pachmount.overlay.inodes import BaseReader, Directory, File, Inode
from pachmount.overlay.rows import Change, KeptSums
from pachmount.overlay.staging import Staging


class Changes:
    """What one operation changes. Memory is changed at once, under the caller's lock; the store by `keep`.

    `undo` takes all of it back from memory.
    """

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        self._inodes: dict[int, Inode] = {}
        self._entries: dict[tuple[int, bytes], Directory] = {}
        self._afterwards: list[Callable[[], object]] = []
        self._notes: list[Change] = []
        self._readers: list[tuple[File, BaseReader | None]] = []

    def set(self, inode: Inode, **attributes: Any) -> None:
        """Give an inode (or its `links`: one that is new or goes) other attributes."""
        before = {name: getattr(inode, name) for name in attributes}
        self._undo.append(lambda: _assign(inode, before))
        _assign(inode, attributes)
        self._inodes[inode.id] = inode

    def read_from(self, file: File, reader: BaseReader) -> None:
        """Let a file have the bytes of its base from `reader`, of which the store knows nothing."""
        self._readers.append((file, file.reader))
        file.reader = reader

    def enter(self, directory: Directory, name: bytes, inode: Inode | None) -> None:
        """Let a directory have an entry; None hides what its base has."""
        self._before_entry(directory, name)
        directory.entries[name] = inode

    def remove(self, directory: Directory, name: bytes) -> None:
        """Take an entry away, so that the base's shows again, if it has one."""
        self._before_entry(directory, name)
        directory.entries.pop(name, None)

    def touch(self, inode: Inode, *, content: bool = True) -> None:
        """Set the time of the last change; `content`: also of the content."""
        now = time.time_ns()
        self.set(inode, ctime=now, **({"mtime": now} if content else {}))

    def afterwards(self, action: Callable[[], object]) -> None:
        """Do something when all is kept."""
        self._afterwards.append(action)

    def note(self, key: str, value: str) -> None:
        """Note something in the store; all of the changes then survive a power loss."""
        self._notes.append(rows.about(key, value))

    def keep(self, store: Staging) -> bool:
        """Write all of it to the store; whether there was anything. Raises OSError, with nothing written."""
        with ExitStack() as locks:  # the checksums of staged bytes must hold until the store has them
            for inode in self._inodes.values():
                if isinstance(inode, File):
                    locks.enter_context(inode.lock)
            statements = [*self._statements(), *self._notes]
            if statements:
                frees = any(not inode.links for inode in self._inodes.values())
                store.apply(statements, durable=bool(self._notes), is_urgent=frees)
        for action in self._afterwards:
            action()
        return bool(statements)

    def undo(self) -> None:
        while self._undo:
            self._undo.pop()()
        for file, reader in reversed(self._readers):
            file.reader = reader

    def _before_entry(self, directory: Directory, name: bytes) -> None:
        entries = directory.entries
        if name in entries:
            before = entries[name]
            self._undo.append(lambda: entries.__setitem__(name, before))
        else:
            self._undo.append(lambda: entries.pop(name, None))
        self._entries[directory.id, name] = directory

    def _statements(self) -> list[Change | KeptSums]:
        statements: list[Change | KeptSums] = []
        gone: set[int] = set()
        for inode in self._inodes.values():
            if inode.links:
                statements += rows.keep(inode)
                continue
            gone.add(inode.id)
            statements += [rows.forget(inode), rows.forget_entries(inode), rows.forget_sums(inode)]
        for (_, name), directory in self._entries.items():
            if directory.id in gone:
                continue
            if name in directory.entries:
                statements.append(rows.name(directory, name, directory.entries[name]))
            else:
                statements.append(rows.unname(directory, name))
        return statements


def _assign(inode: Inode, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        setattr(inode, name, value)
