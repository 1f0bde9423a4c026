"""The page for Prometheus: read back by its own client library, and by the rules of `promtool check metrics`."""

from __future__ import annotations

import re
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from pachmount.api import answers, prometheus, schema
from pachmount.vfs.statistics import BOUNDS, MountStatistics

CACHE = schema.CacheStatus.model_construct(
    **{name: "" if name in ("directory", "disabled_reason") else 7 for name in schema.CacheStatus.model_fields}
)
ODD_NAME = 'a "quoted" back\\slash\nline'


def mount(name: str, counted: MountStatistics) -> schema.NamedMountStatistics:
    figures = dict(answers.statistics(counted))
    return schema.NamedMountStatistics(name=name, source="p/r@b", state="mounted", behind=2, **figures)


def page(*mounts: schema.NamedMountStatistics) -> str:
    daemon = schema.DaemonStatistics(
        version="1.2.3",
        started=1e9,
        uptime_seconds=12.5,
        cpu_seconds=3.25,
        rss_bytes=1 << 30,
        threads=9,
        waiting_requests=1,
        waiting_requests_limit=64,
        lingering_sessions=0,
        cluster_state="connected",
        calls={"GetFile": 5},
        call_errors={"cluster-unreachable": 2},
        call_retries=1,
        read_retries=3,
        rest_requests={"/status": {"200": 4, "500": 1}},
        mounts_by_state={"mounted": len(mounts)},
        cache=CACHE,
    )
    return prometheus.text(schema.StatsAnswer(time=1.0, daemon=daemon, mounts=list(mounts)))


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found: dict[Any, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, "each sample once"
            found[key] = sample.value
    return found


def busy() -> MountStatistics:
    counted = MountStatistics()
    counted.lookups = 3
    counted.read_bytes = 1 << 40
    for nanoseconds in (1, 10_000, 10_001, 2_000_000, BOUNDS[-1], BOUNDS[-1] * 2):
        counted.reads.record(nanoseconds)
    counted.failed(5)
    with counted.request("GetFile"):
        counted.received(100)
    return counted


def test_the_figures_come_through() -> None:
    found = samples(page(mount("images", busy()), mount("other", MountStatistics())))

    def value(name: str, **labels: str) -> float:
        return found[f"pachmount_{name}", frozenset(labels.items())]

    assert value("info", version="1.2.3") == 1
    assert value("cpu_seconds_total") == 3.25
    assert value("cluster_up") == 1
    assert value("retries_total", kind="read") == 3
    assert value("rest_requests_total", route="/status", status="500") == 1
    assert value("mount_operations_total", mount="images", operation="lookup") == 3
    assert value("mount_operations_total", mount="images", operation="read") == 6
    assert value("mount_operations_total", mount="other", operation="read") == 0
    assert value("mount_errors_total", mount="images", errno="EIO") == 1
    assert value("mount_read_bytes_total", mount="images") == 1 << 40
    assert value("mount_requests_total", mount="images", method="GetFile") == 1
    assert value("mount_fetched_bytes_total", mount="images") == 100


def test_histograms_are_cumulative_and_whole() -> None:
    found = samples(page(mount("m", busy())))
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in found.items()
        if name == "pachmount_mount_operation_seconds_bucket" and ("operation", "read") in labels
    }
    assert list(buckets) == sorted(buckets)
    assert list(buckets.values()) == sorted(buckets.values())
    assert (buckets[1e-5], buckets[2.5e-5], buckets[2.5e-3], buckets[100.0], buckets[float("inf")]) == (2, 3, 4, 5, 6)
    labels = frozenset({"mount": "m", "operation": "read"}.items())
    assert found["pachmount_mount_operation_seconds_count", labels] == 6
    assert abs(found["pachmount_mount_operation_seconds_sum", labels] - 300.002) < 1e-3


def test_bounds_of_histograms_are_bounds_that_are_recorded() -> None:
    recorded = {bound / 1e9 for bound in BOUNDS}
    assert set(prometheus.BUCKETS) <= recorded
    assert list(prometheus.BUCKETS) == sorted(prometheus.BUCKETS)


def test_labels_are_escaped() -> None:
    text = page(mount(ODD_NAME, busy()))
    assert ("pachmount_mount_missing_total", frozenset({("mount", ODD_NAME)})) in samples(text)
    assert all(re.match(r"(# |[a-z_]+[{ ])", line) for line in text.splitlines())


def test_a_mount_that_is_gone_is_gone() -> None:
    assert 'mount="' not in page()
    assert samples(page())


def test_the_rules_of_promtool() -> None:
    text = page(mount("m", busy()))
    assert text.endswith("\n")
    seen: list[str] = []
    for family in text_string_to_metric_families(text):
        seen.append(family.name)
        assert family.name.startswith("pachmount_")
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")
        assert not re.search(r"_(ms|us|ns|kb|mb|minutes|milliseconds)(_|$)", family.name), "base units only"
        assert family.type in family.name or not re.search(r"counter|gauge|histogram", family.name)
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert not (family.type != "histogram" and re.search(r"_(count|sum|bucket)$", sample.name))
            assert "le" not in sample.labels or family.type == "histogram"
            assert all(re.fullmatch(r"[a-z_]+", label) for label in sample.labels)
    assert len(seen) == len(set(seen)), "all samples of a metric stand together"
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            name, kind = line.split()[2:]
            assert name.endswith("_total") == (kind == "counter"), "the type of the name as it is written"
