"""The JSON of the original's routes key by key, the null and [] rules, statuses and headers; on the socket and TCP."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from pachmount.api import openapi
from pachmount.api.server import ROUTES
from pachmount.pfs.model import RepoRef
from tests.integration import rest_tables
from tests.integration.auth_cluster import READER, WRITER, auth_cluster
from tests.integration.box import EXTERNAL_CLUSTER, Box, running_box, wait_until
from tests.integration.mount_server import MountServer
from tests.integration.rest_calls import TRANSPORTS, Call, Told, caller, send
from tests.integration.rest_tables import among, whole
from tests.localpfs.browser import log_in

TEXT = "text/plain; charset=utf-8"
GATED = [
    *[("GET", route) for route in ("/repos", "/projects", "/mounts", "/datums")],
    *[("PUT", route) for route in ("/_mount", "/_unmount", "/_commit", "/_unmount_all")],
    *[("PUT", route) for route in ("/_mount_datums", "/_show_datum?idx=0")],
    *[("PUT", route) for route in ("/datums/_mount", "/datums/_next", "/datums/_prev", "/auth/_logout")],
]
"""Both gates: a cluster, and a login where it has authentication."""
VERSIONS = pytest.mark.parametrize("version", rest_tables.VERSIONS)


@pytest.fixture(scope="module")
def served(fuse: None) -> Iterator[Box]:
    with running_box({"PACHMOUNT_LISTEN": "127.0.0.1:0"}) as box:
        yield box
        assert not box.log_problems()


@pytest.fixture(scope="module")
def before(served: Box) -> dict[str, Told]:
    """The answers while the cluster has no repo."""
    return {route: caller(served, "unix")("GET", route) for route in ("/repos", "/mounts")}


@pytest.fixture(scope="module")
def repo(served: Box, before: dict[str, Told]) -> str:
    repo = served.repo("keys")
    served.put(repo, {"/f": b"f", "/dir/g": b"g"})
    return repo


@pytest.fixture(scope="module", params=TRANSPORTS)
def call(served: Box, request: pytest.FixtureRequest) -> Call:
    return caller(served, request.param)


@pytest.fixture(autouse=True)
def _nothing_mounted(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "served" in request.fixturenames:
        request.getfixturevalue("served").clean()


def good(told: Told) -> Any:
    """The JSON of a success."""
    assert (told.status, told.type) == (200, "application/json"), told
    return told.json


def bad(told: Told) -> tuple[int, str]:
    """Status and text of an error."""
    assert (told.type, told.sniffing) == (TEXT, "nosniff"), told
    assert told.body.endswith("\n"), told
    assert told.body.rstrip("\n") + "\n" == told.body, told
    assert told.body.strip(), told
    return told.status, told.body[:-1]


def entry(repo: str, name: str = "m", **more: Any) -> dict[str, Any]:
    return {"mounts": [{"name": name, "repo": repo, **more}]}


def mounted(told: Told) -> dict[str, Any]:
    (found,) = good(told)["mounted"]
    return dict(found)


# --- what is there


def test_health(call: Call) -> None:
    assert not list(whole(good(call("GET", "/health")), rest_tables.HEALTH))


def test_repos(call: Call, served: Box, repo: str, before: dict[str, Told]) -> None:
    empty = RepoRef("default", served.repo("empty"))
    served.cluster().create_repo(empty)
    try:
        found = good(call("GET", "/repos"))
        assert not list(whole(found, [rest_tables.REPO]))
        assert {each["repo"]: each["branches"] for each in found if each["repo"] in (repo, empty.name)} == {
            repo: ["master"],
            empty.name: None,
        }
        assert {each["authorization"] for each in found} == {"off"}
        assert found == good(call("GET", "/mounts"))["unmounted"]
    finally:
        served.cluster().delete_repo(empty)
    assert EXTERNAL_CLUSTER or good(before["/repos"]) == []


def test_projects(call: Call, served: Box) -> None:
    found = good(call("GET", "/projects"))
    assert not list(whole(found, [rest_tables.PROJECT]))
    assert found[0]["project"] == {"name": "default"}
    assert all(value not in (None, "", [], {}) for each in found for value in each.values())


@VERSIONS
def test_datums_outside_datum_mode(call: Call, version: str) -> None:
    found = good(call("GET", "/datums"))
    assert not among(found, rest_tables.DATUMS[version])
    assert set(found) == set().union(*rest_tables.DATUMS.values())
    assert not any(found.values())


def test_config(call: Call) -> None:
    found = good(call("GET", "/config"))
    assert not list(whole(found, rest_tables.CONFIG))
    assert found["cluster_status"] == "AUTH_DISABLED"
    assert good(call("PUT", "/config", found)) == found


# --- mounts


def test_lists_of_mounts_are_never_null(call: Call, before: dict[str, Told]) -> None:
    assert EXTERNAL_CLUSTER or good(before["/mounts"]) == {"mounted": [], "unmounted": []}
    assert good(call("GET", "/mounts"))["mounted"] == []
    for path, body in (("/_mount", "null"), ("/_unmount", "{}"), ("/_unmount_all", None), ("/_unmount_all", "x")):
        found = good(call("PUT", path, body))
        assert not list(whole(found, rest_tables.MOUNTS))
        assert found["mounted"] == []


@VERSIONS
def test_the_state_of_a_mount(call: Call, served: Box, repo: str, version: str) -> None:
    head = served.cluster().inspect_branch(RepoRef("default", repo), "master").head.id
    begun = call("PUT", "/_mount", entry(repo))
    for told in (begun, call("GET", "/mounts"), call("PUT", "/_commit", {"mount": "m"})):
        assert not list(whole(good(told), rest_tables.MOUNTS))
        found = mounted(told)
        assert not among(found, rest_tables.MOUNT[version])
        assert set(found) == set().union(*rest_tables.MOUNT.values(), rest_tables.OUR_KEYS)
        assert (found["state"], found["mode"], found["branch"]) == ("mounted", "ro", "master")
        assert found["status"] == f"up to date on latest commit {head[:8]}"
        assert (found["commit"], found["actual_mounted_commit"], found["latest_commit"]) == (head, head, head)
    assert good(call("PUT", "/_unmount", {"mounts": ["m"]}))["mounted"] == []


@pytest.mark.parametrize(
    ("spelling", "paths", "path"),
    [
        ({}, ["/"], ""),
        ({"files": ["/f"]}, ["/f"], "/f"),
        ({"paths": ["/f", "/dir"]}, ["/dir", "/f"], ""),
        ({"path": "/dir"}, ["/dir"], "/dir"),
    ],
)
def test_parts_of_a_repo(call: Call, repo: str, spelling: dict[str, Any], paths: list[str], path: str) -> None:
    found = mounted(call("PUT", "/_mount", entry(repo, **spelling)))
    assert (found["files"], found["paths"], found["path"]) == (None, paths, path)


def test_a_branch_without_commits(call: Call, repo: str) -> None:
    found = mounted(call("PUT", "/_mount", entry(repo, branch="new", mode="rw")))
    assert not among(found, rest_tables.MOUNT["2.6.4"])
    assert (found["commit"], found["actual_mounted_commit"], found["latest_commit"]) == ("", "", "")
    assert (found["status"], found["how_many_commits_behind"]) == ("branch does not contain any commits", 0)


def test_a_mount_that_is_behind(call: Call, served: Box, repo: str) -> None:
    former = mounted(call("PUT", "/_mount", entry(repo)))["commit"]
    latest = served.put(repo, {"/f": former.encode()})
    found = mounted(call("GET", "/mounts"))
    assert not among(found, rest_tables.MOUNT["2.6.4"])
    assert (found["actual_mounted_commit"], found["latest_commit"]) == (former, latest)
    assert found["how_many_commits_behind"] == 1
    assert found["status"].startswith(f"1 commits behind latest; current = {former[:8]} (")
    assert f"'th), latest = {latest[:8]} (" in found["status"]


# --- errors

ERRORS: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/nope", None, 404, "404 page not found"),
    ("GET", "/repos/", None, 404, "404 page not found"),
    *[("PUT", route, "", 400, "EOF") for route in ("/_mount", "/_unmount", "/_commit", "/config")],
    *[("PUT", route, "", 400, "EOF") for route in ("/_mount_datums", "/auth/_login_token")],
    *[("PUT", route, "{", 400, "unexpected EOF") for route in ("/_mount", "/_unmount", "/_commit", "/config")],
    ("PUT", "/_mount", {"mounts": "x"}, 400, "json: cannot unmarshal string into Go struct field MountRequest.mounts"),
    ("PUT", "/_mount", "[1]", 400, "json: cannot unmarshal array into Go "),
    ("PUT", "/_mount", {"mounts": [{"repo": "r"}]}, 400, "mount request &{Name: Project: Repo:r Branch: "),
    ("PUT", "/_mount", {"mounts": [{"name": "x"}]}, 400, "mount request &{Name:x Project:default Repo: "),
    ("PUT", "/_mount", entry("zz-no-repo"), 400, "mount request &{Name:m Project:default Repo:zz-no-repo "),
    ("PUT", "/_unmount", {"mounts": ["x"]}, 500, "can't unmount when we're already unmounted"),
    ("PUT", "/_commit", {"mount": "x"}, 500, "bad request: can't commit when unmounted"),
    ("PUT", "/_commit", {}, 500, "bad request: can't commit when unmounted"),
    ("PUT", "/_mount_datums", {}, 500, "datum input is not specified"),
    ("PUT", "/datums/_mount", {}, 400, "error processing input: datum input is not specified"),
    ("PUT", "/datums/_mount", "a: [1", 400, "error reading next CreatePipeline request: malformed pipeline spec: "),
    *[("PUT", route, None, 400, "no datums mounted") for route in ("/datums/_next", "/datums/_prev", "/_show_datum")],
    ("PUT", "/config", {}, 400, "either empty or poorly formatted cluster endpoint"),
    ("PUT", "/config", {"pachd_address": "h:1/x"}, 400, "either empty or poorly formatted cluster endpoint"),
    ("PUT", "/config", {"pachd_address": "127.0.0.1:1"}, 500, ""),
    ("PUT", "/auth/_login", None, 500, "auth isn't activated on the cluster"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), ERRORS)
def test_errors(call: Call, method: str, path: str, body: Any, status: int, text: str) -> None:
    found, said = bad(call(method, path, body))
    assert (found, said[: len(text)]) == (status, text)


@pytest.mark.parametrize("method", ["POST", "DELETE", "HEAD", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["/repos", "/_mount", "/auth/_login"])
def test_other_methods(call: Call, method: str, path: str) -> None:
    assert call(method, path) == Told(405, "", "", "")


def test_logout_without_authentication_has_no_body(call: Call) -> None:
    for body in (None, "not looked at", "null"):
        assert call("PUT", "/auth/_logout", body) == Told(200, "", "", "")


def test_the_statuses_of_the_original_are_for_its_routes_alone(call: Call) -> None:
    theirs = {route for (_, route), operation in openapi.OPERATIONS.items() if not operation.is_ours}
    assert {route for route, handler in ROUTES.items() if handler.compatible} == theirs
    for path, body in (
        *[(path, {"mounts": ["x"]}) for path in ("/_follow", "/_remount")],
        *[(path, {"mount": "x"}) for path in ("/_diff", "/_discard")],
        *[(path, {"mounts": [{"name": "x"}]}) for path in ("/_refresh", "/_warmup")],
    ):
        assert bad(call("PUT", path, body)) == (404, "no mount 'x'"), path
    assert bad(call("PUT", "/_warmup_cancel", {"id": "x"}))[0] == 404
    assert bad(call("GET", "/branches?repo=zz-no-repo"))[0] == 404


# --- the gates


def test_without_a_cluster(fuse: None) -> None:
    box = Box()
    try:
        with MountServer(box, "--listen", "127.0.0.1:0", "--no-auth", PACHD_ADDRESS="ftp://no.cluster") as server:
            netloc = urlsplit(server.url).netloc
            for method, path in [*GATED, ("GET", "/config"), ("PUT", "/auth/_login")]:
                told = send(http.client.HTTPConnection(netloc, timeout=60), method, path, "{")
                assert bad(told) == (404, told.body[:-1]), path
                assert told.body.startswith("not connected to a cluster"), path
            told = send(http.client.HTTPConnection(netloc, timeout=60), "GET", "/health")
            assert good(told) == {"status": "running"}
            state = send(http.client.HTTPConnection(netloc, timeout=60), "PUT", "/auth/_login_token", "state")
            assert (bad(state)[0], state.body[:26]) == (400, "not connected to a cluster")
            assert bad(send(http.client.HTTPConnection(netloc, timeout=60), "PUT", "/config", "{"))[0] == 400
    finally:
        box.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_with_authentication(fuse: None, tmp_path_factory: pytest.TempPathFactory, transport: str) -> None:
    box = Box({"PACHMOUNT_LISTEN": "127.0.0.1:0"})
    try:
        with auth_cluster(tmp_path_factory.mktemp("auth")) as cluster:
            box.start()
            call = caller(box, transport)
            config = good(call("PUT", "/config", {"pachd_address": cluster.address}))
            assert not list(whole(config, rest_tables.CONFIG))
            assert config["cluster_status"] == "AUTH_ENABLED"
            for method, path in GATED:
                assert bad(call(method, path, "{")) == (401, "user unauthenticated"), path
            assert good(call("GET", "/config")) == config
            begun = good(call("PUT", "/auth/_login"))
            assert not list(whole(begun, rest_tables.LOGIN))
            assert log_in(begun["auth_url"], "ada", "right").status == 200
            document = good(call("PUT", "/auth/_login_token", {"oidc": begun["oidc_state"]}))
            assert not list(whole(document, rest_tables.PACHCTL))
            assert not among(document["v2"]["contexts"]["mount-server"], rest_tables.CONTEXT)
            check_permissions(call, box)
            status, said = bad(call("PUT", "/auth/_login_token", {"id_token": "x.y.z"}))
            assert (status, said[:22]) == (500, "could not verify token")
            assert call("PUT", "/auth/_logout", "not looked at") == Told(200, "", "", "")
            assert bad(call("PUT", "/auth/_logout")) == (401, "user unauthenticated")
    finally:
        box.close()


def check_permissions(call: Call, box: Box) -> None:
    """As ada, who may read `images` and do nothing with `secret`."""
    repos = good(call("GET", "/repos"))
    assert not list(whole(repos, [rest_tables.REPO]))
    shown = {each["repo"]: (each["branches"], each["authorization"]) for each in repos}
    assert shown == {"images": (["master"], "read"), "secret": (None, "none")}
    projects = good(call("GET", "/projects"))
    assert not list(whole(projects, [rest_tables.PROJECT]))
    assert projects[0]["auth_info"]["permissions"]
    for body, text in (
        (entry("secret"), "user doesn't have read permission on repo secret"),
        (entry("images", mode="rw"), "can't create writable mount since user doesn't have write access on repo images"),
    ):
        status, said = bad(call("PUT", "/_mount", body))
        assert (status, said[: len(text)]) == (500, text)
    box.ok("login", "--token-stdin", stdin=WRITER)
    assert {each["repo"]: each["authorization"] for each in good(call("GET", "/repos"))}["images"] == "write"


def test_nothing_is_changed_without_a_login(fuse: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """But by our own clients: `pachmount unmount` ends mounts that need no cluster for it."""
    box = Box({"PACHMOUNT_LISTEN": "127.0.0.1:0"})
    try:
        with auth_cluster(tmp_path_factory.mktemp("auth")) as cluster:
            box.start()
            box.ok("login", cluster.address, "--token-stdin", stdin=READER)
            for name in ("a", "b", "c"):
                box.mount("images", name)
            call = caller(box, "unix")
            good(call("PUT", "/_follow", {"mounts": ["a", "b", "c"]}))
            cluster.revoke(READER)
            wait_until(lambda: box.status()["cluster"]["auth"] == "logged-out", "the login has ended")
            for path, body in (("/_unmount", {"mounts": ["a"]}), ("/_unmount_all", None), ("/auth/_logout", None)):
                assert bad(call("PUT", path, body)) == (401, "user unauthenticated")
            assert [each["name"] for each in box.status()["mounts"]] == ["a", "b", "c"]
            told = call("PUT", "/_follow", {"mounts": ["a"], "follow": False})
            assert [each["follow"] for each in good(told)["mounted"]] == [False, True, True]
            assert "a: unmounted" in box.ok("unmount", "a")
            assert "unmounted" in box.ok("unmount", "--all", "--yes")
            assert box.status()["mounts"] == []
            assert not box.log_problems()
    finally:
        box.close()
