"""The files of a run's directory are input: whatever they have, nothing else is touched, and the run goes on."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pachmount.errors import ConfigurationError, DataError, PachmountError, UsageError
from pachmount.running.messages import Outcome
from pachmount.running.records import RunDirectory

IDS = [f"{number:064x}" for number in range(20)]
JOURNAL = "outcomes.jsonl"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A run in which all datums were done."""
    with RunDirectory(tmp_path / "run") as run:
        for datum in IDS:
            (run.begin(datum) / "out").mkdir()
            run.add(Outcome(datum, "success", 1, 0, 1.5, "é"), "key")
    return tmp_path / "run"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    victim = tmp_path / "victim"
    (victim / IDS[0] / "out").mkdir(parents=True)
    (victim / "file").write_text("precious")
    (victim / "file").chmod(0o644)
    return victim


def state_of(victim: Path) -> list[tuple[str, int, int]]:
    return [(str(path), path.stat().st_mode, path.stat().st_size) for path in sorted(victim.rglob("*"))]


def done(directory: Path) -> tuple[list[str], str]:
    with RunDirectory(directory) as run:
        return [datum for datum in IDS if run.done(datum, "key")], run.damage


@pytest.mark.parametrize("seed", range(40))
def test_damaged_records_count_for_nothing(directory: Path, seed: int) -> None:
    """Whatever happened to the bytes: what is believed was written so, the rest is set aside and run again."""
    rng = random.Random(seed)
    data = bytearray((directory / JOURNAL).read_bytes())
    at = rng.randrange(len(data))
    match seed % 5:
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            del data[at:]
        case 2:
            data[at : at + 500] = bytes(len(data[at : at + 500]))
        case 3:
            data[at:at] = rng.randbytes(300)
        case 4:
            data[at:] = b"[" * 200_000 + b"\n" + data[at:]
    (directory / JOURNAL).write_bytes(data)
    known, damage = done(directory)
    assert len(known) >= len(IDS) - (20 if seed % 5 == 1 else 4)
    aside = [path.read_bytes() for path in directory.glob("outcomes.damaged-*.jsonl")]
    assert aside == ([bytes(data)] if damage else [])
    assert damage or known == IDS[: len(known)]  # a torn end is how every killed run ends
    assert done(directory) == (known, "")


ODD: list[Any] = [None, True, 0, -1, 1 << 70, 1.5, float("nan"), "", "x", "\0", "../a", "/a", "\ud800", [], {}, [[]]]


@pytest.mark.parametrize("seed", range(3))
def test_records_of_any_content(directory: Path, victim: Path, seed: int) -> None:
    rng = random.Random(seed)
    before = state_of(victim)
    for _ in range(150):
        for aside in directory.glob("outcomes.damaged-*"):
            aside.unlink()
        outcome: dict[str, Any] = asdict(Outcome(IDS[0], "success"))
        line: list[Any] = [IDS[0], "key", outcome]
        if rng.random() < 0.7:
            outcome[rng.choice([*outcome, "more"])] = rng.choice(ODD)
        if rng.random() < 0.5:
            line[rng.randrange(3)] = rng.choice([*ODD, "../../victim", str(victim / IDS[0])])
        if rng.random() < 0.1:
            line.append(rng.choice(ODD))
        (directory / JOURNAL).write_text(json.dumps(line) + "\n")
        with RunDirectory(directory) as run:
            found = run.done(IDS[0], "key")
            assert found is None or (found.state, found.datum) in [("skipped", IDS[0]), ("recovered", IDS[0])]
    assert state_of(victim) == before


@pytest.mark.parametrize("datum", ["..", "../../victim", "/", "", "x" * 64, "a" * 63, "A" * 64, f"{IDS[0]}/.."])
def test_what_is_no_id_of_a_datum_becomes_no_path(directory: Path, datum: str) -> None:
    with RunDirectory(directory) as run:
        for use in (run.begin, run.of_datum, run.output_of):
            with pytest.raises(DataError, match="64 hex"):
                use(datum)
    assert len(list((directory / "datums").iterdir())) == len(IDS)


def test_records_of_the_version_before_are_taken_over(directory: Path) -> None:
    lines = [line.rpartition("\t")[0] for line in (directory / JOURNAL).read_text().splitlines()]
    (directory / JOURNAL).write_text("\n".join(lines) + "\n" + '["torn')
    assert done(directory) == (IDS, "")


def test_a_torn_end_does_not_hide_the_next_record(directory: Path) -> None:
    """A datum that was begun after a kill, in a run that is killed as well, is not taken for done."""
    with open(directory / JOURNAL, "a") as journal:
        journal.write('["torn')
    with RunDirectory(directory) as run:
        (run.begin(IDS[3]) / "out").mkdir()
    assert done(directory) == ([datum for datum in IDS if datum != IDS[3]], "")


@pytest.mark.parametrize("name", [JOURNAL, "lock", "datums", f"datums/{IDS[0]}"])
@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "pipe", "directory", "file"])
def test_something_else_in_the_place_of_a_file(directory: Path, victim: Path, name: str, kind: str) -> None:
    before = state_of(victim)
    path = directory / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    match kind:
        case "link":
            path.symlink_to(victim if "datums" in name else victim / "file")
        case "dangling":
            path.symlink_to(victim / "new")
        case "hard link":
            os.link(victim / "file", path)
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "file":
            path.write_text("not of ours\n")
    try:
        with RunDirectory(directory) as run:
            run.done(IDS[0], "key")
            run.begin(IDS[0])
    except PachmountError as error:
        assert error.hint  # noqa: PT017
        assert kind != "directory" or "datums" not in name
    if kind == "link" and "datums" in name:
        assert path.is_symlink()
    assert state_of(victim) == before


def test_a_link_in_a_datums_directory_is_removed_and_not_followed(directory: Path, victim: Path) -> None:
    before = state_of(victim)
    (directory / "datums" / IDS[0] / "out" / "way").symlink_to(victim)
    (directory / "datums" / IDS[1] / "out").rmdir()
    (directory / "datums" / IDS[1] / "out").symlink_to(victim)
    with RunDirectory(directory) as run:
        assert run.done(IDS[1], "key") is None
        assert list(run.begin(IDS[0]).iterdir()) == []
        assert list(run.begin(IDS[1]).iterdir()) == []
    assert state_of(victim) == before


def test_a_huge_file_is_an_error_at_once(directory: Path) -> None:
    os.truncate(directory / JOURNAL, 1 << 40)
    with pytest.raises(ConfigurationError, match="bytes") as caught:
        RunDirectory(directory)
    assert "--run-dir" in caught.value.hint


def test_a_directory_of_somebody_else_is_refused_and_left_as_it_is(victim: Path) -> None:
    victim.chmod(0o755)
    before = state_of(victim)
    with pytest.raises(UsageError, match="of no run"):
        RunDirectory(victim)
    assert state_of(victim) == before
    assert victim.stat().st_mode & 0o777 == 0o755
