"""What the original's tests assert of datums: 2.6.4 on its routes, 2.8 and 2.9 on theirs, over both transports."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pachmount.pfs.model import CommitRef, RepoRef
from tests.integration.box import Box
from tests.integration.rest_client import SERVED, Rest

BOX_ENV = SERVED
OLD, NEW = "/_mount_datums", "/datums/_mount"


@pytest.fixture
def repo(box: Box) -> str:
    """`file1` and `dir/file2` on master, `other` on dev."""
    name = box.repo("accept")
    box.put(name, {"/file1": b"1", "/dir/file2": b"2"})
    box.put(name, {"/other": b"3"}, "dev")
    return name


def pfs(repo: str, glob: str = "/*", **more: Any) -> dict[str, Any]:
    return {"pfs": {"repo": repo, "glob": glob, **more}}


def mount(rest: Rest, route: str, source: dict[str, Any]) -> dict[str, Any]:
    answer = rest.put(route, {"input": source})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


# --- 2.6.4


def test_one_input(box: Box, rest: Rest, repo: str) -> None:
    found = mount(rest, OLD, pfs(repo, "/"))
    assert (found["idx"], found["num_datums"], found["id"] != "") == (0, 1, True)
    assert sorted(os.listdir(box.path(f"default_{repo}"))) == ["dir", "file1"]
    assert os.listdir(box.path(f"default_{repo}", "dir")) == ["file2"]
    assert rest.put("/_unmount_all").json()["mounted"] == []
    assert mount(rest, OLD, pfs(repo))["num_datums"] == 2
    assert len(os.listdir(box.path(f"default_{repo}"))) == 1


def test_cross_and_union(box: Box, rest: Rest, repo: str) -> None:
    other = box.repo("accept")
    box.put(other, {"/x": b"x", "/y": b"y"}, "dev")
    found = mount(rest, OLD, {"cross": [pfs(repo, "/"), pfs(other, "/*", branch="dev")]})
    assert found["num_datums"] == 2
    assert len(os.listdir(box.path(f"default_{repo}"))) == 2
    assert len(os.listdir(box.path(f"default_{other}_dev"))) == 1
    assert mount(rest, OLD, {"union": [pfs(repo, "/"), pfs(other, "/*", branch="dev")]})["num_datums"] == 3


def test_a_repo_and_branch_more_than_once(box: Box, rest: Rest, repo: str) -> None:
    assert mount(rest, OLD, {"cross": [pfs(repo), pfs(repo)]})["num_datums"] == 4
    assert sorted(os.listdir(box.mount_dir)) == [f"default_{repo}", "out"]
    box.put(repo, {"/more": b"4"}, "dev")
    assert mount(rest, OLD, {"cross": [pfs(repo), pfs(repo), pfs(repo, branch="dev")]})["num_datums"] == 8
    assert len(os.listdir(box.mount_dir)) == 3


def test_showing_another_one(rest: Rest, repo: str) -> None:
    first = mount(rest, OLD, pfs(repo))
    second = rest.put("/_show_datum?idx=1").json()
    assert (second["idx"], second["id"] != first["id"], second["num_datums"]) == (1, True, 2)
    assert rest.put(f"/_show_datum?idx=1&id={first['id']}").json()["id"] == first["id"]


def test_asking_for_the_datums(box: Box, rest: Rest, repo: str) -> None:
    assert rest.get("/datums").json()["num_datums"] == 0
    mount(rest, OLD, pfs(repo, branch="dev"))
    rest.put("/_show_datum?idx=0")
    told = rest.get("/datums").json()
    echoed = {"project": "default", "name": f"default_{repo}_dev", "repo": repo, "branch": "dev", "glob": "/*"}
    assert (told["num_datums"], told["input"], told["curr_idx"]) == (1, {"pfs": echoed}, 0)


def test_projects(box: Box, rest: Rest, repo: str) -> None:
    project = f"p-{repo[-8:]}"
    box.cluster().create_project(project)
    ref = RepoRef(project, "there")
    box.cluster().create_repo(ref)
    with box.cluster().modify_file(CommitRef(ref, "", "dev")) as change:
        change.add_file("/a", b"a")
    box.cluster().inspect_commit(box.cluster().inspect_branch(ref, "dev").head, wait="finished")
    try:
        source = pfs("there", "/", project=project, branch="dev")
        mount(rest, OLD, {"cross": [pfs(repo, "/"), source]})
        assert sorted(os.listdir(box.mount_dir)) == sorted([f"default_{repo}", f"{project}_there_dev", "out"])
        mount(rest, OLD, source)
        assert sorted(os.listdir(box.mount_dir)) == sorted([f"{project}_there_dev", "out"])
        assert rest.put(OLD, {"input": pfs("there", "/", project="invalid")}).status_code == 400
    finally:
        rest.put("/_unmount_all")
        box.cluster().delete_repo(ref, force=True)
        box.cluster().delete_project(project)


# --- 2.8 and 2.9


def test_prefixes_do_not_leak(box: Box, rest: Rest) -> None:
    repo = box.repo("accept")
    box.put(repo, {"/file1": b"1", "/file10": b"10", "/file2": b"2"})
    found = mount(rest, NEW, pfs(repo, "/file*"))
    assert (found["num_datums"], found["all_datums_received"]) == (3, True)
    for index in range(3):
        assert len(os.listdir(box.path(repo))) == 1
        answer = rest.put("/datums/_next")
        assert answer.status_code == (200 if index < 2 else 400)
    assert answer.text == "already at last datum\n"
    rest.put("/_show_datum?idx=0")
    assert rest.put("/datums/_prev").text == "already at first datum\n"


def test_twelve_datums_of_three_files(box: Box, rest: Rest) -> None:
    repos = {number: box.repo(f"n{number}") for number in (2, 20, 3)}
    for number, repo in repos.items():
        box.put(repo, {f"/{index}": b"x" for index in range(2 if number == 20 else number)})
    assert mount(rest, NEW, {"cross": [pfs(repo) for repo in repos.values()]})["num_datums"] == 12
    for _ in range(12):
        assert [len(os.listdir(box.path(repo))) for repo in repos.values()] == [1, 1, 1]
        rest.put("/datums/_next")


def test_nested_ones_and_joins(box: Box, rest: Rest, repo: str) -> None:
    cross = {"cross": [pfs(repo, name="a"), pfs(repo, name="b")]}
    nested = {"cross": [cross, {"cross": [pfs(repo, name="c"), pfs(repo, name="d")]}]}
    assert mount(rest, NEW, nested)["num_datums"] == 16
    union = {"union": [cross, pfs(repo, name="c")]}
    assert mount(rest, NEW, union)["num_datums"] == 6
    other = box.repo("accept")
    box.put(other, {"/file1": b"1", "/dir": b"d", "/alone": b""})
    joined = {"join": [pfs(repo, "/(*)", join_on="$1"), pfs(other, "/(*)", join_on="$1")]}
    assert mount(rest, NEW, joined)["num_datums"] == 2


def test_a_branch_whose_head_was_made_on_another(box: Box, rest: Rest) -> None:
    repo = box.repo("accept")
    first = box.put(repo, {"/a": b"a"})
    box.put(repo, {"/b": b"b"})
    ref = RepoRef("default", repo)
    box.cluster().create_branch(ref, "copy", CommitRef(ref, first))
    mount(rest, NEW, pfs(repo, "/", branch="copy"))
    assert os.listdir(box.path(repo)) == ["a"]
    assert rest.get("/mounts").json()["mounted"][0]["commit"] == first


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"pfs": {"glob": "/"}}, "repo must be specified"),
        ({"pfs": {"repo": "REPO"}}, "glob must be specified"),
        ({"cross": [{"pfs": {"repo": "REPO", "glob": "/"}}] * 2}, 'name "REPO" was used more than once'),
        ({"pfs": {"repo": "REPO", "glob": "/", "commit": "master"}}, "commit cannot be specified"),
        ({"cron": {"name": "c", "spec": "@daily"}}, "cron input type not supported in mounting datums"),
        ({"pfs": {"repo": "REPO", "glob": "/", "s3": True}}, "s3 data not supported in mounting datums"),
        ({"pfs": {"repo": "out", "glob": "/"}}, "name must be specified for repo 'out'"),
        ({"pfs": {"repo": "REPO", "glob": "/none"}}, "spec produces zero datums; nothing to mount"),
    ],
)
def test_bad_specifications(rest: Rest, repo: str, source: dict[str, Any], told: str) -> None:
    text = str({"input": source}).replace("REPO", repo)
    answer = rest.put(NEW, text)
    assert (answer.status_code, told.replace("REPO", repo) in answer.text) == (400, True), answer.text


def test_one_repo_under_two_names(box: Box, rest: Rest, repo: str) -> None:
    found = mount(rest, NEW, {"cross": [pfs(repo, "/", name="alias"), pfs(repo, "/*")]})
    assert found["num_datums"] == 2
    assert sorted(os.listdir(box.mount_dir)) == sorted(["alias", repo, "out"])
    assert (len(os.listdir(box.path("alias"))), len(os.listdir(box.path(repo)))) == (2, 1)
