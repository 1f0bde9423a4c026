"""The REST API as somebody else's client sees it: requests over the unix socket, nothing of ours in between."""

from __future__ import annotations

from tests.integration.box import Box
from tests.integration.rest_client import client_of


def test_mount_read_and_unmount(box: Box) -> None:
    repo = box.repo()
    box.put(repo, {"/a/b.txt": b"hello"})
    entry = {"name": "there", "repo": repo, "mode": "ro"}
    with client_of(box, "socket") as rest:
        answer = rest.ask_mount(entry)
        assert answer.status_code == 200, answer.text
        mounted = answer.json()["mounted"]
        assert [(m["name"], m["state"], m["files"]) for m in mounted] == [("there", "mounted", None)]
        assert box.out("cat $1", box.mount_dir / "there" / "a" / "b.txt") == "hello"
        refused = rest.ask_mount({**entry, "branch": "nope"})
        assert refused.status_code == 400
        assert refused.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert f'branch "nope" not found in repo default/{repo}' in refused.text
        assert rest.unmount("there").json()["mounted"] == []
        assert rest.get("/mounts").json()["mounted"] == []
