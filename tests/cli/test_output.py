"""How numbers, times and tables read."""

from __future__ import annotations

import json

import pytest

from pachmount.api.schema import BranchAnswer
from pachmount.cli import output


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (120 << 20, "120 MiB"),
        (1 << 30, "1.0 GiB"),
        (5 << 60, "5120 PiB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (5.9, "5 s"), (60, "1 min"), (119, "1 min"), (7500, "2 h 5 min"), (7200, "2 h"), (273600, "3 d 4 h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert output.duration(seconds) == text


def test_count() -> None:
    assert output.count(1, "mount") == "1 mount"
    assert output.count(1234, "mount") == "1,234 mounts"
    assert output.count(2, "directory", "directories") == "2 directories"


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["A", "BB"], [["long cell", "x"], ["", "y"]])
    assert capsys.readouterr().out == "A          BB\nlong cell  x\n           y\n"


@pytest.mark.parametrize("number", [0, 1, 3])
def test_json_stream_is_an_array(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    branches = [BranchAnswer(project="p", repo="r", branch=f"b{index}", head="") for index in range(number)]
    output.json_stream(iter(branches))
    assert [entry["branch"] for entry in json.loads(capsys.readouterr().out)] == [f"b{n}" for n in range(number)]


def test_when() -> None:
    assert output.when(None) == "-"
    assert output.when(1.0).startswith("19")
