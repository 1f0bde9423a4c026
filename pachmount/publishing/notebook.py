"""Reading notebooks: what their metadata says of a pipeline, their code as a script, and the files that go with it.

It imports little: the JupyterLab extension's server half uses it as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pachmount.errors import NotFoundError, UsageError
from pachmount.publishing import cells

METADATA_KEY = "pachyderm_pps"
METADATA_VERSION = "v1.0.0"
CODE_FILE = "user_code.py"
REQUIREMENTS_FILE = "requirements.txt"
MOST_CODE_BYTES = 8 << 20
"""All files that are published may have together; the daemon takes requests of 16 MiB."""
MOST_NOTEBOOK_BYTES = 256 << 20
"""A notebook may have, with its outputs."""

_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_DEFAULT_NAME = 50
_DATA_HINT = "put data into a repo, and name that as an input"
_HEAD = "#!/usr/bin/env python\n# coding: utf-8\n"


@dataclass(frozen=True)
class PipelineConfig:
    """What a notebook's metadata says of its pipeline; "" and 0 for what is not set.

    `requirements` and `external_files` are paths beside the notebook.
    """

    name: str = ""
    project: str = ""
    image: str = ""
    input_spec: str = ""
    requirements: str = ""
    port: int = 0
    gpu_mode: str = "None"
    resource_spec: str = ""
    external_files: tuple[str, ...] = ()


class Notebook:
    """A notebook in Python, of nbformat 4."""

    def __init__(self, content: dict[str, Any], name: str) -> None:
        self._content = content
        self._name = name

    def config(self) -> PipelineConfig:
        """What its metadata says, however little. Raises UsageError for values that make no sense."""
        described = self._described()
        pipeline = _object(described, "pipeline")
        return PipelineConfig(
            name=_text(pipeline, "name"),
            project=_text(_object(pipeline, "project"), "name"),
            image=_text(described, "image"),
            input_spec=_text(described, "input_spec"),
            requirements=_text(described, "requirements"),
            port=_number(described, "port"),
            gpu_mode=_text(described, "gpu_mode") or "None",
            resource_spec=_text(described, "resource_spec"),
            external_files=tuple(filter(None, map(str.strip, _text(described, "external_files").split(",")))),
        )

    def complete_config(self) -> PipelineConfig:
        """The same. Raises UsageError `field … not set`, in the original's words, if something is missing."""
        metadata = _object(self._content, "metadata")
        if not metadata.get(METADATA_KEY):
            raise UsageError("field metadata not set", f"the notebook has no {METADATA_KEY} in its metadata")
        if not _object(metadata[METADATA_KEY], "config"):
            raise _missing("config")
        config = self.config()
        for name, value in (("pipeline", config.name), ("image", config.image), ("input_spec", config.input_spec)):
            if not value:
                raise _missing(name)
        return config

    def script(self) -> str:
        """Its code as a script: by nbconvert where that is installed, else by `cells`.

        Raises UsageError for a cell that is neither Python nor a command of IPython's that is known.
        """
        language = self._language()
        if language != "python":
            raise UsageError(f"cannot publish '{self._name}'", f"its language is {language}, not Python")
        converted = _by_nbconvert(self._content)
        return self._by_cells() if converted is None else converted

    def _described(self) -> dict[str, Any]:
        return _object(_object(_object(self._content, "metadata"), METADATA_KEY), "config")

    def _language(self) -> str:
        metadata = _object(self._content, "metadata")
        spoken = _text(_object(metadata, "kernelspec"), "language") or _text(_object(metadata, "language_info"), "name")
        return spoken.lower() or "python"

    def _by_cells(self) -> str:
        script = _HEAD
        for number, cell in enumerate(self._content["cells"], 1):
            if cell.get("cell_type") != "code":
                continue
            source = _source(cell)
            try:
                code = cells.to_python(source)
            except SyntaxError as error:
                what = f"cannot make a script of '{self._name}'"
                why = f"cell {number}, line {error.lineno or 1} is no Python: {error.msg}"
                raise UsageError(what, why, "change the line, or install nbconvert and ipython") from error
            script += f"\n# In[{cell.get('execution_count') or ' '}]:\n\n\n{code.rstrip()}\n\n"
        return script


def read_notebook(path: Path) -> Notebook:
    """The notebook in a file. Raises NotFoundError and UsageError."""
    text = read_text(path, "notebook does not exist: {}", MOST_NOTEBOOK_BYTES)
    what = f"cannot read the notebook '{path}'"
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UsageError(what, f"it is no JSON: {error}") from error
    if not isinstance(content, dict) or not _are_cells(content.get("cells")):
        why = "it is no notebook of nbformat 4"
        raise UsageError(what, why, "open it in JupyterLab and save it, or: jupyter nbconvert --to notebook")
    return Notebook(content, path.name)


def read_text(path: Path, missing: str = "file does not exist: {}", most: int = MOST_CODE_BYTES) -> str:
    """The text of a file, of at most `most` bytes. Raises NotFoundError with the text `missing`, and UsageError."""
    what = f"cannot publish '{path}'"
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(missing.format(path), hint="check the path") from error
    except OSError as error:
        raise UsageError(what, error.strerror or str(error)) from error
    if len(content) > most:
        raise UsageError(what, f"it has more than {most >> 20} MiB", _DATA_HINT)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(what, "it is no text in UTF-8", _DATA_HINT) from error


def code_files(script: str, requirements: Path | None, others: Sequence[Path]) -> list[dict[str, str]]:
    """The files of a context repo as `{"path", "text"}`: the script, its requirements, and others by their base names.

    Raises NotFoundError for a file that is not there, and UsageError for one that cannot be read.
    """
    files = [{"path": CODE_FILE, "text": script}]
    if requirements is not None:
        text = read_text(requirements, "requirements file does not exist: {}")
        files.append({"path": REQUIREMENTS_FILE, "text": text})
    files += [{"path": path.name, "text": read_text(path, "external file does not exist: {}")} for path in others]
    if sum(len(file["text"]) for file in files) > MOST_CODE_BYTES:
        raise UsageError("cannot publish so much code", f"it has more than {MOST_CODE_BYTES >> 20} MiB", _DATA_HINT)
    return files


def beside(notebook: Path, name: str) -> Path:
    """The file of that name beside a notebook. Raises UsageError for a path into another directory."""
    if Path(name).name != name or name == "..":
        raise UsageError(f"cannot publish '{name}'", "external files must sit beside the notebook", "give a name alone")
    return notebook.parent / name


def default_name(path: Path) -> str:
    """A pipeline's name made of a file's: `My notebook (2).ipynb` gives `My-notebook-2`; "" if nothing is left."""
    return _NO_NAME.sub("-", path.stem).strip("-_")[:_LONGEST_DEFAULT_NAME].rstrip("-_")


def _by_nbconvert(content: dict[str, Any]) -> str | None:
    """What nbconvert makes of a notebook; None where it, or IPython, which it needs for %magics, is not installed."""
    try:
        import IPython  # noqa: F401
        import nbformat
        from nbconvert import PythonExporter
    except ImportError:
        return None
    script, _ = PythonExporter().from_notebook_node(nbformat.from_dict(_plain(content)))
    return str(script)


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """A notebook with nothing but its cells' sources, valid whatever else was wrong with it."""
    plain = []
    for cell in content["cells"]:
        told = {"cell_type": cell.get("cell_type"), "metadata": {}, "source": _source(cell)}
        if told["cell_type"] == "code":
            plain.append({**told, "outputs": [], "execution_count": cell.get("execution_count")})
        elif told["cell_type"] == "markdown":
            plain.append(told)
    return {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": plain}


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(map(str, source))


def _are_cells(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(cell, dict) for cell in value)


def _missing(field: str) -> UsageError:
    return UsageError(f"field {field} not set")


def _object(holder: dict[str, Any], name: str) -> dict[str, Any]:
    value = holder.get(name) or {}
    if not isinstance(value, dict):
        raise UsageError(f"field {name} is no object", f"it is {value!r:.100}")
    return value


def _text(holder: dict[str, Any], name: str) -> str:
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UsageError(f"field {name} is no text", f"it is {value!r:.100}")
    return value.strip() if name != "input_spec" else value


def _number(holder: dict[str, Any], name: str) -> int:
    value = holder.get(name)
    if isinstance(value, str) and (value.strip().isdecimal() or not value.strip()):
        return int(value.strip() or 0)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise UsageError(f"field {name} is no number", f"it is {value!r:.100}")
    return value or 0
