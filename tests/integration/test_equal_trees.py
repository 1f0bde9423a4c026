"""What was imported is what the mount shows, byte for byte, to every program that looks."""

from __future__ import annotations

import json
import mmap
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest

from pachmount.names import unstorable_reason
from tests.integration.box import Box
from tests.integration.trees import BIG_BYTES, LONG_NAME, MANY, fingerprint, make_odd_tree, sha256

NOT_DATA = frozenset({"site-packages", "__pycache__"})


@dataclass
class Tree:
    """A directory, the names in it that were not imported, and the mount of the rest."""

    box: Box
    source: Path
    left_out: frozenset[str]
    mount: Path


@pytest.fixture(scope="module")
def odd(shared_box: Box) -> Tree:
    """The tree with odd names."""
    source = shared_box.root / "odd"
    make_odd_tree(source)
    return _imported(shared_box, source, frozenset())


@pytest.fixture(scope="module", params=["data set", "standard library", "odd names"])
def tree(request: pytest.FixtureRequest, shared_box: Box) -> Iterator[Tree]:
    """A tree that was imported with one command and mounted with another."""
    if request.param == "odd names":
        yield request.getfixturevalue("odd")
    elif request.param == "data set":
        with resources.as_file(resources.files("vega_datasets") / "_data") as source:
            yield _imported(shared_box, source, frozenset())
    else:
        source = Path(sysconfig.get_path("stdlib")).resolve()
        options = ["--skip-invalid", *(f"--exclude={name}" for name in sorted(NOT_DATA))]
        yield _imported(shared_box, source, NOT_DATA | _unstorable_names(source), *options)


def _unstorable_names(top: Path) -> set[str]:
    return {
        name
        for directory, directories, files in os.walk(top)
        for name in [*directories, *files]
        if unstorable_reason(f"/{name}") and not NOT_DATA & set(Path(directory, name).parts)
    }


def _imported(box: Box, source: Path, left_out: frozenset[str], *options: str) -> Tree:
    repo = box.repo("tree")
    done = json.loads(box.ok("import", "--json", str(source), repo, *options, timeout=180))
    assert {Path(entry["path"]).name for entry in done["skipped"]} <= left_out
    box.ok("mount", repo)
    return Tree(box, source, left_out, box.path(repo))


def test_diff_finds_no_difference(tree: Tree) -> None:
    options = [f"--exclude={name}" for name in sorted(tree.left_out)]
    done = tree.box.sh('diff -r "$@"', *options, tree.source, tree.mount, timeout=120)
    lines = [line for line in done.stdout.splitlines() if not _only_an_empty_directory(line)]
    assert not lines
    assert not done.stderr


def _only_an_empty_directory(line: str) -> bool:
    """`Only in DIR: NAME`, for a directory without files: a repo holds only files."""
    directory, _, name = line.removeprefix("Only in ").partition(": ")
    path = Path(directory, name)
    return line.startswith("Only in ") and path.is_dir() and not fingerprint(path, NOT_DATA)


def test_every_file_has_the_same_hash(tree: Tree) -> None:
    assert fingerprint(tree.mount) == fingerprint(tree.source, tree.left_out)


def test_tar_reads_the_same_archive(tree: Tree) -> None:
    """Contents and names in one order, without owner, mode and time; only what the mount has, links followed."""
    normal = "--owner=0 --group=0 --numeric-owner --mode=0444 --mtime=@0 --dereference --hard-dereference"
    names = 'find -L . -type f -print0 | grep -zvE "$2" | LC_ALL=C sort -z'
    command = f'cd "$1" && {names} | tar -c --null {normal} --no-recursion -T - | sha256sum'
    unwanted = "/(" + "|".join(sorted(NOT_DATA)) + ")/"
    hashes = {tree.box.out(command, top, unwanted, timeout=120) for top in (tree.source, tree.mount)}
    assert len(hashes) == 1


def test_a_copy_is_equal(tree: Tree) -> None:
    copy = tree.box.root / "copy"
    tree.box.out('cp -r "$1" "$2"', tree.mount, copy, timeout=120)
    try:
        assert fingerprint(copy) == fingerprint(tree.source, tree.left_out)
    finally:
        tree.box.out('chmod -R u+w "$1" && rm -rf "$1"', copy)


def test_grep_finds_the_same_lines(tree: Tree) -> None:
    command = 'cd "$1" && grep -RcE "[0-9]{3}|the" . "${@:2}" | LC_ALL=C sort'
    options = [f"--exclude-dir={name}" for name in sorted(NOT_DATA)]
    assert tree.box.out(command, tree.source, *options) == tree.box.out(command, tree.mount, *options)


def test_a_memory_map_shows_the_same_bytes(tree: Tree) -> None:
    biggest = sorted(fingerprint(tree.source, tree.left_out), key=lambda path: (tree.source / path).stat().st_size)[-5:]
    for path in biggest:
        with (tree.mount / path).open("rb") as shown, mmap.mmap(shown.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert bytes(mapped) == (tree.source / path).read_bytes(), path


def test_a_full_directory_lists_every_entry_once(odd: Tree) -> None:
    assert sorted(os.listdir(odd.mount / "many")) == [f"entry-{number:05}" for number in range(MANY)]
    for number in (0, 1, MANY - 1):
        assert (odd.mount / "many" / f"entry-{number:05}").read_bytes() == b"%d" % number


def test_sizes_are_exact_before_anything_was_read(odd: Tree) -> None:
    assert (odd.mount / "big").stat().st_size == BIG_BYTES
    assert (odd.mount / "empty").stat().st_size == 0
    assert (odd.mount / "empty").read_bytes() == b""
    assert (odd.mount / LONG_NAME).read_bytes() == b"a name of 255 bytes"
    assert sha256(odd.mount / "same/a") == sha256(odd.mount / "same/b")
