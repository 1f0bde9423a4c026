"""The file of mounts: atomic, private, and never a reason not to start."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

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
    assert file.with_suffix(".damaged").read_text(encoding="latin-1") == content
    assert str(file.with_suffix(".damaged")) in caplog.text
    MountStore(file).save(SPECS)
    assert MountStore(file).load() == SPECS


def _full(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be made any more."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MountStore, "_replace", lambda _self, _text: full(0))


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
    data["version"] = 2
    data["mounts"][0]["new"] = "x"
    file.write_text(json.dumps(data))
    assert MountStore(file).load() == SPECS
