"""Every command of docs/rest.md is run, in the order of the document; its answers have the keys that are shown.

What is put in place of what the document says:

- `$SOCKET`, `$URL`, `$TOKEN_FILE` and `$MOUNT_DIR` are those of a box; `$COMMIT` is the first commit of `images`.
- `$STATE` and `$WARMUP` are the `oidc_state` and the `id` of the last answer that had one.
- `grpc://pachd.example:30650` is a cluster with authentication. The section LOGIN_SECTION is run against a second box,
  and where it waits for a person to log in at `auth_url`, `ada` does.
- The section PIPELINES_SECTION is run against a third box, at a cluster that runs pipelines.
- curl tells status and content type of each answer on standard error, by a .curlrc.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pachmount.pfs.proto import pps_pb2
from tests.docs.rest_document import HOLE, Example, examples
from tests.integration.auth_cluster import AuthCluster, auth_cluster
from tests.integration.box import Box
from tests.integration.pipeline_cluster import PipelineCluster
from tests.localpfs.browser import log_in

LOGIN_SECTION = "Cluster and login"
PIPELINES_SECTION = "Pipelines"
CLUSTER = "grpc://pachd.example:30650"
EXAMPLES = examples()
MAY_BE_NULL = frozenset({"ended"})
"""Of a warm-up that has ended already, or not."""
CURLRC = r'write-out = "%{stderr}%{http_code} %{content_type}"'


class Story:
    """Runs the examples in a box, and remembers what later ones refer to."""

    def __init__(self, box: Box, cluster: AuthCluster | None = None) -> None:
        self.box = box
        self._cluster = cluster
        (box.root / ".curlrc").write_text(CURLRC)
        program = Path(sys.executable).parent
        self.env = {**box.env, "PATH": f"{program}:{os.environ['PATH']}", "MOUNT_DIR": str(box.mount_dir)}
        self.env |= {"SOCKET": str(box.places.socket), "TOKEN_FILE": str(box.places.token_file)}
        self.env["URL"] = box.status()["listen"]

    def run(self, example: Example) -> tuple[str, str]:
        """What a block prints and, if it is a request, status and content type."""
        script = example.script
        if self._cluster is not None:
            script = script.replace(CLUSTER, self._cluster.address)
        if "/auth/_login_token" in script:
            assert log_in(self.env["AUTH_URL"], "ada", "right").status == 200
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=self.env, cwd=self.box.root, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stderr}"
        self._remember(done.stdout)
        return done.stdout, done.stderr

    def _remember(self, told: str) -> None:
        try:
            found = json.loads(told)
        except ValueError:
            return
        if isinstance(found, dict):
            names = {"oidc_state": "STATE", "auth_url": "AUTH_URL", "id": "WARMUP"}
            self.env |= {names[key]: value for key, value in found.items() if key in names}


@pytest.fixture(scope="module")
def curl() -> None:
    if shutil.which("curl") is None:
        pytest.fail("the program curl is needed: scripts/setup --dev installs it")


@pytest.fixture(scope="module")
def story(curl: None, fuse: None) -> Iterator[Story]:
    box = Box({"PACHMOUNT_LISTEN": "127.0.0.1:0"})
    try:
        box.ok("daemon", "start")  # not at other people's cluster, which may have a repo of that name
        first = box.put("images", {"/a.txt": b"one\n", "/dir/b.txt": b"two\n"})
        box.put("images", {"/c.txt": b"three\n"})
        box.put("images", {"/d.txt": b"four\n"}, "dev")
        story = Story(box)
        story.env["COMMIT"] = first
        yield story
        assert not box.log_problems()
    finally:
        box.close()


@pytest.fixture(scope="module")
def login_story(curl: None, fuse: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    box = Box({"PACHMOUNT_LISTEN": "127.0.0.1:0"})
    try:
        with auth_cluster(tmp_path_factory.mktemp("auth")) as cluster:
            box.start()
            yield Story(box, cluster)
            assert not box.log_problems()
    finally:
        box.close()


@pytest.fixture(scope="module")
def pipelines_story(curl: None, connected_box: Box, running_pipelines: PipelineCluster) -> Story:
    job = pps_pb2.JobInfo(job=pps_pb2.Job(id="1" * 32), state=pps_pb2.JOB_RUNNING, data_processed=3, data_total=5)
    job.started.GetCurrentTime()
    running_pipelines.jobs["default", "edges"] = [job]
    return Story(connected_box)


def test_the_document_has_the_sections_of_their_own() -> None:
    assert {LOGIN_SECTION, PIPELINES_SECTION} <= {example.section for example in EXAMPLES}


def test_the_answers_are_those_that_are_shown(story: Story) -> None:
    compare(story, [example for example in EXAMPLES if example.section not in (LOGIN_SECTION, PIPELINES_SECTION)])


def test_the_answers_about_cluster_and_login_are_those_that_are_shown(login_story: Story) -> None:
    compare(login_story, [example for example in EXAMPLES if example.section == LOGIN_SECTION])


def test_the_answers_about_pipelines_are_those_that_are_shown(pipelines_story: Story) -> None:
    compare(pipelines_story, [example for example in EXAMPLES if example.section == PIPELINES_SECTION])


def compare(story: Story, chosen: list[Example]) -> None:
    """Run them one after the other: each leaves what the next ones begin with."""
    differing = []
    for example in chosen:
        told, about = story.run(example)
        if example.kind:
            differing += [f"{example.title}: {what}\n{told}" for what in differences(example, told, about)]
    assert not differing, "\n".join(differing)


def differences(example: Example, told: str, about: str) -> list[str]:
    """What of an answer is not as it is shown."""
    if example.kind == "http":
        head, _, body = told.replace("\r\n", "\n").partition("\n\n")
        status, *lines = head.splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        found = [
            f"{name} is {headers.get(name)}" for name, value in example.headers.items() if headers.get(name) != value
        ]
        found += [] if status == example.shown.splitlines()[0] else [status]
    elif example.operations:
        body, status = told, about.split()[0]
        found = [] if status == str(example.status) else [status]
        if example.json is not None and "application/json" not in about:
            found.append(f"{about} is no JSON")
    else:
        body, found = told, []
    if example.json is not None:
        return found + list(unlike(json.loads(body), example.json, "answer"))
    return found + _unlike_text(body, example.body)


def _unlike_text(told: str, shown: str) -> list[str]:
    """Texts are the same but for lines with a hole, each of which stands for any number of lines."""
    remaining = told.splitlines()
    for line in shown.splitlines():
        if HOLE in line:
            continue
        if line.partition(" — ")[0] not in [each.partition(" — ")[0] for each in remaining]:
            return [f"no line {line!r}"]
    return [] if HOLE in shown or len(remaining) == len(shown.splitlines()) else ["more lines"]


def unlike(told: Any, shown: Any, where: str) -> Iterator[str]:
    """Where two answers differ in keys (and their order), in types, or in the number of items; values may differ."""
    if isinstance(shown, dict) and isinstance(told, dict):
        keys = [key for key in shown if key != HOLE]
        expected = [key for key in told if key in keys] if HOLE in shown else list(told)
        if keys != expected:
            yield f"{where} has the keys {list(told)}"
        for key in set(keys) & set(told):
            yield from unlike(told[key], shown[key], f"{where}.{key}")
    elif isinstance(shown, list) and isinstance(told, list):
        items = [item for item in shown if item != HOLE]
        if len(told) < len(items) or (len(told) > len(items) and HOLE not in shown):
            yield f"{where} has {len(told)} items"
        for number, (one, other) in enumerate(zip(told, items, strict=False)):
            yield from unlike(one, other, f"{where}[{number}]")
    elif kind(told) != kind(shown) and where.rpartition(".")[2] not in MAY_BE_NULL:
        yield f"{where} is {told!r}"


def kind(value: Any) -> type:
    """The type of a JSON value, which knows numbers alone."""
    return float if type(value) is int else type(value)


@pytest.mark.parametrize(
    ("told", "shown", "number"),
    [
        ({"a": 1}, {"a": 2}, 0),
        ({"a": 1, "b": 1}, {"a": 2}, 1),
        ({"a": 1, "b": 1}, {"a": 2, HOLE: 0}, 0),
        ({"b": 1}, {"a": 2, HOLE: 0}, 1),
        ({"a": 1, "b": 1}, {"b": 2, "a": 1}, 1),
        ({"a": None}, {"a": []}, 1),
        ([1, 2], [1], 1),
        ([1, 2], [1, HOLE], 0),
        ([{"a": 1}], [{"b": 1}], 1),
    ],
)
def test_answers_are_compared_at_every_level(told: Any, shown: Any, number: int) -> None:
    assert len(list(unlike(told, shown, "answer"))) == number
