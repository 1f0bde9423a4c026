"""Damages files of a store at random and looks whether every byte is right, or else an error, and `--repair` helps.

As a program: `python -m tests.localpfs.damage DIRECTORY [--rounds N] [--seed N]`.

Each round takes a copy of a store, as a clean stop or a kill left it, and does one thing to one or two of its files.
Then a server starts. What it shows must be right, or an error. No byte of content may be gone from the disk. After
`--repair` the store takes changes, and all is right but what was in the damaged bytes, which still gives errors.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from pachmount.pfs.proto import pfs_pb2
from tests import damaging
from tests.localpfs.replay import fill
from tests.localpfs.servers import Server, add, delete, launch, modify, on_branch, read, repo, running, start, walk
from tests.localpfs.test_check import tool

_REPOS = ("one", "two")
Shown = dict[str, bytes | None]  # a path with its repo; None: an error


@dataclass(frozen=True)
class Origin:
    """A store to be damaged, with what it must show, and earlier states of its files."""

    root: Path
    older: Path
    expected: dict[str, bytes]


def make(directory: Path, *, killed: bool) -> Origin:
    """A store with files of all kinds in several commits, left by a kill or by a clean stop."""
    root, older = directory / "store", directory / "older"
    expected: dict[str, bytes] = {}
    server = start(root, f"unix://{directory}/s")
    for number in range(4):
        for name in _REPOS:
            if not number:
                server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo(name)))
            files = {f"/d{file % 5}/{number}-{file}": fill(f"{name}{number}{file}", 30 * file) for file in range(40)}
            files[f"/big{number}"] = fill(f"{name}{number}", 1_000_000 + 2_000_000 * number)
            modify(server, on_branch(name), *[add(path, data) for path, data in files.items()], delete("/d1/0-6"))
            expected |= {name + path: data for path, data in files.items()}
        if number == 1:
            server.stop()
            shutil.copytree(root, older)
            server = start(root, f"unix://{directory}/s")
    for name in _REPOS:
        del expected[f"{name}/d1/0-6"]
    if killed:
        server.kill()
        server.channel.close()
    else:
        server.stop()
    return Origin(root, older, expected)


def shown(server: Server) -> Shown | None:
    """What a server shows of all repos; None if not even that can be asked."""
    found: Shown = {}
    try:
        names = [info.repo.name for info in server.pfs.ListRepo(pfs_pb2.ListRepoRequest(type="user"))]
    except grpc.RpcError:
        return None
    for name in names:
        try:
            paths = [info.file.path for info in walk(server, on_branch(name)) if info.file_type == pfs_pb2.FILE]
        except grpc.RpcError as error:
            _is_clear(error)
            found[name] = None
            continue
        for path in paths:
            try:
                found[name + path] = read(server, on_branch(name), path)
            except grpc.RpcError as error:
                _is_clear(error)
                found[name + path] = None
    return found


def _is_clear(error: grpc.RpcError) -> None:
    assert error.code() is grpc.StatusCode.DATA_LOSS, error.details()
    assert "serve --" in error.details()


def _is_right(seen: Shown, expected: dict[str, bytes]) -> bool:
    """Whether everything is there; what is not must be an error, and nothing may be wrong."""
    lost = {path for path, data in seen.items() if data is None}
    for path, data in seen.items():
        assert data is None or data == expected.get(path), f"wrong bytes: {path}"
    missing = [path for path in expected if path not in seen and path.split("/")[0] not in lost]
    assert not missing, f"not shown, and no error: {missing[:3]}"
    return not lost


def _content(root: Path) -> int:
    return sum(path.stat().st_size for path in damaging.files(root) if path.suffix == ".pack" or "chunk-" in path.name)


@dataclass
class Harness:
    """Rounds of damage."""

    directory: Path
    seed: int = 1
    ends: Counter[str] = field(default_factory=Counter)

    def run(self, rounds: int, said: Callable[[str], None] = lambda _: None) -> None:
        chance = random.Random(self.seed)
        origins = []
        for killed in (True, False):
            place = self.directory / ("killed" if killed else "stopped")
            place.mkdir(parents=True)
            origins.append(make(place, killed=killed))
        for number in range(rounds):
            origin = origins[number % 2]
            root = shutil.copytree(origin.root, self.directory / "store")
            files = damaging.files(root)
            path = files[(number // 2) % len(files)]
            way = chance.choice(damaging.WAYS)
            what = f"round {number} (seed {self.seed}): {way}: {path.relative_to(root)} of {origin.root}"
            damaging.damage(way, path, chance, older=origin.older / path.relative_to(root), others=files)
            try:
                end = self._look(root, origin)
            except AssertionError as error:
                raise AssertionError(f"{what}: {error}") from error
            self.ends[end] += 1
            said(f"{what}: {end}")
            shutil.rmtree(root)

    def _look(self, root: Path, origin: Origin) -> str:
        before = _content(root)
        end = self._start(root, origin)
        assert _content(root) >= before, "content was removed by a start"
        if end == "right":
            return end
        checked = tool(root, "--check")
        assert checked.returncode == 1, checked.stdout + checked.stderr
        assert "Traceback" not in checked.stderr, checked.stderr
        repaired = tool(root, "--repair")
        assert repaired.returncode in (0, 1), repaired.stderr
        assert "Traceback" not in repaired.stderr, repaired.stderr
        assert _content(root) >= before, "content was removed by a repair"
        with running(root, self._listen) as server:
            seen = shown(server)
            assert seen is not None
            is_whole = _is_right(seen, origin.expected)
            assert is_whole or repaired.returncode == 1, "something is lost, and the repair did not say so"
            assert is_whole or "lost: " in repaired.stdout, repaired.stdout
            modify(server, on_branch("one"), add("/after", b"after"))
            assert read(server, on_branch("one"), "/after") == b"after"
        again = tool(root, "--repair")
        assert "restored" not in again.stdout, again.stdout
        return f"{end}; repaired, {'nothing' if is_whole else 'some'} lost"

    def _start(self, root: Path, origin: Origin) -> str:
        process, said = launch(root, self._listen)
        if not said["ready"]:
            process.wait(20)
            error = said["error"]
            assert error["id"] == "store-damaged", error
            assert "serve --repair" in error["hint"]
            assert not any(word in error["why"] for word in ("Error", "Traceback", "malformed")), error
            return "refused"
        from tests.localpfs.servers import connect

        server = Server(process, said["address"], connect(said["address"]))
        try:
            seen = shown(server)
            return "right" if seen is not None and _is_right(seen, origin.expected) else "errors"
        finally:
            server.stop()

    @property
    def _listen(self) -> str:
        return f"unix://{self.directory}/s"

    def lines(self) -> Iterator[str]:
        yield f"{sum(self.ends.values())} rounds, seed {self.seed}:"
        yield from (f"{count:8} {end}" for end, count in self.ends.most_common())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    harness = Harness(arguments.directory.absolute(), arguments.seed)
    harness.run(arguments.rounds, lambda text: print(text, flush=True))
    print("\n".join(harness.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
