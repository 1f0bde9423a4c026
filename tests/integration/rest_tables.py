"""The keys of the original's answers and their types, in its order, by version (rest-api.md section 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NULL = type(None)
ANYTHING = object
REPO: dict[str, Any] = {"project": str, "repo": str, "branches": ([str], NULL), "authorization": str}
PROJECT: dict[str, Any] = {
    "project": {"name": str},
    "description?": str,
    "auth_info?": {"permissions?": [int], "roles?": [str]},
    "created_at?": {"seconds": int, "nanos": int},
}
_SOURCE: dict[str, Any] = {"name": str, "project": str, "repo": str, "branch": str, "commit": str}
_STATE: dict[str, Any] = {"mode": str, "state": str, "status": str, "mountpoint": str}
_POSITION: dict[str, Any] = {"latest_commit": str, "how_many_commits_behind": int}
MOUNT: dict[str, dict[str, Any]] = {
    "2.6.4": {**_SOURCE, "files": NULL, **_STATE, "actual_mounted_commit": str, **_POSITION},
    "2.8.10": {**_SOURCE, "paths": [str], **_STATE, **_POSITION},
    "2.9.7": {**_SOURCE, "path": str, **_STATE, **_POSITION},
}
DATUMS: dict[str, dict[str, Any]] = {
    "2.6.4": {"num_datums": int, "input": NULL, "curr_idx": int},
    "2.8.10": {"num_datums": int, "input": NULL, "idx": int, "all_datums_received": bool},
    "2.9.7": {"num_datums": int, "input": NULL, "idx": int, "all_datums_received": bool},
}
VERSIONS = tuple(MOUNT)
OUR_KEYS = {"follow"}
"""Of a mount, beside those of all versions."""
HEALTH: dict[str, Any] = {"status": str}
CONFIG: dict[str, Any] = {"cluster_status": str, "pachd_address": str}
LOGIN: dict[str, Any] = {"auth_url": str, "oidc_state": str}
PACHCTL: dict[str, Any] = {
    "user_id": str,
    "v2": {"active_context": str, "contexts": {"mount-server": ANYTHING}, "metrics": bool},
}
CONTEXT: dict[str, Any] = {"source": int, "pachd_address": str, "session_token": str}
MOUNTS: dict[str, Any] = {"mounted": [ANYTHING], "unmounted": [REPO]}


def whole(found: Any, table: Any, where: str = "answer") -> Iterator[str]:
    """Where an answer has other keys, another order or other types than a table; a key with `?` may be left out."""
    if isinstance(table, tuple):
        if all(list(whole(found, each)) for each in table):
            yield f"{where} is {found!r}"
    elif isinstance(table, dict):
        if not isinstance(found, dict):
            yield f"{where} is {found!r}"
            return
        types = {key.rstrip("?"): kind for key, kind in table.items()}
        expected = [key.rstrip("?") for key in table if not key.endswith("?") or key.rstrip("?") in found]
        if list(found) != expected:
            yield f"{where} has the keys {list(found)}"
        for key in types.keys() & found.keys():
            yield from whole(found[key], types[key], f"{where}.{key}")
    elif isinstance(table, list):
        if not isinstance(found, list):
            yield f"{where} is {found!r}"
            return
        for number, item in enumerate(found):
            yield from whole(item, table[0], f"{where}[{number}]")
    elif table is not ANYTHING and type(found) is not table:
        yield f"{where} is {found!r}"


def among(found: dict[str, Any], table: dict[str, Any]) -> list[str]:
    """The same, of the keys that the table has: ours are the keys of all versions."""
    return list(whole({key: value for key, value in found.items() if key in table}, table))
