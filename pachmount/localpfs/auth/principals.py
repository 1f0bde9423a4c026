"""Names of those who can have roles."""

from __future__ import annotations

from pachmount.localpfs.status import unknown

ROOT = "pach:root"
EVERYBODY = "allClusterUsers"
USER, ROBOT, PACH = "user:", "robot:", "pach:"

_PREFIXES = (USER, ROBOT, "group:", "pipeline:", "internal:", PACH)


def check(principal: str) -> None:
    """Refuse what is no principal."""
    if principal == EVERYBODY:
        return
    prefix, colon, _ = principal.partition(":")
    if not colon:
        raise unknown("subject has no prefix, must be of the form <type>:<name>")
    if not principal.startswith(_PREFIXES):
        raise unknown(f"subject has unrecognized prefix: {prefix}:")


def robot(name: str) -> str:
    """The principal of a robot, whose name may have the prefix already."""
    return ROBOT + name.removeprefix(ROBOT)
