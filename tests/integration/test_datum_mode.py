"""Datums in the place of the mounts: what is seen of each, `out`, what was mounted before, both spellings over REST."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pachmount.errors import ExitCode
from pachmount.pfs.model import RepoRef
from tests.integration.box import Box, wait_until
from tests.integration.test_rest import ask, files, mount

NewBox = Callable[..., Box]


@pytest.fixture
def repos(box: Box) -> tuple[str, str]:
    """Three files of a byte each, and one directory with two files."""
    first, second = box.repo("d"), box.repo("e")
    box.put(first, {f"/{name}.txt": name.encode() for name in "abc"})
    box.put(second, {"/dir/x": b"x", "/dir/y": b"yy"})
    return first, second


def pfs(repo: str, glob: str = "/*", **more: Any) -> dict[str, Any]:
    return {"pfs": {"repo": repo, "glob": glob, **more}}


def spec(*inputs: dict[str, Any], kind: str = "cross") -> dict[str, Any]:
    return {"input": inputs[0] if len(inputs) == 1 else {kind: list(inputs)}}


def begin(box: Box, *inputs: dict[str, Any], kind: str = "cross") -> dict[str, Any]:
    answer = ask(box, "PUT", "/datums/_mount", spec(*inputs, kind=kind))
    assert answer.status == 200, answer.body
    return dict(answer.json)


def test_each_datum_shows_its_own_files_and_an_empty_out(box: Box, repos: tuple[str, str]) -> None:
    first, second = repos
    begun = begin(box, pfs(first), pfs(second, "/dir", name="second"))
    assert (begun["idx"], begun["num_datums"], begun["all_datums_received"]) == (0, 3, True)
    seen, ids = [], set()
    for index in range(3):
        shown = ask(box, "PUT", f"/_show_datum?idx={index}").json
        ids.add(shown["id"])
        assert sorted(os.listdir(box.mount_dir)) == sorted([first, "out", "second"])
        assert os.listdir(box.path("out")) == []
        (name,) = os.listdir(box.path(first))
        assert box.path(first, name).read_text() + ".txt" == name
        seen.append(name)
        assert files(box.path("second")) == {"dir/x", "dir/y"}
        assert box.path("second", "dir", "y").read_bytes() == b"yy"
        box.path("out", "deep").mkdir()
        box.path("out", "deep", "result").write_text("mine")
    assert (sorted(seen), len(ids)) == (["a.txt", "b.txt", "c.txt"], 3)
    assert ask(box, "PUT", f"/_show_datum?id={begun['id']}&idx=2").json["idx"] == 0, "the id wins"
    assert ask(box, "PUT", "/_unmount_all").json["mounted"] == []
    assert os.listdir(box.mount_dir) == []


def test_stepping_ends_at_both_ends(box: Box, repos: tuple[str, str]) -> None:
    begin(box, pfs(repos[0]))
    assert ask(box, "PUT", "/datums/_prev").body == "already at first datum\n"
    assert [ask(box, "PUT", "/datums/_next").json["idx"] for _ in range(2)] == [1, 2]
    last = ask(box, "PUT", "/datums/_next")
    assert (last.status, last.body) == (400, "already at last datum\n")
    for query in ("idx=3", "idx=-1", "idx=x", "id=nope", ""):
        assert ask(box, "PUT", f"/_show_datum?{query}").status == 400
    assert ask(box, "GET", "/datums").json["idx"] == 2


def test_a_spec_that_is_wrong_changes_nothing(box: Box, repos: tuple[str, str]) -> None:
    ask(box, "PUT", "/_mount", mount(repos[0]))
    wrong = [
        {},
        {"input": {}},
        spec(pfs(repos[0], "/none*")),
        spec(pfs("no-such-repo")),
        spec({"cron": {}}),
        "a: [1",
        "",
    ]
    for route in ("/_mount_datums", "/datums/_mount"):
        for body in wrong:
            answer = ask(box, "PUT", route, body)
            assert answer.status in (400, 500)
            assert answer.status == 400 or route == "/_mount_datums"
            assert ask(box, "GET", "/datums").json["num_datums"] == 0
    assert files(box.path("m")) == {"a.txt", "b.txt", "c.txt"}
    begin(box, pfs(repos[0]))
    assert ask(box, "PUT", "/datums/_mount", {}).status == 400
    assert ask(box, "GET", "/datums").json["num_datums"] == 3, "the former datums are still shown"


def test_what_was_mounted_before_comes_back_with_what_was_staged(box: Box, repos: tuple[str, str]) -> None:
    ask(box, "PUT", "/_mount", mount(repos[0], "reading"))
    ask(box, "PUT", "/_mount", mount(repos[1], "writing", mode="rw"))
    box.path("writing", "new").write_bytes(b"staged")
    begin(box, pfs(repos[0]))
    assert sorted(os.listdir(box.mount_dir)) == sorted([repos[0], "out"])
    for route, body in (("/_mount", mount(repos[0])), ("/_unmount", {"mounts": [repos[0]]})):
        answer = ask(box, "PUT", route, body)
        assert (answer.status, "repos while in mounted datum mode" in answer.body) == (400, True)
    assert "while in mounted datum mode" in box.refused("refresh", repos[0], code=ExitCode.USAGE)
    assert "mounted again: reading, writing" in box.ok("datum", "unmount")
    assert box.path("writing", "new").read_bytes() == b"staged"
    assert sorted(os.listdir(box.mount_dir)) == ["reading", "writing"]
    assert ask(box, "PUT", "/datums/_unmount").status == 400


def test_files_open_for_writing_keep_the_datums_away(box: Box, repos: tuple[str, str]) -> None:
    ask(box, "PUT", "/_mount", mount(repos[1], "writing", mode="rw"))
    with box.path("writing", "new").open("wb") as file:
        file.write(b"half")
        file.flush()
        os.fsync(file.fileno())
        answer = ask(box, "PUT", "/datums/_mount", spec(pfs(repos[0])))
        assert (answer.status, "open for writing" in answer.body) == (500, True)
        assert os.listdir(box.mount_dir) == ["writing"]
        file.write(b" and half")
    assert box.path("writing", "new").read_bytes() == b"half and half"


def test_datums_are_pinned_and_open_files_stay(box: Box, repos: tuple[str, str]) -> None:
    repo = repos[0]
    begin(box, pfs(repo))
    (name,) = os.listdir(box.path(repo))
    with box.path(repo, name).open("rb") as file:
        box.put(repo, {f"/{letter}.txt": b"changed" for letter in "abc"})
        ask(box, "PUT", "/datums/_next")
        assert file.read() == name[:1].encode()
    ask(box, "PUT", "/datums/_prev")
    assert box.path(repo, name).read_bytes() == name[:1].encode()


def test_a_commit_in_the_input_is_honoured(box: Box, repos: tuple[str, str]) -> None:
    repo = repos[0]
    old = box.cluster().inspect_branch(RepoRef("default", repo)).head.id
    box.put(repo, {"/d.txt": b"d"})
    body = json.dumps(spec(pfs(repo, commit=old)))
    box.ok("datum", "mount", "-", stdin=body)
    assert box.status()["datum"]["num_datums"] == 3
    assert {file["commit"] for file in box.status()["datum"]["files"]} == {old}
    refused = ask(box, "PUT", "/datums/_mount", body)
    assert (refused.status, "commit cannot be specified" in refused.body) == (400, True)


def test_groups_unions_joins_and_empty_files(box: Box) -> None:
    left, right = box.repo("l"), box.repo("r")
    box.put(left, {f"/{day}-{hour}": b"12345" for day in "ab" for hour in "12"})
    box.put(right, {"/a-x": b"1", "/c-x": b"2"})
    grouped = pfs(left, "/(*)-(*)", group_by="$1", name="grouped")
    assert begin(box, {"group": [grouped]})["num_datums"] == 2
    assert len(os.listdir(box.path("grouped"))) == 2
    joined = [pfs(left, "/(*)-(*)", join_on="$1", name="l"), pfs(right, "/(*)-x", join_on="$1", name="r")]
    assert begin(box, *joined, kind="join")["num_datums"] == 2
    assert sorted(os.listdir(box.mount_dir)) == ["l", "out", "r"]
    begun = begin(box, pfs(left, "/a-1", name="l"), pfs(right, "/c-x", name="r"), kind="union")
    assert begun["num_datums"] == 2
    assert sorted(os.listdir(box.mount_dir)) in (["l", "out"], ["out", "r"])
    begin(box, pfs(left, "/a-1", name="l", empty_files=True))
    assert box.path("l", "a-1").stat().st_size == 0
    assert box.path("l", "a-1").read_bytes() == b""


def test_the_names_of_both_generations(box: Box, repos: tuple[str, str]) -> None:
    box.put(repos[0], {"/only": b"dev"}, "dev")
    body = spec(pfs(repos[0], "/", branch="dev"), pfs(repos[1], "/"))
    assert ask(box, "PUT", "/_mount_datums", body).json["num_datums"] == 1
    old = sorted([f"default_{repos[0]}_dev", f"default_{repos[1]}", "out"])
    assert sorted(os.listdir(box.mount_dir)) == old
    ask(box, "PUT", "/datums/_mount", body)
    assert sorted(os.listdir(box.mount_dir)) == sorted([*repos, "out"])


def test_something_in_the_way_of_out_is_left_alone(new_box: NewBox) -> None:
    box = new_box()
    repo = box.repo()
    box.put(repo, {"/f": b"x"})
    box.path("out").mkdir(parents=True)
    box.path("out", "precious").write_text("mine")
    said = box.refused("datum", "mount", "--pfs", f"{repo}:/*", code=ExitCode.CANNOT_CREATE)
    assert "something is in it" in said
    assert box.path("out", "precious").read_text() == "mine"
    assert box.status()["datum"] is None


def test_a_new_daemon_brings_back_what_was_mounted_before(new_box: NewBox) -> None:
    box = new_box()
    repo = box.repo()
    box.put(repo, {"/f": b"x"})
    box.mount(repo, "before")
    box.ok("datum", "mount", "--pfs", f"{repo}:/*")
    box.path("out", "result").write_text("mine")
    os.kill(box.pid, 9)
    wait_until(lambda: box.run("status").returncode != 0, "the daemon is gone")
    box.ok("daemon", "start")
    assert [entry["name"] for entry in box.status()["mounts"]] == ["before"]
    assert box.path("out", "result").read_text() == "mine", "what was written is never lost"
    box.log_problems()


def test_the_commands(box: Box, repos: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(f"pipeline: {{name: p}}\ninput:\n  pfs: {{repo: {repos[0]}, glob: '/*'}}\n")
    out = box.ok("datum", "mount", str(file))
    assert out.startswith("datum 0 of 3: ")
    assert f"{box.mount_dir}/{repos[0]}/" in out
    listed = [line.split() for line in box.ok("datum", "list").splitlines()]
    assert [line[0] for line in listed] == ["0", "1", "2"]
    assert box.ok("datum", "next").startswith("datum 1 of 3: ")
    assert "datum 1 of 3 is shown in the place of the mounts:" in box.ok("status")
    assert box.ok("datum", "show", "2").startswith("datum 2 of 3: ")
    first = json.loads(box.ok("datum", "list", "--json", "--limit", "1"))
    assert json.loads(box.ok("datum", "show", first["id"], "--json"))["idx"] == 0
    assert json.loads(box.ok("datum", "status", "--json"))["files"] == first["files"]
    assert "there is no datum 9" in box.refused("datum", "show", "9", code=ExitCode.USAGE)
    assert "already at first datum" in box.refused("datum", "prev", code=ExitCode.USAGE)
    box.ok("datum", "unmount")
    box.refused("datum", "status", code=ExitCode.NOT_FOUND)
    box.refused("datum", "next", code=ExitCode.USAGE)
    file.write_text("input:\n  cross:\n  - pfs: {repo: r}\n")
    said = box.refused("datum", "mount", str(file), code=ExitCode.USAGE)
    assert "glob must be specified — input.cross[0].pfs, line 3" in said
    for arguments in (["mount"], ["mount", "x", "--pfs", "r:/"]):
        box.refused("datum", *arguments, code=ExitCode.USAGE)
    box.refused("datum", "mount", str(tmp_path / "none"), code=ExitCode.BAD_CONFIGURATION)


def test_switching_takes_no_longer_with_large_datums(box: Box) -> None:
    repo = box.repo("big")
    box.put(repo, {f"/{half}/{number}": b"x" for half in "ab" for number in range(2000)})
    begin(box, pfs(repo))
    times = []
    for index in (1, 0, 1, 0):
        started = time.monotonic()
        assert ask(box, "PUT", f"/_show_datum?idx={index}").status == 200
        times.append(time.monotonic() - started)
    assert min(times) < 0.5
    (half,) = os.listdir(box.path(repo))
    assert len(os.listdir(box.path(repo, half))) == 2000


def test_many_datums_are_shown_before_all_are_listed(box: Box) -> None:
    repo = box.repo("many")
    box.put(repo, {f"/{number:05d}": b"x" for number in range(5000)})
    begun = begin(box, pfs(repo))
    assert begun["num_datums"] >= 1000
    wait_until(lambda: ask(box, "GET", "/datums").json["all_datums_received"], "all datums are known")
    assert ask(box, "GET", "/datums").json["num_datums"] == 5000
    page = ask(box, "GET", "/datums/_list?start=4990&number=100").json
    assert ([entry["idx"] for entry in page["datums"]], page["next"]) == (list(range(4990, 5000)), None)
    for page_of in ("number=0", f"number={'9' * 5000}", f"start={'9' * 5000}"):
        assert ask(box, "GET", f"/datums/_list?{page_of}").status == 400
    assert ask(box, "PUT", f"/_show_datum?id={page['datums'][3]['id']}").json["idx"] == 4993
    assert box.status()["datum"]["received"] == 5000
