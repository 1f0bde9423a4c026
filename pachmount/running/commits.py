"""The commits of a run's datums: mounted once each, out of sight, and fetched ahead of the code that reads them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from pachmount.api.schema import MountEntry, WarmupEntry
from pachmount.client import DaemonClient
from pachmount.datums.model import Datum, DatumFile, Input, leaves
from pachmount.errors import BusyError, CannotMountError, PachmountError
from pachmount.running.environment import PFS
from pachmount.running.messages import Placed

log = logging.getLogger(__name__)

_Commit = tuple[str, str, str]
"""Project, repo and id."""

LEAST_AHEAD = 4
MOST_AHEAD = 64
BYTES_AHEAD = 256 << 20
"""How many datums are fetched before it is their turn; fewer than MOST_AHEAD where they are big."""


class Commits:
    """The mounts of all commits, below the directory of a daemon."""

    def __init__(self, directory: Path, source: Input) -> None:
        self._directory = directory
        self._names: dict[_Commit, str] = {}
        self._empty = {(leaf.directory, leaf.project, leaf.repo) for leaf in leaves(source) if leaf.empty_files}

    def mount(self, client: DaemonClient, datums: Iterator[Datum]) -> None:
        """Mount what the datums are made of. Raises CannotMountError."""
        for datum in datums:
            for file in datum.files:
                self._names.setdefault(_commit_of(file), f"commit-{len(self._names)}")
        client.mount(
            [
                MountEntry(name=name, project=project, repo=repo, commit=commit, mode="ro")
                for (project, repo, commit), name in self._names.items()
            ]
        )
        for entry in client.status().mounts:
            if entry.state != "mounted":
                raise CannotMountError(f"cannot mount {entry.source}", entry.status or entry.state, "pachmount doctor")

    def place(self, datum: Datum) -> list[Placed]:
        """Where the files of a datum are, and where its code is to see them."""
        return [
            Placed(
                source=str(self._directory / self._names[_commit_of(file)] / file.path.lstrip("/")),
                target=str(PFS / file.input / file.path.lstrip("/")),
                is_dir=file.is_dir,
                empty=self.is_empty(file),
            )
            for file in datum.files
        ]

    def is_empty(self, file: DatumFile) -> bool:
        """Whether the code sees only its name."""
        return (file.input, file.project, file.repo) in self._empty

    def name_of(self, file: DatumFile) -> str:
        """The name of the mount that has a file."""
        return self._names[_commit_of(file)]


class Prefetch:
    """Asks the daemon for the content of the next datums; what it refuses is read when it is needed."""

    def __init__(self, client: DaemonClient, commits: Commits) -> None:
        self._client = client
        self._commits = commits
        self._ahead = 0

    def __call__(self, waiting: Iterator[Datum]) -> None:
        """To be called whenever a datum has begun, with those after it."""
        self._ahead = max(0, self._ahead - 1)
        if self._ahead >= LEAST_AHEAD:
            return
        number, wanted = self._next(islice(waiting, self._ahead, MOST_AHEAD))
        if not wanted:
            self._ahead += number
            return
        try:
            self._client.warm_up([WarmupEntry(name=name, paths=list(paths)) for name, paths in wanted.items()])
        except BusyError:  # the ones before are still being fetched
            return
        except PachmountError as error:
            log.info("the next datums are not fetched ahead: %s", error)
        self._ahead += number

    def _next(self, waiting: Iterator[Datum]) -> tuple[int, Mapping[str, dict[str, None]]]:
        """How many datums to fetch together, and their paths by mount, each once."""
        number, size = 0, 0
        wanted: dict[str, dict[str, None]] = {}
        for datum in waiting:
            for file in datum.files:
                if not self._commits.is_empty(file):
                    wanted.setdefault(self._commits.name_of(file), {})[file.path] = None
                    size += file.size_bytes
            number += 1
            if number >= LEAST_AHEAD and size > BYTES_AHEAD:
                break
        return number, wanted


def _commit_of(file: DatumFile) -> _Commit:
    return file.project, file.repo, file.commit
