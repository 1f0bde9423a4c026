"""Putting staged objects onto another commit.

Onto the commit that was made of them (`OntoOwn`): what it holds is staged no more. Three trees matter: the staged tree
when the commit was put together (the snapshot), the staged tree as it is now, and the new commit. An inode of the
snapshot is in the new commit where the snapshot had it, wherever it may be by now.

Onto a commit of others (`OntoOther`), which changed nothing that is staged: all that is staged stays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator

from pachmount.overlay import snapshot
from pachmount.overlay.changes import Changes
from pachmount.overlay.extents import Extents
from pachmount.overlay.inodes import Directory, File, Inode
from pachmount.overlay.names import Base
from pachmount.overlay.snapshot import StagedDirectory, StagedFile, join
from pachmount.vfs.tree import Node


class Rebase(ABC):
    """What changes with a new base. The trees of commits are asked without waiting: their listings are complete."""

    def __init__(self, former: Base, tree: Base) -> None:
        self.former = former
        self.tree = tree

    def place(self, base: bytes | None) -> bytes | None:
        """Where the new commit has what the former had at a path."""
        return base

    def committed(self, file: File) -> tuple[bytes, StagedFile] | None:  # noqa: ARG002
        """The path at which the new commit holds a file as it was in the snapshot, if it does."""
        return None

    def foreign(self, root: Directory) -> list[File]:
        """Files that show bytes of the former commit which are not in the new one: they have to be staged."""
        found = {
            inode.id: inode
            for _, _, path, inode in everything(root)
            if isinstance(inode, File) and self._is_foreign(inode, path)
        }
        return list(found.values())

    def _is_foreign(self, file: File, path: bytes) -> bool:
        if file.base is None or not file.base_size or self.committed(file) is not None:
            return False
        if file.base == path and self._is_plain(file):
            return False  # it is what the new commit has there, if anything
        if all(mine for _, _, mine in file.extents.pieces(0, file.base_size)):
            return False
        return not self._has(file.base)

    def vanishing(self, root: Directory) -> list[bytes]:
        """Where directories that were moved show files of the former commit that the new one does not have there.

        They were moved to where nothing is committed, as an ignored name, or others deleted them as well.
        """
        found: list[bytes] = []
        for _, _, path, inode in everything(root):
            if isinstance(inode, Directory) and inode.base not in (None, path):
                rest = [(path, inode.base or b"/", inode.entries.keys())]
                while rest:
                    at, base, own = rest.pop()
                    for name, is_directory in self.former.children(base):
                        if name in own:
                            continue
                        if is_directory:
                            rest.append((join(at, name), join(base, name), {}.keys()))
                        elif not self._has(join(base, name)):
                            found.append(join(at, name))
        return found

    def _has(self, path: bytes) -> bool:
        """Whether the new commit has a file of the former one as it was."""
        before, place = self.former.find(path), self.place(path)
        after = None if place is None else self.tree.find(place)
        return before is not None and after is not None and before.digest == after.digest and any(before.digest)

    def file(self, changes: Changes, file: File, forget: Callable[[File, int], None]) -> bool:
        """Let a file stand on the new commit; False if it is not there any more: others deleted what was unchanged.

        `forget` removes staged bytes, of which there are so many. The file's lock is held until all is kept.
        """
        committed = self.committed(file)
        if committed is not None:
            path, staged = committed
            if file.version != staged.version:
                changes.set(file, base=path)
                changes.read_from(file, self.tree)
                return True
            if not staged.staged and file.base == path and file.base_size == file.size:
                changes.read_from(file, self.tree)
                return True
            size = file.extents.size
            changes.afterwards(lambda: forget(file, size))
            changes.set(file, base=path, base_size=file.size, extents=Extents(), dirty=False)
            changes.read_from(file, self.tree)
            return True
        if file.base is None:
            return True
        node = self._node(file)
        if not self._is_plain(file):
            base = None if node is None or node.is_dir else self.place(file.base)
            changes.set(file, base=base, **({"base_size": 0} if base is None else {}))
            changes.read_from(file, self.tree)
            return True
        if node is None or node.is_dir:
            return False
        place = self.place(file.base)
        if (place, node.size, node.size) != (file.base, file.size, file.base_size):
            changes.set(file, base=place, size=node.size, base_size=node.size)
        changes.read_from(file, self.tree)
        return True

    @abstractmethod
    def directory(self, changes: Changes, directory: Directory, path: bytes) -> bool:
        """Let a directory, which is at a path now, stand on the new commit.

        False if it was the former commit's and is not in the new one: it goes, unless there is something in it.
        """

    def _is_plain(self, file: File) -> bool:
        """Whether the content is the former commit's, as it is."""
        if file.extents or file.base is None or file.size != file.base_size:
            return False
        node = self.former.find(file.base)
        return node is not None and node.size == file.size

    def _node(self, file: File) -> Node | None:
        place = self.place(file.base)
        return None if place is None else self.tree.find(place)

    def _shows(self, base: bytes | None, name: bytes) -> bool:
        return base is not None and self.tree.find(join(base, name)) is not None

    def _is_directory(self, path: bytes | None) -> bool:
        node = None if path is None else self.tree.find(path)
        return node is not None and node.is_dir


class OntoOther(Rebase):
    """Onto a commit that others made, which changes nothing that is staged."""

    def directory(self, changes: Changes, directory: Directory, path: bytes) -> bool:
        base = directory.base
        is_there = base != path or self._is_directory(path)
        if base is None and self.former.find(path) is None:
            base = path  # made here and by others
        changes.set(directory, base=base if self._is_directory(base) else None)
        for name, entry in list(directory.entries.items()):
            if entry is None and not self._shows(directory.base, name):
                changes.remove(directory, name)
        return is_there


class OntoOwn(Rebase):
    """`paths` are those of the snapshot whose files the commit holds as they were there."""

    def __init__(self, former: Base, tree: Base, taken: StagedDirectory, paths: Collection[bytes]) -> None:
        super().__init__(former, tree)
        self._paths = paths
        self._directories: dict[int, tuple[bytes, StagedDirectory]] = {}
        self._files: dict[int, list[tuple[bytes, StagedFile]]] = {}
        for path, staged in snapshot.walk(taken):
            if isinstance(staged, StagedDirectory):
                self._directories[staged.inode.id] = (path, staged)
            elif isinstance(staged, StagedFile):
                self._files.setdefault(staged.inode.id, []).append((path, staged))
        moved = [(staged.base, path) for path, staged in self._directories.values() if staged.base not in (None, path)]
        self._moved = sorted(((base, path) for base, path in moved if base), key=lambda pair: -len(pair[0]))

    def place(self, base: bytes | None) -> bytes | None:
        for before, after in self._moved:
            if base is not None and (base + b"/").startswith(before + b"/"):
                return after + base[len(before) :]
        return base

    def committed(self, file: File) -> tuple[bytes, StagedFile] | None:
        for path, staged in self._files.get(file.id, ()):
            node = self.tree.find(path) if path in self._paths else None
            if node is not None and not node.is_dir and node.size == staged.size:
                return path, staged
        return None

    def directory(self, changes: Changes, directory: Directory, path: bytes) -> bool:  # noqa: ARG002
        known = self._directories.get(directory.id)
        base = self.place(directory.base) if known is None else known[0]
        base = base if self._is_directory(base) else None
        changes.set(directory, base=base)
        before = {} if known is None else known[1].entries
        for name, former in before.items():
            if former is not None and name not in directory.entries and self._shows(base, name):
                changes.enter(directory, name, None)  # it went after the snapshot was taken
        for name, entry in list(directory.entries.items()):
            was_hidden = name in before and before[name] is None
            if entry is None and (was_hidden or not self._shows(base, name)):
                changes.remove(directory, name)
        return True


def everything(root: Directory) -> Iterator[tuple[Directory, bytes, bytes, Inode]]:
    """Each staged entry: its directory, its name there, its path, the object; a directory before what is in it."""
    rest = [(b"/", root)]
    while rest:
        above, directory = rest.pop()
        for name, inode in list(directory.entries.items()):
            if inode is None:
                continue
            path = join(above, name)
            yield directory, name, path, inode
            if isinstance(inode, Directory):
                rest.append((path, inode))
