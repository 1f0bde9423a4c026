"""Reading a spec that a command names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pachmount.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from pachmount.datums.spec import Pipeline


def read_spec(spec: str) -> Pipeline:
    """The spec in a file, or on stdin (`-`). Raises NotFoundError and UsageError."""
    from pachmount.datums.spec import parse_pipeline

    if spec == "-":
        return parse_pipeline(sys.stdin.buffer.read())
    try:
        text = Path(spec).read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"cannot read '{spec}'", "no such file", "check the path") from error
    except OSError as error:
        raise UsageError(f"cannot read '{spec}'", error.strerror or str(error)) from error
    return parse_pipeline(text)
