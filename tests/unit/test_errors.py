"""The error tree: every error has its own id and says the same after a journey through JSON."""

from __future__ import annotations

import json
import os

import pytest

from pachmount import errors
from pachmount.errors import BY_ID, ExitCode, PachmountError


@pytest.mark.parametrize("cls", BY_ID.values(), ids=list(BY_ID))
def test_an_error_survives_json(cls: type[PachmountError]) -> None:
    error = cls("what", "why", "hint")
    again = errors.from_dict(json.loads(json.dumps(error.to_dict())))
    assert type(again) is cls
    assert (again.what, again.why, again.hint) == ("what", "why", "hint")
    assert str(again) == "what — why"


@pytest.mark.parametrize("cls", BY_ID.values(), ids=list(BY_ID))
def test_every_error_is_a_proper_one_at_each_edge(cls: type[PachmountError]) -> None:
    assert cls.id == cls.id.lower()
    assert cls.errno > 0
    assert os.strerror(cls.errno)
    assert 400 <= cls.http_status < 600
    assert cls.exit_code in set(ExitCode) - {ExitCode.OK, ExitCode.NOT_RUNNING, ExitCode.INTERRUPTED}


def test_ids_are_unique() -> None:
    classes = errors._tree(PachmountError)
    assert len({cls.id for cls in classes}) == len(classes)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = {
        line.split()[0]
        for line in errors.__doc__.replace("│", "").replace("├──", "").replace("└──", "").split("\n")
        if line.strip() and line.split()[0].endswith("Error")
    }
    assert drawn == {cls.__name__ for cls in errors._tree(PachmountError)}


@pytest.mark.parametrize("data", [{}, {"id": "of another version", "error": "x"}, {"id": None}, {"error": 5}])
def test_strange_data_still_gives_an_error(data: dict[str, object]) -> None:
    assert type(errors.from_dict(data)) is PachmountError


def test_without_a_reason_only_what() -> None:
    assert str(PachmountError("what")) == "what"
