"""What the original mount server answered, and what of it is otherwise with us by intention.

`../shared/conformance/rest` has the recordings; record.py beside them makes the same of any daemon.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parents[3] / "shared" / "conformance" / "rest"
VERSIONS = ("2.6.4", "2.9.7")
OURS = {
    "commit rw": "the mount stands on the commit that was made",
    "after commit": "the mount stands on the commit that was made",
    "unmount it": "no change is no commit, and so no new branch",
    "null entry": "400 instead of a closed connection",
}
BY_INTENTION = {
    "2.6.4": {
        "mount: bad commit": "commits can be mounted, as in 2.8",
        "mount: unknown commit": "commits can be mounted, as in 2.8",
        "by commit (2.8+)": "commits can be mounted, as in 2.8",
        "with c": "commits can be mounted, as in 2.8",
        "subpath files": "compared by components",
        "subpath paths": "the field of 2.8 is understood",
        "subpath path": "the field of 2.9 is understood",
        "branch deleted": "the mount stays, as in 2.8",
        "next outside": "both generations of the routes are there",
        "yaml garbage": "both generations of the routes are there",
        **OURS,
    },
    "2.9.7": {
        "remount after new commit": "no error",
        "by commit (2.8+)": "clusters since 2.11 do not tell on which branch a commit was made",
        "subpath files": "the field of 2.6 is understood",
        "subpath paths": "the field of 2.8 is understood",
        "rw": "the status tells the commit from the beginning",
        "rw unknown branch": "the status says that there is no commit, as in 2.6",
        "show outside": "both generations of the routes are there",
        **OURS,
    },
}
OTHER_GENERATION = "404 page not found"
"""What one generation says to the datum routes of the other."""
_IGNORED_KEYS = {"2.6.4": {"mountpoint", "commit", "files"}, "2.9.7": {"mountpoint"}}


def steps(version: str) -> list[dict[str, Any]]:
    """All steps of a recording."""
    found: list[dict[str, Any]] = json.loads((RECORDINGS / f"{version}.json").read_text())["steps"]
    return found


def differences(version: str, step: dict[str, Any], status: object, told: str) -> list[str]:
    """What is not as in a recorded step: our status and our text, with the recorded names and ids put into it."""
    if status != step["status"]:
        return [f"{status} instead of {step['status']}: {told}"]
    recorded = step["response"]
    if recorded is None:
        return [f"{told!r} instead of nothing"] if told else []
    if isinstance(recorded, str):
        return [] if _says(told, recorded) else [f"{told!r} instead of {recorded!r}"]
    return _json_differences(version, step, json.loads(told), recorded)


def _json_differences(version: str, step: dict[str, Any], ours: Any, recorded: Any) -> list[str]:
    if isinstance(recorded, list):
        ours, recorded = _only_theirs(ours), _only_theirs(recorded)
        return [] if ours == recorded else [f"{ours} instead of {recorded}"]
    if "mounted" not in recorded:
        if recorded.get("id") == "":  # since 2.8 it is never told
            recorded = {key: value for key, value in recorded.items() if key != "id"}
        mine = {key: value for key, value in ours.items() if key in recorded}  # ours has the keys of all versions
        return [] if mine == recorded else [f"{ours} instead of {recorded}"]
    found = []
    if _only_theirs(ours["unmounted"]) != _only_theirs(recorded["unmounted"]):
        found.append(f"unmounted: {ours['unmounted']} instead of {recorded['unmounted']}")
    if recorded["mounted"] == [] and step["path"] == "/_mount":
        return found  # a race in the original: its mounts were not there yet
    keys = set().union(*recorded["mounted"]) - _IGNORED_KEYS[version]
    mine, theirs = ([{key: entry[key] for key in keys} for entry in m] for m in (ours["mounted"], recorded["mounted"]))
    return found if mine == theirs else [*found, f"mounted: {mine} instead of {theirs}"]


def _only_theirs(repos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The repos of the recording.

    Ours lists branches by name: newest first would cost a call for each repo. The branch `newb` came by the original's
    empty commit at the end of a read-write mount (the step "unmount it").
    """
    theirs = [
        entry | {"branches": sorted(set(entry["branches"]) - {"newb"})}
        for entry in repos
        if entry["repo"] in ("rest_a", "rest_b")
    ]
    return sorted(theirs, key=lambda entry: str(entry["repo"]))


def _says(ours: str, recorded: str) -> bool:
    """Whether our text says what the original's did; ours may add a sentence, pachd's inner words may differ."""
    core = recorded.strip().splitlines()[-1].rpartition("}: ")[2]
    core = re.sub(r" of type .*|: context deadline exceeded|: yaml: .*", "", core)
    core = core.removeprefix("error creating new client: ")
    return (
        core in ours
        or core.partition(": ")[2] in ours.strip().splitlines()
        or ours.strip().endswith(core.rpartition(": ")[2])
    )
