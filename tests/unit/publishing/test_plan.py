"""What is checked before anything is published."""

from __future__ import annotations

from typing import Any

import pytest

from pachmount.datums.model import Cross, PfsInput
from pachmount.errors import UsageError
from pachmount.publishing.model import CodeFile, Resources
from pachmount.publishing.plan import Plan, make_plan

CODE = CodeFile("user_code.py", "print(1)\n")


def plan(**changes: Any) -> Plan:
    asked: dict[str, Any] = {
        "project": "photos",
        "name": "edges",
        "image": "python:3.12",
        "input_spec": '{"pfs": {"repo": "images", "glob": "/*"}}',
        "files": [CODE],
    }
    return make_plan(**(asked | changes))


def test_the_pipeline() -> None:
    spec = plan().pipeline("commit_1")
    user = PfsInput("images", "photos", "images", "master", "/*")
    context = PfsInput("edges__context", "photos", "edges__context", "commit_1", "/")
    assert spec.input == Cross((user, context))
    assert spec.command == ("python3", "-u", "/pfs/edges__context/entrypoint.py")
    assert (spec.port, spec.limits, spec.description) == (0, None, "Auto-generated from notebook")


def test_the_entrypoint_is_ours_unless_given() -> None:
    assert [file.path for file in plan().files] == ["user_code.py", "entrypoint.py"]
    own = CodeFile("entrypoint.py", "print(2)\n")
    assert plan(files=[own]).files == (own,)


@pytest.mark.parametrize(
    ("asked", "limits"),
    [
        ({}, None),
        ({"resource_spec": "cpu: 1"}, None),
        ({"gpu_mode": "Simple"}, Resources(gpu_type="nvidia.com/gpu", gpu_number=1)),
        (
            {
                "gpu_mode": "Advanced",
                "resource_spec": "cpu: 0.5\nmemory: 512Mi\ndisk: 1G\ngpu: {type: a/b, number: 2}",
            },
            Resources(0.5, "512Mi", "1G", "a/b", 2),
        ),
        ({"gpu_mode": "Advanced", "resource_spec": '{"memory": 1024}'}, Resources(memory="1024")),
        ({"gpu_mode": "Advanced", "resource_spec": "gpu: {type: x}"}, Resources(gpu_type="x", gpu_number=1)),
    ],
)
def test_limits(asked: dict[str, Any], limits: Resources | None) -> None:
    assert plan(**asked).limits == limits


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"name": ""}, "field name not set"),
        ({"name": "a b"}, "invalid pipeline name"),
        ({"name": "_a"}, "begins with a letter"),
        ({"name": "x" * 55}, "more than 54 characters"),
        ({"project": "a/b"}, "invalid project"),
        ({"image": ""}, "field image not set"),
        ({"image": "python 3"}, "invalid image"),
        ({"port": 70000}, "invalid port 70000"),
        ({"port": -1}, "invalid port"),
        ({"input_spec": " "}, "field input not set"),
        ({"input_spec": "pfs: {repo: images}"}, "glob must be specified — pfs, line 1"),
        ({"input_spec": "pfs:\n  repo: images\n  glob: '['\n"}, "pfs.glob, line 3"),
        ({"input_spec": "pfs: {repo: r, glob: /, commit: abc}"}, "commit cannot be specified"),
        ({"input_spec": "cron: {name: t, spec: '@hourly'}"}, "cron input cannot be published"),
        ({"input_spec": "pfs: {repo: r, glob: /, name: edges__context}"}, "the name of the code's own"),
        ({"input_spec": "pfs: ["}, "yaml"),
        ({"gpu_mode": "Big"}, "invalid GPU mode"),
        ({"gpu_mode": "Advanced"}, "field resource_spec not set"),
        ({"gpu_mode": "Advanced", "resource_spec": "cpu: many"}, "cpu must be a number of cores — cpu, line 1"),
        ({"gpu_mode": "Advanced", "resource_spec": "\nmemory: lots"}, "memory must be a quantity — memory, line 2"),
        ({"gpu_mode": "Advanced", "resource_spec": "gpu: {number: 1}"}, "a gpu needs a type"),
        ({"gpu_mode": "Advanced", "resource_spec": "gpu: {type: x, number: 0}"}, "number of GPUs"),
        ({"gpu_mode": "Advanced", "resource_spec": "ram: 1"}, 'unknown field "ram"'),
        ({"files": []}, "there is no user_code.py"),
        ({"files": [CODE, CODE]}, "two files have the name"),
        ({"files": [CODE, CodeFile("d/x", "")]}, "invalid file 'd/x'"),
        ({"files": [CODE, CodeFile("..", "")]}, "invalid file '..'"),
        ({"files": [CODE, CodeFile("a[1].py", "")]}, "invalid file"),
        ({"files": [CODE, CodeFile("requirements.txt", "numpy\n-r more.txt\n")]}, "requirements.txt, line 2"),
    ],
)
def test_refusals(asked: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(**asked)
    assert text in str(caught.value)


def test_requirements_may_name_what_goes_along() -> None:
    text = "numpy>=1  # -r x\n-r more.txt\n-c https://example.com/c.txt\n"
    files = [CODE, CodeFile("requirements.txt", text), CodeFile("more.txt", "")]
    assert len(plan(files=files).files) == 4
