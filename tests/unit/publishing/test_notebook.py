"""Notebooks: their metadata, with the original's errors, and their code as a script."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pachmount.errors import NotFoundError, PachmountError, UsageError
from pachmount.publishing.notebook import (
    METADATA_KEY,
    METADATA_VERSION,
    PipelineConfig,
    beside,
    code_files,
    default_name,
    read_notebook,
)

CONFIG: dict[str, Any] = {
    "pipeline": {"name": "edges", "project": {"name": "photos"}},
    "image": "python:3.12",
    "requirements": "requirements.txt",
    "input_spec": "pfs:\n  repo: images\n  glob: /*\n",
}
CELLS = [
    {"cell_type": "markdown", "metadata": {}, "source": "# Title"},
    {"cell_type": "code", "metadata": {}, "execution_count": 7, "outputs": [], "source": ["%cd /\n", "x = 1"]},
    {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": "print(x)\n"},
]


def write(path: Path, config: Any = None, cells: Any = CELLS, **metadata: Any) -> Path:
    """A notebook file."""
    if config is not None:
        metadata[METADATA_KEY] = {"version": METADATA_VERSION, "config": config}
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "n.ipynb"


def test_the_metadata_of_the_first_version(path: Path) -> None:
    expected = PipelineConfig("edges", "photos", "python:3.12", CONFIG["input_spec"], "requirements.txt")
    assert read_notebook(write(path, CONFIG)).complete_config() == expected


def test_the_metadata_of_later_versions(path: Path) -> None:
    more = {"port": "8080", "gpu_mode": "Advanced", "resource_spec": "cpu: 1", "external_files": "a.py, b.txt"}
    config = read_notebook(write(path, {**CONFIG, **more})).complete_config()
    assert (config.port, config.gpu_mode, config.resource_spec) == (8080, "Advanced", "cpu: 1")
    assert config.external_files == ("a.py", "b.txt")
    nothing = {"port": "", "gpu_mode": None, "resource_spec": None, "external_files": ""}
    assert read_notebook(write(path, {**CONFIG, **nothing})).config() == read_notebook(write(path, CONFIG)).config()


@pytest.mark.parametrize("missing", ["pipeline", "image", "input_spec"])
@pytest.mark.parametrize("empty", [None, ""])
def test_what_is_not_set(path: Path, missing: str, empty: Any) -> None:
    notebook = read_notebook(write(path, {**CONFIG, missing: empty}))
    with pytest.raises(UsageError, match=f"^field {missing} not set$"):
        notebook.complete_config()
    notebook.config()  # options may tell it


@pytest.mark.parametrize(
    ("metadata", "field"), [({}, "metadata"), ({METADATA_KEY: {"version": METADATA_VERSION}}, "config")]
)
def test_a_notebook_without_our_metadata(path: Path, metadata: dict[str, Any], field: str) -> None:
    notebook = read_notebook(write(path, **metadata))
    with pytest.raises(UsageError) as caught:
        notebook.complete_config()
    assert caught.value.what == f"field {field} not set"
    assert notebook.config() == PipelineConfig()


@pytest.mark.parametrize(
    ("field", "value"), [("image", 5), ("pipeline", "edges"), ("port", "x"), ("port", True), ("port", 1.5)]
)
def test_metadata_of_a_wrong_type(path: Path, field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"^field {field} is no"):
        read_notebook(write(path, {**CONFIG, field: value})).config()


@pytest.mark.parametrize("by_nbconvert", [True, False])
def test_the_script(path: Path, by_nbconvert: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not by_nbconvert:
        monkeypatch.setitem(sys.modules, "nbconvert", None)
    script = read_notebook(write(path)).script()
    code = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert code == ["get_ipython().run_line_magic('cd', '/')", "x = 1", "print(x)"]
    assert [line for line in script.splitlines() if line.startswith("# In")] == ["# In[7]:", "# In[ ]:"]
    assert script.startswith("#!/usr/bin/env python\n# coding: utf-8\n")
    compile(script, "script", "exec")


def test_a_cell_that_is_no_python_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nbconvert", None)
    write(path, cells=[CELLS[0], {"cell_type": "code", "source": "x = 1\n,f a b"}])
    with pytest.raises(UsageError, match="cell 2, line 2 is no Python") as caught:
        read_notebook(path).script()
    assert "nbconvert" in caught.value.hint


def test_a_notebook_in_another_language(path: Path) -> None:
    notebook = read_notebook(write(path, kernelspec={"language": "R", "name": "ir"}))
    with pytest.raises(UsageError, match="its language is r"):
        notebook.script()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"cells": 5}', '{"cells": ["x"]}', '{"worksheets": []}'])
def test_what_is_no_notebook(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(UsageError, match="cannot read the notebook"):
        read_notebook(path)


def test_a_notebook_that_is_not_there(path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"^notebook does not exist: {path}$"):
        read_notebook(path)


def test_the_files_that_go_along(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("numpy\n")
    (tmp_path / "helper.py").write_text("y = 2\n")
    files = code_files("x = 1\n", tmp_path / "r.txt", [tmp_path / "helper.py"])
    assert files == [
        {"path": "user_code.py", "text": "x = 1\n"},
        {"path": "requirements.txt", "text": "numpy\n"},
        {"path": "helper.py", "text": "y = 2\n"},
    ]


def test_files_that_cannot_go_along(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    for requirements, others, what in (
        (tmp_path / "none", [], "requirements file does not exist"),
        (None, [tmp_path / "none"], "external file does not exist"),
        (None, [tmp_path / "image.png"], "no text in UTF-8"),
        (None, [tmp_path], "Is a directory"),
    ):
        with pytest.raises(PachmountError, match=what):
            code_files("", requirements, others)


def test_data_is_no_code(tmp_path: Path) -> None:
    large = tmp_path / "large.csv"
    large.write_text("x" * (5 << 20))
    with pytest.raises(UsageError, match="so much code") as caught:
        code_files("", None, [large, large])
    assert "repo" in caught.value.hint
    large.write_text("x" * (9 << 20))
    with pytest.raises(UsageError, match="more than 8 MiB"):
        code_files("", None, [large])


def test_a_notebook_may_have_large_outputs(path: Path) -> None:
    outputs = [{"output_type": "stream", "name": "stdout", "text": "x" * (20 << 20)}]
    write(path, cells=[{**CELLS[2], "outputs": outputs}])
    assert len(read_notebook(path).script()) < 200


def test_external_files_sit_beside_the_notebook(path: Path) -> None:
    assert beside(path, "a.py") == path.parent / "a.py"
    for name in ("../a.py", "/etc/passwd", "d/a.py", ".."):
        with pytest.raises(UsageError):
            beside(path, name)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("edges.ipynb", "edges"),
        ("My notebook (2).ipynb", "My-notebook-2"),
        ("_x_.py", "x"),
        ("été.py", "t"),
        ("é", ""),
    ],
)
def test_a_name_from_the_file(file: str, name: str) -> None:
    assert default_name(Path(file)) == name
    assert len(default_name(Path("x" * 200))) <= 50
