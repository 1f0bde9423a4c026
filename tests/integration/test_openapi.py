"""docs/openapi.json is a valid document, tells of every route, and the daemon answers as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from openapi_spec_validator import validate

from pachmount.api import openapi
from pachmount.api.schema import CLIENT_HEADER
from tests.integration.box import Box

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
API = schemathesis.openapi.from_dict(DOCUMENT)
FUZZED = API.exclude(path=["/config", "/auth/_logout"], method="PUT")
"""The rest would dial made-up addresses, or is tested where there is a login."""
CHECKS = schemathesis.checks.CHECKS.get_by_names(["content_type_conformance", "response_schema_conformance"])
"""Not: that requests beside the schema are refused. They are decoded as leniently as by the original."""
SOME = hypothesis.settings(max_examples=5, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
MANY = hypothesis.settings(SOME, max_examples=150)


@pytest.fixture(scope="module")
def served(fuse: None) -> Iterator[Box]:
    box = Box({"PACHMOUNT_LISTEN": "127.0.0.1:0"})
    try:
        box.start()
        repo = box.repo()
        box.put(repo, {"/f": b"x", "/d/g": b"y"})
        box.mount(repo, "ro")
        box.mount(repo, "rw", mode="rw")
        yield box
        assert not box.log_problems()
    finally:
        box.close()


def test_the_document_is_valid_and_whole() -> None:
    validate(DOCUMENT)
    told = {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert told == set(openapi.operations()) == set(openapi.OPERATIONS)


def check(served: Box, case: Any, *, ours: bool) -> None:
    """Send a request; the answer must be one that the document allows, and no error may be unforeseen."""
    headers = {"Authorization": f"Bearer {served.places.token_file.read_text().strip()}"}
    case.headers = {**(case.headers or {}), **({CLIENT_HEADER: "1"} if ours else {})}
    response = case.call(base_url=served.status()["listen"], headers=headers, timeout=60)
    assert "unforeseen error" not in response.text, response.text
    if response.status_code == 200:
        case.validate_response(response, checks=CHECKS)
    else:
        kind = "application/json" if ours else "text/plain"
        unreadable = response.status_code == 400 and not response.content  # said by tornado before a route is chosen
        assert unreadable or response.status_code == 405 or response.headers["content-type"][0].startswith(kind)


@FUZZED.parametrize()
@SOME
def test_answers_are_those_of_the_document(served: Box, case: Any) -> None:
    check(served, case, ours=False)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("ours", [False, True])
@FUZZED.parametrize()
@MANY
def test_many_answers_are_those_of_the_document(served: Box, case: Any, ours: bool) -> None:
    check(served, case, ours=ours)
