"""A directory that is there as a whole or not at all; what a killed program left is removed, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pachmount.beneath import Beneath
from pachmount.running.filling import Filling, filling, remove_leftovers


def write(new: Filling, **files: str) -> None:
    for name, text in files.items():
        new.tree.at(name).replace(text.encode(), "x")


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def clean(directory: Path) -> list[str]:
    with Beneath(directory) as above:
        remove_leftovers(above)
    return names(directory)


KILLED = """
import os, sys
from pathlib import Path
from pachmount.running import filling
target, when = Path(sys.argv[1]), sys.argv[2]
rename, times = os.rename, 0
def stop(*arguments, **options):
    global times
    times += 1
    if str(times) == when:
        os._exit(9)
    rename(*arguments, **options)
with filling.filling(target) as new:
    new.tree.at("deep/a").open(os.O_CREAT | os.O_WRONLY, make=True)
    os.rename = stop
    new.put(replace=True)
    os._exit(9)
"""


def killed(target: Path, when: int) -> None:
    """One that is killed at its Nth renaming: into place, the former one away, into place again."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(target), str(when)], check=False)
    assert done.returncode == 9


def test_it_is_there_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "not/there/yet"
    with filling(target) as new:
        write(new, a="1")
        assert not target.exists()
        new.put()
    assert (target / "a").read_text() == "1"
    assert names(target.parent) == ["yet"]


def test_nothing_is_left_of_one_that_failed(tmp_path: Path) -> None:
    target = tmp_path / "new"

    def fail() -> None:
        with filling(target) as new:
            write(new, a="1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(tmp_path) == []


def test_a_directory_that_has_something_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(OSError, match="not empty"), filling(target) as new:
        new.put()
    assert names(target) == ["old"]
    with filling(target) as new:
        write(new, a="1")
        new.put(replace=True)
    assert (names(target), names(tmp_path)) == (["a"], ["there"])


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_is_never_replaced(tmp_path: Path, kind: str) -> None:
    target, victim = tmp_path / "target", tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("1")
    target.symlink_to(victim) if kind == "link" else target.write_text("mine")
    with pytest.raises(OSError, match="irectory"), filling(target) as new:
        new.put(replace=True)
    assert names(tmp_path) == ["target", "victim"]
    assert names(victim) == ["precious"]


@pytest.mark.parametrize("when", [1, 2, 3, 4])
def test_one_that_was_killed_is_cleaned_up_by_the_next(tmp_path: Path, when: int) -> None:
    """Whenever it is killed, the former directory or the whole new one is there after that."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("old")
    killed(target, when)
    assert len(names(tmp_path)) == (1 if when == 3 else 2)
    with filling(tmp_path / "other") as new:
        new.put()
    assert names(tmp_path) == ["other", "target"]
    assert names(target) == (["deep"] if when == 4 else ["old"])


def test_one_that_is_in_use_stays(tmp_path: Path) -> None:
    with filling(tmp_path / "one") as new:
        write(new, a="1")
        with filling(tmp_path / "two") as other:
            other.put()
        new.put()
    assert names(tmp_path) == ["one", "two"]


def test_what_is_not_proven_to_be_ours_stays(tmp_path: Path) -> None:
    killed(tmp_path / "target", 1)
    [left] = names(tmp_path)
    shutil.copytree(tmp_path / left, tmp_path / ".pachmount-0000000000000001.new")  # a copy
    shutil.copytree(tmp_path / left, tmp_path / ".target.new")
    (tmp_path / ".pachmount-0000000000000002.new").mkdir()
    (tmp_path / ".pachmount-0000000000000002.new/mark").write_text("pachmount")
    (tmp_path / ".pachmount-0000000000000003.new").symlink_to(tmp_path / left)
    (tmp_path / ".pachmount-0000000000000004.new").write_text("mine")
    mine = sorted({*names(tmp_path)} - {left})
    assert clean(tmp_path) == mine
    assert (tmp_path / ".pachmount-0000000000000001.new/tree/deep/a").exists()


def test_a_leftover_with_what_we_did_not_put_there_keeps_that(tmp_path: Path) -> None:
    killed(tmp_path / "target", 1)
    [left] = names(tmp_path)
    (tmp_path / left / "mine").write_text("mine")
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("1")
    (tmp_path / left / "tree/way").symlink_to(victim)
    clean(tmp_path)
    assert names(tmp_path / left) == ["mine"]
    assert names(victim) == ["precious"]


def test_a_former_directory_whose_place_was_taken_stays(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("old")
    killed(target, 3)
    target.mkdir()
    (target / "mine").write_text("mine")
    [left] = sorted({*clean(tmp_path)} - {"target"})
    assert names(target) == ["mine"]
    assert names(tmp_path / left / "former") == ["old"]


def test_a_link_that_is_swapped_in_leads_nowhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("1")
    with filling(tmp_path / "target") as new:
        new.tree.directory.rename(tmp_path / "moved")
        new.tree.directory.symlink_to(victim)
        write(new, a="1")  # goes where it was begun
        (tmp_path / "moved/d").symlink_to(victim)
        with pytest.raises(NotADirectoryError):
            new.tree.at("d/b").open(os.O_CREAT | os.O_WRONLY, make=True)
    assert names(victim) == ["precious"]
    assert names(tmp_path / "moved") == ["a", "d"]
