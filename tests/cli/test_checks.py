"""The doctor's checks, each for a machine that has the thing and one that has not."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest
from conftest import User
from fake_daemon import FakeDaemon, cluster_status, mount_status, status_answer

from pachmount import paths
from pachmount.cli import checks
from pachmount.cli.checks import Check, Verdict
from pachmount.fuse.kernel import KernelMount


def verdicts(found: list[Check]) -> list[Verdict]:
    return [check.verdict for check in found]


def test_fuse_device(tmp_path: Path) -> None:
    assert checks.fuse_device(tmp_path / "none").verdict is Verdict.PROBLEM
    (tmp_path / "fuse").touch()
    assert checks.fuse_device(tmp_path / "fuse").verdict is Verdict.OK
    assert checks.fuse_device(tmp_path).verdict is Verdict.PROBLEM


def test_libfuse() -> None:
    for binding, version in (("fusepy", "libfuse 2."), ("mfusepy", "libfuse 3.")):
        found = checks.libfuse({"PACHMOUNT_FUSE_BINDING": binding})
        assert found.verdict is Verdict.OK
        assert found.found.startswith(version)
        assert found.found.endswith(f" with {binding}")
    missing = checks.libfuse({"FUSE_LIBRARY_PATH": "libnothing.so.2"})
    assert missing.verdict is Verdict.PROBLEM
    assert "libnothing.so.2" in missing.found
    assert "libfuse2t64" in missing.advice


def test_fusermount(tmp_path: Path) -> None:
    program = tmp_path / "fusermount3"
    program.touch(mode=0o755)
    assert checks.fusermount(is_root=True, which=lambda _name: None).verdict is Verdict.OK
    assert checks.fusermount(is_root=False, which=lambda _name: None).verdict is Verdict.PROBLEM
    assert checks.fusermount(is_root=False, which=lambda _name: str(program)).verdict is Verdict.PROBLEM
    program.chmod(0o755 | stat.S_ISUID)
    expected = Verdict.OK if os.geteuid() == 0 else Verdict.PROBLEM  # the owner must be root
    assert checks.fusermount(is_root=False, which=lambda _name: str(program)).verdict is expected


def test_settings(user: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert verdicts(checks.settings()) == [Verdict.OK]
    monkeypatch.setenv("PACHMOUNT_ALLOW_OTHER", "yes")
    monkeypatch.setattr("pachmount.fuse.kernel.may_mount", lambda: False)
    conf = tmp_path / "fuse.conf"
    assert verdicts(checks.settings(conf)) == [Verdict.OK, Verdict.PROBLEM]
    conf.write_text("# user_allow_other\n")
    assert verdicts(checks.settings(conf)) == [Verdict.OK, Verdict.PROBLEM]
    conf.write_text("user_allow_other\n")
    assert verdicts(checks.settings(conf)) == [Verdict.OK, Verdict.OK]
    monkeypatch.setenv("PACHMOUNT_CACHE_SIZE", "much")
    assert verdicts(checks.settings(conf)) == [Verdict.PROBLEM]


def test_mount_directory(tmp_path: Path) -> None:
    assert checks.mount_directory(tmp_path / "not" / "yet").verdict is Verdict.OK
    (tmp_path / "file").touch()
    assert checks.mount_directory(tmp_path / "file").verdict is Verdict.PROBLEM


def test_nothing_may_lie_below_a_mount(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    table = [KernelMount(str(user.home), "fuse.pachmount", "x")]
    monkeypatch.setattr("pachmount.fuse.kernel.mount_table", lambda: table)
    assert checks.mount_directory(user.home / "pfs").verdict is Verdict.PROBLEM
    assert set(verdicts(checks.directories(paths.places()))) == {Verdict.PROBLEM}
    assert checks.mount_above(Path(f"{user.home}x")) is None


def test_directories(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(verdicts(checks.directories(paths.places()))) == {Verdict.OK}
    monkeypatch.setattr(checks, "LOW_DISK_BYTES", 1 << 62)
    assert Verdict.NOTE in verdicts(checks.directories(paths.places()))
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    assert set(verdicts(checks.directories(paths.places()))) == {Verdict.PROBLEM}


def test_dead_and_hung_mounts(user: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = [KernelMount(str(user.mount_dir / name), "fuse.pachmount", "x") for name in ("a", "b", "c")]
    monkeypatch.setattr("pachmount.fuse.kernel.mount_table", lambda: mounts)
    answers = dict(zip((mount.mountpoint for mount in mounts), ("ok", "dead", "hung"), strict=True))
    monkeypatch.setattr(checks, "probe", answers.__getitem__)
    found = checks.dead_mounts(user.mount_dir)
    assert verdicts(found) == [Verdict.OK, Verdict.PROBLEM, Verdict.PROBLEM]
    assert "is dead" in found[1].found
    assert "does not answer" in found[2].found


def test_probe(tmp_path: Path) -> None:
    assert checks.probe(str(tmp_path)) == "ok"
    assert checks.probe(str(tmp_path / "none")) == "dead"


def test_context_file(user: User) -> None:
    path = Path(user.env["PACH_CONFIG"])
    assert "embedded server" in checks.context_file().found
    path.write_text('{"v2": {"active_context": "c", "contexts": {"c": {"pachd_address": "grpc://h:1"}}}}')
    assert "context 'c': grpc://h:1" in checks.context_file().found
    path.write_text("{")
    assert checks.context_file().verdict is Verdict.PROBLEM


def test_clock() -> None:
    assert checks.clock().verdict is Verdict.OK
    assert checks.clock(now=1000.0).verdict is Verdict.PROBLEM


def test_unread_variables(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.unread_variables() == []
    monkeypatch.setenv("PACHMOUNT_CACHESIZE", "1G")
    monkeypatch.setenv("PACHMOUNT_TOKEN_FILE", "/x")
    [found] = checks.unread_variables()
    assert (found.name, found.verdict) == ("PACHMOUNT_CACHESIZE", Verdict.NOTE)
    assert "PACHMOUNT_CACHE_SIZE" in found.advice


def test_stray_mounts(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    table = [
        KernelMount("/mnt/dead", "fuse.pachmount", "x"),
        KernelMount("/mnt/alive", "fuse.pachmount", "x"),
        KernelMount("/mnt/other", "ext4", "x"),
        KernelMount(str(user.mount_dir / "ours"), "fuse.pachmount", "x"),
    ]
    monkeypatch.setattr("pachmount.fuse.kernel.mount_table", lambda: table)
    monkeypatch.setattr(checks, "probe", lambda place: "ok" if place == "/mnt/alive" else "dead")
    [found] = checks.stray_mounts()
    assert found.verdict is Verdict.PROBLEM
    assert "/mnt/dead" in found.found
    assert "fusermount -u -z /mnt/dead" in found.advice


def test_a_mount_point_with_a_daemon_of_its_own_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachmount.fuse.kernel.mount_table", lambda: [KernelMount("/mnt/x", "fuse.pachmount", "x")])
    assert checks.mount_directory(Path("/mnt/x")).verdict is Verdict.OK
    assert checks.mount_directory(Path("/mnt/x/y")).verdict is Verdict.PROBLEM


def test_socket_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "socket"
    assert checks.socket_owner(path) == []
    path.touch()
    assert verdicts(checks.socket_owner(path)) == [Verdict.OK]
    owner = path.stat().st_uid
    if owner == 0:
        os.chown(path, 4321, -1)
        owner = 4321
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    [found] = checks.socket_owner(path)
    assert found.verdict is Verdict.NOTE
    assert f"user {owner}" in found.found


def test_lab_extension(tmp_path: Path) -> None:
    assert checks.lab_extension(tmp_path).verdict is Verdict.OK
    extensions = tmp_path / "share/jupyter/labextensions"
    extensions.mkdir(parents=True)
    assert checks.lab_extension(tmp_path).verdict is Verdict.NOTE
    (extensions / checks.LAB_EXTENSION).mkdir()
    assert checks.lab_extension(tmp_path).found == "installed"


def told(user: User) -> dict[str, tuple[str, str, str]]:
    """What the doctor says, by the name of the check."""
    found = json.loads(user.run("doctor", "--json").stdout)["checks"]
    return {each["name"]: (each["verdict"], each["found"], each["advice"]) for each in found}


def test_what_the_daemon_knows(user: User, daemon: FakeDaemon) -> None:
    error = {"id": "cannot-mount", "error": "cannot mount", "why": "not empty", "hint": "empty it"}
    staged = {"files": 3, "bytes": 99 << 20, "limit": 100 << 20}
    daemon.mounts = [
        mount_status("broken", state="error", status="cannot mount: not empty", error=error),
        mount_status("gone", note="branch 'master' does not exist any more"),
        mount_status("full", mode="rw", staged=staged),
    ]
    answer = status_answer(
        daemon.mounts, cluster_status(auth="logged-in", username="ada", login_expires=time.time() + 90)
    )
    answer["cache"]["disabled_reason"] = "No space left on device"
    answer["kept_changes"] = [{"name": "old", "source": "default/images@master", "files": 1, "bytes": 5}]
    answer["version"] = "0.0.9"
    daemon.routes["GET /status"] = answer
    found = told(user)
    assert found["daemon"][0] == "note"
    assert found["daemon"][2] == "pachmount daemon restart"
    assert found["cache"][:2] == ("problem", "off: No space left on device")
    assert found["mount broken"] == ("problem", "cannot mount: not empty", "empty it")
    assert found["mount gone"][:2] == ("note", "branch 'master' does not exist any more")
    assert found["mount full"][:2] == ("note", "99.0 MiB of 100 MiB are staged")
    assert found["kept changes"][2] == "pachmount diff old; pachmount staged export old old-staged"
    assert found["login"][0] == "note"
    assert found["login"][2] == "pachmount login"


@pytest.mark.parametrize(
    ("cluster", "verdict", "advice"),
    [
        ({"state": "none", "address": ""}, "problem", "pachmount login"),
        ({"auth": "logged-out"}, "problem", "pachmount login"),
        (
            {
                "state": "unreachable",
                "error": {
                    "id": "x",
                    "error": "no",
                    "why": "the certificate is for another name",
                    "hint": "--server-ca",
                },
            },
            "problem",
            "--server-ca",
        ),
    ],
)
def test_the_cluster(user: User, daemon: FakeDaemon, cluster: dict[str, object], verdict: str, advice: str) -> None:
    daemon.cluster = cluster_status(**cluster)
    found = told(user)["cluster"]
    assert found[0] == verdict
    assert advice in found[2]


def test_doctor_as_a_whole(user: User) -> None:
    done = user.run("doctor")
    assert done.returncode in (0, 1)
    assert "daemon: not running" in done.stdout
    assert "cluster: the embedded server" in done.stdout
    assert sorted(os.listdir(user.home)) == ["run"], "the doctor changes nothing"
