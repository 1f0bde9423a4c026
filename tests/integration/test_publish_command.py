"""`pachmount publish` on notebooks and scripts, against a cluster that remembers what it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from pachmount.errors import ExitCode
from pachmount.pfs.proto import pps_pb2
from pachmount.publishing.notebook import METADATA_KEY, METADATA_VERSION
from tests.integration.box import Box
from tests.integration.pipeline_cluster import PipelineCluster, context

INPUT = "pfs:\n  repo: images\n  glob: /*\n"


@pytest.fixture
def box(pipeline_box: Box) -> Box:
    return pipeline_box


def write_notebook(path: Path, config: dict[str, Any] | None = None) -> None:
    metadata = {METADATA_KEY: {"version": METADATA_VERSION, "config": config}} if config else {}
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": 1, "source": "%cd /\nx = 1"}
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": metadata, "cells": [cell]}))


def test_a_notebook_as_its_metadata_says(cluster: PipelineCluster, box: Box) -> None:
    config = {
        "pipeline": {"name": "noted", "project": {"name": ""}},
        "image": "python:3.12",
        "requirements": "needs.txt",
        "input_spec": INPUT,
        "port": "8888",
        "gpu_mode": "Simple",
        "resource_spec": "",
        "external_files": "helper.py",
    }
    (box.root / "books").mkdir(exist_ok=True)
    write_notebook(box.root / "books/my book.ipynb", config)
    (box.root / "books/needs.txt").write_text("ipython\n")
    (box.root / "books/helper.py").write_text("two = 2\n")
    done = box.run("publish", "books/my book.ipynb")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "published pipeline default/noted as version 1\n"
    assert "'pachmount pipelines noted' shows how it goes" in done.stderr
    assert "have ipython" in done.stderr
    (request,) = cluster.requests
    assert (request.service.internal_port, request.resource_limits.gpu.number) == (8888, 1)
    files = cluster.files(context("noted"), "master")
    assert set(files) == {"/entrypoint.py", "/helper.py", "/requirements.txt", "/user_code.py"}
    assert files["/requirements.txt"] == "ipython\n"
    assert "get_ipython().run_line_magic('cd', '/')\nx = 1" in files["/user_code.py"]


def test_options_come_before_metadata(cluster: PipelineCluster, box: Box) -> None:
    write_notebook(box.root / "o.ipynb", {"image": "old", "gpu_mode": "Simple", "port": 1, "external_files": "gone.py"})
    (box.root / "r.txt").write_text("numpy\n")
    (box.root / "data.txt").write_text("text\n")
    (box.root / "limits.yaml").write_text("cpu: 2\n")
    (box.root / "spec.yaml").write_text("pipeline: {name: other}\ninput: {pfs: {repo: images, glob: /}}\n")
    arguments = ["--image", "new", "--input", "spec.yaml", "--requirements", "r.txt", "--file", "data.txt"]
    answer = json.loads(
        box.ok("publish", "o.ipynb", *arguments, "--resources", "limits.yaml", "--port", "2", "-n", "opted", "--json")
    )
    assert (answer["pipeline"], answer["version"], answer["warnings"]) == ("opted", 1, [])
    (request,) = cluster.requests
    assert (request.transform.image, request.service.external_port, request.resource_limits.cpu) == ("new", 2, 2.0)
    assert not request.resource_limits.HasField("gpu")
    assert set(cluster.files(context("opted"), "master")) >= {"/requirements.txt", "/data.txt"}


@pytest.mark.parametrize(
    "spec", ["images:/*", "default/images@master:/*", INPUT, '{"pfs": {"repo": "images", "glob": "/*"}}', "-"]
)
def test_a_script_and_the_forms_of_its_input(cluster: PipelineCluster, box: Box, spec: str) -> None:
    (box.root / "edge detection.py").write_text("print('hello')\n")
    box.ok("publish", "edge detection.py", "--image", "i", "--input", spec, stdin=INPUT if spec == "-" else None)
    (request,) = cluster.requests
    assert request.pipeline.name == "edge-detection"
    pfs = request.input.cross[0].pfs
    assert (pfs.name, pfs.project, pfs.repo, pfs.branch, pfs.glob) == ("images", "default", "images", "master", "/*")
    assert cluster.files(context("edge-detection"), "master")["/user_code.py"] == "print('hello')\n"


def test_a_dry_run_prints_the_pipeline(cluster: PipelineCluster, box: Box) -> None:
    (box.root / "dry.py").write_text("print(1)\n")
    told = json.loads(box.ok("publish", "dry.py", "--image", "i", "--input", "images:/", "--dry-run"))
    request = ParseDict(told, pps_pb2.CreatePipelineRequest())
    assert request.transform.cmd[-1] == "/pfs/dry__context/entrypoint.py"
    assert not cluster.requests


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["none.ipynb"], ExitCode.NOT_FOUND, "notebook does not exist: none.ipynb"),
        (["none.py"], ExitCode.NOT_FOUND, "file does not exist: none.py"),
        (["s.py"], ExitCode.USAGE, "no image"),
        (["s.py", "--image", "i"], ExitCode.USAGE, "no input"),
        (["s.py", "--image", "i", "--input", "none.yaml"], ExitCode.NOT_FOUND, "file does not exist: none.yaml"),
        (["s.py", "--image", "i", "--input", "im ages"], ExitCode.USAGE, "invalid source"),
        (["s.py", "--image", "i", "--input", "images:/", "-n", "a b"], ExitCode.USAGE, "invalid pipeline name"),
        (["s.py", "--image", "i", "--input", "images:/", "--gpu", "--resources", "cpu: 1"], ExitCode.USAGE, "exclude"),
        (["s.py", "--image", "i", "--input", "images:/", "--resources", "cpu: x"], ExitCode.USAGE, "number of cores"),
        (
            ["s.py", "--image", "i", "--input", "images:/", "--requirements", "r"],
            ExitCode.NOT_FOUND,
            "requirements file",
        ),
        (["s.py", "--image", "i", "--input", "images:/", "--file", "f"], ExitCode.NOT_FOUND, "external file"),
        (["é.py", "--image", "i", "--input", "images:/"], ExitCode.USAGE, "pipeline has no name"),
    ],
)
def test_wrong_use(cluster: PipelineCluster, box: Box, arguments: list[str], code: ExitCode, text: str) -> None:
    for name in ("s.py", "é.py"):
        (box.root / name).write_text("print(1)\n")
    assert text in box.refused("publish", *arguments, code=code)
    assert not cluster.requests
