"""Files of the repository that are made of the code, such as docs/cli.md: written, or compared with what is there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path


def main(module: str, files: Mapping[Path, str]) -> int:
    """What `python -m MODULE` does: write the files, or with `--check` tell which are not fresh; the exit code.

    Paths are seen from the top of the repository.
    """
    if sys.argv[1:] == ["--check"]:
        stale = [str(path) for path, text in files.items() if not _is_fresh(path, text)]
        if stale:
            print(f"not fresh: {', '.join(stale)}: python -m {module}", file=sys.stderr)  # noqa: T201
        return 1 if stale else 0
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def _is_fresh(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
