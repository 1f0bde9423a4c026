"""The drive: browsing by way of the daemon, changes at the mount's real path."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from tests.integration.box import Box
from tests.lab.server.jupyter import Jupyter

NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [], "source": "1+1"}
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}
ODD_NAMES = [
    " leading",
    "trailing ",
    "new\nline",
    "per%cent",
    "hash#?&=+",
    "ünïcödé",
    "a" * 200,
    "semi;colon:x",
    "\\x",
    "'\"",
]


@pytest.fixture
def repo(box: Box) -> str:
    name = box.repo("drive")
    content = {"/a.txt": b"one\n", "/dir/b.bin": b"\xff\x00", "/n.ipynb": json.dumps(NOTEBOOK).encode()}
    box.put(name, {**content, "/odd/f": b""})
    return name


@pytest.fixture
def ro(box: Box, repo: str) -> str:
    """The name of a read-only mount."""
    box.mount(repo, "ro")
    return "ro"


@pytest.fixture
def rw(box: Box, repo: str) -> Path:
    """The directory of a read-write mount called `rw`."""
    box.mount(repo, "rw", mode="rw")
    return box.path("rw")


def names(lab: Jupyter, path: str) -> list[str]:
    model = lab.ok("GET", f"/contents/{path}")
    assert (model["type"], model["format"], model["path"]) == ("directory", "json", path)
    return [entry["name"] for entry in model["content"]]


def test_the_root_lists_the_mounts(lab: Jupyter, ro: str, rw: Path) -> None:
    model = lab.ok("GET", "/contents/")
    assert [(entry["path"], entry["type"], entry["writable"]) for entry in model["content"]] == [
        ("ro", "directory", False),
        ("rw", "directory", True),
    ]
    assert lab.ok("GET", "/contents?content=0")["content"] is None


def test_what_is_not_mounted_is_below_at(lab: Jupyter, box: Box, repo: str) -> None:
    assert "default" in names(lab, "@")
    assert repo in names(lab, "@/default")
    assert names(lab, f"@/default/{repo}") == ["master"]
    assert lab.ok("GET", f"/contents/@/default/{repo}")["content"][0]["last_modified"] is None
    assert names(lab, f"@/default/{repo}/master") == ["a.txt", "dir", "n.ipynb", "odd"]
    assert lab.ok("GET", f"/contents/@/default/{repo}/master/a.txt")["content"] == "one\n"
    commit = lab.ok("GET", f"/commits?repo={repo}&branch=master&number=1")[0]["commit"]
    assert names(lab, f"@/default/{repo}/{commit}/dir") == ["b.bin"]
    assert lab.get("/contents/@/no-project").status_code == 404
    assert lab.get("/contents/@/default/no-repo").status_code == 404


def test_models_of_files(lab: Jupyter, ro: str) -> None:
    model = lab.ok("GET", "/contents/ro/a.txt")
    assert {key: value for key, value in model.items() if key not in ("created", "last_modified")} == {
        "name": "a.txt", "path": "ro/a.txt", "type": "file", "format": "text", "mimetype": "text/plain",
        "content": "one\n", "size": 4, "writable": False,
    }  # fmt: skip
    assert model["last_modified"].endswith("Z")
    binary = lab.ok("GET", "/contents/ro/dir/b.bin")
    assert (binary["format"], base64.b64decode(binary["content"])) == ("base64", b"\xff\x00")
    assert lab.ok("GET", "/contents/ro/a.txt?format=base64")["content"] == base64.b64encode(b"one\n").decode()
    notebook = lab.ok("GET", "/contents/ro/n.ipynb")
    assert (notebook["type"], notebook["format"]) == ("notebook", "json")
    assert notebook["content"]["cells"][0]["source"] == "1+1"
    assert lab.ok("GET", "/contents/ro/n.ipynb?type=file")["format"] == "text"
    assert lab.ok("GET", "/contents/ro/dir?content=0")["content"] is None


@pytest.mark.parametrize("route", ["/contents", "/pfs"])
def test_what_cannot_be_asked_is_400_and_what_is_missing_404(lab: Jupyter, ro: str, route: str) -> None:
    for query in ("type=thing", "format=thing", "content=2", "type=directory", "type=notebook"):
        assert lab.get(f"{route}/ro/a.txt?{query}").status_code == 400, query
    for query in ("type=file", "format=text"):
        assert lab.get(f"{route}/ro/dir?{query}").status_code == 400, query
    assert lab.get(f"{route}/ro/dir/b.bin?format=text").status_code == 400
    for path in ("ro/nothing", "nothing", "nothing/a.txt", "ro/a.txt/x"):
        assert lab.get(f"{route}/{path}").status_code == 404, path
        assert lab.get(f"{route}/{path}", ours=False).status_code == 404, path


@pytest.mark.parametrize("path", ["ro/%2e%2e/x", "ro/..%2f..%2fetc/passwd", "ro/a%00b", "%2e%2e/x", "ro/./a.txt"])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH", "DELETE"])
def test_paths_that_lead_elsewhere_are_refused(lab: Jupyter, ro: str, method: str, path: str) -> None:
    connection_url = f"{lab.api}/contents/{path}"
    request = lab.session.prepare_request(requests.Request(method, connection_url, data=b"{}"))
    request.url = connection_url  # as it is, dots and all
    answer = lab.session.send(request, timeout=60)
    assert answer.status_code == 400, answer.text


def test_the_originals_route_shows_the_same(lab: Jupyter, ro: str) -> None:
    assert [entry["name"] for entry in lab.ok("GET", "/pfs/")["content"]] == ["ro"]
    assert lab.ok("GET", "/pfs/ro/a.txt?type=file&format=text&content=1")["content"] == "one\n"
    assert lab.ask("PUT", "/pfs/ro/a.txt", {}).status_code == 405


def test_pages_and_filters_of_a_large_directory(lab: Jupyter, box: Box) -> None:
    repo = box.repo("many")
    box.put(repo, {f"/f{number:04}": b"" for number in range(1200)})
    box.mount(repo, "many")
    box.listed("many")
    first = lab.ok("GET", "/contents/many?number=500")
    assert (len(first["content"]), first["total"]) == (500, 1200)
    second = lab.ok("GET", f"/contents/many?number=1000&after={quote(first['next'])}")
    assert [entry["name"] for entry in second["content"]][:1] == ["f0500"]
    assert second["next"] == ""
    found = lab.ok("GET", "/contents/many?filter=F119")
    assert (found["total"], len(found["content"])) == (10, 10)


def test_odd_names_are_read_saved_renamed_and_deleted(lab: Jupyter, rw: Path) -> None:
    (rw / "odd" / "f").unlink()
    for odd in ODD_NAMES:
        (rw / "odd" / odd).write_text(odd)
    assert sorted(names(lab, "rw/odd")) == sorted(ODD_NAMES)
    for odd in ODD_NAMES:
        path = f"/contents/rw/odd/{quote(odd)}"
        assert lab.ok("GET", path)["content"] == odd
        assert lab.ok("PUT", path, {"type": "file", "format": "text", "content": "new"})["name"] == odd
        assert (rw / "odd" / odd).read_text() == "new"
        assert lab.ok("PATCH", path, {"path": f"rw/{odd}"})["path"] == f"rw/{odd}"
        assert lab.get(f"/download/rw/{quote(odd)}").content == b"new"
        assert lab.ask("DELETE", f"/contents/rw/{quote(odd)}").status_code == 204
    assert os.listdir(rw / "odd") == []


def test_names_that_are_no_text_are_told_apart_opened_changed_and_downloaded(lab: Jupyter, rw: Path) -> None:
    top = os.fsencode(rw / "odd")
    os.unlink(top + b"/f")
    odd = {b"\xff": "\\xff", b"\\xff": "\\xff", b"\xee\xbf\xbf": "\uefff", "ü\uefff".encode() + b"\xc3": "ü\uefff\\xc3"}
    for name in odd:
        Path(os.fsdecode(top + b"/" + name)).write_bytes(name)
    os.mkdir(top + b"/d\xfe")
    Path(os.fsdecode(top + b"/d\xfe/in")).write_bytes(b"below")
    told = lab.ok("GET", "/contents/rw/odd")["content"]
    assert sorted(entry["name"] for entry in told) == sorted([*odd.values(), "d\\xfe"])
    files = [entry for entry in told if entry["type"] == "file"]
    paths = {lab.get(f"/download/{quote(entry['path'])}").content: entry["path"] for entry in files}
    assert set(paths) == set(odd)
    for name, path in paths.items():
        model = lab.ok("GET", f"/contents/{quote(path)}?format=base64")
        assert (base64.b64decode(model["content"]), model["path"], model["name"]) == (name, path, odd[name])
        lab.ok("PUT", f"/contents/{quote(path)}", {"type": "file", "format": "text", "content": "new"})
        assert Path(os.fsdecode(top + b"/" + name)).read_text() == "new"
    (directory,) = (entry["path"] for entry in told if entry["type"] == "directory")
    (below,) = lab.ok("GET", f"/contents/{quote(directory)}")["content"]
    assert lab.ok("GET", f"/contents/{quote(below['path'])}")["content"] == "below"
    for path in [*paths.values(), directory]:
        assert lab.ask("DELETE", f"/contents/{quote(path)}").status_code == 204
    assert os.listdir(top) == []


def test_saving_files_and_notebooks(lab: Jupyter, rw: Path) -> None:
    model = lab.ok("PUT", "/contents/rw/new.txt", {"type": "file", "format": "text", "content": "héllo"})
    assert (model["name"], model["size"], model["writable"], model["content"]) == ("new.txt", 6, True, None)
    assert (rw / "new.txt").read_text() == "héllo"
    content = base64.b64encode(b"\x00\x01").decode()
    lab.ok("PUT", "/contents/rw/dir/b.bin", {"type": "file", "format": "base64", "content": content})
    assert (rw / "dir" / "b.bin").read_bytes() == b"\x00\x01"
    (rw / "a.txt").chmod(0o755)
    lab.ok("PUT", "/contents/rw/a.txt", {"type": "file", "format": "text", "content": "x"})
    assert (rw / "a.txt").stat().st_mode & 0o777 == 0o755
    lab.ok("PUT", "/contents/rw/m.ipynb", {"type": "notebook", "format": "json", "content": NOTEBOOK})
    assert json.loads((rw / "m.ipynb").read_text())["cells"][0]["source"] == ["1+1"]
    assert lab.ok("GET", "/contents/rw/m.ipynb")["content"]["nbformat"] == 4
    assert sorted(os.listdir(rw)) == ["a.txt", "dir", "m.ipynb", "n.ipynb", "new.txt", "odd"]


@pytest.mark.parametrize("body", [
    {}, {"type": "file"}, {"type": "file", "format": "text"}, {"type": "file", "format": "base64", "content": "???"},
    {"type": "file", "format": "x", "content": ""}, {"type": "thing", "content": ""},
    {"type": "notebook", "content": []},
    {"type": "notebook", "content": {}}, {"type": "file", "format": "text", "content": "", "chunk": "1"},
])  # fmt: skip
def test_what_cannot_be_saved_is_400_and_changes_nothing(lab: Jupyter, rw: Path, body: dict[str, object]) -> None:
    assert lab.put("/contents/rw/a.txt", body).status_code == 400
    assert (rw / "a.txt").read_text() == "one\n"


def test_an_upload_in_chunks_takes_its_place_at_the_end(lab: Jupyter, rw: Path, box: Box) -> None:
    def send(chunk: int, content: bytes, name: str = "a.txt") -> int:
        body = {"type": "file", "format": "base64", "content": base64.b64encode(content).decode(), "chunk": chunk}
        return lab.put(f"/contents/rw/{name}", body).status_code

    assert send(1, b"first ") == 200
    assert (rw / "a.txt").read_text() == "one\n"
    assert lab.ok("PUT", "/_diff", {"mount": "rw"})["changes"] == [], "what is not complete is not committed"
    assert send(3, b"too far ") == 400
    assert send(2, b"second ") == 200
    assert send(-1, b"last") == 200
    assert (rw / "a.txt").read_text() == "first second last"
    assert send(2, b"x") == 400
    assert send(1, b"begun, then begun again", "b") == 200
    assert send(1, b"1", "b") == 200
    assert send(-1, b"2", "b") == 200
    assert (rw / "b").read_text() == "12"
    assert [name for name in os.listdir(rw) if name.endswith("~")] == []


def test_new_things_have_names_of_their_own(lab: Jupyter, rw: Path) -> None:
    made = [lab.ask("POST", "/contents/rw", body) for body in (
        {"type": "directory"}, {"type": "directory"}, {"type": "file", "ext": ".py"}, {"type": "file", "ext": ".py"},
        {"type": "notebook"}, {"type": "file"},
    )]  # fmt: skip
    assert [answer.status_code for answer in made] == [201] * 6
    assert [answer.json()["path"] for answer in made] == [
        "rw/Untitled Folder", "rw/Untitled Folder 1", "rw/untitled.py", "rw/untitled1.py", "rw/Untitled.ipynb",
        "rw/untitled",
    ]  # fmt: skip
    assert lab.ok("GET", "/contents/rw/Untitled.ipynb")["content"]["cells"] == []
    assert lab.ask("POST", "/contents/rw/dir", {"type": "file"}).json()["path"] == "rw/dir/untitled"
    assert lab.ask("POST", "/contents/rw", {"type": "file", "ext": "/../x"}).status_code == 400
    assert lab.ask("PUT", "/contents/rw/made", {"type": "directory"}).status_code == 201
    assert (rw / "made").is_dir()


def test_renaming_replaces_nothing(lab: Jupyter, rw: Path) -> None:
    answer = lab.ask("PATCH", "/contents/rw/a.txt", {"path": "rw/n.ipynb"})
    assert (answer.status_code, answer.json()["id"]) == (409, "already-exists")
    assert (rw / "a.txt").read_text() == "one\n"
    assert lab.ok("PATCH", "/contents/rw/a.txt", {"path": "rw/dir/moved.txt"})["path"] == "rw/dir/moved.txt"
    assert lab.ok("PATCH", "/contents/rw/dir", {"path": "rw/folder"})["type"] == "directory"
    assert sorted(os.listdir(rw / "folder")) == ["b.bin", "moved.txt"]
    assert lab.ask("PATCH", "/contents/rw/nothing", {"path": "rw/x"}).status_code == 404
    assert lab.ask("PATCH", "/contents/rw/n.ipynb", {"path": "elsewhere/x"}).status_code == 404
    assert lab.ask("PATCH", "/contents/rw/n.ipynb", {}).status_code == 400
    assert lab.ask("PATCH", "/contents/rw/n.ipynb", {"path": "rw/n.ipynb"}).status_code == 200


def test_a_directory_is_deleted_with_all_that_is_in_it(lab: Jupyter, rw: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x")
    (rw / "dir" / "deep" / "deeper").mkdir(parents=True)
    (rw / "dir" / "deep" / "link").symlink_to(tmp_path)
    assert lab.ask("DELETE", "/contents/rw/dir").status_code == 204
    assert not (rw / "dir").exists()
    assert (tmp_path / "kept").exists()
    assert lab.ask("DELETE", "/contents/rw/dir").status_code == 404


def test_links_lead_nowhere(lab: Jupyter, rw: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (rw / "out-there").symlink_to(tmp_path)
    (rw / "file").symlink_to(tmp_path / "secret")
    body = {"type": "file", "format": "text", "content": "mine"}
    assert lab.put("/contents/rw/out-there/new", body).status_code == 404
    assert lab.ask("POST", "/contents/rw/out-there", {"type": "file"}).status_code == 404
    assert lab.ask("DELETE", "/contents/rw/out-there/secret").status_code == 404
    assert lab.ask("PATCH", "/contents/rw/a.txt", {"path": "rw/out-there/a.txt"}).status_code == 404
    assert lab.get("/contents/rw/out-there/secret").status_code == 404
    assert lab.get("/download/rw/out-there/secret").status_code == 404
    assert lab.get("/contents/rw/file").status_code in (400, 404)
    lab.ok("PUT", "/contents/rw/file", body)
    assert (tmp_path / "secret").read_text() == "secret", "the link was replaced, not written through"
    assert (rw / "file").read_text() == "mine"
    assert os.listdir(tmp_path) == ["secret"]


@pytest.mark.parametrize(("method", "path", "body"), [
    ("PUT", "ro/a.txt", {"type": "file", "format": "text", "content": ""}), ("POST", "ro", {}),
    ("PATCH", "ro/a.txt", {"path": "ro/b.txt"}), ("DELETE", "ro/a.txt", {}), ("DELETE", "ro", {}), ("DELETE", "", {}),
    ("POST", "", {"type": "directory"}), ("DELETE", "@/default", {}),
    ("PUT", "@/default/r/master/f", {"type": "directory"}),
])  # fmt: skip
def test_only_read_write_mounts_are_changed(
    lab: Jupyter, ro: str, method: str, path: str, body: dict[str, str]
) -> None:
    answer = lab.ask(method, f"/contents/{path}", body)
    assert answer.status_code == 403, answer.text
    assert answer.json()["why"]


def test_downloads(lab: Jupyter, ro: str, repo: str) -> None:
    answer = lab.get("/download/ro/a.txt")
    assert (answer.content, answer.headers["Content-Length"]) == (b"one\n", "4")
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.txt"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert lab.get(f"/download/@/default/{repo}/master/dir/b.bin").content == b"\xff\x00"
    part = lab.get("/download/ro/a.txt", headers={"Range": "bytes=1-"})
    assert (part.status_code, part.content) == (206, b"ne\n")
    assert lab.ok("GET", "/download/ro/a.txt?content=0") == {"files": 1, "size_bytes": 4}
    assert lab.get("/download/ro/nothing", ours=False).status_code == 404
    assert "Content-Disposition" not in lab.get("/download/ro/nothing").headers


def test_what_a_datum_puts_out_is_seen_and_changed(lab: Jupyter, box: Box, repo: str) -> None:
    lab.ok("PUT", "/datums/_mount", {"input": {"pfs": {"repo": repo, "glob": "/a.txt", "name": "in"}}})
    box.path("out", "deep").mkdir()
    box.path("out", "deep", "result").write_text("42")
    assert names(lab, "") == ["in", "out"]
    told = lab.ok("GET", "/contents")["content"]
    assert all(entry["last_modified"] > "2026" for entry in told), "not the 1970 of what has no time"
    assert names(lab, "in") == ["a.txt"]
    assert names(lab, "out") == ["deep"]
    assert lab.ok("GET", "/contents/out/deep/result")["content"] == "42"
    assert lab.get("/download/out/deep/result").content == b"42"
    box.path("out", "long").write_bytes(bytes(60 << 20))
    assert lab.get("/contents/out/long").status_code == 413
    assert len(lab.get("/download/out/long").content) == 60 << 20
    box.path("out", "long").unlink()
    assert lab.ask("DELETE", "/contents/out/deep").status_code == 204
    assert os.listdir(box.path("out")) == []


def test_a_file_that_is_too_long_is_downloaded_only_and_never_whole_in_memory(lab: Jupyter, box: Box) -> None:
    repo, size = box.repo("long"), 300 << 20
    box.put(repo, {"/long": bytes(size)})
    box.mount(repo, "long")
    answer = lab.get("/contents/long/long")
    assert (answer.status_code, answer.json()["id"]) == (413, "too-long")
    assert "download" in answer.json()["hint"]
    before, most, got = lab.rss_bytes(), 0, 0
    with lab.get("/download/long/long", stream=True) as download:
        for piece in download.iter_content(1 << 20):
            got += len(piece)
            most = max(most, lab.rss_bytes())
    assert got == size
    assert most - before < 32 << 20
