"""The file of mounts: atomic, private, and never a reason not to start."""

from __future__ import annotations

import json
import logging
import os
import tracemalloc
from pathlib import Path

import pytest

from pachmount.documents import MOUNTS, aside_in, encode
from pachmount.errors import ConfigurationError
from pachmount.mounts.mount import MountSpec
from pachmount.mounts.store import MountStore
from pachmount.names import Source

SPECS = [
    MountSpec(f"n{number}", Source("default", "r", "master", f"{number}" * 32), Path(f"/pfs/n{number}"))
    for number in range(3)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "mounts.json"


def test_what_was_saved_is_loaded_by_the_next_daemon(file: Path) -> None:
    assert MountStore(file).load() == []
    MountStore(file).save(SPECS)
    assert MountStore(file).load() == SPECS
    MountStore(file).save([])
    assert MountStore(file).load() == []


def test_it_is_nobody_elses_business(file: Path) -> None:
    MountStore(file).save(SPECS)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "[]",
        "5",
        "{}",
        '{"mounts": 5}',
        '{"mounts": [5]}',
        '{"mounts": [{}]}',
        '{"mounts": null}',
        "\xff",
    ],
)
def test_a_damaged_file_is_set_aside(file: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    file.parent.mkdir()
    file.write_text(content, encoding="latin-1")
    with caplog.at_level(logging.WARNING):
        assert MountStore(file).load() == []
    assert not file.exists()
    [aside] = aside_in(file.parent)
    assert aside.read_text(encoding="latin-1") == content
    assert str(aside) in caplog.text
    MountStore(file).save(SPECS)
    assert MountStore(file).load() == SPECS


def _full(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be made any more."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MountStore, "_replace", lambda _self, _content: full(0))


def test_a_table_of_the_version_before_is_read(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps({"mounts": [spec.to_dict() for spec in SPECS]}, indent=1))
    assert MountStore(file).load() == SPECS


@pytest.mark.parametrize("kind", ["flip", "cut", "zero", "empty", "delete", "foreign"])
def test_a_damaged_table_comes_back_from_its_copy(file: Path, kind: str) -> None:
    """At each place of the file; what was damaged is still there afterwards."""
    MountStore(file).save(SPECS)
    good = file.read_bytes()
    for at in range(0, len(good), 1 if kind == "flip" else 97):
        copy = file.with_name("mounts.copy.json").read_bytes()
        bad = {
            "flip": good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :],
            "cut": good[:at],
            "zero": good[:at] + bytes(len(good) - at),
            "empty": b"",
            "delete": None,
            "foreign": b'{"contexts": {}}',
        }[kind]
        file.unlink() if bad is None else file.write_bytes(bad)
        assert MountStore(file).load() == SPECS
        assert file.with_name("mounts.copy.json").read_bytes() == copy
        aside = aside_in(file.parent)
        assert [each.read_bytes() for each in aside] == ([] if bad is None else [bad])
        for each in aside:
            each.unlink()
        file.write_bytes(good)
        if kind in ("empty", "delete", "foreign"):
            break


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../victim"},
        {"name": "a/b"},
        {"name": 5},
        {"name": None},
        {"mountpoint": "relative"},
        {"mountpoint": "/pfs/../etc"},
        {"mountpoint": ["/pfs"]},
        {"mountpoint": "/pfs\0"},
        {"paths": "/a"},
        {"paths": ["/../a"]},
        {"paths": [7]},
        {"repo": "../r"},
        {"commit": {}},
        {"time": "1"},
        {"time": float("inf")},
        {"time": -1},
        {"mode": "rwx"},
        {"pinned": 1},
        {"follow": "yes"},
    ],
)
def test_a_table_with_a_field_that_can_be_none_is_damaged(file: Path, change: dict[str, object]) -> None:
    file.parent.mkdir()
    file.write_bytes(encode(MOUNTS, {"mounts": [SPECS[0].to_dict() | change]}))
    assert MountStore(file).load() == []
    assert len(aside_in(file.parent)) == 1


@pytest.mark.parametrize("data", [b"[" * 1_000_000, b'{"mounts":' * 100_000, b" " * 20_000_000, b"9" * 1_000_000])
def test_a_table_that_would_take_all_memory_or_stack_is_damaged(file: Path, data: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(data)
    assert MountStore(file).load() == []


def test_a_failing_write_keeps_the_former_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MountStore(file).save(SPECS[:1])
    _full(monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        MountStore(file).save(SPECS)
    assert MountStore(file).load() == SPECS[:1]


def test_a_table_that_got_shorter_fits_into_its_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MountStore(file).save(SPECS)
    _full(monkeypatch)
    MountStore(file).save(SPECS[:1])
    assert MountStore(file).load() == SPECS[:1]
    MountStore(file).save([])
    assert MountStore(file).load() == []


def test_a_table_put_aside_counts_instead_of_that_very_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MountStore(file, tmp_path / "aside")
    store.save(SPECS[:1])
    with monkeypatch.context() as patched:
        _full(patched)
        store.save(SPECS)
    assert store.load() == SPECS
    assert MountStore(file).load() == SPECS[:1]
    MountStore(file).save(SPECS[1:])
    assert store.load() == SPECS[1:], "the file was replaced since"
    (tmp_path / "aside").write_text("{")
    assert store.load() == SPECS[1:]


def test_a_file_of_a_later_version_with_more_keys_is_read(file: Path) -> None:
    MountStore(file).save(SPECS)
    data = json.loads(file.read_text())
    data["mounts"][0]["new"] = data["new"] = "x"
    del data["kind"], data["version"], data["checksum"]
    file.write_bytes(encode(MOUNTS, data))
    assert MountStore(file).load() == SPECS


def test_a_huge_file_takes_no_memory_and_counts_for_nothing(file: Path, tmp_path: Path) -> None:
    aside = tmp_path / "aside.json"
    MountStore(file).save([])
    for huge in (file, aside):
        huge.touch()
        os.truncate(huge, 1 << 40)
    tracemalloc.start()
    try:
        assert MountStore(file, aside).load() == []
        assert tracemalloc.get_traced_memory()[1] < 256 << 20
    finally:
        tracemalloc.stop()


def test_a_pipe_in_the_place_of_a_file_is_an_error_and_no_wait(file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "aside.json")
    MountStore(file).save([])
    assert MountStore(file, tmp_path / "aside.json").load() == []
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ConfigurationError, match="no regular file"):
        MountStore(file, tmp_path / "aside.json").load()
