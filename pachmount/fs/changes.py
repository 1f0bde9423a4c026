"""What is to be written, by branch, until it becomes one commit of each."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from pachmount.errors import BusyError
from pachmount.fs.places import Place
from pachmount.pfs.client import PfsClient
from pachmount.pfs.commits import FINISH_SECONDS, Attempt, make_commit, usable_branch
from pachmount.pfs.model import CommitInfo, CommitRef, RepoRef
from pachmount.pfs.upload import ensure_repo

MEMORY_BYTES = 8 << 20
"""Of a file that is written, before it goes to a temporary file on disk."""
OPEN_SECONDS = 30.0
"""How long somebody else's open commit may keep a branch from ours, unless another one follows it."""
_PIECE = 1 << 20


def new_spool() -> IO[bytes]:
    """A file for content that is not committed yet."""
    return tempfile.SpooledTemporaryFile(MEMORY_BYTES)


@dataclass
class _Final:
    """What becomes of a path: its old content stays, or that of another file comes, and then what is in `spools`.

    With nothing of these there is no such file any more.
    """

    keeps: bool = False
    copied_from: tuple[CommitRef, str] | None = None
    spools: list[IO[bytes]] = field(default_factory=list)

    def close(self) -> None:
        for spool in self.spools:
            spool.close()


class Changes:
    """Changes of files; the last one of a path wins."""

    def __init__(self) -> None:
        self._branches: dict[tuple[RepoRef, str], dict[str, _Final]] = {}

    def __bool__(self) -> bool:
        return bool(self._branches)

    def has(self, place: Place) -> bool:
        """Whether a file is written or deleted here."""
        return place.path in self._branches.get((place.repo, place.branch), {})

    def put(self, place: Place, spool: IO[bytes]) -> None:
        """A file has this content, whatever was there."""
        self._set(place, _Final(spools=[spool]))

    def append(self, place: Place, spool: IO[bytes]) -> None:
        """A file has this content behind what it has, if there is one."""
        before = self._files(place).get(place.path)
        if before is None:
            self._set(place, _Final(keeps=True, spools=[spool]))
        else:
            before.spools.append(spool)

    def copy(self, source: CommitRef, path: str, place: Place) -> None:
        """A file is what a commit has at `path`; its content does not come here."""
        self._set(place, _Final(copied_from=(source, path)))

    def delete(self, place: Place) -> None:
        """A file goes."""
        self._set(place, _Final())

    def discard(self) -> None:
        """Give up everything."""
        for files in self._branches.values():
            for final in files.values():
                final.close()
        self._branches.clear()

    def commit(self, client: PfsClient, message: str) -> list[CommitRef]:
        """Make one commit a branch, repos that are missing before; nothing is left to commit afterwards.

        While others commit to the branch, as the threads of dask or zarr do, it waits for its turn. A failure keeps the
        commits of other branches that were made before. Raises what `make_commit` does.
        """
        made = []
        try:
            for (repo, branch), files in self._branches.items():
                ensure_repo(client, repo)
                with client.create_file_set() as writer:
                    for path, final in files.items():
                        if not final.keeps:
                            writer.delete_file(path)
                        if final.copied_from is not None:
                            writer.copy_file(*final.copied_from, path)
                        if final.spools:
                            writer.add_file(path, _content(final.spools))
                info = _commit_in_turn(client, repo, branch, writer.file_set, message)
                made.append(CommitRef(repo, info.commit.id, branch))
        finally:
            self.discard()
        return made

    def _files(self, place: Place) -> dict[str, _Final]:
        return self._branches.setdefault((place.repo, place.branch), {})

    def _set(self, place: Place, final: _Final) -> None:
        files = self._files(place)
        if place.path in files:
            files.pop(place.path).close()
        files[place.path] = final


def _commit_in_turn(client: PfsClient, repo: RepoRef, branch: str, file_set: str, message: str) -> CommitInfo:
    """Commit a file set as soon as no other commit is open on the branch."""
    last_chance = time.monotonic() + FINISH_SECONDS
    deadline, reason, pause = time.monotonic() + OPEN_SECONDS, "", 0.02
    while True:
        try:
            before = usable_branch(client, repo, branch)
            attempt = Attempt(branch, before.head.id if before is not None else "", before is None, message)
            return make_commit(client, repo, attempt, file_set, any_parent=True)
        except BusyError as error:
            if str(error) != reason:  # it names the open commit: another one, so the branch moves on
                deadline, reason = min(time.monotonic() + OPEN_SECONDS, last_chance), str(error)
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 — so that those who wait do not come all at once
        pause = min(pause * 1.5, 1.0)


def _content(spools: list[IO[bytes]]) -> Iterator[bytes]:
    for spool in spools:
        spool.seek(0)
        while piece := spool.read(_PIECE):
            yield piece
