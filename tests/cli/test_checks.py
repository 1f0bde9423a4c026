"""The doctor's checks, each for a machine that has the thing and one that has not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from conftest import User

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
    assert checks.libfuse("libc.so.6").verdict is Verdict.OK
    missing = checks.libfuse("libnothing.so.2")
    assert missing.verdict is Verdict.PROBLEM
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


def test_doctor_as_a_whole(user: User) -> None:
    done = user.run("doctor")
    assert done.returncode in (0, 1)
    assert "daemon: not running" in done.stdout
    assert "cluster: the embedded server" in done.stdout
    assert sorted(os.listdir(user.home)) == ["run"], "the doctor changes nothing"
