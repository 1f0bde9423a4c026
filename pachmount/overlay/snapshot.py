"""What is staged at one moment, frozen: taken under the overlay's lock, looked at without it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from pachmount.overlay.inodes import BaseReader, Directory, File, Inode, Special, Symlink
from pachmount.overlay.sums import Sums


@dataclass(frozen=True, eq=False)
class StagedFile:
    """A file as it was. `copy` is a descriptor of its staged bytes where these may change meanwhile, else None.

    `version` tells whether the inode was written to since. `is_in_doubt`: the machine stopped before all of it was on
    the disk. `sums`: of the private copy. The rest is as in `File`.
    """

    inode: File
    version: int
    base: bytes | None
    base_size: int
    size: int
    staged: tuple[tuple[int, int], ...]
    is_appended_to: bool
    is_being_written: bool
    reader: BaseReader | None = None
    copy: int | None = None
    is_in_doubt: bool = False
    sums: Sums | None = None


@dataclass(frozen=True, eq=False)
class StagedLink:
    """A symbolic link."""

    inode: Symlink
    target: bytes


@dataclass(frozen=True, eq=False)
class StagedDirectory:
    """A directory with its own entries; None hides one of `base`."""

    inode: Directory
    base: bytes | None
    entries: dict[bytes, Staged | None] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StagedSpecial:
    """A named pipe, socket or device."""

    inode: Special


Staged = StagedFile | StagedLink | StagedDirectory | StagedSpecial


def take(root: Directory, *, copy: bool) -> StagedDirectory:
    """The tree of staged inodes as it is now; call it with the overlay's lock held.

    With `copy`, files that are open for writing get a private copy of their staged bytes. Raises OSError.
    """
    files: dict[int, StagedFile] = {}

    def of(inode: Inode | None) -> Staged | None:
        if isinstance(inode, Directory):
            return StagedDirectory(inode, inode.base, {name: of(entry) for name, entry in inode.entries.items()})
        if isinstance(inode, Symlink):
            return StagedLink(inode, inode.target)
        if isinstance(inode, Special):
            return StagedSpecial(inode)
        if isinstance(inode, File):
            if inode.id not in files:
                files[inode.id] = _file(inode, copy=copy)
            return files[inode.id]
        return None

    tree = of(root)
    assert isinstance(tree, StagedDirectory)  # noqa: S101  # for the type checker
    return tree


def everything(root: StagedDirectory) -> Iterator[tuple[bytes, Staged | None]]:
    """Path and object of everything, directories before what is in them; b"/" is the root, None hides something."""
    rest: list[tuple[bytes, Staged | None]] = [(b"/", root)]
    while rest:
        path, staged = rest.pop()
        yield path, staged
        if isinstance(staged, StagedDirectory):
            rest += [(join(path, name), entry) for name, entry in staged.entries.items()]


def walk(root: StagedDirectory) -> Iterator[tuple[bytes, Staged]]:
    """The same without what is hidden."""
    return ((path, staged) for path, staged in everything(root) if staged is not None)


def release(root: StagedDirectory) -> None:
    """Give up the private copies."""
    copies = {staged.copy for _, staged in walk(root) if isinstance(staged, StagedFile) and staged.copy is not None}
    for descriptor in copies:
        os.close(descriptor)


def join(directory: bytes, name: bytes) -> bytes:
    """The path of an entry of a directory."""
    return directory.rstrip(b"/") + b"/" + name


def _file(inode: File, *, copy: bool) -> StagedFile:
    with inode.lock:
        staged = tuple(inode.extents)
        private = None
        if copy and inode.writers and staged and inode.descriptor is not None:
            private = _private_copy(inode.descriptor, staged)
        return StagedFile(
            inode,
            inode.version,
            inode.base,
            inode.base_size,
            inode.size,
            staged,
            inode.is_appended_to,
            inode.writers > 0,
            inode.reader,
            private,
            inode.data.is_in_doubt,
            inode.data.sums.copy() if private is not None else None,
        )


def _private_copy(descriptor: int, ranges: tuple[tuple[int, int], ...]) -> int:
    """A nameless file with the same bytes at the same places, beside the original."""
    directory = os.path.dirname(os.readlink(f"/proc/self/fd/{descriptor}"))
    private = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        for start, end in ranges:
            while start < end:
                start += os.copy_file_range(descriptor, private, end - start, start, start)
    except BaseException:
        os.close(private)
        raise
    return private
