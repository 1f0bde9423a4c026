"""docs/rest.md as data: its shell blocks, each with the answer that is shown below it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/rest.md"
HOLE = "…"
"""Stands for more keys of an object, more items of a list, the rest of a text, or more lines."""

_BLOCK = re.compile(r"^```(sh|json|text|http)\n(.*?)^```$|^## ([^\n]*)$", re.MULTILINE | re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_URL = re.compile(r"(?:http://localhost|\$URL)(/[\w/]*)")


@dataclass(frozen=True)
class Example:
    """A shell block with the answer it ends in: `kind` json, text, http (status and headers first), or "" for none."""

    section: str
    script: str
    kind: str = ""
    shown: str = ""

    @property
    def operations(self) -> list[tuple[str, str]]:
        """Method and route of each curl line."""
        lines = self.script.replace("\\\n", " ").splitlines()
        calls = [(line, found.group(1)) for line in lines if (found := _URL.search(line)) and "curl " in line]
        return [("put" if " -X PUT " in line else "get", route) for line, route in calls]

    @property
    def title(self) -> str:
        return " ".join("-".join(operation) for operation in self.operations) or self.script.split("\n")[0]

    @property
    def status(self) -> int:
        return int(self.shown.split()[1]) if self.kind == "http" else 200

    @property
    def headers(self) -> dict[str, str]:
        """Those that are shown, by name in small letters."""
        lines = self.shown.partition("\n\n")[0].splitlines()[1:] if self.kind == "http" else []
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def body(self) -> str:
        return self.shown.partition("\n\n")[2] if self.kind == "http" else self.shown

    @property
    def json(self) -> Any:
        """The JSON that is shown, with holes as `parse` makes them; None if the answer is text."""
        is_json = self.kind == "json" or self.headers.get("content-type") == "application/json"
        return parse(self.body) if is_json else None


def examples() -> list[Example]:
    """All of them, in the order of the document."""
    found: list[Example] = []
    section = ""
    end = 0
    text = DOCUMENT.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        kind, content, title = match.groups()
        if title is not None:
            section = title
        elif kind == "sh":
            found.append(Example(section, content))
        else:
            assert found, f"an answer to nothing: {content}"
            assert not found[-1].kind, f"a second answer: {content}"
            assert not text[end : match.start()].strip(), f"an answer has to follow its command: {content}"
            found[-1] = Example(section, found[-1].script, kind, content)
        end = match.end()
    return found


def parse(text: str) -> Any:
    """JSON in which `…` may stand for more: in an object it becomes the key `…`, in a list the item "…"."""
    result, position, opened = "", 0, [""]
    while position < len(text):
        string = _STRING.match(text, position)
        char = text[position]
        if string:
            result += string.group()
            position = string.end()
            continue
        if char in "{[":
            opened.append(char)
        elif char in "}]":
            opened.pop()
        result += char if char != HOLE else '"…": 0' if opened[-1] == "{" else '"…"'
        position += 1
    return json.loads(result)
