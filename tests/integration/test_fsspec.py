"""`pfs://` for fsspec: its own test suites, and the libraries that people use it with."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import dask.dataframe
import fsspec
import pandas
import pyarrow.dataset
import pytest
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)

import pachmount
from pachmount.api.handlers import MAX_DOWNLOADS
from pachmount.fs import PachFileSystem
from pachmount.pfs.model import RepoRef
from tests.integration.box import Box

pytestmark = pytest.mark.filterwarnings("ignore:Class-scoped fixtures:pytest.PytestRemovedIn10Warning")  # fsspec's


@pytest.fixture(scope="module")
def fs(module_box: Box) -> PachFileSystem:
    return PachFileSystem(mount_dir=str(module_box.mount_dir), skip_instance_cache=True)


@pytest.fixture(scope="module")
def module_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A user whose environment is this process's, too."""
    box = Box()
    patch = pytest.MonkeyPatch()
    for key in os.environ:
        if key not in box.env:
            patch.delenv(key)
    for key, value in box.env.items():
        patch.setenv(key, value)
    box.start()
    yield box
    box.close()
    patch.undo()


class Fixtures(AbstractFixtures):
    """fsspec's own tests, on one branch of a repo."""

    @pytest.fixture(scope="class")
    def fs(self, fs: PachFileSystem) -> PachFileSystem:
        return fs

    @pytest.fixture(scope="class")
    def fs_path(self, module_box: Box) -> str:
        name = module_box.repo("suite")
        module_box.put(name, {"/kept": b""})
        return f"{name}@master"

    @pytest.fixture(scope="class")
    def supports_empty_directories(self) -> bool:
        return False


class TestCopy(AbstractCopyTests, Fixtures):
    pass


class TestGet(AbstractGetTests, Fixtures):
    pass


class TestPut(AbstractPutTests, Fixtures):
    pass


class TestOpen(AbstractOpenTests, Fixtures):
    pass


class TestPipe(AbstractPipeTests, Fixtures):
    pass


@pytest.fixture
def repo(module_box: Box) -> str:
    name = module_box.repo("fs")
    module_box.put(name, {"/a.txt": b"0123456789", "/dir/b.txt": b"bee"})
    return name


def commits(box: Box, repo: str) -> int:
    return len(box.cluster().list_commits(RepoRef("default", repo), number=None))


def test_listing(fs: PachFileSystem, repo: str) -> None:
    assert f"default/{repo}@master" in fs.ls(f"default/{repo}", detail=False)
    assert fs.ls(f"pfs://{repo}@master", detail=False) == [f"{repo}@master/a.txt", f"{repo}@master/dir"]
    assert fs.info(f"{repo}@master/a.txt")["size"] == 10
    assert sorted(fs.find(f"{repo}@master")) == [f"{repo}@master/a.txt", f"{repo}@master/dir/b.txt"]
    assert fs.glob(f"pfs://{repo}@master/**/*.txt") == [f"{repo}@master/a.txt", f"{repo}@master/dir/b.txt"]
    assert "default" in fs.ls("", detail=False)


def test_ranges(fs: PachFileSystem, repo: str) -> None:
    path = f"{repo}@master/a.txt"
    assert (fs.cat_file(path, 2, 5), fs.cat_file(path, -3), fs.cat_file(path, 8, 100)) == (b"234", b"789", b"89")
    with fs.open(path) as file:
        file.seek(4)
        assert (file.read(2), file.seek(-1, 2), file.read()) == (b"45", 9, b"9")


def test_what_is_not_there(fs: PachFileSystem, repo: str) -> None:
    for path in (f"{repo}@master/none", "no-such-repo@master/a", f"{repo}@none/a"):
        with pytest.raises(FileNotFoundError):
            fs.info(path)
    with pytest.raises(OSError, match="it names no branch"):
        fs.info(f"{repo}/a/b")
    for read in (fs.open, fs.cat_file):
        with pytest.raises(IsADirectoryError):
            read(f"{repo}@master/dir")
    assert fs.get_mapper(f"{repo}@master").get("dir") is None


def test_a_transaction_is_one_commit(fs: PachFileSystem, module_box: Box, repo: str) -> None:
    before = commits(module_box, repo)
    with fs.transaction:
        fs.pipe(f"{repo}@master/new/1", b"one")
        with fs.open(f"{repo}@master/new/2", "w") as file:
            file.write("two")
        fs.rm(f"{repo}@master/dir", recursive=True)
        assert not fs.exists(f"{repo}@master/new/1")
    assert commits(module_box, repo) == before + 1
    assert fs.cat(f"{repo}@master/new/*") == {f"{repo}@master/new/1": b"one", f"{repo}@master/new/2": b"two"}
    assert not fs.exists(f"{repo}@master/dir")


def test_an_exception_in_a_transaction_commits_nothing(fs: PachFileSystem, module_box: Box, repo: str) -> None:
    before = commits(module_box, repo)
    with contextlib.suppress(ZeroDivisionError), fs.transaction:
        fs.pipe(f"{repo}@master/x", b"x")
        _ = 1 / 0
    assert commits(module_box, repo) == before
    fs.pipe(f"{repo}@master/y", b"y")
    assert not fs.exists(f"{repo}@master/x")


def test_a_directory_is_put_in_one_commit(fs: PachFileSystem, module_box: Box, repo: str, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.bin").write_bytes(bytes(number))
    before = commits(module_box, repo)
    fs.put(f"{tmp_path}/", f"{repo}@master/many/", recursive=True)
    assert commits(module_box, repo) == before + 1
    assert fs.du(f"{repo}@master/many") == 0 + 1 + 2 + 3 + 4


def test_the_last_change_in_a_transaction_wins(fs: PachFileSystem, repo: str) -> None:
    with fs.transaction:
        fs.pipe(f"{repo}@master/a.txt", b"new")
        fs.rm(f"{repo}@master/a.txt")
        fs.pipe(f"{repo}@master/copy", b"before")
        fs.copy(f"{repo}@master/dir/b.txt", f"{repo}@master/copy")
    assert not fs.exists(f"{repo}@master/a.txt")
    assert fs.cat_file(f"{repo}@master/copy") == b"bee"


def test_an_open_file_stays_at_its_commit(fs: PachFileSystem, repo: str) -> None:
    path = f"{repo}@master/moving"
    fs.pipe(path, b"a" * 3000)
    with fs.open(path, block_size=1000) as file:
        assert file.read(1) == b"a"
        fs.pipe(path, b"b" * 4000)
        sent = pickle.loads(pickle.dumps(file))
        file.seek(2500)
        assert file.read() == sent.read()[-500:] == b"a" * 500
        fs.rm(path)
        file.seek(1500)
        assert file.read(10) == b"a" * 10


def test_threads_write_to_a_branch_at_once(fs: PachFileSystem, module_box: Box, repo: str, tmp_path: Path) -> None:
    before = commits(module_box, repo)
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "file").write_bytes(b"put")
    failures = []

    def write(number: int) -> None:
        try:
            fs.pipe(f"{repo}@master/{number}/piped", b"pipe")
            with fs.open(f"{repo}@master/{number}/opened", "wb") as file:
                file.write(b"open")
            fs.put(f"{tmp_path}/sent", f"{repo}@master/{number}", recursive=True)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for number in range(6):
        below = f"{repo}@master/{number}"
        assert fs.find(below) == [f"{below}/opened", f"{below}/piped", f"{below}/sent/file"]
        assert fs.cat(f"{below}/*d") == {f"{below}/opened": b"open", f"{below}/piped": b"pipe"}
    assert commits(module_box, repo) == before + 18


def test_many_may_read_at_once(fs: PachFileSystem, module_box: Box, repo: str) -> None:
    fs.pipe(f"{repo}@master/long", bytes(8 << 20))
    with contextlib.ExitStack() as reading, pachmount.open(f"{repo}@master", mount_dir=fs.mount_dir) as commit:
        readers = [reading.enter_context(contextlib.closing(commit.pieces("/long"))) for _ in range(MAX_DOWNLOADS)]
        for reader in readers:
            next(reader)
        with ThreadPoolExecutor() as pool:
            content = pool.submit(fs.cat_file, f"{repo}@master/a.txt")
            assert wait([content], 0.5).not_done
            reading.close()
            assert content.result(20) == b"0123456789"


def test_a_commit_that_stays_open_is_not_waited_for_for_ever(
    fs: PachFileSystem, module_box: Box, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pachmount.fs.changes.OPEN_SECONDS", 0.2)
    open_commit = module_box.cluster().start_commit(RepoRef("default", repo), "master")
    with pytest.raises(OSError, match=f"commit {open_commit.id} is open") as caught:
        fs.pipe(f"{repo}@master/x", b"x")
    assert caught.value.errno == errno.EBUSY
    module_box.cluster().drop_commit_set(open_commit.id)


def test_append_and_overwrite(fs: PachFileSystem, repo: str) -> None:
    path = f"{repo}@master/a.txt"
    with fs.open(path, "ab") as file:
        file.write(b"ten")
    assert fs.cat_file(path) == b"0123456789ten"
    with fs.open(path, "wb") as file:
        file.write(b"new")
    assert fs.cat_file(path) == b"new"
    fs.pipe(path, b"")
    assert fs.cat_file(path) == b""


def test_a_file_that_is_larger_than_memory_blocks(fs: PachFileSystem, repo: str) -> None:
    content = os.urandom(20 << 20)
    with fs.open(f"{repo}@master/large", "wb") as file:
        for start in range(0, len(content), 3 << 20):
            file.write(content[start : start + (3 << 20)])
    assert fs.cat_file(f"{repo}@master/large") == content


def test_mv_and_copy_within_a_repo(fs: PachFileSystem, module_box: Box, repo: str) -> None:
    before = commits(module_box, repo)
    fs.mv(f"{repo}@master/dir", f"{repo}@master/moved", recursive=True)
    assert commits(module_box, repo) == before + 1
    assert fs.cat_file(f"{repo}@master/moved/b.txt") == b"bee"
    assert not fs.exists(f"{repo}@master/dir")


def test_what_is_not_there_cannot_be_removed(fs: PachFileSystem, module_box: Box, repo: str) -> None:
    before = commits(module_box, repo)
    for remove in (fs.rm, fs.rm_file):
        with pytest.raises(FileNotFoundError):
            remove(f"{repo}@master/none")
    with pytest.raises(IsADirectoryError):
        fs.rm_file(f"{repo}@master/dir")
    assert commits(module_box, repo) == before
    with fs.transaction:
        fs.pipe(f"{repo}@master/new", b"new")
        fs.rm(f"{repo}@master/new")
    assert not fs.exists(f"{repo}@master/new")


def test_a_commit_cannot_be_written(fs: PachFileSystem, repo: str) -> None:
    commit = fs.info(f"{repo}@master/a.txt")["commit"]
    assert fs.cat_file(f"{repo}@{commit}/a.txt") == b"0123456789"
    with pytest.raises(OSError, match="a commit cannot change"):
        fs.open(f"{repo}@{commit}/a.txt", "wb")


def test_a_name_that_cannot_be_stored_is_refused_at_once(fs: PachFileSystem, repo: str) -> None:
    with fs.transaction:
        fs.pipe(f"{repo}@master/hours of work", b"kept")
        for path in (f"{repo}@master/plot (1).png", f"{repo}@master"):
            with pytest.raises(OSError, match="invalid path"):
                fs.open(path, "wb")
            with pytest.raises(OSError, match="invalid path"):
                fs.cp_file(f"{repo}@master/a.txt", path)
    assert fs.cat_file(f"{repo}@master/hours of work") == b"kept"


def test_a_new_repo_is_made_with_its_first_file(fs: PachFileSystem, module_box: Box) -> None:
    name = module_box.repo("seen").replace("seen", "made")
    fs.pipe(f"{name}@dev/a", b"a")
    assert fs.cat_file(f"{name}@dev/a") == b"a"


def test_pandas_and_pyarrow(module_box: Box, repo: str) -> None:
    frame = pandas.DataFrame({"number": range(1000), "word": [f"w{number % 7}" for number in range(1000)]})
    frame.to_parquet(f"pfs://{repo}@master/t.parquet")
    assert pandas.read_parquet(f"pfs://{repo}@master/t.parquet").equals(frame)
    frame.to_csv(f"pfs://{repo}@master/t.csv", index=False)
    assert pandas.read_csv(f"pfs://{repo}@master/t.csv").equals(frame)
    fs = fsspec.filesystem("pfs")
    for part in range(3):
        frame[frame.number % 3 == part].to_parquet(f"pfs://{repo}@master/parts/{part}.parquet")
    data = pyarrow.dataset.dataset(f"{repo}@master/parts", filesystem=fs, format="parquet")
    assert data.count_rows() == 1000
    assert data.to_table(filter=pyarrow.dataset.field("number") < 10).num_rows == 10


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")
def test_dask(module_box: Box, repo: str) -> None:
    frame = pandas.DataFrame({"number": range(1000), "word": [f"w{number % 7}" for number in range(1000)]})
    parts = dask.dataframe.from_pandas(frame, npartitions=4)
    parts.to_parquet(f"pfs://{repo}@master/parts", partition_on=["word"])  # each thread commits its files
    read = dask.dataframe.read_parquet(f"pfs://{repo}@master/parts", filters=[("word", "==", "w3")])
    assert read.number.sum().compute() == sum(range(3, 1000, 7))
    before = commits(module_box, repo)
    with fsspec.filesystem("pfs").transaction:
        parts.to_csv(f"pfs://{repo}@master/tables/*.csv", index=False)
    assert commits(module_box, repo) == before + 1
    tables = dask.dataframe.read_csv(f"pfs://{repo}@master/tables/*.csv", blocksize=1000)
    assert tables.number.sum().compute(scheduler="processes") == frame.number.sum()


def test_fsspec_open(module_box: Box, repo: str) -> None:
    with fsspec.open(f"pfs://{repo}@master/dir/b.txt", "rt") as file:
        assert file.read() == "bee"


def test_it_can_be_sent_to_another_process(fs: PachFileSystem, repo: str) -> None:
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat_file(f"{repo}@master/a.txt") == b"0123456789"


def test_the_document(module_box: Box) -> None:
    """docs/fsspec.md, each block of it."""
    text = (Path(__file__).parents[2] / "docs" / "fsspec.md").read_text(encoding="utf-8")
    fs = fsspec.filesystem("pfs")
    pandas.DataFrame({"n": range(20)}).to_parquet("pfs://images@master/t.parquet")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    assert fs.cat_file("images@master/head.csv").splitlines()[0] == b"n"
    assert fs.cat_file("images@master/b.txt") == b"in the same commit"
