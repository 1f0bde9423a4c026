"""A directory that is there as a whole or not at all: filled beside its place under a name of ours, then renamed.

    .pachmount-HEX.new/
        mark       whose it is, and which name it is made for; locked while somebody works on it
        tree/      what is being filled
        former/    what was at the place, until the new one is there

What a killed program has left is removed by the next one, if the mark proves that it is ours (it names the inode of the
directory, so that a copy of it proves nothing) and nobody has it locked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pachmount.beneath import Beneath, Spot, checked

log = logging.getLogger(__name__)

_OWN = re.compile(r"\.pachmount-[0-9a-f]{16}\.new")
_MARK, _TREE, _FORMER = "mark", "tree", "former"
_MAX_MARK = 4096


@dataclass(frozen=True)
class Filling:
    """`tree` is to be filled; it has no name that lasts before `put`."""

    tree: Beneath
    _above: Beneath
    _own: str
    _name: str

    def put(self, *, replace: bool = False) -> None:
        """Bring it to its place, where an empty directory may be; with `replace` any directory. Raises OSError."""
        top = self._above.descriptor
        with self._above.at(f"{self._own}/{_TREE}").parent() as own:
            try:
                os.rename(_TREE, self._name, src_dir_fd=own, dst_dir_fd=top)
                return
            except OSError as error:
                if not replace or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            os.rename(self._name, _FORMER, src_dir_fd=top, dst_dir_fd=own)
            try:
                os.rename(_TREE, self._name, src_dir_fd=own, dst_dir_fd=top)
            except BaseException:
                os.rename(_FORMER, self._name, src_dir_fd=own, dst_dir_fd=top)
                raise


@contextmanager
def filling(directory: Path) -> Iterator[Filling]:
    """A new directory for the place of another; nothing is left of it without `put`. Raises OSError."""
    if directory.name in ("", ".."):
        raise OSError(errno.EINVAL, "it is no name for a new directory", str(directory))
    directory.parent.mkdir(parents=True, exist_ok=True)
    with Beneath(directory.parent) as above, filling_in(above, directory.name) as new:
        yield new


@contextmanager
def filling_in(above: Beneath, name: str) -> Iterator[Filling]:
    """The same in a directory that is open. Raises OSError."""
    remove_leftovers(above)
    own, lock = _make(above, name)
    try:
        with _entered(above.at(f"{own}/{_TREE}")) as tree:
            yield Filling(tree, above, own, name)
    finally:
        try:
            _clear(above, own, name)
        except OSError as error:
            log.warning("'%s' stays: %s", above.directory / own, error)
        os.close(lock)


def remove_leftovers(above: Beneath) -> None:
    """Remove what killed programs have left in a directory."""
    with contextlib.suppress(OSError):
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=above.descriptor)
        try:
            with os.scandir(descriptor) as entries:
                names = [entry.name for entry in entries if _OWN.fullmatch(entry.name)]
        finally:
            os.close(descriptor)
        for own in names:
            with contextlib.suppress(OSError):
                _remove_leftover(above, own)


def _make(above: Beneath, name: str) -> tuple[str, int]:
    """A directory of ours that nobody had before, and its locked mark."""
    own = f".pachmount-{secrets.token_hex(8)}.new"
    os.mkdir(own, 0o700, dir_fd=above.descriptor)
    lock = -1
    try:
        lock = above.at(f"{own}/{_MARK}").open(os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with contextlib.suppress(OSError):  # a disk without locks: nobody takes it for a leftover there
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(lock, _proof(above, own) + os.fsencode(name))
        above.at(f"{own}/{_TREE}").mkdir()
    except BaseException:
        with contextlib.suppress(OSError):
            _clear(above, own, name)
        if lock >= 0:
            os.close(lock)
        raise
    return own, lock


def _proof(above: Beneath, own: str) -> bytes:
    info = os.stat(own, dir_fd=above.descriptor, follow_symlinks=False)
    return f"pachmount {info.st_uid} {info.st_ino}\n".encode()


def _remove_leftover(above: Beneath, own: str) -> None:
    mark = above.at(f"{own}/{_MARK}")
    descriptor = mark.open_file(os.O_RDWR)
    try:
        info = os.fstat(descriptor)
        proof, data = _proof(above, own), os.read(descriptor, _MAX_MARK)
        if not data.startswith(proof) or info.st_uid != os.geteuid() or info.st_nlink != 1:
            return
        name = os.fsdecode(data[len(proof) :])
        if not name or "/" in name:
            return
        checked(name)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen = mark.look()
        if seen is not None and os.path.samestat(info, seen):
            _clear(above, own, name)
    except ValueError:
        return
    finally:
        os.close(descriptor)


def _clear(above: Beneath, own: str, name: str) -> None:
    """Remove a directory of ours. What was replaced goes back if nothing is at its place; the mark goes last."""
    former, tree = above.at(f"{own}/{_FORMER}"), above.at(f"{own}/{_TREE}")
    if former.look() is not None:
        if above.at(name).look() is None:
            with former.parent() as inside:
                os.rename(_FORMER, name, src_dir_fd=inside, dst_dir_fd=above.descriptor)
        elif tree.look() is not None:  # neither was put there by us
            raise OSError(errno.EEXIST, "something else is in the place of what it has", name)
    for spot in (tree, former):
        found = spot.look()
        if found is not None and stat.S_ISDIR(found.st_mode):
            above.remove_tree(spot.path)
    with contextlib.suppress(FileNotFoundError):
        above.at(f"{own}/{_MARK}").unlink()
    above.at(own).rmdir()


@contextmanager
def _entered(spot: Spot) -> Iterator[Beneath]:
    with Beneath(Path(str(spot)), spot.open(os.O_PATH | os.O_DIRECTORY)) as entered:
        yield entered
