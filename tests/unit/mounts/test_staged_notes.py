"""What a store of staged changes has noted is input: whatever it is, mounting and committing say what is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from pachmount.errors import DataError
from pachmount.mounts.mount import MountSpec
from pachmount.mounts.staged_places import StagedPlaces
from pachmount.mounts.writing import ATTEMPT_NOTE, Writing
from pachmount.names import parse_source
from pachmount.overlay.kept import kept
from pachmount.overlay.standing import BASE_NOTE

SPEC = MountSpec("r", parse_source("default/r@master=" + "0" * 32), Path("/pfs/r"), mode="rw")
GOOD = SPEC.to_dict()
DAMAGED = [
    "{",
    "[]",
    "null",
    "7",
    "[" * 100_000,
    '{"a":' * 100_000,
    json.dumps({}),
    json.dumps(GOOD | {"paths": 7}),
    json.dumps(GOOD | {"repo": ["r"]}),
    json.dumps(GOOD | {"commit": "../x"}),
    json.dumps(GOOD | {"mountpoint": "/pfs/../etc"}),
    json.dumps(GOOD | {"time": 1e300}),
]


def places(directory: Path) -> StagedPlaces:
    cluster = MagicMock()
    cluster.cluster_id.return_value = "c"
    return StagedPlaces(cluster, directory)


def noting(directory: Path, key: str, value: str) -> None:
    _, store = places(directory).open(SPEC)
    store.note(key, value)
    store.close()
    (directory / "r/data").mkdir(exist_ok=True)
    (directory / "r/data/1").write_bytes(b"staged")


@pytest.mark.parametrize("note", DAMAGED)
def test_a_damaged_note_on_the_commit(tmp_path: Path, note: str) -> None:
    noting(tmp_path, BASE_NOTE, note)
    kept(tmp_path / "r")  # whatever it tells, it raises nothing
    for _ in range(2):  # the store is not left locked
        with pytest.raises(DataError, match="is damaged") as caught:
            places(tmp_path).open(SPEC)
        assert "staged repair r" in caught.value.hint


@pytest.mark.parametrize(
    "note",
    [
        *DAMAGED,
        '{"branch": 7, "parent": ""}',
        '{"branch": "b", "parent": "../x"}',
        '{"branch": "b", "parent": "", "filled": 1}',
        '{"branch": "b", "parent": "", "more": 1}',
    ],
)
def test_a_damaged_note_on_a_commit_that_was_cut_off(tmp_path: Path, note: str) -> None:
    cluster = MagicMock()
    writing = Writing(cluster, MagicMock(), places(tmp_path), 1, tmp_path / "ignore")
    mount = MagicMock()
    mount.spec = SPEC
    mount.overlay.noted.side_effect = {ATTEMPT_NOTE: note}.get
    with pytest.raises(DataError, match="cut off") as caught:
        writing.settle(mount)
    assert "staged repair r" in caught.value.hint
    assert not cluster.client.method_calls
