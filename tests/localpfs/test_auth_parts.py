"""Tokens, logins, id tokens and bindings by themselves: what the recordings take too long for, or do not show."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import grpc
import pytest

from pachmount.localpfs.access import CLUSTER, Resource, of_project, of_repo
from pachmount.localpfs.auth.bindings import Bindings
from pachmount.localpfs.auth.idtokens import IdTokens
from pachmount.localpfs.auth.logins import MAX_WAITING, Logins
from pachmount.localpfs.auth.tokens import Tokens
from pachmount.localpfs.model import RepoName
from pachmount.localpfs.status import Refusal
from pachmount.pfs.proto import auth_pb2

_REPO = of_repo(RepoName("p", "r", "user"))


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def _refused(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        call()
    return str(caught.value)


def test_a_token_expires_and_is_known_as_expired_for_a_day() -> None:
    clock = Clock()
    tokens = Tokens(clock)
    token = tokens.issue("robot:a", 10)
    forever = tokens.issue("robot:a")
    assert tokens.caller(token).expires == clock.now + 10
    clock.now += 10
    assert "token expiration is in the past" in _refused(lambda: tokens.caller(token))
    clock.now += 24 * 3600
    tokens.issue("robot:b")
    assert "corrupted or has expired" in _refused(lambda: tokens.caller(token))
    assert tokens.caller(forever).principal == "robot:a"


def test_revoking() -> None:
    tokens = Tokens()
    mine = [tokens.issue("user:a") for _ in range(3)]
    other = tokens.issue("user:b")
    assert (tokens.revoke(mine[0]), tokens.revoke(mine[0]), tokens.revoke("")) == (1, 0, 0)
    assert tokens.revoke_all("user:a") == 2
    assert tokens.caller(other).principal == "user:b"


def test_tokens_look_like_those_of_a_cluster() -> None:
    token = Tokens().issue("user:a")
    assert len(token) == 32
    assert token[12] == "4"
    assert set(token) <= set("0123456789abcdef")


class Waiter:
    """Waits for a state in a thread of its own until the test ends."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins
        self._wanted = threading.Event()
        self._wanted.set()
        self._pool = ThreadPoolExecutor(MAX_WAITING + 1)

    def wait(self, state: str) -> Future[str]:
        return self._pool.submit(self._logins.wait, state, self._wanted.is_set)

    def give_up(self) -> None:
        self._wanted.clear()
        self._logins.wake()


def test_a_login_that_nobody_completes_runs_out() -> None:
    logins = Logins(0.2)
    state, _ = logins.start()
    assert "OIDC state token expired" in _refused(lambda: logins.wait(state, lambda: True))


def test_a_completed_login_is_good_until_its_time_is_over() -> None:
    clock = Clock()
    logins = Logins(180, clock)
    state, nonce = logins.start()
    assert logins.complete(state, nonce, "a@b")
    assert logins.wait(state, lambda: True) == logins.wait(state, lambda: True) == "a@b"
    clock.now += 180
    waiter = Waiter(logins)
    found = waiter.wait(state)
    time.sleep(0.1)
    assert not found.done()
    waiter.give_up()
    assert "CANCELLED" in _refused(found.result)
    assert not logins.complete(state, nonce, "a@b")


def test_a_login_that_failed_stays_so() -> None:
    logins = Logins(180)
    state, nonce = logins.start()
    logins.fail(state)
    assert logins.complete(state, nonce, "a@b")
    assert "authorization failed" in _refused(lambda: logins.wait(state, lambda: True))


def test_a_code_for_another_login_completes_nothing() -> None:
    logins = Logins(180)
    (state, _), (_, other) = logins.start(), logins.start()
    assert not logins.complete(state, other, "a@b")


def test_waiting_has_a_limit_and_ends_with_the_server() -> None:
    logins = Logins(180)
    waiter = Waiter(logins)
    waiting = [waiter.wait("nonsense") for _ in range(MAX_WAITING)]
    deadline = time.monotonic() + 10
    while "RESOURCE_EXHAUSTED" not in _refused(lambda: logins.wait("x", lambda: False)):
        assert time.monotonic() < deadline
    logins.close()
    for one in waiting:
        assert "UNAVAILABLE" in _refused(one.result)


def test_states_have_31_characters_and_differ() -> None:
    logins = Logins(180)
    states = {logins.start()[0] for _ in range(20)}
    assert len(states) == 20
    assert all(len(state) == 31 for state in states)


def test_id_tokens() -> None:
    clock = Clock()
    ours = IdTokens("http://here/dex", 100, clock)
    token = ours.sign("a@b", "n")
    assert ours.verify(token) == ("a@b", 100)
    header, claims, signature = token.split(".")
    forged = IdTokens("http://here/dex", 100, clock).sign("root@b", "n")
    foreign = IdTokens("http://there/dex", 100, clock).sign("a@b", "n")
    assert "failed to verify signature" in _refused(lambda: ours.verify(forged))
    assert "issued by a different provider" in _refused(lambda: ours.verify(foreign))
    assert "malformed" in _refused(lambda: ours.verify(f"{header}.!.{signature}"))
    assert "malformed" in _refused(lambda: ours.verify(f"{header}.{claims}"))
    assert "different provider" in _refused(lambda: ours.verify("e30.W10.e30"))
    clock.now += 100
    assert "expired" in _refused(lambda: ours.verify(token))


def _bindings(*there: Resource) -> Bindings:
    return Bindings(lambda resource: resource in there)


def _may(bindings: Bindings, principal: str, resource: Resource, permission: int) -> bool:
    return permission in bindings.satisfied(principal, resource, [permission])


def test_roles_come_down_from_project_and_cluster() -> None:
    bindings = _bindings(of_project("p"), _REPO)
    bindings.bind(of_project("p"), "robot:a", ["repoReader"])
    bindings.bind(CLUSTER, "robot:b", ["repoWriter"])
    assert _may(bindings, "robot:a", _REPO, auth_pb2.REPO_READ)
    assert not _may(bindings, "robot:a", _REPO, auth_pb2.REPO_WRITE)
    assert _may(bindings, "robot:b", _REPO, auth_pb2.REPO_WRITE)
    assert bindings.held("robot:a", of_project("p")) == ([], [])
    assert bindings.held("robot:b", _REPO)[1] == ["repoWriter"]


def test_everybody_may_look_at_the_specification_of_a_pipeline() -> None:
    bindings = _bindings(of_project("p"), _REPO)
    spec = of_repo(RepoName("p", "r", "spec"))
    assert _may(bindings, "robot:a", spec, auth_pb2.REPO_READ)
    assert not _may(bindings, "robot:a", spec, auth_pb2.REPO_WRITE)


def test_announced_roles_wait_for_their_repo_once() -> None:
    there = [of_project("p")]
    bindings = Bindings(lambda resource: resource in there)
    bindings.announce(_REPO, "robot:a", ["repoReader"])
    assert bindings.entries(_REPO) == {}
    there.append(_REPO)
    bindings.created(_REPO, "user:o")
    assert bindings.entries(_REPO) == {"robot:a": {"repoReader"}, "user:o": {"repoOwner"}}
    bindings.removed(_REPO)
    bindings.created(_REPO, "user:x")
    assert bindings.entries(_REPO) == {"user:x": {"repoOwner"}}


def test_groups() -> None:
    bindings = _bindings(of_project("p"), _REPO)
    bindings.change_members("group:g", ["user:a", "user:b"], [])
    bindings.bind(_REPO, "group:g", ["repoReader"])
    assert bindings.members("group:g") == ["user:a", "user:b"]
    assert bindings.groups("user:a") == ["group:g"]
    assert _may(bindings, "user:a", _REPO, auth_pb2.REPO_READ)
    bindings.change_members("group:g", [], ["user:a"])
    assert not _may(bindings, "user:a", _REPO, auth_pb2.REPO_READ)


def test_refusals_are_unknown_for_what_does_not_exist() -> None:
    bindings = _bindings(of_project("p"))
    with pytest.raises(Refusal, match="no role binding exists for REPO p/r") as caught:
        bindings.satisfied("robot:a", _REPO, [auth_pb2.REPO_READ])
    assert caught.value.code is grpc.StatusCode.UNKNOWN
    assert _may(bindings, "pach:root", _REPO, auth_pb2.REPO_READ)
