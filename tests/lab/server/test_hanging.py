"""Mounts that hang or are full, under the hands of Jupyter's server."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import threading
from collections.abc import Callable

import pytest

from pachmount.errors import BusyError, ClusterTimeoutError
from pachmount_lab.workers import Workers
from tests.integration.box import Box
from tests.lab.server.jupyter import jupyter, meanwhile

NewBox = Callable[..., Box]


def test_work_that_hangs_is_given_up_and_the_rest_is_refused() -> None:
    release = threading.Event()

    async def scene() -> None:
        workers = Workers(limit=2, seconds=0.2)
        for _ in range(2):
            with pytest.raises(ClusterTimeoutError):
                await workers.run(release.wait)
        with pytest.raises(BusyError):
            await workers.run(lambda: 1)
        release.set()
        assert await workers.run(lambda: 1) == 1

    asyncio.run(scene())


def test_a_daemon_that_hangs_holds_up_only_what_needs_it(new_box: NewBox) -> None:
    box = new_box()
    box.put("images", {"/a.txt": b"one\n"})
    box.mount("images", "rw", mode="rw")
    body = {"type": "file", "format": "text", "content": "new"}
    with jupyter(box) as lab:
        assert lab.state()["daemon"] == "running"
        os.kill(box.pid, signal.SIGSTOP)
        try:
            with meanwhile(lambda: lab.put("/contents/rw/b.txt", body)) as saving:
                assert lab.session.get(f"{lab.url}api/status", timeout=5).ok, "Jupyter's loop is free"
                state = lab.state()
                assert (state["daemon"], state["error"]["id"]) == ("unreachable", "daemon-unreachable")
                assert "within 10 s" in state["error"]["why"]
                os.kill(box.pid, signal.SIGCONT)
                assert saving.result(60).ok
        finally:
            os.kill(box.pid, signal.SIGCONT)
        assert box.path("rw", "b.txt").read_text() == "new"
        box.unmount("rw")


@pytest.mark.parametrize("chunked", [False, True])
def test_what_does_not_fit_leaves_the_former_file(new_box: NewBox, chunked: bool) -> None:
    box = new_box(PACHMOUNT_STAGING_SIZE="2M")
    box.put("images", {"/a.txt": b"one\n"})
    box.mount("images", "rw", mode="rw")
    content = base64.b64encode(bytes(3 << 20)).decode()
    body = {"type": "file", "format": "base64", "content": content, **({"chunk": 1} if chunked else {})}
    with jupyter(box) as lab:
        answer = lab.put("/contents/rw/a.txt", body)
        assert (answer.status_code, answer.json()["id"]) == (507, "storage-full")
        assert os.listdir(box.path("rw")) == ["a.txt"]
        assert box.path("rw", "a.txt").read_text() == "one\n"
        assert lab.put("/contents/rw/a.txt", {"type": "file", "format": "text", "content": "two"}).ok
        lab.ok("PUT", "/_discard", {"mount": "rw"})
