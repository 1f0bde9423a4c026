"""Reading YAML and JSON text with the place of everything in it, for messages that say where something is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from pachmount.errors import UsageError

MALFORMED = "malformed pipeline spec: "

_TAG = "tag:yaml.org,2002:"
_MOST_MERGED = 100
_KINDS = {"map": "an object", "seq": "a list", "str": "a string", "bool": "true or false"}


class _Loader(yaml.SafeLoader):
    """Reads plain words as YAML 1.2 and pachctl do: `on` and `2020-01-01` are text."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # PyYAML's own attribute


for _name, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", "[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.?[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.nan", "-+.0123456789"),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), list(_first))


@dataclass(frozen=True)
class Value:
    """A part of a document; `path` leads to it (`input.cross[1].pfs`, "" for the whole)."""

    path: str
    node: yaml.Node

    @property
    def place(self) -> str:
        """Where this is, for a person: path and line."""
        line = f"line {self.node.start_mark.line + 1}"
        return f"{self.path}, {line}" if self.path else line

    def error(self, what: str, hint: str = "") -> UsageError:
        """The error that something is wrong here."""
        return UsageError(what, self.place, hint)

    def has_kind(self, kind: str) -> bool:
        """Whether this is of one of YAML's kinds: map, seq, str, bool, null, …"""
        return bool(self.node.tag == _TAG + kind)

    def fields(self, known: Mapping[str, str] | None = None, message: str = "") -> dict[str, Value]:
        """The fields of an object without those that are null.

        With `known` (a spelling to the name that is used) others are refused, as unknown in `message`.
        """
        found: dict[str, Value] = {}
        for key, node in self._pairs(self._required("map"), [_MOST_MERGED]):
            name = key if known is None else known.get(key, "")
            value = Value(f"{self.path}.{key}" if self.path else key, node)
            if not name:
                raise value.error(f'{MALFORMED}unknown field "{key}" in {message}')
            if not value.has_kind("null"):
                found[name] = value
        return found

    def _pairs(self, node: yaml.Node, budget: list[int]) -> Iterator[tuple[str, yaml.Node]]:
        """What is merged (`<<`) comes before an object's own; `budget` (one number) ends circles of merging."""
        keys: set[str] = set()
        own = []
        for key_node, value in node.value:
            key = Value(self.path, key_node)
            if key.has_kind("merge"):
                budget[0] -= 1
                merged = value.value if value.tag == _TAG + "seq" else [value]
                if budget[0] < 0 or any(one.tag != _TAG + "map" for one in merged):
                    raise key.error(f"{MALFORMED}only objects can be merged")
                for one in reversed(merged):
                    yield from self._pairs(one, budget)
                continue
            name = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else ""
            if name in keys:
                raise key.error(f'{MALFORMED}"{name}" stands there twice')
            keys.add(name)
            own.append((name, value))
        yield from own

    def items(self) -> list[Value]:
        """The elements of a list."""
        return [Value(f"{self.path}[{number}]", node) for number, node in enumerate(self._required("seq").value)]

    def text(self) -> str:
        """A string."""
        value = str(self._required("str").value)
        try:  # JSON writes some characters as two halves
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self.error(f"{MALFORMED}half a character") from None

    def flag(self) -> bool:
        """True or false."""
        return str(self._required("bool").value).lower() == "true"

    def plain(self) -> Any:
        """The same in Python's types. Raises UsageError where it cannot be."""
        try:
            return _Loader("").construct_document(self.node)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self.error(MALFORMED + _problem(error)) from error

    def _required(self, kind: str) -> yaml.Node:
        if not self.has_kind(kind):
            hint = "write it in quotes" if kind == "str" and isinstance(self.node, yaml.ScalarNode) else ""
            raise self.error(f"{MALFORMED}{self.path or 'it'} must be {_KINDS[kind]}", hint)
        return self.node


def first_document(text: str | bytes) -> Value:
    """The first document of a YAML or JSON text. Raises UsageError: "EOF" if there is none, as the original says."""
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError(f"{MALFORMED}it is not UTF-8", str(error)) from error
    try:
        node = _compose(text)
    except (yaml.YAMLError, RecursionError) as error:
        node = _compose_json(text)
        if node is None:
            raise UsageError(MALFORMED + _problem(error)) from error
    if node is None:
        raise UsageError("EOF")
    return Value("", node)


def _compose(text: str) -> yaml.Node | None:
    found = yaml.compose_all(text, _Loader)
    return next(iter(found), None)


def _compose_json(text: str) -> yaml.Node | None:
    """JSON that is no YAML: with tabs, or with another document right behind."""
    start = len(text) - len(text.lstrip())
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
        return _compose(text[:end].replace("\t", " "))
    except (ValueError, RecursionError, yaml.YAMLError):
        return None


def _problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "yaml: too deeply nested"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        problem = re.sub(r"^expected (.*?), but .*", r"did not find expected \1", error.problem or "", flags=re.DOTALL)
        return f"yaml: line {error.problem_mark.line + 1}: {problem}"
    return "yaml: " + " ".join(str(error).split())
