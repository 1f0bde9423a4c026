"""The scenarios recorded with authentication, replayed against the embedded server with an auth file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from pachmount.localpfs.auth.roles import ROLES
from pachmount.pfs.proto import auth_pb2
from tests.localpfs.auth_replay import CODE_OF_REFUSAL, CODE_ONLY, DIFFERENT, NEVER_OFFERED, OLDER, ROOT_TOKEN, replay
from tests.localpfs.servers import running

_PROJECT = Path(__file__).resolve().parents[2]
_FOLDER = Path(os.environ.get("PACHMOUNT_CONFORMANCE", _PROJECT.parent / "shared" / "conformance")) / "auth"
_SCENARIOS = sorted(_FOLDER.glob("[0-9][0-9]-*.json"))
_SLOW = "12-oidc-slow"
_AUTH = f"""
root_token = "{ROOT_TOKEN}"
[[users]]
login = "admin"
password = "password"
email = "kilgore@kilgore.trout"
[[bindings]]
resource = "cluster"
principal = "user:kilgore@kilgore.trout"
roles = ["clusterAdmin"]
"""

needs_recordings = pytest.mark.skipif(not _SCENARIOS, reason="no recorded scenarios beside the project")


def _parameters() -> list[object]:
    marks = [pytest.mark.long, pytest.mark.timeout(400)]
    return [pytest.param(path, marks=marks if path.stem == _SLOW else [], id=path.stem) for path in _SCENARIOS]


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    root = tmp_path_factory.mktemp("pfs")
    (root / "auth.toml").write_text(_AUTH)
    with running(root / "store", f"unix://{root}/s", "--auth", str(root / "auth.toml")) as server:
        yield server.channel


@needs_recordings
@pytest.mark.parametrize("path", _parameters() or [Path("none")])
def test_scenario(channel: grpc.Channel, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, stricter = replay(channel, path)
    with capsys.disabled():
        print(f"\n  {path.stem}: {report.passed} of {report.passed + len(report.differences)} steps passed", end="")
        print(f", stricter in {len(stricter)}" if stricter else "", end=" ")
    assert not report.differences, "\n".join(report.differences)
    assert report.passed
    lax = [step for step in json.loads(path.read_text())["steps"] if step.get("lax")]
    assert stricter == [step["id"] for step in lax if not step["call"].endswith("/DeleteRepo")]


@needs_recordings
def test_roles_are_those_of_the_recorded_server() -> None:
    recorded = json.loads((_FOLDER / "permissions.json").read_text())
    assert dict(auth_pb2.Permission.items()) == recorded["permissions"]
    assert dict(auth_pb2.ResourceType.items()) == recorded["resource_types"]
    assert recorded["roles"].keys() == ROLES.keys()
    for name, role in recorded["roles"].items():
        assert set(map(auth_pb2.Permission.Value, role["permissions"])) == ROLES[name].permissions
        assert set(map(auth_pb2.ResourceType.Value, role["can_be_bound_to"])) == set(ROLES[name].bindable)
        assert set(map(auth_pb2.ResourceType.Value, role["returned_for"])) == set(ROLES[name].shown)


def test_few_things_are_different() -> None:
    tables = [NEVER_OFFERED, CODE_ONLY, CODE_OF_REFUSAL, DIFFERENT, OLDER]
    assert sum(map(len, tables)) <= 12
    assert all(all(table.values()) for table in tables)
