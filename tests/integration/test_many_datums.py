"""Inputs with very many datums, an everyday mistake, through the daemon: refused at once, or with little memory."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from pachmount.mounts.datum_list import DatumList
from pachmount.mounts.datum_source import DatumBatch, Found
from tests.integration.box import Box, wait_until
from tests.integration.test_datum_mode import pfs, spec
from tests.integration.test_rest import ask

FILES = 60


@pytest.fixture
def repo(box: Box) -> str:
    name = box.repo("many")
    box.put(name, {f"/{number:02}": b"%d" % number for number in range(FILES)})
    return name


def cross(repo: str, members: int) -> dict[str, Any]:
    return spec(*(pfs(repo, name=f"i{number}") for number in range(members)))


@pytest.mark.parametrize("route", ["/_mount_datums", "/datums/_mount"])
def test_too_many_are_refused_with_their_number(box: Box, repo: str, route: str) -> None:
    for members, number in ((4, "12,960,000"), (6, "46,656,000,000")):
        begun = time.monotonic()
        answer = ask(box, "PUT", route, cross(repo, members))
        assert (answer.status, time.monotonic() - begun < 20) == (400, True)
        assert number in answer.body
    assert ask(box, "GET", "/datums").json.get("num_datums", 0) == 0
    file = box.root / "spec.json"
    file.write_text(json.dumps(cross(repo, 4)))
    done = box.run("datum", "mount", str(file))
    assert done.returncode == 2
    assert "60 x 60 x 60 x 60 = 12,960,000" in done.stderr
    assert "pachmount config set max_datums" in done.stderr


def test_more_than_are_received_are_formed_here_and_each_is_found(box: Box, repo: str) -> None:
    """216,000 datums: the daemon's own id and place of each, as the cluster would tell them."""
    before = memory(box)
    shown = ask(box, "PUT", "/_mount_datums", cross(repo, 3)).json
    assert (shown["idx"], shown["num_datums"], shown["all_datums_received"]) == (0, FILES**3, True)
    last = ask(box, "PUT", f"/_show_datum?idx={FILES**3 - 1}").json
    assert shown["id"] < last["id"]
    assert sorted(os.listdir(box.mount_dir)) == ["i0", "i1", "i2", "out"]
    assert ask(box, "PUT", f"/_show_datum?id={shown['id']}").json["idx"] == 0
    assert ask(box, "PUT", f"/_show_datum?idx={FILES**3}").status == 400
    page = ask(box, "GET", f"/datums/_list?start={FILES**3 - 2}&number=10").json
    assert [entry["idx"] for entry in page["datums"]] == [FILES**3 - 2, FILES**3 - 1]
    assert memory(box) - before < 100 * 2**20
    assert ask(box, "PUT", "/_unmount_all").status == 200


def test_a_listing_that_nobody_wants_any_more_ends(tmp_path: Path) -> None:
    asked = []

    def search(progress: object, wanted: Any) -> Found:
        while wanted():
            asked.append(1)
            time.sleep(0.001)  # work that takes its time
        return iter([DatumBatch((), None)])

    datums = DatumList(search, tmp_path)
    wait_until(lambda: asked, "the search has begun")
    datums.close()
    seen = -1

    def has_ended() -> bool:
        nonlocal seen
        before, seen = seen, len(asked)
        return before == seen

    wait_until(has_ended, "the search has ended")


def memory(box: Box) -> int:
    return int(Path(f"/proc/{box.pid}/statm").read_text().split()[1]) * 4096
