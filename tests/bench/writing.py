"""Read-write mounts: how fast files are written and committed, beside plain references, and what is transferred."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from pachmount.pfs.model import CommitRef, RepoRef
from tests.bench.report import Report, Row, seconds
from tests.integration.box import Box
from tests.integration.proxy import ByteProxy

MIB = 1 << 20
SMALL = 4 << 10
TARGET = 0.5
APPEND_LIMIT_MIB = 40
PIECE = 8 * MIB
_SENT = re.compile(r"sent \d+ changes of .* in ([\d.]+) s")


class Bench:
    """A box whose daemon reaches its server through a proxy that counts bytes, or directly."""

    def __init__(self, report: Report, big: int, files: int) -> None:
        self.report = report
        self.big = big
        self.files = files
        self.box = Box()
        self.server = self.box.server()

    def run(self) -> None:
        self.box.ok("login", self.server.address)
        self.committing("commit of one file", {"/big": self.big})
        small = {f"/d{number % 100}/{number}": SMALL for number in range(self.files)}
        self.committing(f"commit of {self.files} files of 4 KiB", small)
        self.after_many()
        self.writing()
        self.appending()

    def committing(self, what: str, files: Mapping[str, int]) -> None:
        """The same content is not sent twice: a server may know it already."""
        total = sum(files.values()) / MIB
        reference = seconds(lambda: self._plain(files))
        name = self._mounted()
        self._write(name, files)
        took = seconds(lambda: self.box.ok("commit", name, timeout=3600))
        self.last = name
        plain = "plain ModifyFile client"
        self.report.add(Row(f"{what} ({total:.0f} MiB)", took, "s", plain, reference, reference / took))
        upload = self._upload_seconds()
        ratio = reference / upload
        row = Row("  of which sending", upload, "s", plain, reference, ratio)
        row.target, row.holds = f">= {TARGET}", ratio >= TARGET
        self.report.add(row)

    def _upload_seconds(self) -> float:
        """What the daemon's log says of the last upload."""
        return float(_SENT.findall(self.box.places.log_file.read_text())[-1])

    def after_many(self) -> None:
        name = self.last
        (self.box.path(name) / "d7" / "7").write_bytes(b"changed")
        took = seconds(lambda: self.box.ok("commit", name))
        self.report.add(Row(f"commit of one more change among {self.files} files", took, "s"))

    def writing(self) -> None:
        with tempfile.TemporaryDirectory(prefix="pachmount-bench-") as folder:
            plain = Path(folder)
            source = plain / "source"
            _fill(source, self.big)
            archive = plain / "small.tar"
            _archive(archive, plain, self.files // 2)
            name = self._mounted()
            top = self.box.path(name)
            for what, command in (
                (f"cp of {self.big // MIB} MiB", lambda to: ["cp", str(source), str(to / "copy")]),
                (f"tar x of {self.files // 2} files", lambda to: ["tar", "xf", str(archive), "-C", str(to)]),
                ("rm -r of them", lambda to: ["rm", "-r", str(to / "small")]),
            ):
                self._beside(what, command, plain, top)

    def _beside(self, what: str, command: Callable[[Path], list[str]], plain: Path, top: Path) -> None:
        reference = seconds(lambda: subprocess.run(command(plain), check=True))
        took = seconds(lambda: subprocess.run(command(top), check=True))
        self.report.add(Row(f"{what} in a mount", took, "s", "on the local disk", reference, reference / took))

    def appending(self) -> None:
        size = 4 * self.big
        repo = RepoRef("default", self.box.repo("appended", self.server.address))
        self._plain({"/big": size}, repo)
        with ByteProxy(self.server.address) as proxy:
            self.box.ok("login", proxy.address)
            self.box.ok("mount", repo.name, "--rw")
            before = proxy.down_bytes + proxy.up_bytes
            with (self.box.path(repo.name) / "big").open("ab") as file:
                file.write(b"x" * 1024)
            moved = (proxy.down_bytes + proxy.up_bytes - before) / MIB
            row = Row(f"1 KiB appended to {size // MIB} MiB: transferred", moved, "MiB")
            row.target, row.holds = f"< {APPEND_LIMIT_MIB}", moved < APPEND_LIMIT_MIB
            self.report.add(row)
            before = proxy.down_bytes + proxy.up_bytes
            took = seconds(lambda: self.box.ok("commit", repo.name, timeout=3600))
            moved = (proxy.down_bytes + proxy.up_bytes - before) / MIB
            self.report.add(Row("  and by its commit", moved, "MiB"))
            self.report.add(Row("  which takes", took, "s"))
            self.box.ok("unmount", repo.name)

    def _mounted(self) -> str:
        repo = RepoRef("default", self.box.repo("written", self.server.address))
        self.box.cluster(self.server.address).create_repo(repo)
        self.box.ok("mount", repo.name, "--rw")
        return repo.name

    def _write(self, name: str, files: Mapping[str, int]) -> None:
        for path, size in files.items():
            file = self.box.path(name) / path[1:]
            file.parent.mkdir(exist_ok=True)
            _fill(file, size)

    def _plain(self, files: Mapping[str, int], repo: RepoRef | None = None) -> None:
        client = self.box.cluster(self.server.address)
        if repo is None:
            repo = RepoRef("default", self.box.repo("plain", self.server.address))
        client.create_repo(repo, update=True)
        with client.modify_file(CommitRef(repo, "", "master")) as writer:
            for path, size in files.items():
                writer.add_file(path, (os.urandom(min(PIECE, size - at)) for at in range(0, size, PIECE)))
        client.inspect_commit(client.inspect_branch(repo).head, wait="finished", timeout=600)


def _fill(file: Path, size: int) -> None:
    with file.open("wb") as target:
        for at in range(0, size, PIECE):
            target.write(os.urandom(min(PIECE, size - at)))


def _archive(archive: Path, folder: Path, files: int) -> None:
    tree = folder / "tree"
    for number in range(files):
        file = tree / f"d{number % 50}" / f"{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(SMALL))
    with tarfile.open(archive, "w") as made:
        made.add(tree, "small")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench writing", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of a big file")
    parser.add_argument("--files", type=int, default=10_000, help="number of small files")
    arguments = parser.parse_args()
    report = Report("writing")
    report.print_header()
    bench = Bench(report, arguments.mib * MIB, arguments.files)
    try:
        bench.run()
    finally:
        bench.box.close()
    print(f"stored as {report.save()}")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
