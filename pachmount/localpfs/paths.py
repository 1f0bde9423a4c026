"""Paths of files inside a commit: the rules for names on write, and the keys of the file tree.

A key is the full path in UTF-8; a directory's key ends in a slash, so that the byte order of keys is the order in which
PFS lists files. A file written under a datum other than "default" has NUL and the datum behind its path. The file that
a write to "/" makes has the empty key: the root directory is "/".
"""

from __future__ import annotations

import re

from pachmount.datums.glob import GLOB_CHARACTERS
from pachmount.localpfs.status import unknown

DEFAULT_DATUM = "default"
ROOT = b"/"

_PRINTABLE = re.compile("[ -~]+")


def check_writable(path: str) -> None:
    """Refuse a path that PFS does not take on write."""
    if not _PRINTABLE.fullmatch(path):
        raise unknown(f"path ({path}) invalid: only printable ASCII characters allowed")
    for character in path:
        if character in GLOB_CHARACTERS:
            raise unknown(f"path ({path}) invalid: globbing character ({character}) not allowed in path")
    if any(element in (".", "..") for element in path.split("/")):
        raise unknown(f"path ({path}) invalid: relative file paths are not allowed")


def file_key(path: str, datum: str) -> bytes:
    """The key of a file: `path` may have any number of slashes, an empty `datum` means the default one."""
    if "\0" in path or "\0" in datum:
        raise unknown(f"path ({path}) invalid: a NUL character is not allowed in path")
    elements = [element for element in path.split("/") if element]
    key = ("/" + "/".join(elements)).encode() if elements else b""
    if datum and datum != DEFAULT_DATUM:
        key += b"\0" + datum.encode().replace(b"/", b"\1")  # a slash would look like a directory's
    return key


def directory_key(path: str) -> bytes:
    """The key of the directory at `path`."""
    elements = [element for element in path.split("/") if element]
    return ("/" + "/".join(elements) + "/").encode() if elements else ROOT


def split_key(key: bytes) -> tuple[bytes, str]:
    """Path and datum of a file's key."""
    path, _, datum = key.partition(b"\0")
    return path, datum.replace(b"\1", b"/").decode() if datum else DEFAULT_DATUM


def subtree_end(directory: bytes) -> bytes:
    """The first key behind everything below the directory whose key is given."""
    return directory[:-1] + b"0"  # '0' follows '/'


def parent(key: bytes) -> bytes:
    """The key of the directory that holds the entry with this key (a file's or a directory's, not the root's)."""
    path = key.partition(b"\0")[0]
    return path[: path.rindex(b"/", 0, len(path) - 1) + 1]
