"""kill -9 of the daemon and of the server at random moments: nothing acknowledged is lost, no commit is doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pachmount.pfs.model import CommitRef, CommitState, RepoRef
from tests.integration.box import Box, Server, wait_until
from tests.integration.kill_worker import Expected, tree

PROJECT = Path(__file__).resolve().parents[2]
WORKERS = 3


def kill_daemon(box: Box) -> None:
    pid = box.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or " Z" in Path(f"/proc/{pid}/stat").read_text(), "it is gone")


@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.timeout(3600)
def test_what_was_acknowledged_survives_kills_of_the_daemon(new_box: Callable[..., Box], rounds: int) -> None:
    box = new_box()
    repo = box.repo("killed")
    box.put(repo, {f"/{number}/{name}": b"committed\n" for number in range(WORKERS) for name in ("one", "two")})
    box.ok("mount", repo, "--rw")
    found = [tree(box.path(repo, str(number))) for number in range(WORKERS)]
    rng = random.Random(rounds)
    operations = 0
    for turn in range(rounds):
        logs = [box.root / f"log-{turn}-{number}" for number in range(WORKERS)]
        workers = [
            _worker(box.path(repo, str(number)), logs[number], rng.randrange(1 << 30)) for number in range(WORKERS)
        ]
        try:
            time.sleep(rng.uniform(0.2, 1.5))  # the moment of the kill is what is random here
            kill_daemon(box)
        finally:
            said = [_end(worker) for worker in workers]
        assert all("Traceback" not in text for text in said), said
        box.start()
        for number, log in enumerate(logs):
            expected = Expected.after(found[number], log)
            found[number] = tree(box.path(repo, str(number)))
            assert not expected.wrong(found[number]), (turn, number, expected.unanswered.get("kind"))
            operations += expected.operations
            log.unlink(missing_ok=True)
        if turn % 10 == 9:
            box.ok("commit", repo)
            assert _server_tree(box, repo) == {
                f"/{number}/{name}": content for number in range(WORKERS) for name, content in found[number].items()
            }
    print(f"\n{rounds} kills, {operations} operations")


def _worker(top: Path, log: Path, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.integration.kill_worker", str(top), str(log), str(seed)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _end(worker: subprocess.Popen[str]) -> str:
    try:
        return worker.communicate(timeout=20)[0]
    except subprocess.TimeoutExpired:
        worker.kill()
        raise


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.timeout(3600)
def test_a_commit_is_whole_or_not_there_when_the_server_is_killed(new_box: Callable[..., Box], rounds: int) -> None:
    box = new_box(PACHMOUNT_CALL_TIMEOUT="5", PACHMOUNT_READ_TIMEOUT="5")
    server = box.server()
    box.ok("login", server.address)
    repo = box.repo("killed", server.address)
    box.put(repo, {"/first": b"1"}, address=server.address)
    box.ok("mount", repo, "--rw")
    top, before = box.path(repo), {"/first": b"1"}
    rng = random.Random(rounds)
    done = killed = 0
    started = time.monotonic()
    before = _change(rng, top, before)
    box.ok("commit", repo)
    longest = time.monotonic() - started
    for turn in range(rounds):
        count = _count(box, server, repo)
        after = _change(rng, top, before)
        commit = _popen(box, "commit", repo, "-m", f"round {turn}")
        time.sleep(rng.uniform(0.2, 1.2) * longest)  # the moment of the kill is what is random here
        server.kill()
        if rng.random() < 0.3:
            kill_daemon(box)
            killed += 1
        commit.communicate(timeout=120)
        server.start()
        if box.run("status").returncode:
            box.start()
        wait_until(lambda: box.mount_status(repo)["state"] == "mounted", "it is mounted again")
        wait_until(lambda: _is_settled(box, server, repo), "what was cut off is whole or taken back")
        made = _count(box, server, repo) - count
        assert _server_tree(box, repo, server.address) == (after if made else before)
        done += made
        box.ok("commit", repo)
        assert _server_tree(box, repo, server.address) == after
        assert _count(box, server, repo) == count + 1
        assert {f"/{name}": content for name, content in tree(top).items()} == after
        before = after
    print(f"\n{rounds} kills of the server, {killed} also of the daemon; {done} commits were made all the same")


def _change(rng: random.Random, top: Path, before: dict[str, bytes]) -> dict[str, bytes]:
    """Add, change, delete and rename some files; what is there then."""
    after = dict(before)
    for _ in range(rng.randint(1, 8)):
        path = rng.choice(["/first", "/a/1", "/a/2", "/b/1", "/b/2"])
        kind = rng.choice(["write", "write", "append", "unlink", "rename"])
        where = top / path[1:]
        where.parent.mkdir(exist_ok=True)
        if kind == "write":
            after[path] = rng.randbytes(rng.choice([1, 5000, 3 << 20]))
            where.write_bytes(after[path])
        elif path in after and kind == "append":
            more = rng.randbytes(1000)
            with where.open("ab") as file:
                file.write(more)
            after[path] += more
        elif path in after and kind == "unlink":
            where.unlink()
            del after[path]
        elif path in after:
            where.rename(top / "moved")
            after["/moved"] = after.pop(path)
    after["/round"] = rng.randbytes(8)
    (top / "round").write_bytes(after["/round"])
    return after


def _popen(box: Box, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pachmount", *arguments]
    return subprocess.Popen(command, env=box.env, cwd=box.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _is_settled(box: Box, server: Server, repo: str) -> bool:
    found = box.cluster(server.address).list_commits(RepoRef("default", repo))
    return all(info.state is CommitState.FINISHED for info in found)


def _count(box: Box, server: Server, repo: str) -> int:
    found = box.cluster(server.address).list_commits(RepoRef("default", repo), number=None)
    return sum(1 for info in found if not info.error)


def _server_tree(box: Box, repo: str, address: str = "") -> dict[str, bytes]:
    client, ref = box.cluster(address), RepoRef("default", repo)
    head = CommitRef(ref, client.inspect_branch(ref).head.id)
    client.inspect_commit(head, wait="finished", timeout=60)
    files = [entry.path for entry in client.walk(head) if not entry.is_dir]
    return {path: b"".join(bytes(piece) for piece in client.open(head, path)) for path in files}
