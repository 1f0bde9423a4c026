"""Running another program in our place: its terminal, its signals, its end. No Typer, no Rich."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from pachmount.namespace import syscalls

NOT_EXECUTABLE = 126
NOT_FOUND = 127
BY_SIGNAL = 128
"""What shells answer for a program that cannot be run, one that is not there, and, plus its number, a signal."""

_FROM_KERNEL = 0x80
"""SI_KERNEL: from a terminal, which tells the program, too."""
_PASSED_ON = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def code_of(error: OSError) -> int:
    """What a shell says of a program that it cannot run."""
    return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


def run(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command with our terminal until it ends; what a shell says of its end.

    Signals that we get meanwhile are for the command, and it gets SIGTERM if we are killed. It has no right to mount
    that its user has not. Raises OSError where it cannot be run. For processes with one thread.
    """
    awaited = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    parent = os.getpid()

    def begin() -> None:
        syscalls.let_programs_mount_no_more()
        if not syscalls.signal_at_parents_end(signal.SIGTERM, parent):
            os._exit(BY_SIGNAL + signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        process = subprocess.Popen(command, env=env, preexec_fn=begin)
        while process.poll() is None:
            _pass_on(signal.sigwaitinfo(awaited), process)
        while signal.sigtimedwait(awaited, 0) is not None:  # those were for the command
            pass
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process.returncode if process.returncode >= 0 else BY_SIGNAL - process.returncode


def _pass_on(received: signal.struct_siginfo, process: subprocess.Popen[bytes]) -> None:
    if received.si_signo != signal.SIGCHLD and received.si_code != _FROM_KERNEL:
        process.send_signal(received.si_signo)
