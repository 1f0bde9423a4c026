"""Users and groups in settings, by name or number."""

from __future__ import annotations

import grp
import pwd

from pachmount.errors import ConfigurationError

EVERYBODY = "*"


def parse_users(text: str, setting: str) -> frozenset[int] | None:
    """User ids for names and ids, separated by commas; None for `*`. Raises ConfigurationError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if EVERYBODY in names:
        return None
    return frozenset(_user(name, setting).pw_uid if not name.isdecimal() else int(name) for name in names)


def parse_owner(text: str, setting: str) -> tuple[int, int]:
    """User and group id for `USER[:GROUP]`; without a group the user's own, or that of the same number."""
    name, _, group = text.partition(":")
    uid = int(name) if name.isdecimal() else _user(name, setting).pw_uid
    if group:
        return uid, int(group) if group.isdecimal() else _group(group, setting)
    try:
        return uid, pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid, uid


def _user(name: str, setting: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError as error:
        raise ConfigurationError(f"invalid setting '{setting}'", f"this machine has no user '{name}'") from error


def _group(name: str, setting: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise ConfigurationError(f"invalid setting '{setting}'", f"this machine has no group '{name}'") from error
