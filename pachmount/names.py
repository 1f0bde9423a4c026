"""The grammar of names: sources (`project/repo@branch=commit:/path`), mount names, and paths that PFS can store."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

from pachmount.errors import InvalidNameError, InvalidPathError, InvalidSourceError

DEFAULT_PROJECT = "default"
DEFAULT_BRANCH = "master"
MAX_NAME_BYTES = 255
RESERVED_MOUNT_NAMES = frozenset({"out"})
"""`out` is the scratch directory of datum mode, beside the mounts."""

_COMMIT_ID = re.compile(r"[0-9a-f]{32}")
_COMMIT_PREFIX = re.compile(r"[0-9a-f]{8,31}")
_OBJECT_NAME = re.compile(r"[A-Za-z0-9_-]+")
_ANCESTRY = re.compile(r"(?P<base>[A-Za-z0-9_-]+)(?P<steps>(?:[\^~][0-9]*|\.[0-9]+)+)")
_MOUNT_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")
_UNSTORABLE = re.compile(r"[^\x20-\x7e]|[*?\[\]{}!()@+^]")

_NAME_HINT = "choose another with --name"
_SOURCE_HINT = "a source is [project/]repo[@branch[=commit] | @commit][:/path]"


@dataclass(frozen=True)
class Source:
    """What a mount shows: a repo at a branch or commit, whole or one subtree.

    `branch` and `commit` may be empty: neither given means branch `master`. `commit` may be an ancestry expression such
    as `master^2`, or the beginning of an id, until it has been resolved. `path` is normalised: "" is the root, else
    `/a/b`.
    """

    project: str
    repo: str
    branch: str = ""
    commit: str = ""
    path: str = ""

    def __str__(self) -> str:
        ref = self.branch or ("" if self.commit else DEFAULT_BRANCH)
        if self.commit:
            ref = f"{ref}={self.commit}" if ref else self.commit
        text = f"{self.project}/{self.repo}@{ref}"
        return f"{text}:{self.path}" if self.path else text

    def at(self, commit: str) -> Source:
        """The same source pinned to a commit."""
        return replace(self, commit=commit)


def is_commit_id(text: str) -> bool:
    """Whether `text` has the form of a commit id: 32 lower-case hex digits."""
    return _COMMIT_ID.fullmatch(text) is not None


def is_commit_prefix(text: str) -> bool:
    """Whether `text` may be the beginning of a commit id, as our messages show it (8 hex digits or more)."""
    return _COMMIT_PREFIX.fullmatch(text) is not None


def ancestry_branch(commit: str) -> str:
    """The branch that an ancestry such as `master^2` starts from; "" if it starts from a commit, or is none."""
    match = _ANCESTRY.fullmatch(commit)
    return "" if match is None or is_commit_id(match["base"]) else match["base"]


def parse_source(text: str, default_project: str = DEFAULT_PROJECT) -> Source:
    """Read `[project/]repo[@branch[=commit] | @commit][:/path]`; raises InvalidSourceError."""
    spec, colon, path = text.partition(":")
    if colon and not path:
        raise InvalidSourceError(f"invalid source '{text}'", "the path after ':' is empty", _SOURCE_HINT)
    where, at, ref = spec.partition("@")
    if at and not ref:
        raise InvalidSourceError(f"invalid source '{text}'", "nothing stands after '@'", _SOURCE_HINT)
    project, slash, repo = where.rpartition("/")
    if slash and not project:
        raise InvalidSourceError(f"invalid source '{text}'", "the project is empty", _SOURCE_HINT)
    project = project or default_project
    _check_part(text, "project", project)
    _check_part(text, "repo", repo)
    branch, equals, commit = ref.partition("=")
    if equals and not commit:
        raise InvalidSourceError(f"invalid source '{text}'", "nothing stands after '='", _SOURCE_HINT)
    if equals and not (is_commit_id(commit) or is_commit_prefix(commit) or _ANCESTRY.fullmatch(commit)):
        why = f"'{commit}' is not a commit id (32 hex digits, or the first 8 or more of them)"
        raise InvalidSourceError(f"invalid source '{text}'", why)
    if branch and not equals and (is_commit_id(branch) or _ANCESTRY.fullmatch(branch)):
        branch, commit = "", branch
    if branch:
        _check_part(text, "branch", branch)
    return Source(project, repo, branch, commit, normalize_path(path))


def _check_part(source: str, kind: str, name: str) -> None:
    if not name:
        raise InvalidSourceError(f"invalid source '{source}'", f"the {kind} is empty", _SOURCE_HINT)
    if not _OBJECT_NAME.fullmatch(name):
        why = f"a {kind} name has only letters, digits, '_' and '-', not '{name}'"
        raise InvalidSourceError(f"invalid source '{source}'", why, _SOURCE_HINT)


def normalize_path(path: str) -> str:
    """A path inside a repo with one leading and no trailing slash; "" for the root.

    Raises InvalidPathError for `.` and `..` elements and NUL.
    """
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") for part in parts) or "\0" in path:
        raise InvalidPathError(f"invalid path '{path}'", "'.' and '..' are not allowed in a path inside a repo")
    return "".join(f"/{part}" for part in parts)


def printable(text: str) -> str:
    """A name or message on one line for a person to read, whatever it has: nothing in it can command a terminal.

    Control characters, those that turn the direction of writing, what is no character at all, and bytes that are not
    UTF-8 are shown as escapes, as Python and `ls -b` do; all else as it is.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(char: str) -> str:
    if char.isprintable() or unicodedata.category(char) == "Zs":
        return char
    if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def check_mount_name(name: str) -> str:
    """Return `name` if it can be a directory below the mount directory; raises InvalidNameError."""
    what = f"invalid mount name '{name}'"
    if not name:
        raise InvalidNameError("no name specified", "a mount needs a name", _NAME_HINT)
    if name in (".", "..") or not _MOUNT_NAME.fullmatch(name):
        raise InvalidNameError(what, "only letters, digits, '_', '-' and '.', not starting with '-'", _NAME_HINT)
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidNameError(what[:80] + "…'", f"longer than {MAX_NAME_BYTES} bytes", _NAME_HINT)
    if name in RESERVED_MOUNT_NAMES:
        raise InvalidNameError(what, f"'{name}' is reserved for the output of datums", _NAME_HINT)
    return name


def unstorable_reason(path: str) -> str:
    """Why PFS would refuse to store a file at `path`, or "" if it can (spec: wire-api.md section 3)."""
    bad = _UNSTORABLE.search(path)
    if bad is None:
        if any(part in (".", "..") for part in path.split("/")):
            return "'.' and '..' are not allowed in a path"
        return ""
    char = bad.group()
    if not " " <= char <= "~":
        return f"only printable ASCII characters can be stored, not {char!a}"
    return f"the character '{char}' is a glob character and cannot be stored"
