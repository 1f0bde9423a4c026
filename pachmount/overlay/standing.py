"""What a commit needs of a staged tree: what is in it, putting it onto another commit, giving it up."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection

from pachmount.overlay import names, snapshot
from pachmount.overlay.background import BackgroundSync
from pachmount.overlay.changes import Changes
from pachmount.overlay.inodes import Directory, File, Inode
from pachmount.overlay.names import Base, BaseNode, Facts
from pachmount.overlay.rebase import OntoOther, OntoOwn, Rebase, everything
from pachmount.overlay.snapshot import StagedDirectory
from pachmount.overlay.tree import StagedTree

log = logging.getLogger(__name__)

BASE_NOTE = "base"
"""The key under which the store tells which commit the changes are staged over."""


class CommittableTree(StagedTree):
    """A staged tree that can be put onto other commits."""

    _background: BackgroundSync | None = None
    _is_closed = False

    @property
    def is_changed(self) -> bool:
        """Whether anything at all is staged; it may turn out to be no change."""
        with self._lock:
            return bool(self.root.entries)

    def has_changes(self) -> bool:
        """Whether a name or content differs from the commit's, as far as is known without asking for it.

        What was committed may stay staged for its mode and times, which are no change.
        """
        rest = [(b"/", self.root)]
        while rest:
            above, directory = rest.pop()
            for name, inode in list(directory.entries.items()):  # they may change meanwhile
                path = snapshot.join(above, name)
                if inode is None or inode.base != path:
                    return True
                if isinstance(inode, File) and (inode.extents or inode.size != inode.base_size):
                    return True
                if isinstance(inode, Directory):
                    rest.append((path, inode))
        return False

    def staged(self) -> tuple[int, int]:
        """About how many files have staged bytes, and how many bytes; nothing waits for whoever asks that often."""
        return sum(1 for file in self._files(self.root) if file.extents), self.bytes.budget.used

    def sync_in_background(self) -> None:
        """Begin to write to the disk, every few seconds, what was staged, until `close`."""
        self._background = BackgroundSync(self.sync_changed)

    def close(self) -> None:
        """Keep what was written so far, on the disk; the overlay is not used any more."""
        if self._background is not None:
            self._background.stop()
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            for file in list(self._files(self.root)):
                try:
                    self._keep(file, is_last=True)
                except OSError:
                    log.exception("%s: inode %d could not be kept", self.directory, file.id)
                self.bytes.release(file)
        try:
            self.sync_changed()
        except OSError:
            log.exception("%s could not be synced", self.directory)
        with self._lock:
            self._store.close()

    def being_written(self) -> int:
        """How many files are open for writing."""
        self.closing.wait()
        with self._lock:
            return sum(1 for file in self._files(self.root) if file.writers)

    def generation(self) -> int:
        """A number that grows with each change."""
        with self._lock:
            return self._generation + sum(file.version for file in self._files(self.root))

    def discard(self, paths: Collection[bytes]) -> None:
        """Give up what is staged at some paths and below: they show the commit again. The root stands for all."""
        for path in sorted(paths):
            if path == b"/":
                self._change(self._discard_all)
            elif not any(place in paths for place in names.above(path)):
                self._change(lambda facts, changes, path=path: self._restore(path, facts, changes))  # type: ignore[misc]

    def _discard_all(self, facts: Facts, changes: Changes) -> None:
        for name, inode in list(self.root.entries.items()):
            changes.remove(self.root, name)
            if inode is not None:
                self._drop_tree(inode, changes)
        changes.set(self.root, base=b"/", xattrs={})
        facts.find(b"/")

    def _restore(self, path: bytes, facts: Facts, changes: Changes) -> None:
        """Let a path show what the commit has there."""
        *above, name = names.parts(path)
        node = facts.find(path)
        where = self._restored_directory(b"/" + b"/".join(above), facts, changes, needed=node is not None)
        if where is None:
            return
        inode = where.entries.get(name)
        natural = names.base_child(where, name, facts)
        if natural is not None and natural.path == path:
            changes.remove(where, name)
        elif node is not None:
            restored = self._of_base(BaseNode(path, node))
            changes.set(restored, links=2 if node.is_dir else 1)
            changes.enter(where, name, restored)
        elif natural is not None:
            changes.enter(where, name, None)
        else:
            changes.remove(where, name)
        if inode is not None:
            self._drop_tree(inode, changes)

    def _restored_directory(self, path: bytes, facts: Facts, changes: Changes, *, needed: bool) -> Directory | None:
        """The staged directory at a path; if it was deleted, and is needed, made again with nothing in it."""
        found = names.resolve(self.root, path, facts)
        if found is not None and names.is_directory(found):
            inode = self._staged(path, facts, changes)
            return inode if isinstance(inode, Directory) else None
        if not needed:
            return None
        *above, name = names.parts(path)
        where = self._restored_directory(b"/" + b"/".join(above), facts, changes, needed=True)
        node = facts.find(path)
        if where is None or node is None:
            return None
        if isinstance(found, Inode):
            self._drop_tree(found, changes)
        made = self._of_base(BaseNode(path, node))
        changes.set(made, links=2)
        changes.enter(where, name, made)
        assert isinstance(made, Directory)  # noqa: S101  # for the type checker
        for child, _ in facts.children(path):
            changes.enter(made, child, None)
        return made

    def _drop_tree(self, inode: Inode, changes: Changes) -> None:
        if isinstance(inode, Directory):
            for name, entry in list(inode.entries.items()):
                changes.remove(inode, name)
                if entry is not None:
                    self._drop_tree(entry, changes)
        self._drop(changes, inode)

    def note(self, key: str, value: str) -> None:
        """Note something beside the changes, durably."""
        with self._lock:
            self._store.note(key, value)

    def noted(self, key: str) -> str:
        """What was noted; "" if nothing was."""
        with self._lock:
            return self._store.about(key)

    def hold(self, paths: Collection[bytes]) -> None:
        """Stage the bytes of everything that shows files of the commit at `paths` in other places or with changes, so
        that it stays as it is on a commit that has something else there.
        """
        self._stage(self._showing(paths))
        with self._lock:
            held = [file for file in self._files(self.root) if file.base in paths]
        for file in held:
            self._own(file)
        self.sync_files(held)

    def _stage(self, places: Collection[bytes]) -> None:
        """Have an inode for each of some files of the commit."""
        for place in places:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it went meanwhile
                self._change(lambda facts, changes, place=place: self._staged(place, facts, changes))  # type: ignore[misc]

    def _showing(self, paths: Collection[bytes]) -> list[bytes]:
        """Where directories that were moved show files of the commit."""
        with self._lock:
            moved = [
                (inode.base, path)
                for _, _, path, inode in everything(self.root)
                if isinstance(inode, Directory) and inode.base not in (None, path)
            ]
        return [
            where + path[len(base) :]
            for base, where in moved
            for path in paths
            if base is not None and path.startswith(base + b"/")
        ]

    def snapshot(self, *, copy: bool = False) -> StagedDirectory:
        """What is staged now; with `copy`, files open for writing stay readable as they are. `release` gives it up."""
        with self._lock:
            return snapshot.take(self.root, copy=copy)

    def advance(self, base: Base, taken: StagedDirectory, committed: Collection[bytes], note: str = "") -> None:
        """Stand on the commit that was made of a snapshot: it holds the snapshot's files at the paths `committed`.

        Bytes of the former commit that are needed and that the new one does not have are staged first. Files that are
        open without being changed stay as they were. The listings of both commits are complete. Raises OSError,
        ENOSPC; then nothing has changed. `note` is kept in the store as that of the base.
        """
        self._rebase(base, lambda former: OntoOwn(former, base, taken, committed), note)

    def move(self, base: Base, expected: int, note: str = "") -> bool:
        """Stand on another commit, which changes nothing that is staged, as was seen at `generation` `expected`.

        False if something was changed since then. Otherwise as `advance`.
        """
        return self._rebase(base, lambda former: OntoOther(former, base), note, expected)

    def _rebase(self, base: Base, plan: Callable[[Base], Rebase], note: str, expected: int | None = None) -> bool:
        while True:
            with self._lock:
                if expected not in (None, self.generation()):
                    return False
                rebase = plan(self.base)
                vanishing = rebase.vanishing(self.root)
                foreign = rebase.foreign(self.root)
                if not vanishing and not foreign:
                    self._stand_on(base, rebase, note)
                    return True
            self._stage(vanishing)
            for file in foreign:
                self._own(file)
            self.sync_files(foreign)  # what was safe in the commit is not to be lost now

    def _own(self, file: File) -> None:
        """Stage all bytes of a file, whatever the commit has."""
        self.bytes.own(file)
        self._keep(file)
        with self._lock:
            if not file.handles:
                self.bytes.release(file)

    def _stand_on(self, base: Base, rebase: Rebase, note: str) -> None:
        changes = Changes()
        changes.note(BASE_NOTE, note)
        stays: dict[int, bool] = {}
        gone: list[tuple[Directory, bytes, Directory]] = []
        with contextlib.ExitStack() as locks:
            try:
                rebase.directory(changes, self.root, b"/")
                for directory, name, path, inode in everything(self.root):
                    if isinstance(inode, Directory):
                        if not rebase.directory(changes, inode, path):
                            gone.append((directory, name, inode))
                    elif isinstance(inode, File):
                        if inode.id not in stays:
                            locks.enter_context(inode.lock)
                            stays[inode.id] = rebase.file(changes, inode, self.bytes.drop)
                        if not stays[inode.id]:
                            changes.remove(directory, name)
                            changes.set(inode, links=inode.links - 1)
                for directory, name, inode in reversed(gone):
                    if not inode.entries:
                        changes.remove(directory, name)
                        changes.set(inode, links=0)
                changes.afterwards(lambda: self._swap(base))
                changes.keep(self._store)
            except BaseException:
                changes.undo()
                raise

    def _swap(self, base: Base) -> None:
        self.base = base
        self._unchanged.clear()  # those stay with the reader that they have
