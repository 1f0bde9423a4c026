"""One command until its end or its time is up, and the end of all that it leaves running.

For a process of one thread that has called `syscalls.adopt_orphans` and blocks SIGCHLD and SIGTERM.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pachmount.namespace import syscalls

BY_SIGNAL = 128
_AWAITED = {signal.SIGCHLD, signal.SIGTERM}
_PAUSE = 0.002


class StopError(Exception):
    """We are to end; the command has ended."""


@dataclass(frozen=True)
class User:
    """Whom a command runs as; None is ourselves."""

    uid: int | None = None
    gid: int | None = None


OURSELVES = User()


@dataclass(frozen=True)
class End:
    """`code` is what a shell says of it; `why` is "" where that says it all."""

    code: int
    why: str = ""


def run(
    command: Sequence[str],
    env: Mapping[str, str],
    directory: str,
    lines: Sequence[str],
    stdout: IO[bytes],
    stderr: IO[bytes],
    *,
    timeout: float = 0.0,
    user: User = OURSELVES,
) -> End:
    """Run a command with `lines` as its input; nothing that it started runs afterwards. Raises StopError."""
    deadline = time.monotonic() + timeout if timeout else None
    parent = os.getpid()

    def begin() -> None:
        if not syscalls.signal_at_parents_end(signal.SIGKILL, parent):
            os._exit(BY_SIGNAL + signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    as_user: dict[str, Any] = {} if user.uid is None else {"user": user.uid, "group": user.gid, "extra_groups": []}
    with _input(lines) as given:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=given,
                stdout=stdout,
                stderr=stderr,
                env=dict(env),
                cwd=directory,
                start_new_session=True,
                preexec_fn=begin,
                **as_user,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            code = 127 if isinstance(error, FileNotFoundError) else 126
            return End(code, f"cannot run '{command[0]}': {why}")
    try:
        timely = _wait(process, deadline)
    finally:
        kill_children(process)
    if not timely:
        return End(BY_SIGNAL + signal.SIGKILL, f"not done after {timeout:g} s")
    code = process.returncode
    return End(code) if code >= 0 else End(BY_SIGNAL - code, f"ended by {_signal_name(-code)}")


def kill_children(process: subprocess.Popen[bytes] | None = None) -> None:
    """End all our children, and theirs."""
    if process is not None and process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    while True:
        for child in children():
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            time.sleep(_PAUSE)


def _wait(process: subprocess.Popen[bytes], deadline: float | None) -> bool:
    """Whether the process ended before its deadline."""
    while process.poll() is None:
        if deadline is None:
            received = signal.sigwaitinfo(_AWAITED)
        else:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            timely = signal.sigtimedwait(_AWAITED, left)
            if timely is None:
                continue
            received = timely
        if received.si_signo == signal.SIGTERM:
            raise StopError
    return True


def children() -> list[int]:
    """The processes whose parent we are."""
    return [int(pid) for pid in Path("/proc/thread-self/children").read_text().split()]


def _input(lines: Sequence[str]) -> IO[bytes]:
    """A file with those lines: a command that does not read it all is then no error."""
    if not lines:
        return open(os.devnull, "rb")
    made = open(os.memfd_create("stdin"), "w+b")  # noqa: SIM115 (our caller closes it)
    made.write("".join(f"{line}\n" for line in lines).encode())
    made.seek(0)
    return made


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
