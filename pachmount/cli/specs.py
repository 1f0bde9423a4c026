"""Specs that a command names."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pachmount.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from pachmount.datums.forming import Forming
    from pachmount.datums.model import Input
    from pachmount.datums.spec import Pipeline


@dataclass(frozen=True)
class Spec:
    """The text of a spec, and what it says where repos without a project are in the default one."""

    text: bytes
    pipeline: Pipeline

    @property
    def name(self) -> str:
        """The pipeline's; "" if it has none."""
        return self._of_pipeline("name")

    def source(self, project: str) -> Input:
        """The input; a repo without a project is in the pipeline's, or else in `project`."""
        from pachmount.datums.spec import parse

        return parse(self.text, default_project=self._of_pipeline("project", "name") or project)

    def _of_pipeline(self, *names: str) -> str:
        found = self.pipeline.fields.get("pipeline")
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, str) else ""


def read_spec(file: str) -> Spec:
    """The spec in a file, or on stdin (`-`). Raises NotFoundError and UsageError."""
    from pachmount.datums.spec import parse_pipeline

    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"cannot read '{file}'", "no such file", "check the path") from error
    except OSError as error:
        raise UsageError(f"cannot read '{file}'", error.strerror or str(error)) from error
    return Spec(text, parse_pipeline(text))


def forming() -> Forming:
    """How many datums a command takes, by the setting `max_datums`, and where it keeps many."""
    from pachmount import paths
    from pachmount.datums.forming import Forming
    from pachmount.settings import load

    return Forming(load().max_datums, directory=paths.state_dir())
