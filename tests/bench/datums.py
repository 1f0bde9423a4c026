"""Datums in the mount directory: time to the first of many, to another one, and memory."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from pachmount.api import schema
from pachmount.client import DaemonClient
from pachmount.pfs.model import CommitRef, RepoRef
from tests.bench.report import Report, Row
from tests.integration.box import Box, wait_until

SWITCHES = 50
SPEC = '{"input": {"pfs": {"repo": "many", "glob": "/*"}}}'


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench datums", description=__doc__)
    parser.add_argument("--datums", type=int, default=100_000)
    options = parser.parse_args()
    report = Report("datums")
    report.print_header()
    box = Box()
    try:
        box.start()
        _make(box, options.datums)
        with box.daemon() as client:
            measure(box, client, report, options.datums)
        box.stop()
    finally:
        box.close()
    print(f"stored as {report.save()}")
    return 0 if report.holds else 1


def measure(box: Box, client: DaemonClient, report: Report, datums: int) -> None:
    """Add the rows for so many datums of one small file."""
    before = _mib(box)
    started = time.monotonic()
    client.mount_datums(SPEC)
    report.add(Row(f"the first of {datums:,} datums is shown", time.monotonic() - started, "s"))
    wait_until(lambda: _status(client).all_datums_received, "all datums are known", 600)
    report.add(Row("  all are known", time.monotonic() - started, "s"))
    times = []
    for number in range(SWITCHES):
        started = time.monotonic()
        client.show_datum(index=number * 7919 % datums)
        times.append(time.monotonic() - started)
    times.sort()
    middle = times[len(times) // 2] * 1000
    row = Row("  another one is shown (median)", middle, "ms", target="<= 50", holds=middle <= 50)
    report.add(row)
    report.add(Row("  the slowest", times[-1] * 1000, "ms"))
    report.add(Row("  memory of the daemon before", before, "MiB"))
    report.add(Row("  and with all datums", _mib(box), "MiB"))
    client.unmount_datums()


def _status(client: DaemonClient) -> schema.DatumStatus:
    found = client.status().datum
    assert found is not None
    return found


def _mib(box: Box) -> float:
    return int(Path(f"/proc/{box.pid}/statm").read_text().split()[1]) * 4096 / 2**20


def _make(box: Box, number: int) -> None:
    client, ref = box.cluster(), RepoRef("default", "many")
    client.create_repo(ref)
    with client.modify_file(CommitRef(ref, "", "master")) as change:
        for index in range(number):
            change.add_file(f"/{index:06}", b"%d" % index)
    client.inspect_commit(client.inspect_branch(ref, "master").head, wait="finished", timeout=600)


if __name__ == "__main__":
    sys.exit(main())
