"""The recorded datum scenario, end to end: what a real cluster lists as a datum's files is what the mount shows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pachmount.errors import PachmountError
from tests.integration.box import Box
from tests.localpfs.replay import Replayer

SCENARIO = Path(__file__).parents[3] / "shared" / "conformance" / "08-datums.json"
SHOWN = 4
"""So many datums of each input are looked at."""
LEAST = 40


def expected(step: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Id and paths of each datum, where both were recorded."""
    expect, picked = step["expect"], step.get("pick")
    if "responses" in expect:
        for datum in expect["responses"]:
            yield datum["datum"]["id"], [file["file"]["path"] for file in datum["data"]]
    elif isinstance(picked, list) and {"datum.id", "data.file.path"} <= set(picked):
        for row in expect["values"]:
            fields = dict(zip(picked, row, strict=True))
            yield fields["datum.id"], fields["data.file.path"]


def named(source: dict[str, Any], repos: list[int]) -> dict[str, Any]:
    """The input, with a name of its own for each repo, since a daemon wants no name twice."""
    if "pfs" in source:
        repos.append(len(repos))
        given = source["pfs"]
        return {"pfs": {**given, "glob": given.get("glob") or "/", "name": given.get("name") or f"in{repos[-1]}"}}
    return {kind: [named(member, repos) for member in members] for kind, members in source.items()}


def shown(top: Path) -> set[str]:
    """The files and empty directories of all inputs, without the inputs' names."""
    found = set()
    for name in sorted(os.listdir(top)):
        if name != "out":
            found |= {f"/{path.relative_to(top / name)}" for path in (top / name).rglob("*") if path.is_file()}
    return found


@pytest.mark.skipif(not SCENARIO.is_file(), reason="the recordings are not beside the project")
@pytest.mark.timeout(300)
def test_the_mount_shows_what_was_recorded(new_box: Callable[..., Box]) -> None:
    box = new_box()
    server = box.server()
    box.ok("login", server.address)
    scenario = json.loads(SCENARIO.read_text())
    looked_at = 0
    with grpc.insecure_channel(server.address.removeprefix("grpc://")) as channel, box.daemon() as client:
        replayer = Replayer(channel, "08-datums", scenario)
        for step in scenario["steps"]:
            assert replayer._step(step) == ""
            recorded = list(expected(step)) if step["call"].endswith("/ListDatum") and "expect" in step else []
            if not recorded or set(step["request"]) != {"input"}:
                continue
            source = json.loads(json.dumps(step["request"]["input"]).replace("$project", replayer._values["project"]))
            try:
                begun = client.mount_datums(json.dumps({"input": named(source, [])}).replace("$$", "$"))
            except PachmountError as error:
                pytest.fail(f"{step['id']} ({step.get('note')}): {error}")
            assert begun.num_datums == len(recorded), step["id"]
            by_paths = sorted(sorted(paths) for _, paths in recorded)
            page = client.datums(0, 1000).datums
            ours = sorted(
                sorted(f"{f.path}/" if f.type == "dir" and f.path != "/" else f.path for f in d.files) for d in page
            )
            assert ours == by_paths, step["id"]
            for entry in page[:SHOWN]:
                client.show_datum(index=entry.idx)
                seen = shown(box.mount_dir)
                for file in entry.files:
                    if file.type == "file":
                        assert file.path in seen, (step["id"], file.path)
                    else:
                        assert any(path.startswith(file.path) for path in seen) or not file.size_bytes, step["id"]
                allowed = tuple(file.path for file in entry.files)
                assert all(path.startswith(allowed) for path in seen), step["id"]
                looked_at += 1
        if client.status().datum is not None:
            client.unmount_datums()
    assert looked_at >= LEAST
