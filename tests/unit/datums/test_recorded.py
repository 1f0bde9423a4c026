"""The datums that a real cluster was recorded to list (../shared/conformance), formed out of the recorded files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pachmount.datums.forming import FormedDatums, datum_id, form_datums
from pachmount.datums.glob import compile_glob
from pachmount.datums.model import Combination, Cross, Group, Input, Join, PfsInput, Union
from pachmount.datums.rows import Match

_PROJECT = Path(__file__).parents[3]
_FOLDER = Path(os.environ.get("PACHMOUNT_CONFORMANCE", _PROJECT.parent / "shared" / "conformance"))
_KINDS: dict[str, type[Combination]] = {"cross": Cross, "union": Union, "join": Join, "group": Group}
_LEAST_STEPS = 60

Files = dict[str, list[str]]


def _steps() -> Iterator[tuple[dict[str, Any], Files]]:
    """The steps that list all datums of an input, with the files (repo to paths) of that moment."""
    path = _FOLDER / "08-datums.json"
    files: Files = {"E": []}
    for step in json.loads(path.read_text())["steps"] if path.exists() else []:
        if step["call"].endswith("/ModifyFile"):
            target, *changes = step["requests"]
            paths = files.setdefault(target["set_commit"]["repo"]["name"], [])
            paths.extend(change["add_file"]["path"] for change in changes)
        is_listing = step["call"].endswith("/ListDatum") and set(step["request"]) == {"input"}
        if is_listing and step["expect"]["code"] == "OK":
            yield step, {repo: list(paths) for repo, paths in files.items()}


def _input(message: dict[str, Any]) -> Input:
    for kind, combination in _KINDS.items():
        if kind in message:
            return combination(tuple(map(_input, message[kind])))
    pfs = {
        name: value.replace("$$", "$") if isinstance(value, str) else value for name, value in message["pfs"].items()
    }
    defaults = {"name": "", "branch": "master"}
    return PfsInput(**defaults | pfs | {"glob": pfs.get("glob") or "/", "commit": ""})


def _formed(source: Input, files: Files) -> FormedDatums[str]:
    def match(leaf: PfsInput) -> Iterator[Match[str]]:
        glob = compile_glob(leaf.glob)
        paths = set(files[leaf.repo])
        for path in files[leaf.repo]:
            paths.update(path[: at.end()] for at in re.finditer("/", path))
        for path in sorted(paths):
            plain = path.rstrip("/") or "/"
            if glob.matches(plain):
                yield Match(path, path, glob.replace(plain, leaf.join_on), glob.replace(plain, leaf.group_by))

    return form_datums(source, match)


def _recorded(step: dict[str, Any]) -> list[tuple[str, list[str] | None]]:
    """Id ("" where it was not recorded) and paths (None where they were not) of each datum."""
    expect = step["expect"]
    if "responses" in expect:
        return [(each["datum"]["id"], [file["file"]["path"] for file in each["data"]]) for each in expect["responses"]]
    picked = [step["pick"]] if isinstance(step["pick"], str) else step["pick"]
    rows = [[row] if isinstance(step["pick"], str) else row for row in expect["values"]]
    fields = [dict(zip(picked, row, strict=True)) for row in rows]
    return [(row.get("datum.id", "").partition("$")[0], row.get("data.file.path")) for row in fields]


@pytest.mark.skipif(not _FOLDER.exists(), reason="the recordings are not there")
def test_recorded_datums() -> None:
    count = 0
    for step, files in _steps():
        count += 1
        formed = _formed(_input(step["request"]["input"]), files)
        recorded = _recorded(step)
        assert len(formed) == len(recorded), step["note"]
        for datum, (recorded_id, paths) in zip(formed, recorded, strict=True):
            assert recorded_id in ("", datum.id), step["note"]
            assert paths in (None, [part.match.path for part in datum.parts]), step["note"]
            keys = [(part.input.directory, part.input.repo, part.input.branch, part.match.path) for part in datum.parts]
            assert datum_id(keys) == datum.id
    assert count >= _LEAST_STEPS
