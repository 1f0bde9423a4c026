"""What the counters say after reads whose cost is known: `stats`, GET /stats, GET /metrics, and /status."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pexpect
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.box import EXTERNAL_CLUSTER, Box, wait_until
from tests.integration.test_cache import DROP
from tests.integration.test_rest import ask

MIB = 1 << 20


def statistics(box: Box, name: str) -> dict[str, Any]:
    with box.daemon() as client:
        [mount] = client.stats([name]).mounts
    return mount.model_dump()


def quiet(box: Box, name: str) -> dict[str, Any]:
    """The statistics once no request is under way."""
    wait_until(lambda: statistics(box, name)["requests_in_flight"] == 0, "all requests end")
    return statistics(box, name)


def read(box: Box, name: str, *below: str) -> bytes:
    """A whole file, past the kernel's page cache."""
    path = box.path(name, *below)
    box.python(DROP, path)
    return path.read_bytes()


def test_a_read_is_counted_once_and_a_second_one_asks_nothing_of_the_cluster(box: Box) -> None:
    content = random.Random(1).randbytes(100_000)
    repo = box.repo("counted")
    box.put(repo, {"/file": content})
    box.mount(repo)
    box.listed(repo)
    before = quiet(box, repo)
    assert (before["content_requests"], before["fetched_bytes"], before["misses"]) == (0, 0, 0)
    assert before["listing_requests"] == sum(before["requests"].values()) >= 1
    assert read(box, repo, "file") == content
    first = quiet(box, repo)
    assert (first["content_requests"], first["fetched_bytes"], first["misses"]) == (1, len(content), 1)
    assert first["read_bytes"] == len(content)
    assert first["operations"]["read"] == first["read"]["count"] >= 1
    assert first["fetch"]["count"] == 1
    assert 0 < first["fetch"]["p50"] <= first["fetch"]["max"]
    assert first["operations"]["lookup"] == first["lookup"]["count"] > 0
    assert read(box, repo, "file") == content
    second = quiet(box, repo)
    assert second["requests"] == first["requests"]
    assert (second["fetched_bytes"], second["misses"]) == (len(content), 1)
    assert second["memory_hits"] > first["memory_hits"]
    assert second["read_bytes"] == 2 * len(content)
    assert second["errors"] == {}


def test_a_new_daemon_reads_from_the_disk(new_box: Callable[..., Box]) -> None:
    box, content = new_box(), random.Random(2).randbytes(3 * MIB + 5)
    repo = box.repo("kept")
    box.put(repo, {"/file": content})
    box.mount(repo)
    assert read(box, repo, "file") == content
    assert quiet(box, repo)["fetched_bytes"] == len(content)
    wait_until(lambda: box.status()["cache"]["write_queue"] == 0, "the blocks are written")
    box.ok("daemon", "restart")
    assert read(box, repo, "file") == content
    after = quiet(box, repo)
    assert (after["content_requests"], after["fetched_bytes"], after["misses"]) == (0, 0, 0)
    assert after["disk_hits"] == 4


def test_every_kind_of_operation_is_counted(box: Box) -> None:
    repo = box.repo("kinds")
    box.put(repo, {"/d/file": b"x"})
    box.mount(repo)
    box.listed(repo)
    before = statistics(box, repo)
    top = box.path(repo)
    assert os.listdir(top / "d") == ["file"]
    assert not (top / "nothing").exists()
    assert os.getxattr(top / "d", "user.pachmount.repo") == repo.encode()
    os.statvfs(top)
    after = statistics(box, repo)
    grown = {kind: count - before["operations"][kind] for kind, count in after["operations"].items()}
    assert (grown["readdir"], grown["xattr"], grown["statfs"], grown["read"]) == (1, 1, 1, 0)
    assert grown["lookup"] >= 2
    assert after["missing"] == before["missing"] + 1
    assert after["errors"] == {}, "a name that does not exist is no error"
    assert after["read"]["count"] == 0
    assert after["read"]["p50"] == 0


def test_refresh_goes_on_counting(box: Box) -> None:
    repo = box.repo("moves")
    box.put(repo, {"/file": b"one"})
    box.mount(repo)
    assert read(box, repo, "file") == b"one"
    before = quiet(box, repo)
    box.put(repo, {"/file": b"another"})
    box.refresh(repo)
    assert read(box, repo, "file") == b"another"
    assert quiet(box, repo)["fetched_bytes"] == before["fetched_bytes"] + len(b"another")


@pytest.mark.skipif(bool(EXTERNAL_CLUSTER), reason="needs a server that can be killed")
def test_errors_are_counted_by_errno_and_by_class(new_box: Callable[..., Box]) -> None:
    box = new_box(PACHMOUNT_READ_TIMEOUT="1", PACHMOUNT_CALL_TIMEOUT="1")
    server = box.server()
    box.ok("login", server.address)
    repo = box.repo("fails")
    box.put(repo, {"/file": b"x" * 5000}, address=server.address)
    box.mount(repo)
    box.listed(repo)
    server.kill()
    with pytest.raises(OSError, match=r"error|timed out"):
        box.path(repo, "file").read_bytes()
    found = quiet(box, repo)
    assert sum(found["errors"].values()) >= 1
    assert set(found["errors"]) <= {"EIO", "ETIMEDOUT"}
    assert found["fetched_bytes"] == 0
    assert box.mount_status(repo)["counters"]["errors"] == sum(found["errors"].values())
    with box.daemon() as client:
        daemon = client.stats().daemon
    assert sum(count for name, count in daemon.call_errors.items() if name.startswith("cluster-")) >= 1
    assert daemon.read_retries + daemon.call_retries >= 1
    server.start()
    wait_until(lambda: read(box, repo, "file") == b"x" * 5000, "the file can be read again")
    assert quiet(box, repo)["fetched_bytes"] == 5000


def test_status_tells_the_same(box: Box) -> None:
    repo = box.repo("same")
    box.put(repo, {"/file": b"12345"})
    box.mount(repo)
    assert read(box, repo, "file") == b"12345"
    told = quiet(box, repo)
    status = box.mount_status(repo)
    assert status["statistics"] == {key: told[key] for key in status["statistics"]}
    assert status["counters"] == {
        "lookups": told["operations"]["lookup"],
        "listings": told["operations"]["readdir"],
        "reads": told["operations"]["read"],
        "read_bytes": 5,
        "errors": 0,
    }


def test_the_routes(box: Box) -> None:
    repo = box.repo("routes")
    box.put(repo, {"/file": b"1"})
    box.mount(repo, "one")
    box.mount(repo, "two")
    answer = ask(box, "GET", "/stats")
    assert (answer.status, answer.type) == (200, "application/json")
    assert [mount["name"] for mount in answer.json["mounts"]] == ["one", "two"]
    daemon = answer.json["daemon"]
    assert daemon["mounts_by_state"] == {"mounted": 2}
    assert daemon["cluster_state"] == "connected"
    assert daemon["calls"]["WalkFile"] >= 1
    assert min(daemon[key] for key in ("uptime_seconds", "cpu_seconds", "rss_bytes", "threads")) > 0
    one = ask(box, "GET", "/stats?mount=two").json
    assert [mount["name"] for mount in one["mounts"]] == ["two"]
    unknown = ask(box, "GET", "/stats?mount=three")
    assert (unknown.status, unknown.type) == (404, "text/plain; charset=utf-8")
    assert unknown.body == "no mount 'three'\n"
    counted = ask(box, "GET", "/stats").json["daemon"]["rest_requests"]["/stats"]
    assert counted["200"] >= 2
    assert counted["404"] >= 1


def test_metrics_can_be_scraped(box: Box) -> None:
    repo = box.repo("scraped")
    box.put(repo, {"/file": b"scrap"})
    box.mount(repo, "m")
    box.mount(repo, "gone")
    assert read(box, "m", "file") == b"scrap"
    quiet(box, "m")

    def scrape() -> dict[tuple[str, str, str], float]:
        answer = ask(box, "GET", "/metrics")
        assert (answer.status, answer.type) == (200, "text/plain; version=0.0.4; charset=utf-8")
        return {
            (sample.name, sample.labels.get("mount", ""), sample.labels.get("operation", "")): sample.value
            for family in text_string_to_metric_families(answer.body)
            for sample in family.samples
        }

    found = scrape()
    assert found["pachmount_mount_fetched_bytes_total", "m", ""] == 5
    assert found["pachmount_mount_operation_seconds_count", "m", "read"] >= 1
    assert found["pachmount_cluster_up", "", ""] == 1
    assert any(mount == "gone" for _, mount, _ in found)
    box.unmount("gone")
    assert not any(mount == "gone" for _, mount, _ in scrape())


def test_the_command(box: Box) -> None:
    repo = box.repo("shown")
    box.put(repo, {"/file": b"shown"})
    box.mount(repo, "shown")
    assert read(box, "shown", "file") == b"shown"
    text = box.ok("stats")
    assert "calls" in text
    assert "shown" in text
    assert "first piece" in text
    answer = json.loads(box.ok("stats", "shown", "--json"))
    assert answer["mounts"][0]["read_bytes"] == 5
    said = box.refused("stats", "unknown", code=66)
    assert "no mount 'unknown'" in said
    assert "hint: " in said


def test_watching_goes_on_over_a_restart_and_ends_with_ctrl_c(new_box: Callable[..., Box]) -> None:
    box = new_box()
    repo = box.repo("watched")
    box.put(repo, {"/file": b"12345"})
    box.mount(repo)
    watch = subprocess.Popen(
        [sys.executable, "-m", "pachmount", "stats", "--watch", "--interval", "0.2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=box.env,
        cwd=box.root,
    )
    try:
        assert watch.stdout is not None
        lines = iter(watch.stdout.readline, "")
        assert repo in next(lines)
        box.path(repo, "file").read_bytes()
        assert any(" 0 reads/s" not in line for line in lines), "one read in 0.2 s shows as a rate"
        box.ok("daemon", "stop")
        assert any("the daemon is not running" in line for line in lines)
        box.ok("daemon", "start")
        assert any("started anew" in line for line in lines)
        assert any(repo in line for line in lines)
        watch.send_signal(signal.SIGINT)
        assert watch.stderr is not None
        assert watch.wait(10) == 130
        assert watch.stderr.read() == ""
    finally:
        watch.kill()
        watch.communicate()


def test_watching_on_a_terminal_draws_a_table_and_leaves_the_terminal_as_it_was(box: Box) -> None:
    repo = box.repo("drawn")
    box.put(repo, {"/file": b"drawn"})
    box.mount(repo, "drawn")
    arguments = ["-m", "pachmount", "stats", "drawn", "--watch", "--interval", "0.2"]
    env = {**box.env, "TERM": "xterm"}
    watch = pexpect.spawn(sys.executable, arguments, env=env, encoding="utf-8", timeout=20, dimensions=(24, 130))
    try:
        watch.expect("LOOK-UPS/S")
        watch.expect("drawn")
        watch.expect("drawn")
        watch.sendintr()
        watch.expect(pexpect.EOF)
        assert "Traceback" not in watch.before
        assert "\x1b[?25h" in watch.before, "the cursor is shown again"
    finally:
        watch.close()
    assert watch.exitstatus == 130
