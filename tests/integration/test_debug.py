"""`debug trace` shows what the kernel asked for, `debug bundle` collects everything but secrets."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pachmount.client import DaemonClient
from pachmount.vfs import tracing
from tests.integration.box import Box, wait_until

CONTENT = os.urandom(3 << 20)


def mounted(box: Box, mode: str = "") -> str:
    repo = box.repo("traced")
    box.put(repo, {"/big": CONTENT, "/d/small": b"text"})
    box.mount(repo, mode=mode)
    return repo


def followed(client: DaemonClient, name: str, after: int, wanted: Callable[[list[Any]], bool]) -> list[Any]:
    """What is traced from `after` on, until it is what is wanted."""
    seen: list[Any] = []

    def more() -> bool:
        answer = client.trace(name, seen[-1].number if seen else after)
        seen.extend(answer.operations)
        return wanted(seen)

    wait_until(more, "the operations are traced")
    return seen


def test_operations_come_with_path_range_result_and_time(box: Box) -> None:
    repo = mounted(box)
    with box.daemon() as client:
        start = client.trace(repo)
        assert (start.operations, start.lost, start.next) == ([], 0, 0)
        box.out(
            'cat "$1" > /dev/null; cat "$2" || true; ls "$3"', *(box.path(repo, *p) for p in (["big"], ["no"], ["d"]))
        )
        seen = followed(client, repo, 0, lambda ops: any(op.operation == "readdir" and op.path == "/d" for op in ops))
    reads = [op for op in seen if op.operation == "read" and op.path == "/big"]
    assert sum(op.result for op in reads) == len(CONTENT)
    assert {op.offset for op in reads} >= {0}
    assert all(0 < op.result <= op.size and op.seconds > 0 and abs(op.time - time.time()) < 60 for op in reads)
    missing = next(op for op in seen if op.path == "/no")
    assert (missing.operation, missing.error, missing.offset) == ("getattr", "ENOENT", None)
    assert [op.number for op in seen] == list(range(1, len(seen) + 1))


def test_writes_are_traced_too(box: Box) -> None:
    repo = mounted(box, "rw")
    with box.daemon() as client:
        client.trace(repo)
        box.out('echo hello > "$1"; mkdir "$2"; rmdir "$2"', box.path(repo, "new"), box.path(repo, "dir"))
        seen = followed(client, repo, 0, lambda ops: any(op.operation == "rmdir" for op in ops))
    written = next(op for op in seen if op.operation == "write")
    assert (written.offset, written.size, written.result) == (0, 6, 6)
    assert {"create", "mkdir", "rmdir"} <= {op.operation for op in seen}


def test_nothing_is_noted_before_and_after(box: Box) -> None:
    repo = mounted(box)
    box.out('ls -R "$1"', box.path(repo))
    with box.daemon() as client:
        begun = client.trace(repo)
        assert (begun.operations, client.trace(repo, begun.next).operations) == ([], []), "what was before"


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_the_command_prints_lines_or_json(box: Box, flags: list[str]) -> None:
    repo = mounted(box)
    looking = [
        "bash",
        "-c",
        'for i in {1..600}; do stat "$1$i" 2>/dev/null; sleep 0.05; done',
        "sh",
        str(box.path(repo, "none")),
    ]
    command = [sys.executable, "-m", "pachmount", "debug", "trace", str(box.path(repo)), *flags]
    with (
        subprocess.Popen(looking, cwd="/") as looker,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=box.env, cwd="/") as tracer,
    ):
        try:
            assert tracer.stdout is not None
            line = ""
            while "none" not in line:
                line = tracer.stdout.readline() or "(ended)"
                assert line != "(ended)"
        finally:
            looker.kill()
            tracer.send_signal(signal.SIGINT)
    assert tracer.returncode == 130
    if flags:
        found = json.loads(line)
        assert (found["operation"], found["error"]) == ("getattr", "ENOENT")
    else:
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3} getattr /none\d+ = ENOENT \(\d.*s\)$", line)
    assert box.ok("debug", "trace", repo, "--seconds", "0.1", "-q") == "", "another one begins anew"
    box.refused("debug", "trace", "nothing", code=66)


def test_a_trace_is_bounded_ends_by_itself_and_counts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from pachmount.vfs.statistics import MountStatistics

    monkeypatch.setattr(tracing, "KEPT", 3)
    statistics = MountStatistics()
    trace = statistics.traced()
    for _ in range(5):
        trace.record("getattr", "/a", None, None, 0, 0.0)
    assert [each.number for each in trace.after(0, 10)] == [3, 4, 5]
    assert [each.number for each in trace.after(3, 1)] == [4]
    assert statistics.traced() is trace
    monkeypatch.setattr(tracing, "PATIENCE", 0.0)
    assert not trace.is_wanted
    other = statistics.traced()
    other.record("getattr", "/a", None, None, 0, 0.0)
    assert [each.number for each in other.after(5, 10)] == [6]


def test_the_ring_goes_once_nobody_asks() -> None:
    from pachmount.fuse.traced import traced
    from pachmount.vfs.statistics import MountStatistics

    class Answers:
        statistics = MountStatistics()

        def failed(self, error: BaseException) -> int:
            return -5

    def getattr_(path: bytes) -> int:
        raise OSError

    answers = Answers()
    trace = answers.statistics.traced()
    assert traced(trace, answers, getattr_, (b"/\xff",)) == -5
    [noted] = trace.after(0, 10)
    assert (noted.path, noted.result) == ("/\\xff", -5)
    trace._asked -= tracing.PATIENCE + 1
    assert traced(trace, answers, getattr_, (b"/a",)) == -5
    assert answers.statistics.trace is None


# --- bundle

TOKEN = "s3cr3t-session-token-of-ada"
REST_TOKEN = "rest-token-0123456789"


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {
            Path(entry.name).name: file.read().decode() for entry in archive if (file := archive.extractfile(entry))
        }


def test_a_bundle_has_everything_but_secrets_and_content(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False, PACHMOUNT_LISTEN="127.0.0.1:0")
    context = {"pachd_address": "grpc://127.0.0.1:1", "session_token": TOKEN}
    document = {"v2": {"active_context": "", "contexts": {"c": context, "local": {}}}}
    document["v2"]["active_context"] = "local"
    Path(box.env["PACH_CONFIG"]).write_text(json.dumps(document))
    box.places.token_file.parent.mkdir(parents=True, mode=0o700)
    box.places.token_file.write_text(REST_TOKEN)
    box.places.token_file.chmod(0o600)
    box.start()
    repo = box.repo("bundled")
    box.put(repo, {"/file": b"very private content"})
    box.mount(repo)
    box.out('cat "$1"', box.path(repo, "file"))
    with box.places.log_file.open("a") as log:
        log.write(f"a library that says too much: {TOKEN} {REST_TOKEN}\n")
    path = box.root / "bundle.tar.gz"
    done = box.run("debug", "bundle", str(path), PACHMOUNT_TOKEN="another-token-here", DEX_TOKEN="dex-token-here")
    assert done.returncode == 0, done
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    parts = unpacked(path)
    everything = "".join(parts.values())
    for secret in (TOKEN, REST_TOKEN, "another-token-here", "dex-token-here", "very private content"):
        assert secret not in everything, secret
    assert "a library that says too much: [secret] [secret]" in parts["daemon.log"]
    assert json.loads(parts["status.json"])["mounts"][0]["name"] == repo
    assert json.loads(parts["stats.json"])["mounts"][0]["name"] == repo
    assert json.loads(parts["context.json"])["contexts"] == ["c", "local"]
    assert json.loads(parts["environment.json"])["PACHMOUNT_TOKEN"] == "[secret]"
    assert {"from": "PACHMOUNT_LISTEN", "name": "listen", "value": "127.0.0.1:0"} in json.loads(parts["settings.json"])
    assert any(check["name"] == "/dev/fuse" for check in json.loads(parts["doctor.json"]))
    assert f"{box.path(repo)} " in parts["mountinfo.txt"]
    assert json.loads(parts["versions.json"])["packages"]["tornado"]
    box.refused("debug", "bundle", str(path), code=73)


def test_a_bundle_that_does_not_fit_leaves_nothing(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False)
    done = box.sh('ulimit -f 1; exec "$1" -m pachmount debug bundle out.tar.gz', sys.executable)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write 'out.tar.gz' — File too large\n")
    assert not (box.root / "out.tar.gz").exists()


def test_a_bundle_without_a_daemon_and_with_broken_files(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False)
    Path(box.env["PACH_CONFIG"]).write_text("{ broken")
    settings = box.root / "config" / "pachmount" / "pachmount.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("cash_size = 1\n")
    box.ok("debug", "bundle", "out.tar.gz")
    parts = unpacked(box.root / "out.tar.gz")
    assert json.loads(parts["status.json"])["state"] == "stopped"
    assert parts["settings.json"].startswith(f"not to be had: unknown setting 'cash_size' in '{settings}'")
    assert parts["context.json"].startswith("not to be had: ")
    assert parts["stats.json"] == "not to be had: the daemon is not running\n"
    verdicts = {check["name"]: check["verdict"] for check in json.loads(parts["doctor.json"])}
    assert verdicts["settings"] == verdicts["context file"] == "problem"


def test_the_end_of_a_long_log_is_taken(new_box: Callable[..., Box]) -> None:
    box = new_box(start=False)
    box.places.log_file.parent.mkdir(parents=True)
    box.places.log_file.write_text("early\n" + "x" * (3 << 20) + "\nlate\n")
    box.ok("debug", "bundle", "out.tar.gz")
    log = unpacked(box.root / "out.tar.gz")["daemon.log"]
    assert log.endswith("late\n")
    assert "early" not in log
    box.refused("debug", "bundle", "no/such/directory.tar.gz", code=78)
