"""A worker: a process that runs the command on one datum after the other, each in a /pfs of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pachmount.errors import PachmountError
from pachmount.namespace import syscalls
from pachmount.running import command, links, place
from pachmount.running.command import OURSELVES, End, User
from pachmount.running.messages import DatumState, Order, Outcome
from pachmount.running.stages import Stage
from pachmount.running.transform import Transform

STDOUT, STDERR = "stdout", "stderr"


@dataclass(frozen=True)
class Setup:
    """What is the same for all datums: `env` is what the command finds besides."""

    transform: Transform
    env: Mapping[str, str]
    directory: str
    stage: Stage
    user: User = OURSELVES


def serve(setup: Setup, channel: socket.socket) -> None:
    """Do what the other side of the channel orders, until it closes it or SIGTERM comes. The process has one thread."""
    syscalls.adopt_orphans()
    os.setsid()  # what a terminal or anybody sends to its group is for the program that started us, which decides
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if os.geteuid() != 0:
        syscalls.let_programs_mount_no_more()
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGCHLD})
    with channel.makefile("rb") as orders:
        for line in orders:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            channel.sendall(_Datum(setup, Order.decode(line)).run().encode())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


class _Datum:
    """One datum, from its first try to its outcome."""

    def __init__(self, setup: Setup, order: Order) -> None:
        self._setup = setup
        self._transform = setup.transform
        self._order = order
        self._directory = Path(order.directory)
        self._out = self._directory / place.OUT
        self._env = {**setup.env, **dict(setup.transform.env), **order.variables}
        self._fetched: list[tuple[Path, Path]] = []

    def run(self) -> Outcome:
        """Try until it succeeds, or has been tried often enough."""
        started = time.monotonic()
        end, recovered, tries = End(0), False, 0
        with open(self._directory / STDOUT, "wb") as stdout, open(self._directory / STDERR, "wb") as stderr:
            for tries in range(1, self._transform.tries + 1):
                end, recovered = self._try(stdout, stderr, last=tries == self._transform.tries)
                if self._accepts(end) or recovered:
                    break
        if recovered:
            self._empty_out()
        state: DatumState = "recovered" if recovered else "success" if self._accepts(end) else "failed"
        return Outcome(self._order.datum, state, tries, end.code, time.monotonic() - started, end.why)

    def _accepts(self, end: End) -> bool:
        return not end.why and (end.code == 0 or end.code in self._transform.accept_return_code)

    def _try(self, stdout: IO[bytes], stderr: IO[bytes], *, last: bool) -> tuple[End, bool]:
        """How the command ended, and whether the command for errors made that good."""
        self._fetched.clear()
        recovered = False
        try:
            self._empty_out()
            stage, user = self._setup.stage, self._setup.user
            with stage.shown(self._order, self._out, user) as seen:
                end = self._execute(self._transform.cmd, self._transform.stdin, stdout, stderr)
                if self._accepts(end):
                    links.follow_links(
                        seen, lambda source, target: self._copy(source, target.relative_to(seen), target)
                    )
                    stage.collect(seen, self._out)
                elif last and self._transform.err_cmd:
                    recovered = self._execute(
                        self._transform.err_cmd, self._transform.err_stdin, stdout, stderr
                    ) == End(0)
            for source, target in self._fetched:
                shutil.copyfile(source, target)
        except links.OutputError as error:
            return End(0, f"output: {error}"), False
        except PachmountError as error:
            return End(0, str(error)), False
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            return End(0, f"{error.strerror}{where}"), False
        return end, recovered

    def _execute(self, cmd: tuple[str, ...], lines: tuple[str, ...], stdout: IO[bytes], stderr: IO[bytes]) -> End:
        timeout, setup = self._transform.timeout, self._setup
        return command.run(cmd, self._env, setup.directory, lines, stdout, stderr, timeout=timeout, user=setup.user)

    def _empty_out(self) -> None:
        if self._out.exists():
            shutil.rmtree(self._out)
        self._out.mkdir()
        user = self._setup.user
        if user.uid is not None:
            os.chown(self._out, user.uid, -1 if user.gid is None else user.gid)

    def _copy(self, source: Path, below: Path, target: Path) -> None:
        """Copy a file that the code sees; one that it sees as empty is fetched when its commit can be seen again."""
        for entry in self._order.placed:
            if entry.empty and source.is_relative_to(entry.target):
                if not entry.source:
                    raise links.OutputError(
                        f"link '{below}' leads to a file of 'empty_files', which --serial cannot fetch"
                    )
                self._fetched.append((Path(entry.source, source.relative_to(entry.target)), self._out / below))
                return
        shutil.copyfile(source, target)
