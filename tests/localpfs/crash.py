"""Kills a server with SIGKILL again and again while it is written to, and compares what is left with a model.

As a program: `python -m tests.localpfs.crash DIRECTORY [--rounds N] [--seed N]`.

Each writer works on a repo of its own and knows what the repo must show: before and after the call that is under way.
After a kill the repo must show one of the two, in all its commits, byte by byte; if the call was answered, the second.
"""

from __future__ import annotations

import argparse
import io
import random
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from pachmount.localpfs import verify
from pachmount.pfs.proto import pfs_pb2
from tests.localpfs.servers import Server, add, delete, modify, on_branch, repo, start

_WRITERS = 2
_MAX_COMMITS = 12  # then the repo is deleted and made anew
_BIG = random.Random(0).randbytes(12_000_000)

Files = dict[str, bytes]


@dataclass(frozen=True)
class Commit:
    """What a commit must show."""

    finished: bool
    files: Files


State = tuple[Commit, ...] | None  # the commits of a repo, the oldest first; None: there is no such repo


class Writer:
    """One client that writes at random, with its model."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self.name = name
        self.before: State = None
        self.after: State = None
        self.calls: Counter[str] = Counter()
        self._chance = chance

    def work(self, server: Server) -> None:
        """Call after call until the server is gone."""
        try:
            while True:
                self.calls[self._one(server)] += 1
                self.before = self.after
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise

    def check(self, server: Server) -> None:
        """The server must show the state before or after the call that was cut off; remembers which."""
        shown = _shown(server, self.name)
        problems = [_difference(expected, shown) for expected in (self.before, self.after)]
        assert "" in problems, f"{self.name}: neither before ({problems[0]}) nor after the call ({problems[1]})"
        self.before = self.after = self.before if not problems[0] else self.after

    def _one(self, server: Server) -> str:
        state = self.before
        if state is None:
            self.after = ()
            server.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo(self.name)))
            return "CreateRepo"
        if len(state) >= _MAX_COMMITS and self._chance.random() < 0.5:
            self.after = None
            server.pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=repo(self.name)))
            return "DeleteRepo"
        if not state or state[-1].finished:
            return self._on_finished(server, state)
        return self._on_open(server, state)

    def _on_finished(self, server: Server, state: tuple[Commit, ...]) -> str:
        files = state[-1].files if state else {}
        dice = self._chance.random()
        if dice < 0.3:
            self.after = (*state, Commit(False, files))
            branch = pfs_pb2.Branch(name="master", repo=repo(self.name))
            server.pfs.StartCommit(pfs_pb2.StartCommitRequest(branch=branch))
            return "StartCommit"
        if dice < 0.4 and len(state) > 1:
            self.after = state[:-1]
            server.pfs.DropCommit(pfs_pb2.DropCommitRequest(commit=on_branch(self.name)))
            return "DropCommit"
        changes, files = self._changes(files)
        self.after = (*state, Commit(True, files))
        modify(server, on_branch(self.name), *changes)
        return "ModifyFile that makes a commit"

    def _on_open(self, server: Server, state: tuple[Commit, ...]) -> str:
        commit = on_branch(self.name)
        dice = self._chance.random()
        if dice < 0.3:
            self.after = (*state[:-1], Commit(True, state[-1].files))
            server.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=commit))
            return "FinishCommit"
        if dice < 0.35:
            self.after = (*state[:-1], Commit(False, state[-2].files if len(state) > 1 else {}))
            server.pfs.ClearCommit(pfs_pb2.ClearCommitRequest(commit=commit))
            return "ClearCommit"
        changes, files = self._changes(state[-1].files)
        self.after = (*state[:-1], Commit(False, files))
        if dice < 0.5:
            made = server.pfs.CreateFileSet(iter(changes))
            request = pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=made.file_set_id)
            server.pfs.AddFileSet(request)
            return "AddFileSet"
        modify(server, commit, *changes)
        return "ModifyFile"

    def _changes(self, files: Files) -> tuple[list[pfs_pb2.ModifyFileRequest], Files]:
        """Random changes, and the files as they are afterwards."""
        files = dict(files)
        changes: list[pfs_pb2.ModifyFileRequest] = []
        for _ in range(self._chance.choice((1, 1, 2, 5, 20, 60))):
            path = f"/d{self._chance.randrange(4)}/e{self._chance.randrange(3)}/f{self._chance.randrange(12)}"
            dice = self._chance.random()
            data = self._data()
            if dice < 0.55:
                changes += [delete(path), add(path, data)]
                files[path] = data
            elif dice < 0.75:
                changes.append(add(path, data))
                files[path] = files.get(path, b"") + data
            elif dice < 0.9:
                changes.append(delete(path))
                files.pop(path, None)
            else:
                directory = path[: path.index("/", 1) + 1]
                changes.append(delete(directory))
                files = {name: content for name, content in files.items() if not name.startswith(directory)}
        return changes, files

    def _data(self) -> bytes:
        size = self._chance.choice((0, 1, 100, 4000, 4000, 50_000, 300_000))
        if self._chance.random() < 0.02:
            size = self._chance.randrange(4_000_000, 9_000_000)
        at = self._chance.randrange(len(_BIG) - size)
        return _BIG[at : at + size]


def _shown(server: Server, name: str) -> State:
    """What the server shows of a repo."""
    if name not in [info.repo.name for info in server.pfs.ListRepo(pfs_pb2.ListRepoRequest(type="user"))]:
        return None
    infos = list(server.pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=repo(name), reverse=True)))
    assert not any(info.error for info in infos)
    return tuple(Commit(info.HasField("finished"), _files(server, info.commit)) for info in infos)


def _files(server: Server, commit: pfs_pb2.Commit) -> Files:
    walk = pfs_pb2.WalkFileRequest(file=pfs_pb2.File(commit=commit, path="/"))
    sizes = {one.file.path: one.size_bytes for one in server.pfs.WalkFile(walk) if one.file_type == pfs_pb2.FILE}
    if not sizes:
        return {}
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path="/"))
    data = b"".join(part.value for part in server.pfs.GetFileTAR(request))
    files: Files = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            content = archive.extractfile(info)
            if content is not None:
                files["/" + info.name.lstrip("/")] = content.read()
    assert {path: len(content) for path, content in files.items()} == sizes
    return files


def _difference(expected: State, shown: State) -> str:
    if expected == shown:
        return ""
    if expected is None or shown is None:
        return "the repo is there" if shown is not None else "the repo is missing"
    if len(expected) != len(shown):
        return f"{len(shown)} commits, not {len(expected)}"
    for number, (one, other) in enumerate(zip(expected, shown, strict=True)):
        if one.finished != other.finished:
            return f"commit {number} is {'' if other.finished else 'not '}finished"
        for path in sorted(one.files.keys() | other.files.keys()):
            if one.files.get(path) != other.files.get(path):
                return f"commit {number} differs in {path}"
    return "unknown"


@dataclass
class Harness:
    """Rounds of writing, killing and looking."""

    directory: Path
    seed: int = 1
    rounds: int = 0
    early: int = 0  # kills while the server was starting
    calls: Counter[str] = field(default_factory=Counter)

    def run(self, rounds: int, said: Callable[[str], None] = lambda _: None) -> None:
        chance = random.Random(self.seed)
        root = self.directory / "store"
        writers = [Writer(f"repo{number}", random.Random(self.seed * 1000 + number)) for number in range(_WRITERS)]
        for number in range(rounds):
            if number and chance.random() < 0.2:
                self._kill_at_start(root, chance)
            server = start(root, self._listen)
            try:
                for writer in writers:
                    writer.check(server)
                if number % 5 == 4:
                    server.stop()
                    self._nothing_leaked(root)
                    server = start(root, self._listen)
                threads = [threading.Thread(target=writer.work, args=(server,)) for writer in writers]
                for thread in threads:
                    thread.start()
                time.sleep(chance.random() ** 2 * 0.6)
                server.kill()
                for thread in threads:
                    thread.join(30)
                    assert not thread.is_alive()
            finally:
                server.kill()
                server.channel.close()
            report = verify.check(root)
            assert report.damage == [], f"round {number}: {report.damage}"
            self.rounds += 1
            said(f"round {number}: {report.commits} commits, {report.files} files, {report.bytes} bytes")
        self._finish(root, writers)
        for writer in writers:
            self.calls += writer.calls

    @property
    def _listen(self) -> str:
        return f"unix://{self.directory}/s"

    def _kill_at_start(self, root: Path, chance: random.Random) -> None:
        """A crash while the server recovers from the last one."""
        command = [sys.executable, "-m", "pachmount.localpfs", "--root", str(root), "--listen", self._listen]
        process = subprocess.Popen(command)
        time.sleep(0.2 + chance.random() * 0.5)
        process.kill()
        process.wait()
        self.early += 1

    def _nothing_leaked(self, root: Path) -> None:
        """After a clean end and `--gc` every pack is as long as what was written into it on purpose."""
        command = [sys.executable, "-m", "pachmount.localpfs", "--root", str(root), "--gc"]
        subprocess.run(command, check=True, capture_output=True)
        report = verify.check(root)
        assert report.strays == []
        db = sqlite3.connect(root / "pfs.db")
        used = dict(db.execute("SELECT id, used FROM pack").fetchall())
        db.close()
        sizes = {int(path.stem): path.stat().st_size for path in (root / "packs").iterdir()}
        assert {number: size for number, size in sizes.items() if size} == used
        assert not (root / "pfs.db-wal").exists()

    def _finish(self, root: Path, writers: list[Writer]) -> None:
        """Once more everything, then without anything that is not needed."""
        for _ in range(2):
            server = start(root, self._listen)
            try:
                for writer in writers:
                    writer.check(server)
            finally:
                server.stop()
            command = [sys.executable, "-m", "pachmount.localpfs", "--root", str(root), "--gc"]
            subprocess.run(command, check=True, capture_output=True)
            report = verify.check(root)
            assert report.damage == []
            assert (report.leftover_pages, report.leftover_chunks, report.leftover_bytes) == (0, 0, 0)

    def lines(self) -> Iterator[str]:
        yield f"{self.rounds} rounds, {self.early} more kills while the server was starting, seed {self.seed}"
        yield f"{sum(self.calls.values())} calls answered:"
        yield from (f"{count:8} {call}" for call, count in self.calls.most_common())


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
