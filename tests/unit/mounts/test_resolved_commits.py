"""Which commits are asked for again."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_mock import MockerFixture

from pachmount.errors import NotFoundError
from pachmount.mounts import resolved_commits
from pachmount.mounts.resolve import Resolved
from pachmount.mounts.resolved_commits import KEPT_SECONDS, MAX_KEPT, ResolvedCommits
from pachmount.names import Source

COMMIT = "1a2b3c4d" * 4
PINNED = Source("p", "r", "b", COMMIT, "/path")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def asked(mocker: MockerFixture) -> Any:
    return mocker.patch.object(
        resolved_commits, "resolve", side_effect=lambda _client, source, _timeout: Resolved(source, 1.0, pinned=True)
    )


def test_a_commit_is_asked_for_once_in_a_while(asked: Any) -> None:
    clock = Clock()
    resolved, client = ResolvedCommits(clock), object()
    for path in ("/a", "/b"):
        found = resolved.get(client, Source("p", "r", "b", COMMIT, path))  # type: ignore[arg-type]
        assert (found.source.commit, found.source.path) == (COMMIT, "")
    assert asked.call_count == 1
    resolved.get(object(), PINNED)  # type: ignore[arg-type]
    assert asked.call_count == 2
    clock.now += KEPT_SECONDS
    resolved.get(client, PINNED)  # type: ignore[arg-type]
    assert asked.call_count == 3


def test_branches_and_what_is_not_found_are_asked_for_each_time(asked: Any) -> None:
    resolved, client = ResolvedCommits(), object()
    for source in (Source("p", "r", "b"), Source("p", "r", "", "b^"), Source("p", "r", "", COMMIT[:8])):
        for number in (1, 2):
            asked.reset_mock()
            resolved.get(client, source)  # type: ignore[arg-type]
            assert asked.call_count == 1, number
    asked.side_effect = NotFoundError("gone")
    for _ in range(2):
        with pytest.raises(NotFoundError):
            resolved.get(client, PINNED)  # type: ignore[arg-type]


def test_it_keeps_only_so_many(asked: Any) -> None:
    resolved, client = ResolvedCommits(), object()
    for number in range(MAX_KEPT + 1):
        resolved.get(client, Source("p", f"r{number}", "b", COMMIT))  # type: ignore[arg-type]
    resolved.get(client, Source("p", f"r{MAX_KEPT}", "b", COMMIT))  # type: ignore[arg-type]
    assert asked.call_count == MAX_KEPT + 1
    resolved.get(client, Source("p", "r0", "b", COMMIT))  # type: ignore[arg-type]
    assert asked.call_count == MAX_KEPT + 2
