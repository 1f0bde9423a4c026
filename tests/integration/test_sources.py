"""What of a commit a mount shows: subtrees, single files, by whole names; and where the same mount may be put."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pachmount.pfs.model import RepoRef
from tests.integration.box import Box

FILES = {
    "/f1": b"one",
    "/f10": b"ten",
    "/dir/g": b"gg",
    "/dir/sub/h": b"h" * 1000,
    "/dir/sub/deep/i": b"i",
    "/dir/subway": b"not below sub",
    "/dir10/x": b"x",
}


@pytest.fixture(scope="module")
def repo(shared_box: Box) -> str:
    repo = shared_box.repo("sources")
    shared_box.put(repo, FILES)
    shared_box.put(repo, {"/dev": b"dev"}, branch="dev")
    return repo


def shown(top: Path) -> dict[str, bytes]:
    return {f"/{path.relative_to(top)}": path.read_bytes() for path in top.rglob("*") if path.is_file()}


def below(*prefixes: str) -> dict[str, bytes]:
    return {p: data for p, data in FILES.items() if any(p == x or p.startswith(f"{x}/") for x in prefixes)}


@pytest.mark.parametrize("path", ["/dir", "/dir/sub", "/dir/sub/deep", "/dir/sub/", "/dir10"])
def test_a_directory_shows_what_is_below_it_and_the_way_to_it(box: Box, repo: str, path: str) -> None:
    box.mount(f"{repo}@master:{path}", "part")
    assert shown(box.path("part")) == below(path.rstrip("/"))
    assert os.listdir(box.path("part")) == [path.split("/")[1]]


@pytest.mark.parametrize("path", ["/f1", "/dir/subway", "/dir/sub/deep/i"])
def test_a_file_shows_alone(box: Box, repo: str, path: str) -> None:
    box.mount(f"{repo}:{path}", "part")
    assert shown(box.path("part")) == {path: FILES[path]}


@pytest.mark.parametrize("path", ["/absent", "/dir/absent/deeper", "/f1/below", "/di"])
def test_a_path_that_does_not_exist_shows_an_empty_mount(box: Box, repo: str, path: str) -> None:
    box.mount(f"{repo}:{path}", "part")
    assert shown(box.path("part")) == {}
    assert os.listdir(box.path("part")) == []
    assert box.mount_status("part")["state"] == "mounted"


def test_two_parts_of_one_repo_beside_the_whole(box: Box, repo: str) -> None:
    box.mount(repo)
    box.mount(f"{repo}:/dir/sub", "sub")
    box.mount(f"{repo}@dev", "dev")
    assert shown(box.path(repo)) == FILES
    assert shown(box.path("sub")) == below("/dir/sub")
    assert shown(box.path("dev")) == {"/dev": b"dev"}
    assert sorted(os.listdir(box.mount_dir)) == sorted([repo, "sub", "dev"])


def test_other_projects_are_separate(box: Box, repo: str) -> None:
    project = box.repo("proj")
    tree = box.root / "tree"
    tree.mkdir(exist_ok=True)
    (tree / "mine").write_bytes(b"mine")
    box.ok("import", str(tree), f"{project}/{repo}", "--create-project")
    try:
        box.mount(f"{project}/{repo}", "theirs")
        assert shown(box.path("theirs")) == {"/mine": b"mine"}
        assert os.getxattr(box.path("theirs"), "user.pachmount.project").decode() == project
        assert "already in use" in box.refused("mount", repo, "--name", "theirs", code=73)
    finally:
        box.unmount("theirs")
        box.cluster().delete_repo(RepoRef(project, repo), force=True)
        box.cluster().delete_project(project, force=True)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("no-such-repo", "not found"),
        ("{repo}@no-such-branch", 'branch "no-such-branch" not found'),
        ("no-such-project/{repo}", 'project "no-such-project" not found'),
        ("{repo}@" + "0" * 12 + "4" + "0" * 19, "not found"),
        ("{repo}@master^99", "not found"),
    ],
)
def test_what_does_not_exist_is_said_and_leaves_nothing(box: Box, repo: str, source: str, says: str) -> None:
    message = box.refused("mount", source.format(repo=repo), code=66)
    assert says in message
    assert not box.mount_dir.exists() or os.listdir(box.mount_dir) == []
    assert box.status()["mounts"] == []


def test_an_empty_repo_has_no_branch_to_mount_and_an_empty_branch_shows_nothing(box: Box) -> None:
    repo = box.repo("empty")
    box.cluster().create_repo(RepoRef("default", repo))
    assert 'branch "master" not found' in box.refused("mount", repo, code=66)
    box.cluster().create_branch(RepoRef("default", repo), "master")
    box.mount(repo)
    assert os.listdir(box.path(repo)) == []
    box.put(repo, {"/first": b"1"})
    box.refresh(repo)
    assert shown(box.path(repo)) == {"/first": b"1"}
