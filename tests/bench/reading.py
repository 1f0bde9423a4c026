"""Reading through mounts, beside plain gRPC clients and the local disk: every row of issue 5's table."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import reading_docs, reading_rows, reading_use
from tests.bench.reading_data import Data
from tests.bench.reading_targets import ROWS, SCALES
from tests.bench.reading_user import Bench, can_drop_page_cache, touch_memory
from tests.bench.report import Report
from tests.localpfs import servers

_STORE = Path(__file__).resolve().parents[2] / "build" / "bench" / "store"
_MEASURES: dict[str, Callable[[Bench], None]] = {
    "listing": reading_rows.listing,
    "small": reading_rows.small,
    "first": reading_rows.first,
    "sequential": reading_rows.sequential,
    "warm": reading_rows.warm,
    "random": reading_rows.random_reads,
    "change": reading_use.change,
    "memory": reading_use.memory,
}


def main() -> int:
    arguments = _arguments()
    report = Report("reading")
    report.print_header()
    if not can_drop_page_cache():
        print("the page cache is not dropped between phases: that needs root")
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="pm-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        address = arguments.address or stack.enter_context(_embedded(folder, arguments.keep))
        sizes = SCALES[arguments.scale]
        data = Data(address, sizes, arguments.seed, arguments.keep)
        stack.callback(data.remove)
        touch_memory(sizes.touched_bytes)
        env = dict(pair.split("=", 1) for pair in arguments.env)
        bench = Bench(address, sizes, data, report, folder, env)
        stack.callback(lambda: print(f"stored as {report.save()}"))  # also what was measured before a failure
        for row in arguments.only or ROWS:
            _MEASURES[row](bench)
        if arguments.soak:
            reading_use.soak(bench, arguments.soak)
    if arguments.write_docs:
        reading_docs.write(report)
    return 0 if report.holds else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench reading", description=__doc__)
    parser.add_argument("--address", default="", help="a server such as grpc://host:port; default: an embedded one")
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default="small",
        help="small: about a tenth, for a quick look; tiny: no more than a trial",
    )
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"some rows of: {', '.join(ROWS)}")
    parser.add_argument("--keep", action="store_true", help="use data of an earlier run, and leave it for the next")
    parser.add_argument("--seed", type=int, default=1, help="of the random data")
    parser.add_argument("--dir", type=Path, help="where temporary files go, on the disk to compare with")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="for the daemons, such as PACHMOUNT_READ_AHEAD"
    )
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES", help="then mixed use for so long")
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/performance.md")
    return parser.parse_args()


@contextlib.contextmanager
def _embedded(folder: Path, keep: bool) -> Iterator[str]:
    """The address of an embedded server on TCP, as clusters have it; with `keep` its store stays in build/bench."""
    with servers.running(_STORE if keep else folder / "store", "127.0.0.1:0") as server:
        yield server.address


if __name__ == "__main__":
    sys.exit(main())
