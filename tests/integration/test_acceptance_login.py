"""Acceptance (see test_acceptance): login, logout, what whom is permitted, and the address of the cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import AuthState, CommitRef, Identity, RepoRef
from tests.integration.auth_cluster import AuthCluster, auth_cluster, tokens_in
from tests.integration.box import Box
from tests.integration.rest_client import SERVED, Rest, client_of
from tests.localpfs.browser import log_in, query


@pytest.fixture(scope="module")
def cluster(fuse: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthCluster]:
    with auth_cluster(tmp_path_factory.mktemp("auth")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def box(cluster: AuthCluster) -> Iterator[Box]:
    """A daemon that knows the cluster, for the module; each test begins and ends logged out."""
    box = Box(SERVED)
    try:
        box.ok("daemon", "start")
        with client_of(box, "socket") as rest:
            assert rest.put("/config", {"pachd_address": cluster.address}).status_code == 200
        yield box
        assert not box.log_problems()
        box.stop()
    finally:
        box.close()


@pytest.fixture(autouse=True)
def _logged_out(rest: Rest) -> Iterator[None]:
    yield
    rest.put("/auth/_logout")


def sign_in(rest: Rest, login: str) -> None:
    """The whole way of the original's extension: begin, fill in the form in a browser, fetch the token."""
    begun = rest.put("/auth/_login")
    assert begun.status_code == 200, begun.text
    assert query(begun.json()["auth_url"])["state"] == begun.json()["oidc_state"]
    assert log_in(begun.json()["auth_url"], login, "right").status == 200
    done = rest.put("/auth/_login_token", begun.json()["oidc_state"])
    assert done.status_code == 200, done.text


def token(box: Box) -> str:
    """The session token that the daemon saved, "" if none."""
    return tokens_in(box).get("mount-server", "")


def who(cluster: AuthCluster, token: str) -> Identity:
    with PfsClient(cluster.address, token=token) as client:
        return client.identity()


def permitted(rest: Rest) -> dict[str, str]:
    return {entry["repo"]: entry["authorization"] for entry in rest.get("/repos").json()}


def test_login_and_logout(box: Box, rest: Rest, cluster: AuthCluster) -> None:
    sign_in(rest, "ada")
    identity = who(cluster, token(box))
    assert (identity.state, identity.username) == (AuthState.LOGGED_IN, "user:ada@example.com")
    assert rest.get("/repos").status_code == 200
    answer = rest.put("/auth/_logout")
    assert (answer.status_code, answer.text, token(box)) == (200, "", "")
    assert who(cluster, token(box)).state is AuthState.LOGGED_OUT


def test_the_owner_may_write_and_others_may_nothing(box: Box, rest: Rest, cluster: AuthCluster) -> None:
    sign_in(rest, "ada")
    repo = box.repo("owned")
    ref = RepoRef("default", repo)
    with PfsClient(cluster.address, token=token(box)) as ada:
        ada.create_repo(ref)
        with ada.modify_file(CommitRef(ref, "", "master")) as change:
            change.add_file("/f", b"ada's")
    assert permitted(rest)[repo] == "write"
    rest.mount("mine", repo)
    assert box.path("mine", "f").read_bytes() == b"ada's"
    assert rest.put("/auth/_logout").status_code == 200
    assert box.mounts_in_kernel() == []
    sign_in(rest, "bob")
    assert permitted(rest)[repo] == "none"
    answer = rest.ask_mount({"name": "theirs", "repo": repo})
    assert answer.status_code == 500  # as in 2.6.4; 2.8 says 400
    assert answer.text.startswith(f"user doesn't have read permission on repo {repo}")
    assert rest.mounted() == {}


def test_whoever_is_not_logged_in_is_told_so(rest: Rest) -> None:
    sign_in(rest, "ada")
    assert rest.get("/repos").status_code == 200
    assert rest.put("/auth/_logout").status_code == 200
    refused = rest.get("/repos")
    assert (refused.status_code, refused.text) == (401, "user unauthenticated\n")
    assert rest.put("/_mount", {"mounts": []}).status_code == 401
    assert rest.get("/health").status_code == 200
    sign_in(rest, "ada")
    assert rest.get("/repos").status_code == 200


def test_the_address_of_the_cluster(rest: Rest, cluster: AuthCluster) -> None:
    expected = {"cluster_status": "AUTH_ENABLED", "pachd_address": cluster.address}
    bad = rest.put("/config", {"pachd_address": "bad_address"})
    assert (bad.status_code, "could not connect to grpc://bad_address:30650" in bad.text) == (500, True)
    assert rest.get("/config").json() == expected
    plain = cluster.address.removeprefix("grpc://")
    for address in (plain, f"http://{plain}", cluster.address):
        answer = rest.put("/config", {"pachd_address": address})
        assert (answer.status_code, answer.json()) == (200, expected)
    assert rest.get("/config").json() == expected


@pytest.fixture(scope="module")
def other(box: Box) -> str:
    """The address of a cluster without authentication."""
    return box.server().address


def test_another_cluster_ends_mounts_and_login(box: Box, rest: Rest, cluster: AuthCluster, other: str) -> None:
    sign_in(rest, "ada")
    rest.mount("images", "images")
    answer = rest.put("/config", {"pachd_address": other.replace("grpc://", "http://")})
    assert answer.json() == {"cluster_status": "AUTH_DISABLED", "pachd_address": other}
    assert (box.mounts_in_kernel(), token(box), rest.mounted()) == ([], "", {})
    assert rest.get("/config").json() == answer.json()
    answer = rest.put("/config", {"pachd_address": cluster.address})
    assert answer.json() == {"cluster_status": "AUTH_ENABLED", "pachd_address": cluster.address}
    assert rest.get("/repos").status_code == 401
