"""A notebook becomes a pipeline: the original's route, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.box import Box
from tests.integration.pipeline_cluster import PipelineCluster
from tests.lab.server.jupyter import Jupyter, jupyter

CONFIG = {
    "pipeline": {"name": "edges", "project": {"name": "default"}},
    "image": "python:3.12",
    "requirements": "needed.txt",
    "input_spec": "pfs:\n  repo: images\n  glob: /*\n",
    "external_files": "helper.py",
}


@pytest.fixture(scope="module")
def pipeline_lab(connected_box: Box) -> Iterator[Jupyter]:
    with jupyter(connected_box) as lab:
        yield lab


@pytest.fixture
def notebook(pipeline_lab: Jupyter, cluster: PipelineCluster) -> Path:
    """A notebook in a directory, with what goes with it."""
    directory = pipeline_lab.box.root / "work"
    directory.mkdir(exist_ok=True)
    (directory / "needed.txt").write_text("numpy\n")
    (directory / "helper.py").write_text("x = 1\n")
    write(directory / "edges.ipynb", CONFIG)
    return directory / "edges.ipynb"


def write(path: Path, config: dict[str, Any] | None) -> None:
    metadata = {"pachyderm_pps": {"version": "v1.0.0", "config": config}} if config is not None else {}
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": "print(1)"}
    path.write_text(json.dumps({"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}))


def saved_at(lab: Jupyter, path: str) -> str:
    """The time of a notebook, as Jupyter tells the browser."""
    answer = lab.session.get(f"{lab.url}api/contents/{path}?content=0", timeout=60)
    return str(answer.json()["last_modified"])


def test_a_notebook_becomes_a_pipeline(pipeline_lab: Jupyter, cluster: PipelineCluster, notebook: Path) -> None:
    lab, time = pipeline_lab, saved_at(pipeline_lab, "work/edges.ipynb")
    answer = lab.ok("PUT", "/pps/_create/work/edges.ipynb", {"last_modified_time": time}, ours=False)
    assert "edges" in answer["message"]
    (request,) = cluster.requests
    assert request.pipeline.name == "edges"
    from pachmount.pfs.model import RepoRef

    files = cluster.files(RepoRef("default", "edges__context"), answer["branch"])
    assert files.keys() == {"/user_code.py", "/requirements.txt", "/entrypoint.py", "/helper.py"}
    assert "print(1)" in files["/user_code.py"]
    (listed,) = lab.ok("GET", "/pps/_pipelines?project=default&name=edges")
    assert listed["state"] == "starting"
    assert lab.ok("GET", "/pipelines?name=edges") == [listed]


def test_the_specification_alone_makes_nothing(pipeline_lab: Jupyter, cluster: PipelineCluster, notebook: Path) -> None:
    spec = pipeline_lab.ok("GET", "/pps/_create/work/edges.ipynb")
    assert spec.keys() >= {"pipeline", "description", "transform", "input"}
    assert cluster.requests == []


def test_a_stale_or_missing_time_is_refused(pipeline_lab: Jupyter, cluster: PipelineCluster, notebook: Path) -> None:
    def refusal(body: dict[str, str]) -> str:
        answer = pipeline_lab.put("/pps/_create/work/edges.ipynb", body, ours=False)
        assert answer.status_code == 400
        return str(answer.json()["reason"])

    assert refusal({}) == "Bad Request: last_modified_time not specified"
    assert refusal({"last_modified_time": "2020-01-01T00:00:00Z"}).startswith("stale notebook: client time (2020")
    assert "cannot be read" in refusal({"last_modified_time": "yesterday"})
    assert cluster.requests == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pipeline": {}}, "field pipeline not set"),
        ({"image": ""}, "field image not set"),
        ({"input_spec": ""}, "field input_spec not set"),
        ({"requirements": "nothing.txt"}, "requirements file does not exist"),
        ({"external_files": "../secret"}, "external files must sit beside the notebook"),
    ],
)
def test_what_is_missing_is_named(
    pipeline_lab: Jupyter, cluster: PipelineCluster, notebook: Path, change: dict[str, Any], reason: str
) -> None:
    write(notebook, {**CONFIG, **change})
    answer = pipeline_lab.get("/pps/_create/work/edges.ipynb", ours=False)
    assert answer.status_code == 400
    assert reason in answer.json()["reason"]


@pytest.mark.parametrize("path", ["work/nothing.ipynb", "nothing", "%2e%2e/%2e%2e/etc/passwd"])
def test_a_notebook_that_is_not_there_or_elsewhere_is_400(pipeline_lab: Jupyter, path: str) -> None:
    import requests

    url = f"{pipeline_lab.api}/pps/_create/{path}"
    prepared = pipeline_lab.session.prepare_request(requests.Request("GET", url))
    prepared.url = url
    assert pipeline_lab.session.send(prepared, timeout=60).status_code == 400


def test_the_embedded_server_runs_no_pipelines(lab: Jupyter) -> None:
    path = lab.box.root / "n.ipynb"
    lab.box.put("images", {"/a": b""})
    write(path, {**CONFIG, "requirements": "", "external_files": ""})
    answer = lab.put("/pps/_create/n.ipynb", {"last_modified_time": saved_at(lab, "n.ipynb")})
    assert (answer.status_code, answer.json()["id"]) == (501, "needs-cluster")
