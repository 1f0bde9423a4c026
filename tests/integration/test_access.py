"""Nobody else may use the daemon or read what it holds (docs/security.md): tried over TCP and as a second user."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from pachmount.api.handlers import MAX_BODY_BYTES
from pachmount.api.schema import CommitRequest
from tests.integration.box import Box, running_box, wait_until
from tests.integration.other_user import NOBODY, append_as_nobody, ask_as_nobody, needs_root, readable_to_nobody

NewBox = Callable[..., Box]


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody may enter, for a socket that is shared."""
    with tempfile.TemporaryDirectory(prefix="pm-open-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def served(fuse: None) -> Iterator[Box]:
    """A daemon that listens on TCP, too."""
    with running_box({"PACHMOUNT_LISTEN": "127.0.0.1:0", "PACHMOUNT_ALLOWED_HOSTS": "hub.example"}) as box:
        yield box
        assert not box.log_problems()


def url_of(box: Box) -> str:
    return str(box.status()["listen"])


def get(box: Box, route: str = "/health", **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(
            url_of(box) + route, headers={k.replace("_", "-"): v for k, v in headers.items()}, timeout=20
        )


def token_of(box: Box) -> str:
    return box.places.token_file.read_text().strip()


def bearer(box: Box) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_of(box)}"}


# --- TCP


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}])
def test_tcp_wants_the_token(served: Box, header: dict[str, str]) -> None:
    for route in ("/health", "/repos", "/nope"):
        answer = get(served, route, **header)
        assert (answer.status_code, answer.headers["Content-Type"]) == (401, "text/plain; charset=utf-8")
        assert token_of(served) not in answer.text
    assert get(served, **bearer(served)).json() == {"status": "running"}
    assert get(served, "/repos", **bearer(served)).status_code == 200


def test_the_token_is_made_once_and_private(served: Box) -> None:
    info = served.places.token_file.stat()
    assert (stat.S_IMODE(info.st_mode), info.st_uid) == (0o600, os.getuid())
    token = token_of(served)
    served.ok("daemon", "restart")
    assert (token_of(served), len(token) >= 32) == (token, True)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""])
def test_other_names_are_refused_so_that_dns_cannot_be_rebound(served: Box, host: str) -> None:
    assert get(served, Host=host, **bearer(served)).status_code in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:9", "hub.example:80", "HUB.example"])
def test_own_names_are_accepted(served: Box, host: str) -> None:
    assert get(served, Host=host, **bearer(served)).status_code == 200


def test_requests_of_web_pages_are_refused(served: Box) -> None:
    assert get(served, Origin="https://evil.example", **bearer(served)).status_code == 403
    assert get(served, Origin="null", **bearer(served)).status_code == 403
    assert get(served, Sec_Fetch_Site="cross-site", **bearer(served)).status_code == 403
    assert get(served, Origin="http://localhost:8888", **bearer(served)).status_code == 403
    assert get(served, Origin=url_of(served), **bearer(served)).status_code == 200


def test_large_bodies_are_refused(served: Box) -> None:
    url = url_of(served).removeprefix("http://")
    host, _, port = url.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(
            f"PUT /_mount HTTP/1.1\r\nHost: {url}\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode()
        )
        assert connection.recv(100).split()[1] in (b"400", b"413")
    assert get(served, **bearer(served)).status_code == 200


def test_the_command_line_uses_tcp_where_it_is_told(served: Box) -> None:
    away = {"PFS_MOUNT_DIR": str(served.root / "nowhere"), "PACHMOUNT_URL": url_of(served)}
    assert "asks for its token" in served.refused("status", code=77, **away)
    away["PACHMOUNT_TOKEN_FILE"] = str(served.places.token_file)
    assert f"(pid {served.pid}" in served.ok("status", **away)
    assert "http://HOST:PORT" in served.refused("status", code=2, **{**away, "PACHMOUNT_URL": "ftp://x"})


def test_without_token_on_request(new_box: NewBox) -> None:
    box = new_box(PACHMOUNT_LISTEN="127.0.0.1:0", PACHMOUNT_REQUIRE_TOKEN="false")
    assert get(box).status_code == 200
    assert get(box, Origin="https://evil.example").status_code == 403
    assert not box.places.token_file.exists()


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("PACHMOUNT_LISTEN", "nonsense", "it is HOST:PORT"),
        ("PACHMOUNT_SOCKET_USERS", "no-such-user", "no user 'no-such-user'"),
        ("PACHMOUNT_TOKEN_FILE", "open-token", "others can read it"),
        ("PACHMOUNT_TOKEN_FILE", "short-token", "at least 16"),
    ],
)
def test_unsafe_or_wrong_settings_are_refused(new_box: NewBox, setting: str, value: str, told: str) -> None:
    box = new_box(start=False, PACHMOUNT_LISTEN="127.0.0.1:0")
    for name, mode, token in (("open-token", 0o644, "t" * 40), ("short-token", 0o600, "t")):
        (box.root / name).write_text(token)
        (box.root / name).chmod(mode)
    path = str(box.root / value) if "FILE" in setting else value
    assert told in box.refused("daemon", "start", code=78, **{setting: path})


def test_a_taken_port_is_said(new_box: NewBox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        box = new_box(start=False)
        said = box.refused("daemon", "start", code=78, PACHMOUNT_LISTEN=f"127.0.0.1:{port}")
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert box.log_problems()


# --- a second user


@needs_root
def test_another_user_can_read_nothing_of_ours(new_box: NewBox) -> None:
    box = new_box(start=False, PACHMOUNT_LISTEN="127.0.0.1:0")
    del box.env["XDG_RUNTIME_DIR"]
    (box.root / "run").rmdir()
    box.root.chmod(0o755)
    box.start()
    repo = box.repo()
    box.put(repo, {"/secret": b"secret" * 1000})
    box.mount(f"{repo}@master")
    box.mount(f"{repo}@master", name="rw", mode="rw")
    box.path("rw", "new").write_bytes(b"staged")
    assert box.path(repo, "secret").read_bytes()
    wait_until(lambda: any(box.root.glob("cache/pachmount/blocks/*")), "a block is on the disk")
    assert box.places.socket.is_relative_to(box.root)
    assert readable_to_nobody(box.root) == []
    assert ask_as_nobody(box.places.socket, "GET", "/status") == ("PermissionError", 13)
    box.unmount("rw")


@needs_root
def test_a_shared_socket_is_for_those_who_were_named(new_box: NewBox, open_directory: Path) -> None:
    socket_path = open_directory / "s.sock"
    box = new_box(PFS_SOCK_PATH=str(socket_path), PACHMOUNT_SOCKET_USERS=str(NOBODY))
    assert ask_as_nobody(socket_path, "GET", "/health") == (200, '{"status":"running"}\n')
    box.env["PACHMOUNT_SOCKET_USERS"] = "daemon"
    box.ok("daemon", "restart")
    status, text = ask_as_nobody(socket_path, "GET", "/repos")
    assert (status, text.partition(" —")[0]) == (403, f"user {NOBODY} may not use this daemon")
    assert ask_as_nobody(socket_path, "GET", "/nope")[0] == 403
    del box.env["PACHMOUNT_SOCKET_USERS"]
    box.ok("daemon", "restart")
    assert ask_as_nobody(socket_path, "GET", "/health")[0] == "PermissionError"
    box.env["PACHMOUNT_SOCKET_USERS"] = "*"
    box.ok("daemon", "restart")
    assert ask_as_nobody(socket_path, "GET", "/health")[0] == 200


@needs_root
def test_other_users_see_the_mounts_only_if_asked(new_box: NewBox) -> None:
    box = new_box(start=False)
    box.root.chmod(0o755)
    box.start()
    repo = box.repo()
    box.put(repo, {"/f": b"x"})
    box.mount(repo)
    assert readable_to_nobody(box.mount_dir) == []
    box.ok("daemon", "restart", "--allow-other")
    box.listed(repo)
    assert readable_to_nobody(box.mount_dir) == [f"{repo}/f"]


def test_a_directory_of_somebody_elses_is_not_used_for_the_socket(new_box: NewBox) -> None:
    box = new_box(start=False)
    place = box.root / "run" / "pachmount"
    (box.root / "real").mkdir()
    place.symlink_to(box.root / "real")
    assert "not a directory" in box.refused("daemon", "start", code=78)
    if os.geteuid() == 0:
        place.unlink()
        place.mkdir()
        os.chown(place, NOBODY, NOBODY)
        assert "belongs to another user" in box.refused("daemon", "start", code=78)
    assert box.log_problems()


# --- nothing outside of the mount directory


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc", "..", ".", "out", "", "x\n", "a" * 300])
def test_names_that_lead_out_of_the_mount_directory_are_refused(served: Box, name: str) -> None:
    before = sorted(served.root.iterdir())
    with requests.Session() as session:
        session.trust_env = False
        body = {"mounts": [{"name": name, "repo": "r"}]}
        answer = session.put(f"{url_of(served)}/_mount", json=body, headers=bearer(served), timeout=20)
    assert answer.status_code == 400
    assert sorted(served.root.iterdir()) == before


def test_a_symbolic_link_in_the_way_is_not_followed(new_box: NewBox) -> None:
    box = new_box()
    repo = box.repo()
    box.put(repo, {"/f": b"x"})
    elsewhere = box.root / "elsewhere"
    elsewhere.mkdir()
    box.mount_dir.mkdir(exist_ok=True)
    box.path("m").symlink_to(elsewhere)
    assert "not a directory is there" in box.refused("mount", repo, "--name", "m", code=73)
    assert box.path("m").is_symlink()
    assert list(elsewhere.iterdir()) == []


@needs_root
def test_the_files_may_belong_to_another_user_who_writes_them(new_box: NewBox) -> None:
    box = new_box(start=False, PACHMOUNT_FILE_OWNER=f"{NOBODY}:{NOBODY}", SIDECAR_MODE="1")
    box.root.chmod(0o755)
    daemon = subprocess.Popen(
        [sys.executable, "-m", "pachmount", "daemon", "run"], env=box.env, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: box.run("status").returncode == 0, "the daemon runs")
        repo = box.repo()
        box.put(repo, {"/f": b"old"})
        box.mount(repo)
        box.mount(repo, name="rw", mode="rw")
        for name in (repo, "rw"):
            info = box.path(name, "f").stat()
            assert (info.st_uid, info.st_gid) == (NOBODY, NOBODY)
        append_as_nobody(box.path("rw", "f"), "new")
        append_as_nobody(box.path("rw", "made"), "new")
        assert box.path("rw", "f").read_bytes() == b"oldnew"
        with box.daemon() as client:
            client.commit(CommitRequest(mount="rw"))
    finally:
        daemon.terminate()
        daemon.wait(60)
    assert "no user 'nowhere'" in box.refused("daemon", "run", code=78, PACHMOUNT_FILE_OWNER="nowhere", SIDECAR_MODE="")
