"""docs/rest.md tells of every route, with answers that docs/openapi.json allows."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from pachmount.api import openapi
from pachmount.api.server import ROUTES
from tests.docs.rest_document import DOCUMENT, HOLE, Example, examples, parse

API = json.loads((DOCUMENT.parent / "openapi.json").read_text())
EXAMPLES = examples()
TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_every_operation_has_an_example() -> None:
    shown = {operation for example in EXAMPLES for operation in example.operations}
    assert shown == set(openapi.operations())


def test_every_operation_has_a_heading() -> None:
    told = set(re.findall(r"`(GET|PUT) (/[\w/]*)`", "\n".join(re.findall(r"^### .*", TEXT, re.MULTILINE))))
    assert {(method.lower(), route) for method, route in told} == set(openapi.operations())


def test_an_example_is_one_request_and_has_its_answer() -> None:
    assert [example.title for example in EXAMPLES if len(example.operations) > 1] == []
    assert [example.title for example in EXAMPLES if example.operations and not example.kind] == []


def test_named_routes_exist() -> None:
    named = re.findall(r"`(?:GET|PUT) (/[\w/]*)", TEXT)
    assert set(named) <= set(ROUTES)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.json is not None], ids=lambda example: example.title)
def test_shown_answers_are_those_of_the_api(example: Example) -> None:
    ((method, route),) = example.operations
    answers = API["paths"][route][method]["responses"]
    schema = answers["200"] if example.status == 200 else API["components"]["responses"]["Error"]
    schema = schema["content"]["application/json"]["schema"]
    validate(example.json, schema)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.operations], ids=lambda example: example.title)
def test_sent_requests_are_those_of_the_api(example: Example) -> None:
    ((method, route),) = example.operations
    reads = API["paths"][route][method].get("requestBody")
    script = re.sub(r"""'"(\$\w+)"'""", r"\1", example.script)  # a variable between two quoted pieces
    for body in re.findall(r"-d '(\{.*?\})'", script, re.DOTALL) if reads else []:
        validate(json.loads(body), reads["content"]["application/json"]["schema"])


def test_holes_are_read() -> None:
    assert parse('{"a": [1, …], "b": {…}, "c": "x…"}') == {"a": [1, HOLE], "b": {HOLE: 0}, "c": "x…"}
    document = {"$ref": "#/components/schemas/HealthAnswer"}
    validate({"status": "running"}, document)
    for wrong in ({"status": "running", "more": 1}, {"status": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            validate(wrong, document)
    incomplete: list[Any] = [[{"project": {}}], [{"project": {"name": 1}}, HOLE]]
    for found in incomplete:
        with pytest.raises(jsonschema.ValidationError):
            validate(found, {"type": "array", "items": {"$ref": "#/components/schemas/ProjectAnswer"}})
    validate([{"project": {HOLE: 0}}, HOLE], {"type": "array", "items": {"$ref": "#/components/schemas/ProjectAnswer"}})


def validate(shown: Any, schema: dict[str, Any]) -> None:
    """As the API's schema says, but an object with a hole may lack keys; none may have unknown ones."""
    whole = {**schema, "components": _with_holes(API["components"])}
    jsonschema.validate(_without_held_items(shown), whole, cls=jsonschema.Draft202012Validator)


def _with_holes(schemas: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(schemas)
    for schema in _objects(changed):
        if "properties" in schema:
            schema["additionalProperties"] = False
        schema.setdefault("properties", {})[HOLE] = True
        if "required" in schema:
            schema["anyOf"] = [{"required": schema.pop("required")}, {"required": [HOLE]}]
    return changed


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in list(schema.values()):
            yield from _objects(value)


def _without_held_items(shown: Any) -> Any:
    if isinstance(shown, list):
        return [_without_held_items(item) for item in shown if item != HOLE]
    if isinstance(shown, dict):
        return {key: _without_held_items(value) for key, value in shown.items()}
    return shown
