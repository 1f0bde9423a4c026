"""Staged changes have a way out whatever became of their mount and repo: seen, saved, committed once, given up."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box, running_box

MOUNTS = ("read-write", "read-only", "not mounted", "daemon restarted", "no daemon")
COMMITS = ("there", "repo deleted", "repo anew")


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with running_box() as made:
        yield made


@dataclass
class Changed:
    """A repo whose mount was changed: /new was made, /old appended to, /gone deleted."""

    box: Box
    repo: str

    def entries(self) -> list[str]:
        return [entry["name"] for entry in json.loads(self.box.ok("staged", "list", "--json"))]


def changed(box: Box, mount: str, commit: str) -> Changed:
    repo = box.repo("staged")
    box.put(repo, {"/old": b"old\n", "/gone": b"gone\n"})
    box.mount(repo, mode="rw")
    box.out('echo new > "$1/new"; echo more >> "$1/old"; rm "$1/gone"', box.path(repo))
    if mount == "read-only":
        box.ok("remount", repo, "--ro")
    elif mount in ("not mounted", "no daemon"):
        box.ok("unmount", repo, "--keep")
    if commit != "there":
        box.cluster().delete_repo(RepoRef("default", repo), force=True)
    if commit == "repo anew":
        box.put(repo, {"/other": b"other\n"})
    if mount == "daemon restarted":
        box.ok("daemon", "restart")
    elif mount == "no daemon":
        box.ok("daemon", "stop")
    return Changed(box, repo)


@pytest.mark.parametrize("commit", COMMITS)
@pytest.mark.parametrize("mount", MOUNTS)
def test_every_state_has_a_way_out(box: Box, mount: str, commit: str) -> None:
    it = changed(box, mount, commit)
    repo, target = it.repo, f"saved-{it.repo}"
    assert it.entries() == [repo]

    saved = box.root / f"{repo}-saved"
    box.ok("staged", "export", repo, str(saved))
    manifest = json.loads((saved / "manifest.json").read_text())
    assert {entry["path"] for entry in manifest["changes"]} == {"/new", "/old", "/gone"}
    assert (saved / "files/new").read_bytes() == b"new\n"
    is_whole = (saved / "files/old").exists()
    assert is_whole or (saved / "partial/old").read_bytes() == bytes(4) + b"more\n"
    if is_whole:
        assert (saved / "files/old").read_bytes() == b"old\nmore\n"
    assert is_whole or commit != "there" or mount == "no daemon"
    assert "something is there" in box.refused("staged", "export", repo, str(saved))

    box.start()  # if it does not run
    assert "new" in box.ok("diff", repo)
    if commit != "there":
        run_hint(box, box.refused("commit", repo), "export")
        assert "/old" in box.refused("commit", repo, "--to", target)
        assert it.entries() == [repo]
        box.ok("commit", repo, "--to", target, "--skip-invalid")
        assert it.entries() == [repo], "what was left out stays staged"
        assert committed(box, target) == {"/new"}
        box.ok("staged", "discard", repo, "--yes")
    else:
        box.ok("commit", repo, "--to", target)
        assert committed(box, target) == {"/new", "/old"}
    assert it.entries() == []
    assert "no changes" not in box.run("status").stdout
    box.clean()


def test_what_a_read_only_mount_keeps_is_discarded_on_request_and_never_committed(box: Box) -> None:
    it = changed(box, "read-only", "there")
    done = box.run("unmount", it.repo)
    assert done.returncode == 0
    assert "3 changes kept" in done.stderr
    assert it.entries() == [it.repo]
    box.mount(it.repo)
    done = box.run("unmount", it.repo, "--discard", "--yes")
    assert "3 changes discarded" in done.stderr
    assert it.entries() == []
    head = box.cluster().inspect_branch(RepoRef("default", it.repo), "master").head
    assert {entry.path for entry in box.cluster().walk(head)} == {"/old", "/gone"}


def run_hint(box: Box, said: str, word: str) -> None:
    """Run the command of a hint that has a word, as it is written."""
    commands = [each for each in re.findall("'pachmount ([^']*)'", said) if word in each]
    assert commands, said
    box.ok(*shlex.split(commands[0]))


def committed(box: Box, repo: str) -> set[str]:
    head = box.cluster().inspect_branch(RepoRef("default", repo), "master").head
    return {entry.path for entry in box.cluster().walk(CommitRef(head.repo, head.id)) if not entry.is_dir}
