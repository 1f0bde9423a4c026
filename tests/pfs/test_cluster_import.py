"""import_tree against a real server: one commit, complete or not there at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_server import unused_name

from pachmount.errors import BusyError, InvalidPathError, NotFoundError, PachmountError, UsageError
from pachmount.names import Source
from pachmount.pfs import upload
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, CommitState, RepoRef
from pachmount.pfs.upload import Progress, import_tree

Put = Callable[..., CommitRef]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "dir" / "empty").mkdir(parents=True)
    (root / "dir" / "a").write_bytes(b"aaa")
    (root / "big").write_bytes(os.urandom(5 << 20))
    (root / "nothing").touch()
    return root


@pytest.fixture
def source(repo: RepoRef) -> Source:
    return Source(repo.project, repo.name, "master")


def stored(client: PfsClient, commit: CommitRef) -> dict[str, bytes]:
    return {entry.path: b"".join(client.open(commit, entry.path)) for entry in client.walk(commit) if not entry.is_dir}


def local(tree: Path, below: str = "") -> dict[str, bytes]:
    return {f"{below}/{path.relative_to(tree)}": path.read_bytes() for path in tree.rglob("*") if path.is_file()}


DESCRIPTIONS = pytest.mark.parametrize("description", ["", "why"])


@DESCRIPTIONS
class TestSuccess:
    def test_first_import(self, client: PfsClient, tree: Path, source: Source, description: str) -> None:
        seen: list[Progress] = []
        result = import_tree(client, tree, source, description=description, progress=seen.append)
        assert stored(client, result.commit) == local(tree)
        assert (result.files, result.bytes, result.empty_directories) == (3, 3 + (5 << 20), 1)
        assert (result.changed, result.finished, result.created_repo, result.skipped) == (True, True, False, ())
        info = client.inspect_commit(result.commit)
        assert (info.state, info.description) == (CommitState.FINISHED, description)
        assert client.inspect_branch(result.commit.repo).head.id == result.commit.id
        assert len(client.list_commits(result.commit.repo)) == 1
        last = [progress for progress in seen if progress.phase == "upload"][-1]
        assert (last.files, last.total_files, last.bytes, last.total_bytes) == (3, 3, result.bytes, result.bytes)
        assert seen[-1].phase == "finish"

    def test_overwrites_and_keeps(
        self, client: PfsClient, tree: Path, source: Source, put: Put, repo: RepoRef, description: str
    ) -> None:
        put(repo, {"/dir/a": b"old and longer", "/other": b"stays"})
        result = import_tree(client, tree, source, description=description)
        assert stored(client, result.commit) == local(tree) | {"/other": b"stays"}

    @pytest.mark.parametrize("below", ["", "/to/here"])
    def test_replace(
        self,
        client: PfsClient,
        tree: Path,
        source: Source,
        put: Put,
        repo: RepoRef,
        below: str,
        description: str,
    ) -> None:
        put(repo, {f"{below}/old": b"x", f"{below}/dir/a": b"longer than before", "/top": b"top"})
        where = Source(source.project, source.repo, "master", path=below)
        result = import_tree(client, tree, where, description=description, replace=True)
        outside = {"/top": b"top"} if below else {}
        assert stored(client, result.commit) == local(tree, below) | outside

    def test_nothing_changed(self, client: PfsClient, tree: Path, source: Source, description: str) -> None:
        first = import_tree(client, tree, source, description=description)
        second = import_tree(client, tree, source, description=description)
        assert first.commit.id != second.commit.id
        assert (first.changed, second.changed) == (True, False)

    def test_renamed(self, client: PfsClient, tree: Path, source: Source, description: str) -> None:
        import_tree(client, tree, source, description=description)
        (tree / "nothing").rename(tree / "nothing2")
        assert import_tree(client, tree, source, description=description, replace=True).changed


class TestWhatIsMissing:
    def test_repo(self, client: PfsClient, tree: Path) -> None:
        repo = RepoRef("default", unused_name("test"))
        try:
            result = import_tree(client, tree, Source(repo.project, repo.name))
            assert result.created_repo
            assert client.inspect_branch(repo, "master").head.id == result.commit.id
        finally:
            client.delete_repo(repo)

    def test_project(self, client: PfsClient, tree: Path, new_project: str) -> None:
        with pytest.raises(NotFoundError, match=new_project) as caught:
            import_tree(client, tree, Source(new_project, "r"))
        assert "--create-project" in caught.value.hint
        assert import_tree(client, tree, Source(new_project, "r"), create_project=True).created_repo


class TestRefusals:
    def test_a_commit(self, client: PfsClient, tree: Path, repo: RepoRef) -> None:
        with pytest.raises(UsageError, match="name a branch"):
            import_tree(client, tree, Source(repo.project, repo.name, commit="c" * 32))

    def test_bad_names(self, client: PfsClient, tree: Path, source: Source, repo: RepoRef) -> None:
        (tree / "a+b").write_text("x")
        with pytest.raises(InvalidPathError, match="1 file cannot be stored"):
            import_tree(client, tree, source)
        assert client.list_branches(repo) == []
        result = import_tree(client, tree, source, skip_invalid=True, exclude=["big"])
        assert [item.path for item in result.skipped] == ["a+b"]
        assert set(stored(client, result.commit)) == {"/dir/a", "/nothing"}

    def test_an_open_commit(self, client: PfsClient, tree: Path, source: Source, repo: RepoRef) -> None:
        commit = client.start_commit(repo)
        with pytest.raises(BusyError, match="is open on it"):
            import_tree(client, tree, source)
        client.finish_commit(commit)


@DESCRIPTIONS
@pytest.mark.parametrize("existing", [False, True])
class TestFailures:
    @pytest.fixture
    def unchanged(self, client: PfsClient, repo: RepoRef, put: Put, existing: bool) -> Callable[[], None]:
        """Checks that the repo is as it was before, and that its branch still takes commits."""
        if existing:
            put(repo, {"/before": b"x"})
        commits = [info.commit.id for info in client.list_commits(repo)]

        def check() -> None:
            assert [branch.name for branch in client.list_branches(repo)] == ["master"] * existing
            after = [info.commit.id for info in client.list_commits(repo)]
            assert after == commits if existing else all(client.inspect_commit(CommitRef(repo, id_)) for id_ in after)
            assert set(stored(client, put(repo, {"/after": b"y"}))) == {"/after"} | ({"/before"} if existing else set())

        return check

    def test_a_file_vanishes(
        self,
        client: PfsClient,
        tree: Path,
        source: Source,
        unchanged: Callable[[], None],
        description: str,
    ) -> None:
        def vanish(progress: Progress) -> None:
            (tree / "nothing").unlink(missing_ok=True)

        with pytest.raises(NotFoundError, match="vanished"):
            import_tree(client, tree, source, description=description, progress=vanish)
        unchanged()

    def test_an_interrupt(
        self,
        client: PfsClient,
        tree: Path,
        source: Source,
        unchanged: Callable[[], None],
        description: str,
    ) -> None:
        def interrupt(progress: Progress) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            import_tree(client, tree, source, description=description, progress=interrupt)
        unchanged()

    def test_the_cluster_rejects_it(
        self,
        client: PfsClient,
        tree: Path,
        source: Source,
        unchanged: Callable[[], None],
        monkeypatch: pytest.MonkeyPatch,
        description: str,
    ) -> None:
        send = upload._send

        def collide(writer: Any, *args: Any) -> None:
            writer.add_file("/x", b"a file")
            writer.add_file("/x/y", b"and the same name as a directory")
            send(writer, *args)

        monkeypatch.setattr(upload, "_send", collide)
        with pytest.raises(PachmountError):
            import_tree(client, tree, source, description=description)
        unchanged()


class TestChangingFiles:
    def test_growing_and_shrinking(
        self, client: PfsClient, tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree = tmp_path / "changing"
        tree.mkdir()
        (tree / "grows").write_bytes(b"g" * (3 << 20))
        (tree / "shrinks").write_bytes(b"s" * (3 << 20))

        def change(progress: Progress) -> None:
            with (tree / "grows").open("ab") as file:
                file.write(b"g" * 1000)
            if progress.files == 1:
                os.truncate(tree / "shrinks", 1 << 20)

        result = import_tree(client, tree, source, progress=change)
        files = stored(client, result.commit)
        assert files["/grows"] == b"g" * (3 << 20)
        assert files["/shrinks"] == b"s" * (1 << 20)
        assert result.bytes == 4 << 20
