"""Documents as walks: the commands of their `console` blocks, and what each is shown to print, run in one shell."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.integration.box import Box

PERSON = "/home/ada"
"""The home directory in documents."""
HOLE = "…"
"""Stands for the rest of a line, or alone for any lines."""

_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ID = re.compile(r"\b[0-9a-f]{12}\b|\b[0-9a-f]{8}(?:[0-9a-f]{24})?\b")


@dataclass(frozen=True)
class Step:
    """A command, or the cell of a notebook, with what is shown below it; "" if nothing is shown."""

    command: str
    shown: str = ""

    @property
    def fails(self) -> bool:
        return "error: " in self.shown

    def prints(self, printed: str) -> bool:
        """Whether that is what is shown, but for ids, holes and the width of columns."""
        return not self.shown or re.fullmatch(_pattern(self.shown), _tidy(printed)) is not None


@dataclass(frozen=True)
class Result:
    """What a step printed to both outputs, with `PERSON` for the home, and its exit code."""

    printed: str
    code: int


def steps(document: Path) -> list[Step]:
    """All of them, in the order of the document; `python` blocks are cells that a Python process runs."""
    found: list[Step] = []
    for language, content in _BLOCK.findall(document.read_text(encoding="utf-8")):
        if language == "python":
            found.append(Step(f"python3 - <<'CELL'\n{content}CELL"))
            continue
        first, *pieces = re.split(r"^\$ ", content, flags=re.MULTILINE)
        assert not first.strip(), f"{document.name}: output without a command: {first}"
        for piece in pieces:
            command, _, shown = piece.partition("\n")
            found.append(Step(command, _tidy(shown)))
    return found


def run(walk: Sequence[Step], home: Path, environment: Mapping[str, str], timeout: float = 120) -> list[Result]:
    """One shell, which begins in `home`, runs them all, whatever fails."""
    script = "exec 2>&1\n" + "".join(f"{step.command}\nprintf '\\036%s\\036' $?\n" for step in walk)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=home,
        env={**environment, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=timeout,
        check=False,
    )
    found = re.findall(r"(.*?)\x1e(\d+)\x1e", done.stdout, re.DOTALL)
    return [Result(_at_home(printed, home), int(code)) for printed, code in found]


def run_in(box: Box, walk: Sequence[Step]) -> list[Result]:
    """The same for a person who has nothing but this program."""
    path = f"{Path(sys.executable).parent}:{box.env['PATH']}"
    return run(walk, box.root, {**box.env, "PATH": path})


def _at_home(printed: str, home: Path) -> str:
    """With `PERSON` for the home; columns of tables stay below each other."""
    padding = " " * (len(str(home)) - len(PERSON))
    return re.sub(
        rf"{re.escape(str(home))}(\S*(?=  )|)", lambda found: PERSON + found[1] + padding * bool(found[1]), printed
    )


def _tidy(text: str) -> str:
    return "\n".join(re.sub(r"(?<=\S) {2,}", "  ", line).rstrip() for line in text.strip("\n").splitlines())


def _pattern(shown: str) -> str:
    """A regular expression for the lines that are shown."""
    text = re.sub(rf"^{HOLE}$", "\0", shown, flags=re.MULTILINE)
    text = _ID.sub(lambda found: "\1" * len(found.group()), text)
    text = re.escape(text)
    text = re.sub("\1+", lambda found: f"[0-9a-f]{{{len(found.group())}}}", text.replace("\\\1", "\1"))
    return text.replace("\\\0", "\0").replace("\0", r"[\s\S]*").replace(HOLE, r"[^\n]*")
