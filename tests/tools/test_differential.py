"""The differential check finds no difference between two embedded servers, and finds one where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.localpfs.servers import connect, running, start
from tests.tools.differential import compare


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[grpc.Channel, grpc.Channel]]:
    folder: Path = tmp_path_factory.mktemp("two")
    with running(folder / "a", f"unix://{folder}/s") as one, running(folder / "b", f"unix://{folder}/t") as other:
        yield connect(one.address), connect(other.address)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_embedded_servers_agree(channels: tuple[grpc.Channel, grpc.Channel], seed: int) -> None:
    result = compare(channels, seed, 200, texts=True)
    assert not result.differences, "\n".join(result.differences)
    good = sum(count for what, count in result.codes.items() if what.endswith(" OK"))
    assert good > 90, result.codes
    assert len([what for what in result.codes if what.endswith(" OK")]) > 15, result.codes


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 30))
def test_two_embedded_servers_agree_for_long(channels: tuple[grpc.Channel, grpc.Channel], seed: int) -> None:
    result = compare(channels, seed, 1000, texts=True)
    assert not result.differences, "\n".join(result.differences)


def _through_restarts(folder: Path, seed: int) -> None:
    """One server is restarted every 40 calls, the other never."""
    current = [start(folder / "b", f"unix://{folder}/t")]

    def between(number: int) -> grpc.Channel | None:
        if number % 40 != 39:
            return None
        current[0].stop()
        current[0] = start(folder / "b", f"unix://{folder}/t")
        return current[0].channel

    try:
        with running(folder / "a", f"unix://{folder}/s") as one:
            result = compare((one.channel, current[0].channel), seed, 200, texts=True, between=between)
    finally:
        current[0].stop()
    assert not result.differences, "\n".join(result.differences)


@pytest.mark.parametrize("seed", [101, 102])
def test_a_restart_changes_nothing(tmp_path: Path, seed: int) -> None:
    _through_restarts(tmp_path, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(200, 250))
def test_restarts_change_nothing_for_long(tmp_path: Path, seed: int) -> None:
    _through_restarts(tmp_path, seed)


def test_a_difference_is_seen(channels: tuple[grpc.Channel, grpc.Channel], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(1_000_000))
    monkeypatch.setattr("tests.tools.differential.raw_bytes", lambda source: b"%d" % next(calls))
    result = compare(channels, 1, 300)
    assert result.differences
    assert "sha256" in result.differences[0] or "hash" in result.differences[0] or "size_bytes" in result.differences[0]
