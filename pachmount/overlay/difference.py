"""What a commit would change: the staged objects beside the commit that they are staged over."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from pachmount.names import unstorable_reason
from pachmount.overlay.names import BaseNode, BaseTree
from pachmount.overlay.snapshot import (
    Staged,
    StagedDirectory,
    StagedFile,
    StagedLink,
    StagedSpecial,
    everything,
    join,
    walk,
)
from pachmount.overlay.staged_bytes import IN_DOUBT
from pachmount.vfs.hashes import VERIFIABLE_BYTES, content_hash
from pachmount.vfs.tree import Node

MAX_LINKS = 40
"""Symbolic links in one path, as Linux has it."""

MAX_NESTED_LINKS = 4
"""Links to directories that are in what other such links lead to: each level may multiply the files of a commit."""
_LINK = "link"

Kind = Literal["A", "M", "D", "R"]
Object = Staged | BaseNode


@dataclass(frozen=True)
class Change:
    """A file that a commit would add, modify, delete or rename. Sizes are bytes, `old_path` is set for a rename.

    `content` is what it will hold: a file with staged bytes, or one of the commit, whole.
    """

    kind: Kind
    path: bytes
    size: int = 0
    old_size: int = 0
    old_path: bytes = b""
    content: StagedFile | BaseNode | None = None


@dataclass(frozen=True)
class Refused:
    """Something that cannot be committed, and why."""

    path: bytes
    reason: str


@dataclass
class Difference:
    """All changes, by path. `ignored` are left out because a pattern says so, or because of what they are."""

    changes: list[Change] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    ignored: list[bytes] = field(default_factory=list)
    empty_directories: list[bytes] = field(default_factory=list)
    hidden: list[bytes] = field(default_factory=list)
    """Where nothing below shows what the commit has there: what was deleted, directories that came from elsewhere."""

    @property
    def being_written(self) -> list[bytes]:
        """Changed files that a program has open for writing."""
        return [
            change.path
            for change in self.changes
            if isinstance(change.content, StagedFile) and change.content.is_being_written
        ]

    def at(self, places: Collection[bytes]) -> Difference:
        """What of it is at some paths and below; none = all."""
        if not places:
            return self
        wanted = [place.rstrip(b"/") + b"/" for place in places]

        def is_wanted(path: bytes) -> bool:
            return any((path + b"/").startswith(place) for place in wanted)

        return Difference(
            [change for change in self.changes if is_wanted(change.path) or is_wanted(change.old_path)],
            [refused for refused in self.refused if is_wanted(refused.path)],
            *[list(filter(is_wanted, paths)) for paths in (self.ignored, self.empty_directories, self.hidden)],
        )

    def committed(self, taken: StagedDirectory) -> set[bytes]:
        """The paths of a snapshot whose files a commit of these changes holds as they were there."""
        left = [b"%b/" % path for path in [*(refused.path for refused in self.refused), *self.ignored]]
        return {
            path
            for path, staged in walk(taken)
            if isinstance(staged, StagedFile) and not any((path + b"/").startswith(place) for place in left)
        }


class _LinkError(Exception):
    """A symbolic link that cannot be followed inside the mount."""


def difference(
    root: StagedDirectory,
    base: BaseTree,
    *,
    mountpoint: bytes = b"",
    is_ignored: Callable[[bytes, bool], bool] = lambda _path, _is_directory: False,
    refusal: Callable[[str], str] = unstorable_reason,
    read: Callable[[StagedFile], bytes] | None = None,
) -> Difference:
    """Compare staged objects with the commit below them. It may ask the cluster, so call it without a lock.

    `mountpoint`: where absolute links may lead to. `is_ignored` is asked for path and is-directory of what the commit
    does not have, `refusal` why a path cannot be committed ("" = it can). `read` gives the bytes of a small file, to
    tell whether it was written anew with what it had.
    """
    return _Comparison(base, mountpoint, is_ignored, refusal, read).run(root)


class _Comparison:
    def __init__(
        self,
        base: BaseTree,
        mountpoint: bytes,
        is_ignored: Callable[[bytes, bool], bool],
        refusal: Callable[[str], str],
        read: Callable[[StagedFile], bytes] | None,
    ) -> None:
        self._refusal = refusal
        self._base = base
        self._mountpoint = mountpoint
        self._is_ignored = is_ignored
        self._read = read
        self._result = Difference()

    def run(self, root: StagedDirectory) -> Difference:
        self._root = root
        self._compare(b"/", root, ())
        result = self._result
        result.hidden += [path for path, staged in everything(root) if self._hides(path, staged)]
        result.changes = _with_renames(sorted(result.changes, key=lambda change: change.path))
        result.refused.sort(key=lambda refused: refused.path)
        result.ignored.sort()
        result.empty_directories.sort()
        return result

    def _hides(self, path: bytes, staged: Staged | None) -> bool:
        if isinstance(staged, StagedDirectory):
            return self._base.find(path) is not None if staged.base is None else staged.base != path
        return staged is None

    def _compare(self, path: bytes, found: Object | None, above: tuple[object, ...]) -> None:
        """`above`: the directories on the way, by identity, and a mark for each link."""
        if (isinstance(found, BaseNode) and found.path == path) or self._is_untouched(path, found):
            return
        if isinstance(found, StagedDirectory) and found.base == path:
            for name, entry in found.entries.items():
                self._compare(join(path, name), entry, (*above, _identity(found)))
            if found.inode.id != self._root.inode.id and not any(True for _ in self._children(found)):
                self._result.empty_directories.append(path)
            return
        before = self._base.find(path)
        old = {} if before is None else dict(self._files_of_base(path, before))
        refused_before = len(self._result.refused)
        new = {} if found is None else dict(self._files(path, path, found, above))
        kept = [b"%b/" % refused.path for refused in self._result.refused[refused_before:]]
        for file_path, node in old.items():
            if file_path not in new and not any((file_path + b"/").startswith(place) for place in kept):
                self._result.changes.append(Change("D", file_path, old_size=node.size))
        for file_path, content in new.items():
            self._add(file_path, content, old.get(file_path))

    def _is_untouched(self, path: bytes, found: Object | None) -> bool:
        """Whether this is a file of the commit at its place, with its bytes: most are, after many were committed."""
        if not isinstance(found, StagedFile) or found.base != path or found.staged or found.is_being_written:
            return False
        node = self._base.find(path)
        return node is not None and not node.is_dir and found.size == found.base_size == node.size

    def _add(self, path: bytes, content: StagedFile | BaseNode, old: Node | None) -> None:
        if isinstance(content, StagedFile) and content.is_being_written:
            self._result.hidden.append(path)  # what a program is about to change must not change under it
        if isinstance(content, StagedFile) and content.is_in_doubt:
            self._result.refused.append(Refused(path, IN_DOUBT))
            return
        content = self._whole(content)
        size = content.node.size if isinstance(content, BaseNode) else content.size
        if old is not None and self._is_same(content, size, old):
            return
        reason = self._refusal(os.fsdecode(path))
        if reason:
            self._result.refused.append(Refused(path, reason))
        else:
            kind: Kind = "A" if old is None else "M"
            self._result.changes.append(Change(kind, path, size, 0 if old is None else old.size, content=content))

    def _is_same(self, content: StagedFile | BaseNode, size: int, old: Node) -> bool:
        if size != old.size:
            return False
        if isinstance(content, BaseNode):
            node = content.node
            return node.path == old.path or (any(node.digest) and node.digest == old.digest)
        if self._read is not None and size < VERIFIABLE_BYTES and any(old.digest):
            return content_hash(self._read(content)) == old.digest
        return False

    def _whole(self, content: StagedFile | BaseNode) -> StagedFile | BaseNode:
        """The object of the commit that a file is in full, or the file."""
        if isinstance(content, BaseNode) or content.base is None or content.staged:
            return content
        node = self._base.find(content.base)
        is_whole = node is not None and content.size == content.base_size == node.size
        return BaseNode(content.base, node) if node is not None and is_whole else content

    def _files(
        self, path: bytes, place: bytes, found: Object, above: tuple[object, ...]
    ) -> Iterator[tuple[bytes, StagedFile | BaseNode]]:
        """All files that a commit would have at a path and below it; `above`: the directories and links on the way.

        `place` is where the object is in the mount, which is elsewhere than `path` if a link leads there.
        """
        is_new = self._base.find(path) is None
        if isinstance(found, StagedSpecial) or (is_new and self._is_ignored(path, _is_directory(found))):
            self._result.ignored.append(path)
        elif isinstance(found, StagedLink):
            try:
                place, target = self._follow(place, found)
            except _LinkError as error:
                self._result.refused.append(Refused(path, str(error)))
                return
            if _identity(target) in above:
                self._result.refused.append(Refused(path, "a link that leads back to a directory above it"))
                return
            if _is_directory(target) and above.count(_LINK) == MAX_NESTED_LINKS:
                self._result.refused.append(Refused(path, "linked directories within linked directories, too deep"))
                return
            yield from self._files(path, place, target, (*above, _LINK))
        elif isinstance(found, StagedFile) or (isinstance(found, BaseNode) and not _is_directory(found)):
            yield path, found
        else:
            is_empty = True
            for name, entry in self._children(found):
                is_empty = False
                inside = (*above, _identity(found))
                yield from self._files(join(path, name), join(place, name), entry, inside)
            if is_empty:
                self._result.empty_directories.append(path)

    def _children(self, directory: Object) -> Iterator[tuple[bytes, Object]]:
        """The entries that a directory shows."""
        entries = directory.entries if isinstance(directory, StagedDirectory) else {}
        base = directory.path if isinstance(directory, BaseNode) else getattr(directory, "base", None)
        if base is not None:
            for name, _ in self._base.children(base):
                if name not in entries:
                    below = join(base, name)
                    node = self._base.find(below)
                    if node is not None:
                        yield name, BaseNode(below, node)
        yield from ((name, entry) for name, entry in entries.items() if entry is not None)

    def _child(self, directory: Object, name: bytes) -> Object | None:
        if isinstance(directory, StagedDirectory) and name in directory.entries:
            return directory.entries[name]
        base = directory.path if isinstance(directory, BaseNode) else getattr(directory, "base", None)
        if base is None or isinstance(directory, StagedFile):
            return None
        node = self._base.find(join(base, name))
        return None if node is None else BaseNode(join(base, name), node)

    def _files_of_base(self, path: bytes, node: Node) -> Iterator[tuple[bytes, Node]]:
        rest = [(path, node)]
        while rest:
            path, node = rest.pop()
            if not node.is_dir:
                yield path, node
                continue
            for name, _ in self._base.children(path):
                below = self._base.find(join(path, name))
                if below is not None:
                    rest.append((join(path, name), below))

    def _follow(self, place: bytes, link: StagedLink) -> tuple[bytes, Object]:
        """Where a link, which is at `place`, leads to in the end, and what is there. Raises _LinkError."""
        stack: list[tuple[bytes, Object]] = [(b"/", self._root)]
        for name in _names(posixpath.dirname(place)):
            stack.append(self._step(stack[-1], name))
        names = self._target(link, stack)
        links = 1
        while names:
            name = names.pop(0)
            if name == b"..":
                if len(stack) == 1:
                    raise _LinkError(_leads_out(link))
                stack.pop()
                continue
            at, found = self._step(stack[-1], name)
            if not isinstance(found, StagedLink):
                stack.append((at, found))
                continue
            links += 1
            if links > MAX_LINKS:
                raise _LinkError("too many symbolic links")
            names = [*self._target(found, stack), *names]
        return stack[-1]

    def _target(self, link: StagedLink, stack: list[tuple[bytes, Object]]) -> list[bytes]:
        """The names in the text of a link; if it begins at the root, so does `stack` then."""
        target = link.target
        if target.startswith(b"/"):
            if not self._mountpoint or not (target + b"/").startswith(self._mountpoint + b"/"):
                raise _LinkError(_leads_out(link))
            target = target[len(self._mountpoint) :]
            del stack[1:]
        return _names(target)

    def _step(self, directory: tuple[bytes, Object], name: bytes) -> tuple[bytes, Object]:
        found = self._child(directory[1], name)
        if found is None:
            raise _LinkError("a link to something that does not exist")
        return join(directory[0], name), found


def _names(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def _leads_out(link: StagedLink) -> str:
    return f"a link to {os.fsdecode(link.target)}, which is outside of the mount"


def _is_directory(found: Object) -> bool:
    return found.node.is_dir if isinstance(found, BaseNode) else isinstance(found, StagedDirectory)


def _identity(found: Object) -> object:
    return found.path if isinstance(found, BaseNode) else found.inode.id


def _with_renames(changes: list[Change]) -> list[Change]:
    """The same with a deletion and an addition of the same content as one rename."""
    deleted = {change.path: change for change in changes if change.kind == "D"}
    renamed: set[bytes] = set()
    result = []
    for change in changes:
        source = change.content.path if isinstance(change.content, BaseNode) else b""
        if change.kind == "A" and source in deleted and source not in renamed:
            renamed.add(source)
            result.append(replace(change, kind="R", old_path=source, old_size=deleted[source].old_size))
        else:
            result.append(change)
    return [change for change in result if change.kind != "D" or change.path not in renamed]
