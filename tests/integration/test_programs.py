"""Programs that people use, in a read-write mount: what they do there is there, and a commit holds it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.integration.box import Box
from tests.integration.test_committing import changes, server_tree

PROJECT = Path(__file__).parents[2]
VI = shutil.which("vim") or "vi"
LINES = b"one\ntwo\nthree\n"


class Place:
    """A mount of a repo of its own."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.repo = box.repo("programs")
        box.put(self.repo, {"/text": LINES, "/d/big": bytes(range(256)) * 4000, "/d/small": b"small\n"})
        box.mount(self.repo, mode="rw")
        self.top = box.path(self.repo)

    def run(self, *command: str | Path, **env: str) -> str:
        """A command in the mount, which must succeed; what it says."""
        done = subprocess.run(
            command,
            cwd=self.top,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **env},
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def commit(self) -> dict[str, bytes]:
        """Commit; what the server has, which is what the mount shows."""
        self.box.ok("commit", self.repo, "--skip-invalid")
        found = server_tree(self.box, self.repo)
        assert {path: (self.top / path[1:]).read_bytes() for path in found} == found
        return found


@pytest.fixture
def place(box: Box) -> Place:
    return Place(box)


@pytest.mark.parametrize("backup", ["no", "yes"])
def test_vim(place: Place, backup: str) -> None:
    """It writes a new file and renames it over the old one (backupcopy=no), or keeps a copy and writes in place."""
    settings = f"set backupcopy={backup} backupskip= writebackup backup swapfile"
    place.run(VI, "-es", "-u", "NONE", "-N", "-c", settings, "-c", "%s/two/TWO/", "-c", "wq", "text")
    assert (place.top / "text").read_bytes() == b"one\nTWO\nthree\n"
    assert (place.top / "text~").read_bytes() == LINES
    assert changes(place.box, place.repo) == [("M", "/text")]
    assert place.commit()["/text"] == b"one\nTWO\nthree\n"


def test_editing_by_programs(place: Place) -> None:
    place.run("sed", "-i", "s/two/2/", "text")
    place.run("sed", "-i.before", "s/three/3/", "text")
    place.run("bash", "-c", "printf 'four\\n' >> text; printf x | dd of=d/small bs=1 seek=2 conv=notrunc status=none")
    place.run("bash", "-c", "sort -r -o text text; truncate -s 10 d/big; cp --reflink=auto d/big d/copy")
    program = "import os; open('t.tmp', 'w').write('new'); os.replace('t.tmp', 'text.new')"
    place.run(sys.executable, "-c", program)
    assert place.commit() == {
        "/text": b"one\nfour\n3\n2\n",
        "/text.before": b"one\n2\nthree\n",
        "/text.new": b"new",
        "/d/small": b"smxll\n",
        "/d/big": bytes(range(10)),
        "/d/copy": bytes(range(10)),
    }


def test_rsync_has_nothing_to_do_the_second_time(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(PROJECT / "pachmount" / "overlay", source, ignore=shutil.ignore_patterns("__pycache__"))
    os.symlink("overlay.py", source / "link")
    assert ">f+++++++++ overlay.py" in place.run("rsync", "-ai", f"{source}/", "copy/")
    assert place.run("rsync", "-ai", f"{source}/", "copy/") == ""
    committed = place.commit()
    assert place.run("rsync", "-ai", f"{source}/", "copy/") == ""
    (source / "bytes.py").write_bytes(b"changed\n")
    (source / "tree.py").unlink()
    assert "bytes.py" in place.run("rsync", "-ai", "--delete", "--inplace", f"{source}/", "copy/")
    after = place.commit()
    assert after.keys() == committed.keys() - {"/copy/tree.py"}
    assert after["/copy/bytes.py"] == b"changed\n"


def test_git(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "source"
    identity = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    for role in ("AUTHOR", "COMMITTER"):
        identity |= {f"GIT_{role}_NAME": "a", f"GIT_{role}_EMAIL": "a@example.org"}

    def git(*arguments: str | Path) -> str:
        return place.run("git", *arguments, **identity)

    git("init", "-q", "-b", "main", source)
    shutil.copytree(PROJECT / "pachmount", source / "pachmount", ignore=shutil.ignore_patterns("__pycache__"))
    git("-C", source, "add", ".")
    git("-C", source, "commit", "-qm", "all")
    git("clone", "-q", source, "clone")
    assert git("-C", "clone", "status", "--porcelain") == ""
    git("-C", "clone", "mv", "pachmount/names.py", "pachmount/moved.py")
    git("-C", "clone", "commit", "-qm", "moved")
    git("-C", "clone", "gc", "-q", "--prune=now")
    git("-C", "clone", "checkout", "-q", "-b", "other", "HEAD~1")
    assert git("-C", "clone", "status", "--porcelain") == ""
    place.commit()
    assert git("-C", "clone", "status", "--porcelain") == ""
    git("-C", "clone", "fsck", "--strict")


def test_archives(place: Place, tmp_path: Path) -> None:
    subprocess.run(["tar", "cf", tmp_path / "some.tar", "-C", PROJECT, "pachmount/overlay", "docs"], check=True)
    place.run("tar", "xf", tmp_path / "some.tar")
    place.run("diff", "-r", "docs", PROJECT / "docs")
    place.run("tar", "df", tmp_path / "some.tar")
    with zipfile.ZipFile(place.top / "docs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((place.top / "docs").iterdir()):
            archive.write(path, path.name)
    committed = place.commit()
    place.run("tar", "df", tmp_path / "some.tar")
    with zipfile.ZipFile(place.top / "docs.zip") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert [name.rstrip("/") for name in names] == sorted(path.name for path in (PROJECT / "docs").iterdir())
    assert committed["/docs/semantics.md"] == (PROJECT / "docs/semantics.md").read_bytes()


def test_a_database_that_is_committed_is_used_again(place: Place) -> None:
    path = place.top / "numbers.sqlite"
    for number in range(3):
        db = sqlite3.connect(path)
        db.execute(f"PRAGMA journal_mode = {('DELETE', 'WAL')[number % 2]}")
        db.execute("CREATE TABLE IF NOT EXISTS numbers (number)")
        with db:
            db.executemany("INSERT INTO numbers VALUES (?)", [(number,) for _ in range(5000)])
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        committed = place.commit()
        (place.box.root / "copy.sqlite").write_bytes(committed["/numbers.sqlite"])
        copy = sqlite3.connect(place.box.root / "copy.sqlite")
        assert copy.execute("SELECT count(*) FROM numbers").fetchone() == (5000 * (number + 1),)
        copy.close()


def test_pip_installs_into_a_mount(place: Place, tmp_path: Path) -> None:
    wheel = tmp_path / "example-1.0-py3-none-any.whl"
    files = {f"example/module{number}.py": f"VALUE = {number}\n" for number in range(50)}
    files |= {
        "example/__init__.py": "",
        "example-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "example-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: example\nVersion: 1.0\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("example-1.0.dist-info/RECORD", "".join(f"{name},,\n" for name in files))
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--disable-pip-version-check", "-q", "-t", "lib"]
    place.run(*pip, wheel)
    place.run(*pip, "--upgrade", wheel)
    place.run(sys.executable, "-c", "from example.module7 import VALUE; assert VALUE == 7", PYTHONPATH="lib")
    committed = place.commit()
    assert committed["/lib/example/module7.py"] == b"VALUE = 7\n"
    assert not any("__pycache__" in path for path in committed)
    place.run(sys.executable, "-c", "from example.module8 import VALUE; assert VALUE == 8", PYTHONPATH="lib")


def test_numpy_maps_memory(place: Place) -> None:
    shape = (1000, 300)
    array = np.memmap(place.top / "array", dtype=np.float64, mode="w+", shape=shape)
    array[:] = np.arange(300_000).reshape(shape)
    array.flush()
    again = np.memmap(place.top / "array", dtype=np.float64, mode="r+", shape=shape)
    again[500, :] = -1
    again.flush()
    assert array[500, 7] == -1
    del array, again
    np.save(place.top / "saved.npy", np.arange(1000))
    expected = np.arange(300_000, dtype=np.float64).reshape(shape)
    expected[500, :] = -1
    committed = place.commit()
    assert committed["/array"] == expected.tobytes()
    after = np.memmap(place.top / "array", dtype=np.float64, mode="r+", shape=shape)
    after[0, 0] = 42
    after.flush()
    del after
    assert place.commit()["/array"][:8] == np.float64(42).tobytes()
    assert np.load(place.top / "saved.npy", mmap_mode="r")[999] == 999
