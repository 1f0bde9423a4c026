"""What a path of the drive names: the list of mounts, something in a mount, or something that is not mounted.

`""` is the list of mounts, `MOUNT/…` a mount and what is in it, `@` the projects, `@/PROJECT` its repos,
`@/PROJECT/REPO` its branches, and `@/PROJECT/REPO/BRANCH/…` (or COMMIT) a directory or file there.

Jupyter and browsers know only paths that are text. A byte of a name that is not UTF-8 is one of the characters U+EF80
to U+EFFF there, which Unicode leaves to everybody's own use; so are the bytes of such a character in a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from pachmount.errors import NotFoundError, NotPermittedError, ReadOnlyError
from pachmount.fuse import kernel
from pachmount_lab.daemon import Daemon
from pachmount_lab.disk import Names, Spot, names_of

NOT_MOUNTED = b"@"
OUT_NAME = b"out"
"""Where a datum's output goes while datums are shown: a directory of the mount directory that is no mount."""
_REVISION = 4
"""How many names of a path below `@` lead to a directory."""

_FIRST, _LAST = 0xEF80, 0xEFFF
_BYTES = 0xEF00
"""The character for a byte, less the byte."""
_ESCAPED = re.compile(f"[{chr(_FIRST)}-{chr(_LAST)}]")
_TO_ESCAPE = re.compile(f"[\udc80-\udcff{chr(_FIRST)}-{chr(_LAST)}]")


@dataclass(frozen=True)
class Place:
    """A path of the drive."""

    names: Names

    @classmethod
    def of(cls, path: bytes | str) -> Place:
        """Raises InvalidPathError for a path with `..` and the like."""
        text = path if isinstance(path, str) else path.decode()
        return cls(names_of(_unescaped(text)))

    def __truediv__(self, name: bytes) -> Place:
        return Place((*self.names, name))

    def __str__(self) -> str:
        return b"/".join(self.names).decode(errors="backslashreplace")

    @property
    def name(self) -> str:
        return self.names[-1].decode(errors="backslashreplace") if self.names else ""

    @property
    def path(self) -> str:
        """The path of the drive, of which `of` makes the place."""
        return _escaped(b"/".join(self.names))

    @property
    def is_mounted(self) -> bool:
        """Whether it is a mount, or in one."""
        return bool(self.names) and self.names[0] != NOT_MOUNTED

    @property
    def is_virtual(self) -> bool:
        """Whether it is a list of mounts, projects, repos or branches, and no directory or file."""
        return not self.is_mounted and len(self.names) < _REVISION

    def query(self) -> str:
        """The parameters by which the daemon's routes name a file or directory."""
        if self.is_mounted:
            return f"mount={quote(self.names[0])}&path=/{quote(b'/'.join(self.names[1:]))}"
        _, project, repo, revision, *path = self.names
        return f"source={quote(b'%s/%s@%s' % (project, repo, revision))}:/{quote(b'/'.join(path))}"


def _escaped(path: bytes) -> str:
    """A path as text that has characters for what is not UTF-8."""

    def characters(found: re.Match[str]) -> str:
        return "".join(chr(_BYTES + byte) for byte in found[0].encode(errors="surrogateescape"))

    return _TO_ESCAPE.sub(characters, path.decode(errors="surrogateescape"))


def _unescaped(text: str) -> bytes:
    """The path that `_escaped` made a text of."""
    plain = _ESCAPED.sub(lambda found: chr(0xDC00 + ord(found[0]) - _BYTES), text)
    return plain.encode(errors="surrogateescape")


async def writable_spot(daemon: Daemon, place: Place) -> Spot:
    """Where, in the file system, something in a mount is changed. Raises NotFoundError, ReadOnlyError,
    NotPermittedError.
    """
    what = f"cannot change '{place}'"
    if not place.is_mounted:
        raise ReadOnlyError(what, "only read-write mounts can be changed", "mount it read-write")
    if len(place.names) < 2:
        raise NotPermittedError(what, "a mount is no file", "mount and unmount it in the panel")
    status = await daemon.get("/status")
    if place.names[0] == OUT_NAME and status["datum"] is not None:
        return Spot(str(status["datum"]["out"]), place.names[1:])
    mount = _mount(status, place)
    if mount["mode"] != "rw":
        raise ReadOnlyError(what, f"mount '{place.names[0].decode()}' is read-only", "mount it read-write")
    mountpoint = str(mount["mountpoint"])
    if not is_visible(mount):
        why = f"'{mountpoint}' is not visible to Jupyter's server"
        raise NotPermittedError(what, why, "share the mount directory with its container")
    return Spot(mountpoint, place.names[1:])


def _mount(status: dict[str, Any], place: Place) -> dict[str, Any]:
    name = place.names[0].decode(errors="backslashreplace")
    for mount in status["mounts"]:
        if mount["name"] == name:
            return dict(mount)
    raise NotFoundError(f"no mount '{name}'", "it is not mounted now", "pachmount status")


def is_visible(mount: dict[str, Any]) -> bool:
    """Whether a mount of the daemon is there for this process, too, and is that one and not another daemon's."""
    stack = [entry for entry in kernel.mount_table() if entry.mountpoint == mount["mountpoint"]]
    shown = f"pachmount:{mount['project']}/{mount['repo']}@"
    return bool(stack) and stack[-1].fs_type == kernel.FS_TYPE and stack[-1].source.startswith(shown)


def with_page(query: str, page: dict[str, str]) -> str:
    """A query and the parameters of a page, those that are not empty."""
    given = urlencode({name: value for name, value in page.items() if value})
    return f"{query}&{given}" if given else query
