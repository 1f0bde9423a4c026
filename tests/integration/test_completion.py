"""Completion in real interactive shells: what is on the line after Tab."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from pachmount.cli.completion_scripts import SCRIPTS
from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box

PROMPT = "READY> "
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
SETUP = {
    "bash": f"PS1='{PROMPT}'; bind 'set enable-bracketed-paste off'; bind 'set show-all-if-ambiguous on'; source {{}}",
    "zsh": f"PROMPT='{PROMPT}'; unsetopt prompt_sp; autoload -Uz compinit; compinit -u; source {{}}",
    "fish": f"function fish_prompt; printf '{PROMPT}'; end; source {{}}",
}


class Shell:
    """An interactive shell with the completion script loaded. `complete` types words and Tab."""

    def __init__(self, kind: str, box: Box) -> None:
        self._kind = kind
        bin_dir = box.root / "bin"
        bin_dir.mkdir(exist_ok=True)
        program = bin_dir / "pachmount"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pachmount "$@"\n')
        program.chmod(0o755)
        script = box.root / f"completion.{kind}"
        script.write_text(SCRIPTS[kind])
        env = {**box.env, "PATH": f"{bin_dir}{os.pathsep}{box.env['PATH']}", "TERM": "dumb", "PS1": PROMPT}
        self._child = pexpect.spawn(
            START[kind][0],
            START[kind][1:],
            env=env,
            cwd=str(box.root),
            encoding="utf-8",
            timeout=20,
            dimensions=(50, 200),
        )
        self.run(SETUP[kind].format(script))

    def run(self, line: str) -> str:
        """Run a command; what it printed."""
        self._child.sendline(f"{line}; echo DO''NE")
        self._child.expect("DONE\r?\n")
        output: str = self._child.before
        self._child.expect_exact(PROMPT)
        return output

    def complete(self, typed: str) -> str:
        """The command line that Tab makes of `typed`, as the command would get it."""
        # The line is printed instead of run, so that what the terminal draws in between does not matter.
        self._child.send(f"{typed}\t")
        self._child.send("\x01printf '[%s]\\n' \x05\n")  # ^A goes to the beginning, ^E to the end
        self._child.expect(r"\[pachmount\]\r?\n")
        self._child.expect_exact(PROMPT)
        return " ".join(["pachmount", *re.findall(r"^\[(.*)\]\r?$", self._child.before, re.MULTILINE)])

    def close(self) -> None:
        self._child.close(force=True)


@pytest.fixture(params=sorted(START))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shell(kind: str, box: Box) -> Iterator[Shell]:
    found = Shell(kind, box)
    yield found
    found.close()


@pytest.fixture
def repo(box: Box) -> str:
    """A repo with a name that no other begins with, branches master and development, and a directory of files."""
    name = box.repo("zebra")
    box.put(name, {"/quagga/one.txt": b"1", "/other": b"2"})
    box.put(name, {"/xylophone": b"x"}, "development")
    box.ok("mount", f"{name}@development", "--name", "kangaroo")
    return name


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("pachmount unm", "pachmount unmount"),
        ("pachmount daemon resta", "pachmount daemon restart"),
        ("pachmount mount --comm", "pachmount mount --commit"),
        ("pachmount daemon run --log-level warn", "pachmount daemon run --log-level warning"),
        ("pachmount config set cache_d", "pachmount config set cache_dir"),
        ("pachmount completion fi", "pachmount completion fish"),
    ],
)
def test_without_a_daemon(shell: Shell, typed: str, line: str) -> None:
    assert shell.complete(typed) == line


def test_live_names_without_a_daemon_are_silent(shell: Shell) -> None:
    assert shell.complete("pachmount mount zeb") == "pachmount mount zeb"


def test_files_and_directories_are_the_shells(shell: Shell, box: Box) -> None:
    (box.root / "walrus-directory").mkdir(exist_ok=True)
    (box.root / "certificate.pem").write_text("")
    assert shell.complete("pachmount login --server-ca certif") == "pachmount login --server-ca certificate.pem"
    completed = shell.complete("pachmount import walr")
    assert completed.rstrip("/") == "pachmount import walrus-directory"  # zsh takes the slash away again at Enter
    (box.root / "sea lion").mkdir(exist_ok=True)
    assert shell.complete("pachmount import sea\\ l").rstrip("/") == "pachmount import sea lion"


def test_repos_branches_commits_and_files(shell: Shell, box: Box, repo: str) -> None:
    head = box.cluster().inspect_commit(CommitRef(RepoRef("default", repo), "master")).commit.id
    assert shell.complete(f"pachmount mount {repo[:-2]}") == f"pachmount mount {repo}"
    assert shell.complete(f"pachmount mount {repo}@dev") == f"pachmount mount {repo}@development"
    assert shell.complete(f"pachmount list {repo}@master={head[:6]}") == f"pachmount list {repo}@master={head}"
    assert shell.complete(f"pachmount list {repo}@master:/qua") == f"pachmount list {repo}@master:/quagga/"
    assert shell.complete(f"pachmount list {repo}@master:/quagga/o") == f"pachmount list {repo}@master:/quagga/one.txt"


def test_names_that_a_shell_would_take_apart(shell: Shell, box: Box) -> None:
    name = box.repo("yak")
    odd = ["/a b/c d.txt", "/c;reboot", "/d$HOME", "/e`reboot`", "/f'g", '/h"i', "/j&k>l", "/m\\n", "/o:p=q r"]
    box.put(name, dict.fromkeys(odd, b""))
    for path in odd[1:]:
        assert shell.complete(f"pachmount cat {name}:{path[:2]}") == f"pachmount cat {name}:{path}"
    assert shell.complete(f"pachmount cat {name}:/a") == f"pachmount cat {name}:/a b/"
    assert shell.complete(f"pachmount cat {name}:/a\\ b/c") == f"pachmount cat {name}:/a b/c d.txt"
    assert shell.complete(f"pachmount cat {name}:/o:p=q\\ ") == f"pachmount cat {name}:/o:p=q r"


def test_with_the_package_bash_completion(box: Box, repo: str) -> None:
    """It takes `@` out of the characters at which bash cuts words."""
    shell = Shell("bash", box)
    try:
        shell.run("source /usr/share/bash-completion/bash_completion")
        assert shell.complete(f"pachmount mount {repo}@dev") == f"pachmount mount {repo}@development"
        assert shell.complete(f"pachmount list {repo}@master:/qua") == f"pachmount list {repo}@master:/quagga/"
    finally:
        shell.close()


def test_mounts_and_their_files(shell: Shell, repo: str) -> None:
    assert shell.complete("pachmount unmount kang") == "pachmount unmount kangaroo"
    assert shell.complete("pachmount unmount kangaroo kang") == "pachmount unmount kangaroo kang"
    assert shell.complete("pachmount warmup kangaroo:/xy") == "pachmount warmup kangaroo:/xylophone"
    assert shell.complete("pachmount warmup kangaroo:/ot") == "pachmount warmup kangaroo:/ot"


def test_contexts(shell: Shell, box: Box) -> None:
    path = Path(box.env["PACH_CONFIG"])
    path.write_text('{"v2": {"active_context": "yak", "contexts": {"yak": {"pachd_address": "grpc://y:1"}}}}')
    assert shell.complete("pachmount context use y") == "pachmount context use yak"


def test_a_broken_file_is_silent(shell: Shell, box: Box) -> None:
    Path(box.env["PACH_CONFIG"]).write_text("{")
    assert shell.complete("pachmount context use y") == "pachmount context use y"
