"""What each command asks of the daemon and prints, against a daemon that answers from a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import User
from fake_daemon import COMMIT, OLDER, FakeDaemon, cluster_status, mount_status

from pachmount.cli.main import run
from pachmount.errors import ExitCode, NameTakenError, NotFoundError

Output = pytest.CaptureFixture[str]


def test_mount_sends_the_source_in_parts(daemon: FakeDaemon, capsys: Output) -> None:
    assert run(["mount", f"p/images@dev={COMMIT}:/a/", "--name", "n"]) == 0
    [entry] = daemon.sent("PUT /_mount")["mounts"]
    expected = {"name": "n", "project": "p", "repo": "images", "branch": "dev", "commit": COMMIT, "path": "/a"}
    assert {key: entry[key] for key in expected} == expected
    assert entry["mode"] == "ro"


def test_mount_takes_the_name_of_the_repo_and_leaves_the_project_to_the_daemon(daemon: FakeDaemon) -> None:
    assert run(["mount", "images"]) == 0
    [entry] = daemon.sent("PUT /_mount")["mounts"]
    assert (entry["name"], entry["project"], entry["branch"]) == ("images", "", "")


def test_mount_prints_one_line_and_a_hint(daemon: FakeDaemon, capsys: Output) -> None:
    assert run(["mount", "images"]) == 0
    out, err = capsys.readouterr()
    assert out == "images: default/images@master=1a2b3c4d mounted at /pfs/images\n"
    assert err == "hint: ls /pfs/images; 'pachmount unmount images' ends it\n"


def test_mount_at_a_directory_sends_its_whole_path(daemon: FakeDaemon, user: User, monkeypatch: Any) -> None:
    monkeypatch.chdir(user.home)
    assert run(["mount", "images", "data/x"]) == 0
    assert daemon.sent("PUT /_mount")["mounts"][0]["mountpoint"] == str(user.home / "data/x")


@pytest.mark.parametrize(("commit", "sent"), [("master^", "master^"), (COMMIT, COMMIT), ("dev~2", "dev~2")])
def test_mount_at_a_commit(daemon: FakeDaemon, commit: str, sent: str) -> None:
    assert run(["mount", "images", "--commit", commit]) == 0
    assert daemon.sent("PUT /_mount")["mounts"][0]["commit"] == sent


@pytest.mark.parametrize(
    "arguments",
    [
        ["mount", "images@"],
        ["mount", "im ages"],
        ["mount", "images", "--name", "out"],
        ["mount", "images", "--name", "../x"],
        ["mount", "images", "--name", "-x"],
        ["mount", "images", "--commit", "1234"],
        ["mount", f"images@{COMMIT}", "--commit", OLDER],
        ["mount", "--name", "n"],
        ["mount", "a", "b", "c"],
        ["mount", "--rw"],
        ["mount", "images", "--rw", "--follow"],
        ["diff"],
        ["commit"],
        ["discard"],
        ["remount", "images"],
        ["remount", "images", "--rw", "--ro"],
        ["unmount", "images", "--keep", "--discard"],
        ["unmount"],
        ["unmount", "--all", "images"],
        ["unmount", "--all"],
        ["mount", "--follow"],
        ["mount", "images@master^", "--follow"],
        ["mount", "images", "--follow", "--commit", COMMIT],
        ["refresh"],
        ["follow"],
        ["follow", "--off"],
        ["warmup"],
        ["refresh", "images", "--to", "nonsense"],
        ["list", "--commits"],
        ["list", "--projects", "images"],
        ["list", "--commits", "images:/path"],
        ["list", "--limit", "-1"],
        ["list", "--limit", "x"],
        ["cat"],
        ["cat", "images:/a", "--range", "2-1"],
        ["cat", "images@:/a"],
        ["get"],
        ["tree"],
        ["checkout"],
        ["checkout", "images"],
        ["checkout", "--update", "images", "dir"],
        ["login"],
        ["login", "--local", "grpc://x"],
        ["import", "dir"],
        ["daemon", "nonsense"],
        ["daemon", "logs", "-n", "x"],
        ["nonsense"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_one_line_and_a_hint(daemon: FakeDaemon, capsys: Output, arguments: list[str]) -> None:
    daemon.mounts = [mount_status("images")]
    assert run(arguments) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert not [route for route, _, _ in daemon.requests if route.startswith("PUT")]


def test_errors_of_the_daemon_arrive_whole(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.routes["PUT /_mount"] = NameTakenError("the name is taken", "by another", "give it a --name")
    assert run(["mount", "images"]) == ExitCode.CANNOT_CREATE
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: the name is taken — by another\nhint: give it a --name\n")


def test_errors_as_json(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.routes["PUT /_mount"] = NotFoundError("no such repo")
    assert run(["mount", "images", "--json"]) == ExitCode.NOT_FOUND
    out, err = capsys.readouterr()
    assert out == ""
    data = json.loads(err)
    assert (data["id"], data["error"], data["exit_code"]) == ("not-found", "no such repo", 66)
    assert data["hint"]


@pytest.mark.parametrize("flags", [["-q", "mount", "images"], ["mount", "images", "-q"], ["mount", "-q", "images"]])
def test_global_flags_work_everywhere(daemon: FakeDaemon, capsys: Output, flags: list[str]) -> None:
    assert run(flags) == 0
    assert capsys.readouterr().err == ""


def test_a_bare_mount_lists_the_mounts(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.mounts = [mount_status("a"), mount_status("b", path="/x", branch="")]
    assert run(["mount"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a: default/a@master=1a2b3c4d at /pfs/a (mounted)",
        "b: default/b@1a2b3c4d:/x at /pfs/b (mounted)",
    ]
    assert run(["mount", "--json"]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == ["a", "b"]


@pytest.mark.parametrize("target", ["a", "/pfs/a", "/pfs/a/", "/pfs/../pfs/a"])
def test_unmount_by_name_or_directory(daemon: FakeDaemon, capsys: Output, target: str) -> None:
    daemon.mounts = [mount_status("a"), mount_status("b")]
    assert run(["unmount", target]) == 0
    assert capsys.readouterr().out == "a: unmounted from /pfs/a\n"
    assert [entry["name"] for entry in daemon.mounts] == ["b"]


def test_unmount_of_an_unknown_mount(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.mounts = [mount_status("a")]
    assert run(["unmount", "a", "x"]) == ExitCode.NOT_FOUND
    assert "no mount 'x' — mounted: a" in capsys.readouterr().err
    assert daemon.mounts


def test_unmount_goes_on_after_a_failure(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.mounts = [mount_status("a"), mount_status("b")]
    unmount = daemon.routes["PUT /_unmount"]

    def refuse_a(body: dict[str, Any], query: dict[str, str]) -> Any:
        return NotFoundError("gone") if body["mounts"] == ["a"] else unmount(body, query)

    daemon.routes["PUT /_unmount"] = refuse_a
    assert run(["umount", "--all", "--yes"]) == ExitCode.NOT_FOUND
    out, err = capsys.readouterr()
    assert out == "b: unmounted from /pfs/b\n"
    assert err.startswith("error: gone\n")


def test_refresh_says_from_where_to_where(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.mounts = [mount_status("a", commit=OLDER, behind=1), mount_status("b")]

    def refresh(body: dict[str, Any], _query: dict[str, str]) -> Any:
        assert body["mounts"] == [{"name": "a", "commit": ""}, {"name": "b", "commit": ""}]
        daemon.mounts[0] = mount_status("a")
        return {"mounted": [], "unmounted": []}

    daemon.routes["PUT /_refresh"] = refresh
    assert run(["refresh", "a", "b"]) == 0
    assert capsys.readouterr().out == "a: 5e6f7a8b -> 1a2b3c4d\nb: already at 1a2b3c4d\n"


def test_refresh_to_a_commit(daemon: FakeDaemon) -> None:
    daemon.mounts = [mount_status("a")]
    daemon.routes["PUT /_refresh"] = {"mounted": [], "unmounted": []}
    assert run(["refresh", "a", "--to", "master^2"]) == 0
    assert daemon.sent("PUT /_refresh")["mounts"] == [{"name": "a", "commit": "master^2"}]


def test_status(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.mounts = [mount_status("a", behind=2)]
    assert run(["status"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("pachmount 0.1.0 is running (pid 4242, up ")
    assert "mounted, 2 commits behind" in out
    assert err == "hint: 'pachmount refresh a' moves to the newest commit\n"
    assert run(["status", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["state"], data["pid"], data["mounts"][0]["commit"]) == ("running", 4242, COMMIT)


def test_status_of_an_unreachable_cluster(daemon: FakeDaemon, capsys: Output) -> None:
    error = {"id": "cluster-unreachable", "error": "cannot connect", "why": "connection refused"}
    daemon.cluster = cluster_status(state="unreachable", embedded=False, address="grpc://h:1", error=error)
    assert run(["status"]) == 0
    assert "grpc://h:1, unreachable: connection refused" in capsys.readouterr().out


def test_status_without_a_daemon(user: User, capsys: Output) -> None:
    assert run(["status"]) == ExitCode.NOT_RUNNING
    assert capsys.readouterr().out == f"pachmount is not running for {user.mount_dir}\n"
    assert run(["status", "--json"]) == ExitCode.NOT_RUNNING
    data = json.loads(capsys.readouterr().out)
    assert (data["state"], data["remembered_mounts"]) == ("stopped", [])


@pytest.mark.parametrize("command", [["unmount", "x"], ["refresh", "x"], ["logout"]], ids=lambda words: words[0])
def test_commands_that_need_a_running_daemon(user: User, capsys: Output, command: list[str]) -> None:
    assert run(command) == ExitCode.UNREACHABLE
    assert capsys.readouterr() == ("", "error: the daemon is not running\nhint: pachmount daemon start\n")


def test_list_repos(daemon: FakeDaemon, capsys: Output) -> None:
    repo = {"project": "default", "repo": "r", "branches": ["master", "dev"], "authorization": "off"}
    daemon.routes["GET /repos"] = [repo, {**repo, "repo": "empty", "branches": None}]
    assert run(["list"]) == 0
    assert capsys.readouterr().out == "REPO           BRANCHES\ndefault/r      master, dev\ndefault/empty  -\n"
    assert run(["ls", "--json", "--limit", "1"]) == 0
    assert json.loads(capsys.readouterr().out) == [repo]


def test_list_files_page_by_page(daemon: FakeDaemon, capsys: Output) -> None:
    def page(_body: dict[str, Any], query: dict[str, str]) -> Any:
        assert query["source"] == "r@master:/d"
        first = query.get("after", "") == ""
        name, kind = ("/d/a", "file") if first else ("/d/b", "dir")
        entry = {"path": name, "type": kind, "size_bytes": 2048, "hash": "ab" * 32}
        return {"source": "s", "commit": COMMIT, "files": [entry], "next": "/d/a" if first else ""}

    daemon.routes["GET /files"] = page
    assert run(["list", "r@master:/d"]) == 0
    assert capsys.readouterr().out == "/d/a\n/d/b/\n"
    assert run(["list", "-l", "r@master:/d"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "dir     2.0 KiB  abababababababab  /d/b/"
    assert run(["list", "--json", "r@master:/d"]) == 0
    assert [entry["path"] for entry in json.loads(capsys.readouterr().out)] == ["/d/a", "/d/b"]
    assert run(["list", "--limit", "1", "r@master:/d"]) == 0
    assert capsys.readouterr().out == "/d/a\n"


def test_list_branches_and_commits(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.routes["GET /branches"] = [{"project": "default", "repo": "r", "branch": "master", "head": COMMIT}]
    assert run(["list", "r"]) == 0
    assert capsys.readouterr().out == f"BRANCH  HEAD\nmaster  {COMMIT}\n"
    times = {"started": 1.0, "finished": 2.0, "state": "finished", "error": "", "size_bytes": 5}
    words = {"project": "default", "repo": "r", "commit": COMMIT, "branch": "master", "parent": "", "description": "m"}
    daemon.routes["GET /commits"] = [{**words, **times}]
    assert run(["list", "--commits", "r@master", "--limit", "3"]) == 0
    assert COMMIT in capsys.readouterr().out
    assert daemon.requests[-1][2] == {"repo": "r", "branch": "master", "number": "3"}


def test_login_sends_address_certificate_and_token(
    daemon: FakeDaemon, user: User, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.cluster = cluster_status(
        embedded=False, address="grpcs://h:1", auth="logged-in", username="ann", version="2.9"
    )
    daemon.routes["PUT /config"] = {"cluster_status": "AUTH_ENABLED", "pachd_address": "grpcs://h:1"}
    pem = user.home / "ca.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\nxxx\n-----END CERTIFICATE-----\n")
    done = user.run("login", "grpcs://h:1", "--server-ca", str(pem), "--token-stdin", stdin="secret\n")
    assert (done.returncode, done.stdout) == (0, "connected to grpcs://h:1 (version 2.9), logged in as ann\n")
    body = daemon.sent("PUT /config")
    assert (body["pachd_address"], body["token"], body["embedded"]) == ("grpcs://h:1", "secret", False)
    assert body["server_cas"].startswith("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t")
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("token", ["", "\n", "two words", "\u00e4"])
def test_login_refuses_a_token_that_is_none(daemon: FakeDaemon, user: User, token: str) -> None:
    done = user.run("login", "h", "--token-stdin", stdin=token)
    assert done.returncode == ExitCode.USAGE
    assert "error: no token on standard input" in done.stderr


def asks_for_login(daemon: FakeDaemon) -> None:
    """A cluster with authentication, where logging in succeeds."""
    out: dict[str, Any] = {"embedded": False, "address": "grpc://h:1", "auth": "logged-out"}
    daemon.cluster = cluster_status(**out)
    daemon.routes["PUT /config"] = {"cluster_status": "AUTH_ENABLED", "pachd_address": "grpc://h:1"}
    daemon.routes["PUT /auth/_login"] = {"auth_url": "https://idp/login?state=s", "oidc_state": "s"}

    def finish(body: dict[str, Any], _query: dict[str, str]) -> dict[str, Any]:
        daemon.cluster = cluster_status(**(out | {"auth": "logged-in", "username": "user:ann", "login_expires": 2e9}))
        return {}

    daemon.routes["PUT /auth/_login_token"] = finish


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were opened in a browser."""
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)) or True)
    return opened


def test_login_in_a_browser(daemon: FakeDaemon, browser: list[str], capsys: Output) -> None:
    asks_for_login(daemon)
    assert run(["login", "h:1"]) == 0
    out, err = capsys.readouterr()
    assert out == "connected to grpc://h:1, logged in as user:ann\n"
    assert browser == ["https://idp/login?state=s"]
    assert "https://idp/login?state=s" in err
    assert daemon.sent("PUT /auth/_login_token") == {"oidc": "s", "id_token": ""}


def test_login_without_a_browser_prints_the_address(daemon: FakeDaemon, browser: list[str], capsys: Output) -> None:
    asks_for_login(daemon)
    assert run(["login", "--no-browser"]) == 0
    assert browser == []
    assert "open this address in a browser to log in:\n  https://idp/login?state=s\n" in capsys.readouterr().err
    assert not [route for route, _, _ in daemon.requests if route == "PUT /config"], "the cluster is the same"


def test_login_with_an_id_token(daemon: FakeDaemon, user: User) -> None:
    asks_for_login(daemon)
    done = user.run("login", "h:1", "--id-token-stdin", stdin="a.b.c\n")
    assert (done.returncode, daemon.sent("PUT /auth/_login_token")) == (0, {"oidc": "", "id_token": "a.b.c"})
    assert "a.b.c" not in done.stdout + done.stderr


def test_login_takes_the_id_token_of_the_environment(
    daemon: FakeDaemon, browser: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asks_for_login(daemon)
    monkeypatch.setenv("DEX_TOKEN", "d.e.x")
    assert run(["login", "h:1"]) == 0
    assert (daemon.sent("PUT /auth/_login_token")["id_token"], browser) == ("d.e.x", [])


def test_login_that_needs_a_person_where_there_is_none(daemon: FakeDaemon, capsys: Output) -> None:
    asks_for_login(daemon)
    assert run(["login", "h:1", "--no-input"]) == ExitCode.NOT_PERMITTED
    assert "--token-stdin" in capsys.readouterr().err


def test_login_with_a_bad_token(daemon: FakeDaemon, user: User) -> None:
    asks_for_login(daemon)
    done = user.run("login", "h:1", "--token-stdin", stdin="old\n")
    assert (done.returncode, done.stdout) == (ExitCode.NOT_PERMITTED, "")
    assert "the cluster does not know this token" in done.stderr


def test_login_again_at_no_cluster(daemon: FakeDaemon, capsys: Output) -> None:
    assert run(["login"]) == ExitCode.USAGE
    assert "pachmount login ADDRESS" in capsys.readouterr().err


def test_whoami(daemon: FakeDaemon, capsys: Output) -> None:
    assert run(["whoami"]) == 0
    assert capsys.readouterr() == ("", "the embedded server has no login\n")
    asks_for_login(daemon)
    assert run(["whoami"]) == ExitCode.NOT_PERMITTED
    assert "hint: pachmount login" in capsys.readouterr().err
    assert run(["login"]) == 0
    capsys.readouterr()
    assert run(["whoami"]) == 0
    out, err = capsys.readouterr()
    assert out == "user:ann\n"
    assert "until 2033-" in err


def test_contexts(daemon: FakeDaemon, user: User, capsys: Output) -> None:
    assert run(["context", "list"]) == 0
    assert "has no contexts" in capsys.readouterr().err
    config = Path(user.env["PACH_CONFIG"])
    secret = {"pachd_address": "grpc://b:1", "session_token": "s3cret", "project": "p"}
    v2 = {"active_context": "b", "contexts": {"a": {"pachd_address": "grpc://a:1"}, "b": secret}}
    config.write_text(json.dumps({"v2": v2}))
    assert run(["context", "list"]) == 0
    assert capsys.readouterr().out == "  a  grpc://a:1\n* b  grpc://b:1, logged in\n"
    assert run(["context", "show", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == {
        "name": "b",
        "active": True,
        "address": "grpc://b:1",
        "project": "p",
        "has_certificate": False,
        "has_token": True,
    }
    assert run(["context", "show", "c"]) == ExitCode.NOT_FOUND
    daemon.routes["PUT /config"] = {"cluster_status": "AUTH_DISABLED", "pachd_address": "grpc://a:1"}
    assert run(["context", "use", "a", "--keep"]) == 0
    body = daemon.sent("PUT /config")
    assert (body["context"], body["staged"]) == ("a", "keep")
    assert run(["context", "use", "c"]) == ExitCode.NOT_FOUND
    assert "s3cret" not in out + capsys.readouterr().out


def test_login_to_the_embedded_server(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.routes["PUT /config"] = {"cluster_status": "AUTH_DISABLED", "pachd_address": ""}
    assert run(["login", "--local"]) == 0
    assert daemon.sent("PUT /config")["embedded"] is True
    assert capsys.readouterr().out == "connected to the embedded server\n"


def test_certificates_must_be_certificates(daemon: FakeDaemon, user: User, capsys: Output) -> None:
    (user.home / "x").write_text("no")
    assert run(["login", "h", "--server-ca", str(user.home / "x")]) == ExitCode.BAD_CONFIGURATION
    assert run(["login", "h", "--server-ca", str(user.home / "none")]) == ExitCode.BAD_CONFIGURATION


def test_version(daemon: FakeDaemon, capsys: Output) -> None:
    assert run(["version", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["client"], data["daemon"], data["cluster"]) == ("0.1.0", "0.1.0", None)


def test_logs(user: User, capsys: Output) -> None:
    assert run(["daemon", "logs"]) == ExitCode.NOT_FOUND
    from pachmount.paths import places

    log = places().log_file
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    capsys.readouterr()
    assert run(["daemon", "logs", "-n", "2"]) == 0
    assert capsys.readouterr().out == "line 98\nline 99\n"


@pytest.mark.parametrize(("path", "why"), [("file", "is not a directory"), ("file/below", "Not a directory")])
def test_an_unusable_mount_directory_starts_no_daemon(user: User, capsys: Output, path: str, why: str) -> None:
    (user.home / "file").touch()
    assert run(["mount", "images", "--mount-dir", str(user.home / path)]) == ExitCode.CANNOT_CREATE
    assert "cannot use the mount directory" in capsys.readouterr().err
    assert not Path(user.home, ".local").exists()


def test_mount_follow_sends_it_and_says_so(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.routes["PUT /_mount"] = lambda _body, _query: (
        daemon.mounts.append(mount_status("images", follow=True))
        or {
            "mounted": [],
            "unmounted": [],
        }
    )
    assert run(["mount", "images", "--follow"]) == 0
    assert daemon.sent("PUT /_mount")["mounts"][0]["follow"] is True
    assert capsys.readouterr().out.endswith("mounted at /pfs/images, follows master\n")


def test_follow_names_mounts_and_says_where_they_are(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.mounts = [mount_status("images", follow=True, note="commit 5e6f7a8b is not finished")]
    daemon.routes["PUT /_follow"] = {"mounted": [], "unmounted": []}
    assert run(["follow", "/pfs/images"]) == 0
    assert daemon.sent("PUT /_follow") == {"mounts": ["images"], "follow": True}
    out, err = capsys.readouterr()
    assert out == "images: follows master, at 1a2b3c4d\n"
    assert err == "images: commit 5e6f7a8b is not finished\n"


def test_status_shows_what_a_following_mount_waits_for(daemon: FakeDaemon, capsys: Output) -> None:
    note = "branch 'master' does not exist any more"
    daemon.mounts = [mount_status("a", follow=True, behind=2, note=note)]
    assert run(["status"]) == 0
    out, err = capsys.readouterr()
    assert f"mounted, follows master, 2 commits behind 1a2b3c4d, {note}" in out
    assert "refresh" not in err, "it will move by itself"


def warmup_status(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": "1",
        "mounts": ["images"],
        "state": "done",
        "total_files": 3,
        "total_bytes": 5 << 20,
        "done_files": 3,
        "done_bytes": 5 << 20,
        "found_files": 1,
        "found_bytes": 1 << 20,
        "started": 1.0,
        "ended": 2.0,
    }
    return fields | changes


@pytest.mark.parametrize(
    ("target", "name", "paths"),
    [
        ("images", "images", []),
        ("images:/a/b/", "images", ["/a/b"]),
        ("images:/", "images", ["/"]),
        ("/pfs/images", "images", []),
        ("/pfs/images/a/b", "images", ["/a/b"]),
    ],
)
def test_warmup_understands_names_and_directories(
    daemon: FakeDaemon, capsys: Output, target: str, name: str, paths: list[str]
) -> None:
    daemon.mounts = [mount_status("images")]
    daemon.routes["PUT /_warmup"] = warmup_status()
    assert run(["warmup", target]) == 0
    assert daemon.sent("PUT /_warmup") == {"mounts": [{"name": name, "paths": paths}]}
    out, err = capsys.readouterr()
    assert (out, err) == ("images: 3 files (5.0 MiB) in the cache\n", "there before: 1 file (1.0 MiB)\n")


def test_a_warmup_waits_and_reports_how_it_ended(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.mounts = [mount_status("images")]
    daemon.routes["PUT /_warmup"] = warmup_status(state="listing", ended=None)
    error = {"id": "storage-full", "error": "the cache is too small", "why": "it is", "hint": "more"}
    answers = [warmup_status(state="fetching", ended=None), warmup_status(state="failed", error=error)]
    daemon.routes["GET /warmups"] = lambda _body, _query: {"warmups": [answers.pop(0)]}
    assert run(["warmup", "images"]) == ExitCode.FAILURE
    assert capsys.readouterr().err == "error: the cache is too small — it is\nhint: more\n"


def test_a_warmup_of_a_daemon_that_was_restarted_is_lost(daemon: FakeDaemon, capsys: Output) -> None:
    daemon.mounts = [mount_status("images")]
    daemon.routes["PUT /_warmup"] = warmup_status(state="listing", ended=None)
    daemon.routes["GET /warmups"] = {"warmups": [warmup_status(started=99.0)]}
    assert run(["warmup", "images"]) == ExitCode.UNREACHABLE
    assert "the warm-up is lost" in capsys.readouterr().err
