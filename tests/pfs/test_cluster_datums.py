"""Datums of a real server: its own listing, and what is formed here out of globs, are the same, order included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_server import unused_name

from pachmount.datums.model import Combination, Cross, Datum, Group, Input, Join, PfsInput, Union
from pachmount.datums.rules import V2_6, V2_9
from pachmount.errors import ClusterError, NoDatumsError, NotFoundError, PachmountError
from pachmount.mounts.datum_source import DatumBatch, DatumSource
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, FileEntry, ListedDatum, RepoRef
from pachmount.pfs.status import CallFailedError

_FILES = (
    ["/1.txt", "/2.txt", "/dir/x.txt", "/dir/y.txt", "/dir2/sub/w.txt"],
    ["/1.txt", "/3.txt", "/dir/x.txt"],
    ["/k-1-a", "/k-2-a", "/k-2-b", "/n"],
)
_GLOBS = ["/", "/*", "/**", "/(*).txt", "/(*)/(*).txt", "/k-(?)-(?)", "/dir/", "/{1,2}.txt", "/!(1).txt", "/none", "*"]
_KEYS = ["", "$1", "$2", "$1$2", "x", "$9"]


@dataclass(frozen=True)
class Repos:
    """Three repos, the heads of their branches master, and older commits with other files."""

    repos: tuple[RepoRef, ...]
    heads: tuple[CommitRef, ...]
    older: tuple[CommitRef, ...]


@pytest.fixture(scope="module")
def repos(address: str) -> Iterator[Repos]:
    with PfsClient(address) as client:
        made = tuple(RepoRef("default", unused_name("datums")) for _ in _FILES)
        older, heads = [], []
        for repo, paths in zip(made, _FILES, strict=True):
            client.create_repo(repo)
            for commits, files in ((older, ["/old.txt", paths[0]]), (heads, paths)):
                with client.modify_file(CommitRef(repo, "", "master")) as change:
                    change.delete_file("/old.txt")
                    for path in files:
                        change.delete_file(path)
                        change.add_file(path, path.encode())
                head = client.inspect_branch(repo).head
                client.inspect_commit(head, wait="finished", timeout=60)
                commits.append(head)
        yield Repos(made, tuple(heads), tuple(older))
        for repo in made:
            client.delete_repo(repo, force=True)


@dataclass(frozen=True)
class Shape:
    """A PFS input whose repo is a number."""

    repo: int
    glob: str
    join_on: str
    outer: bool
    group_by: str


_SHAPES = st.builds(
    Shape, st.integers(0, 2), st.sampled_from(_GLOBS), st.sampled_from(_KEYS), st.booleans(), st.sampled_from(_KEYS)
)
_TREES = st.recursive(
    _SHAPES,
    lambda inner: st.tuples(st.sampled_from([Cross, Union, Join, Group]), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=4,
)


def _input(tree: Shape | tuple[type[Combination], list], repos: Repos, names: Iterator[str]) -> Input:
    if not isinstance(tree, Shape):
        return tree[0](tuple(_input(member, repos, names) for member in tree[1]))
    return PfsInput(
        next(names), "default", repos.repos[tree.repo].name, "master", tree.glob,
        join_on=tree.join_on, outer_join=tree.outer, group_by=tree.group_by,
    )  # fmt: skip


def _pinned(source: Input, repos: Repos, commits: tuple[CommitRef, ...]) -> Input:
    if not isinstance(source, PfsInput):
        return replace(source, inputs=tuple(_pinned(member, repos, commits) for member in source.inputs))
    return replace(source, commit=commits[[repo.name for repo in repos.repos].index(source.repo)].id)


def _all(client: PfsClient, source: Input) -> list[Datum]:
    try:
        return [datum for batch in DatumSource(client, source, batch=3).batches() for datum in batch.datums]
    except NoDatumsError:
        return []


def _paths(files: tuple[tuple[CommitRef, FileEntry], ...]) -> list[tuple[str, str]]:
    return [(commit.id, entry.path or "/") for commit, entry in files]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=_TREES, names=st.permutations(["a", "b", "c", "d"]))
def test_the_cluster_and_we_agree(client: PfsClient, repos: Repos, tree: Shape, names: list[str]) -> None:
    source = _input(tree, repos, iter(names))
    listed = [datum for batch in client.datums.list(source) for datum in batch]
    formed = _all(client, _pinned(source, repos, repos.heads))
    assert [datum.id for datum in formed] == [datum.id for datum in listed]
    for mine, theirs in zip(formed, listed, strict=True):
        assert [(file.commit, file.path) for file in mine.files] == _paths(theirs.files)
    assert _all(client, source) == formed
    created = [datum.id for batch in client.datums.create(source, 2) for datum in batch]
    assert sorted(created) == [datum.id for datum in formed]


def test_the_datums_of_an_older_commit(client: PfsClient, repos: Repos) -> None:
    source = PfsInput("in", "default", repos.repos[0].name, "master", "/*")
    found = _all(client, _pinned(source, repos, repos.older))
    assert sorted(file.path for datum in found for file in datum.files) == ["/1.txt", "/old.txt"]
    assert {file.commit for datum in found for file in datum.files} == {repos.older[0].id}
    whole = _all(client, replace(source, commit="master^1", glob="/"))
    assert [(file.path, file.is_dir, file.commit) for file in whole[0].files] == [("/", True, repos.older[0].id)]


def test_captured_values_come_along(client: PfsClient, repos: Repos) -> None:
    source = PfsInput("in", "default", repos.repos[2].name, "master", "/k-(?)-(?)", join_on="$1", group_by="j$2")
    found = [file for datum in _all(client, source) for file in datum.files]
    assert sorted((file.path, file.join_on, file.group_by, file.size_bytes) for file in found) == [
        ("/k-1-a", "1", "ja", 6),
        ("/k-2-a", "2", "ja", 6),
        ("/k-2-b", "2", "jb", 6),
    ]


def test_an_open_head_gives_the_datums_of_its_finished_ancestor(
    client: PfsClient, new_repo: Callable[[], RepoRef], put: Callable[..., CommitRef]
) -> None:
    repo = new_repo()
    finished = put(repo, {"/a": b"1"})
    opened = client.start_commit(repo)
    with client.modify_file(opened) as change:
        change.add_file("/b", b"2")
    found = _all(client, PfsInput("in", repo.project, repo.name, "master", "/*"))
    assert [(file.path, file.commit) for datum in found for file in datum.files] == [("/a", finished.id)]


def test_batches_and_progress(client: PfsClient, repos: Repos) -> None:
    source = PfsInput("in", "default", repos.repos[0].name, "master", "/**")
    for each in (source, _pinned(source, repos, repos.heads)):
        told: list[int] = []
        batches = list(DatumSource(client, each, batch=3).batches(told.append))
        assert [len(batch.datums) for batch in batches] == [3, 3, 2]
        assert batches[-1].total == 8
        assert told[-1] == 8


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"project": "nowhere"}, 'project "nowhere" not found'),
        ({"repo": "nothing"}, "repo default/nothing not found"),
        ({"branch": "none"}, 'branch "none" not found in repo default/{repo}'),
        ({"commit": "2" * 32}, "commit default/{repo}@" + "2" * 32 + " not found"),
    ],
)
def test_what_is_not_there(client: PfsClient, repos: Repos, changed: dict[str, str], text: str) -> None:
    source = replace(PfsInput("in", "default", repos.repos[0].name, "master", "/*"), **changed)
    with pytest.raises(NotFoundError) as caught:
        next(DatumSource(client, source).batches())
    assert caught.value.what == text.format(repo=source.repo)
    for rules, prefix in ((V2_6, ""), (V2_9, "error processing input: error parsing datum input: ")):
        with pytest.raises(NotFoundError) as caught:
            next(DatumSource(client, source, rules).batches())
        assert caught.value.what.startswith(prefix)
        # clients of the original get the cluster's own words, which end with the branch
        in_words = f'branch "{source.branch}" not found in repo {source.project}/{source.repo}'
        assert caught.value.what.endswith(text.format(repo=source.repo) if source.commit else in_words)


def test_zero_datums(client: PfsClient, repos: Repos) -> None:
    source = PfsInput("in", "default", repos.repos[0].name, "master", "/zz*")
    for rules, text in (
        (V2_6, "no datums match the given input spec"),
        (V2_9, "error listing spec's datums: spec produces zero datums; nothing to mount"),
    ):
        with pytest.raises(NoDatumsError) as caught:
            next(DatumSource(client, source, rules).batches())
        assert caught.value.what == text


def _fails(error: PachmountError, cause: BaseException | None) -> Callable[[Input], Iterator[list[ListedDatum]]]:
    def listing(_: Input) -> Iterator[list[ListedDatum]]:
        raise error from cause
        yield []

    return listing


def test_a_server_without_the_call_is_no_hindrance(
    client: PfsClient, repos: Repos, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PfsInput("in", "default", repos.repos[0].name, "master", "/*")
    expected = _all(client, source)
    missing = CallFailedError(grpc.StatusCode.UNIMPLEMENTED, "unknown method")
    monkeypatch.setattr(client.datums, "list", _fails(ClusterError("unknown method"), missing))
    assert _all(client, source) == expected
    monkeypatch.setattr(client.datums, "list", _fails(ClusterError("no worker"), None))
    with pytest.raises(ClusterError, match="no worker"):
        _all(client, source)


def test_a_branch_that_moves_meanwhile(client: PfsClient, repos: Repos, monkeypatch: pytest.MonkeyPatch) -> None:
    source = PfsInput("in", "default", repos.repos[0].name, "master", "/*")
    listed = [datum for batch in client.datums.list(source) for datum in batch]
    elsewhere = [
        datum._replace(files=tuple((replace(commit, id="3" * 32), entry) for commit, entry in datum.files))
        for datum in listed
    ]
    expected = _all(client, source)
    monkeypatch.setattr(client.datums, "list", lambda _: iter([elsewhere]))
    assert _all(client, source) == expected

    monkeypatch.setattr(client.datums, "list", lambda _: iter([listed[:3], elsewhere[3:]]))
    batches: Iterator[DatumBatch] = DatumSource(client, source, batch=3).batches()
    assert len(next(batches).datums) == 3
    with pytest.raises(PachmountError, match="moved while"):
        next(batches)
