"""The answers of the REST API beside those of the original mount server 2.6.4 and 2.9.7."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pachmount.pfs.model import RepoRef
from tests.integration import recordings
from tests.integration.box import Box
from tests.integration.mount_server import MountServer
from tests.integration.recordings import BY_INTENTION, OTHER_GENERATION, RECORDINGS, VERSIONS
from tests.integration.test_committing import server_tree
from tests.integration.test_rest import ask
from tests.localpfs.sdk_venv import sdk_python

pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not beside the project")


BOTH_GENERATIONS = {
    *("datums", "get datums", "datum 0", "show idx", "next", "second datum", "prev", "prev at first"),
    *("show none", "show word", "show bad id", "next outside", "show outside", "yaml garbage"),
}
"""Steps that show something else where the routes of the other generation, which come between, work as well."""


OWN_DATUMS = {"2.6.4": 1, "2.9.7": 2}
"""Of the two times that datums are mounted, which one is by the routes of a version."""


@dataclass
class Replay:
    """The steps of a recording, on repos whose names and ids are put in place of the recorded ones and back."""

    box: Box
    version: str
    names: dict[str, str]
    ids: dict[str, str] = field(default_factory=dict)

    def commit(self, repo: str, tag: str, content: dict[str, bytes], branch: str = "master") -> None:
        self.ids[tag] = self.box.put(self.names[repo], content, branch)

    def to_ours(self, text: str) -> str:
        for recorded, ours in self.names.items():
            text = text.replace(recorded, ours)
        text = text.replace('"grpc://127.0.0.1:1650"', f'"{self.box.address}"')
        return re.sub(r"\b(?!0{8})[0-9a-f]{32}\b", self.ids["$A1"], text)

    def to_recorded(self, text: str) -> str:
        for recorded, ours in self.names.items():
            text = text.replace(ours, recorded)
        for tag, commit in self.ids.items():
            text = text.replace(commit, tag).replace(commit[:8], f"{tag}[:8]")
        text = re.sub(r"\b[0-9a-f]{64}\b", "<datum id>", text)
        return re.sub(r"\b[0-9a-f]{32}\b", "<id>", text).replace(self.box.address, "$PACHD")

    def differences(self, step: dict[str, Any]) -> list[str]:
        """What is not as in the recording."""
        if "root" in step:
            top = self.box.mount_dir
            shown = {str(path.relative_to(top)): path.stat().st_size for path in top.rglob("*") if path.is_file()}
            root, files = json.loads(self.to_recorded(json.dumps([sorted(os.listdir(top)), shown])))
            expected = (step["root"], step["files"])
            return [] if (root, files) == expected else [f"{files} instead of {expected}"]
        request = step["request"]
        body = None if request is None else self.to_ours(request if isinstance(request, str) else json.dumps(request))
        answer = ask(self.box, step["method"], step["path"], body)
        return recordings.differences(self.version, step, answer.status, self.to_recorded(answer.body))


@pytest.fixture
def recorded_repos(box: Box) -> Iterator[dict[str, str]]:
    names = {"rest_a": box.repo("rest_a"), "rest_b": box.repo("rest_b")}
    yield names
    box.clean()
    for name in names.values():
        box.cluster().delete_repo(RepoRef("default", name), force=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_are_those_of_the_original(box: Box, recorded_repos: dict[str, str], version: str) -> None:
    replay = Replay(box, version, recorded_repos)
    replay.commit("rest_a", "$A1", {"/f1": b"one", "/f10": b"ten", "/dir/g": b"gg", "/dir/sub/h": b"h" * 1000})
    replay.commit("rest_a", "$A2", {"/f2": b"two"})
    replay.commit("rest_a", "$D1", {"/d": b"dev"}, "dev")
    replay.commit("rest_b", "$B1", {f"/{number}.txt": b"%d" % number for number in range(3)})
    compared, differing = 0, []
    for step in recordings.steps(version):
        note = step["note"]
        if note == "one behind":
            replay.commit("rest_a", "$A3", {"/f3": b"three"})
        elif note == "branch deleted":
            box.cluster().delete_branch(RepoRef("default", recorded_repos["rest_a"]), "master", force=True)
        elif note == "repo deleted":
            box.cluster().delete_repo(RepoRef("default", recorded_repos["rest_a"]), force=True)
        if _is_of_other_generation(step):
            continue
        differences = replay.differences(step)
        if note == "rw":
            box.path("w", "new.txt").write_bytes(b"new")
        elif note == "commit rw":
            found = ask(box, "GET", "/mounts").json["mounted"]
            assert [(each["state"], each["how_many_commits_behind"]) for each in found] == [("mounted", 0)]
            assert server_tree(box, recorded_repos["rest_b"])["/new.txt"] == b"new"
        by_id = version == "2.6.4" and note in ("datum 0", "second datum")  # the order is another with other names
        if note not in BY_INTENTION[version] and not by_id:
            compared += 1
            differing += [f"{note}: {difference}" for difference in differences]
    assert not differing, "\n".join(differing)
    assert compared > 70


def _is_of_other_generation(step: dict[str, Any]) -> bool:
    return (
        step["note"] != "unknown path" and "datum" in step.get("path", "") and OTHER_GENERATION in str(step["response"])
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recorder_finds_the_same_with_our_mount_server(
    new_box: Callable[..., Box], tmp_path: Path, version: str
) -> None:
    """record.py as it is, with pachyderm-sdk, against `mount-server`: nothing of ours on that side."""
    box = new_box(start=False)
    cluster = box.server()
    out = tmp_path / "ours.json"
    with MountServer(box, "--listen", "127.0.0.1:0", "--no-auth", PACHD_ADDRESS=cluster.address) as server:
        command = [sdk_python(), "-W", "ignore", RECORDINGS / "record.py"]
        arguments = [server.url, str(box.mount_dir), cluster.address, str(out)]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=150, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    recorded, ours = recordings.steps(version), json.loads(out.read_text())["steps"]
    assert [step["note"] for step in ours] == [step["note"] for step in recorded]
    differing = []
    seen: Counter[str] = Counter()
    for mine, theirs in zip(ours, recorded, strict=True):
        note = theirs["note"]
        seen[note] += 1
        is_first_shown = note in ("datums", "get datums", "datum 0") and seen[note] == OWN_DATUMS[version]
        if note in BY_INTENTION[version] or _is_of_other_generation(theirs):
            continue
        if note in BOTH_GENERATIONS and not is_first_shown:
            continue
        if "root" in theirs:
            found = [] if mine == theirs else [f"{mine} instead of {theirs}"]
        else:
            response = mine["response"]
            text = "" if response is None else response if isinstance(response, str) else json.dumps(response)
            found = recordings.differences(version, theirs, mine["status"], text)
        differing += [f"{theirs['note']}: {difference}" for difference in found]
    assert not differing, "\n".join(differing)
