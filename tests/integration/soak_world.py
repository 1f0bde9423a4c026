"""The cluster of the soak test: repos whose commits can be told by the bytes of their files, writers, outages."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pachmount.errors import BusyError, ClusterUnreachableError, PachmountError
from pachmount.pfs.client import PfsClient
from pachmount.pfs.commits import Attempt, make_commit, settle
from pachmount.pfs.model import CommitInfo, CommitRef, RepoRef
from tests.integration.box import Box, Server

SIZES = {"tiny": 60, "small": 5_000, "medium": 70_000, "large": 300_000, "stream": 1_300_000}
"""Files of `/all`, each of which every commit of a writer replaces."""
CONSTANT = {f"/more/file{number}": b"constant %d\n" % number for number in range(40)}
NUMBER_BYTES = 12
RECOVERY_SECONDS = 12.0
"""How long after the return of the server a call may still fail for its absence, on busy cores."""


def content(repo: str, name: str, version: int) -> bytes:
    """The bytes of `/all/NAME` in a version, which they begin with."""
    size = SIZES[name] + version % 50
    number = b"%0*d" % (NUMBER_BYTES, version)
    return number + random.Random(f"{repo} {name} {version}").randbytes(size - NUMBER_BYTES)


def version_of(repo: str, name: str, found: bytes) -> int:
    """The version whose bytes these are, all of them; AssertionError if there is none."""
    number = found[:NUMBER_BYTES]
    assert number.isdigit(), f"{repo} /all/{name} begins with {found[:40]!r}, {len(found)} bytes"
    version = int(number)
    expected = content(repo, name, version)
    if found != expected:
        where = next((at for at, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), -1)
        raise AssertionError(
            f"{repo} /all/{name}: version {version} with {len(found)} bytes instead of {len(expected)}, "
            f"different from byte {where} on"
        )
    return version


class Outages:
    """When the server was away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[tuple[float, float]] = []

    @property
    def count(self) -> int:
        return len(self._all)

    @contextmanager
    def one(self) -> Iterator[None]:
        """The server is away meanwhile."""
        with self._lock:
            self._all.append((time.monotonic(), float("inf")))
        yield
        with self._lock:
            self._all[-1] = (self._all[-1][0], time.monotonic())

    def excuse(self, began: float) -> bool:
        """Whether a call that began then and has failed just now may have met an outage."""
        now = time.monotonic()
        with self._lock:
            return any(begin <= now and began <= end + RECOVERY_SECONDS for begin, end in self._all)


class World:
    """Repos on a server of the box's own, changed by writers, and the server's absences."""

    def __init__(self, box: Box, seed: int, repos: int = 4) -> None:
        self.box = box
        self.server: Server = box.server()
        self.outages = Outages()
        self.commits = 0
        self.repos = [f"soak{number}" for number in range(repos)]
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._finished: dict[str, int] = dict.fromkeys(self.repos, 0)
        self._begun: dict[str, int] = dict.fromkeys(self.repos, 0)
        box.ok("login", self.server.address)
        for repo in self.repos:
            box.put(repo, CONSTANT, address=self.server.address)
            self.put(repo)

    def finished(self, repo: str) -> int:
        """The newest version of which it is known that it is committed."""
        return self._finished[repo]

    def begun(self, repo: str) -> int:
        """The newest version that there can be."""
        return self._begun[repo]

    def put(self, repo: str) -> None:
        """Commit the next version, if the server stays there. One thread a repo at a time.

        A commit of its own: ModifyFile on a branch goes into the commit that a client has just open there.
        """
        version = self._begun[repo] = self._begun[repo] + 1
        client, ref = self.box.cluster(self.server.address), RepoRef("default", repo)
        noted: list[Attempt | None] = [None]
        try:
            with client.create_file_set() as writer:
                for name in SIZES:
                    writer.delete_file(f"/all/{name}")
                    writer.add_file(f"/all/{name}", content(repo, name, version))
            while not self._commit(client, ref, version, writer.file_set, noted):
                time.sleep(0.05)  # somebody else's commit is open on the branch, for a moment
        except ClusterUnreachableError:
            attempt = noted[-1]
            if attempt is None or self._settled(client, ref, attempt) is None:
                raise
        with self._lock:
            self._finished[repo] = version
            self.commits += 1

    def _commit(
        self, client: PfsClient, repo: RepoRef, version: int, file_set: str, noted: list[Attempt | None]
    ) -> bool:
        head = client.inspect_branch(repo).head.id
        attempt = Attempt("master", head, description=f"version {version}")
        try:
            return make_commit(client, repo, attempt, file_set, remember=noted.append).error == ""
        except BusyError:
            return False

    def _settled(self, client: PfsClient, repo: RepoRef, attempt: Attempt) -> CommitInfo | None:
        deadline = time.monotonic() + 60
        while True:
            try:
                return settle(client, repo, attempt)
            except (ClusterUnreachableError, BusyError):
                assert time.monotonic() < deadline, "the server does not come back"
                time.sleep(0.2)

    def write(self, stop: threading.Event, pause: float) -> None:
        """Commit to one repo after the other until told to stop."""
        rng = random.Random(self._rng.random())
        while not stop.wait(rng.uniform(0.3, 1.0) * pause):
            repo, began = rng.choice(self.repos), time.monotonic()
            try:
                self.put(repo)
            except ClusterUnreachableError:
                assert self.outages.excuse(began), "a writer could not reach the server, which was there"

    def interrupt(self, stop: threading.Event, pause: float) -> None:
        """Freeze or kill the server now and then, for a moment; it is there in the end."""
        rng = random.Random(self._rng.random())
        while not stop.wait(rng.uniform(0.6, 1.2) * pause):
            with self.outages.one():
                if rng.random() < 0.5:
                    self.server.freeze()
                    stop.wait(rng.uniform(0.2, 4.0))
                    self.server.thaw()
                else:
                    self.server.kill()
                    stop.wait(rng.uniform(0.0, 2.0))
                    self.server.start()

    def files(self, repo: str, paths: list[str]) -> dict[str, bytes | None]:
        """What the server has at some paths of a branch's head; None for nothing."""
        client, ref = self.box.cluster(self.server.address), RepoRef("default", repo)
        head = CommitRef(ref, client.inspect_branch(ref).head.id)
        client.inspect_commit(head, wait="finished", timeout=60)
        found: dict[str, bytes | None] = {}
        for path in paths:
            try:
                found[path] = b"".join(bytes(piece) for piece in client.open(head, path))
            except PachmountError:
                found[path] = None
        return found
