"""What a bug in the daemon looks like from outside: an answer and a line in the log, never a lost connection."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest

from pachmount.api.access import PeerAccess
from pachmount.api.handlers import RequestCounts, Services, Slots
from pachmount.api.pools import Pools
from pachmount.api.schema import CLIENT_HEADER
from pachmount.api.server import RestServer
from tests.integration.test_rest import Connection


@pytest.mark.parametrize("ours", [False, True])
def test_a_bug_is_an_answer_and_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    monkeypatch.setenv("PFS_SOCK_PATH", str(tmp_path / "s"))

    def broken() -> None:
        raise RuntimeError("broken")

    def asked() -> tuple[int, str, str]:
        connection = Connection(tmp_path / "s")
        try:
            connection.request("GET", "/status", headers={CLIENT_HEADER: "1"} if ours else {})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type") or "", answer.read().decode()
        finally:
            connection.close()

    async def run() -> tuple[int, str, str]:
        pools = Pools()
        broken_status = Mock(side_effect=broken)
        services = Services(
            manager=Mock(),
            cluster=Mock(),
            pools=pools,
            status=broken_status,
            stats=Mock(),
            requests=RequestCounts(),
            warmups=Mock(),
            browser=Mock(),
            logins=Slots(1),
            downloads=Slots(1),
            max_datums=1,
            stopping=threading.Event(),
            reload=Mock(),
        )
        server = RestServer(services)
        server.listen(tmp_path / "s", PeerAccess(frozenset({os.getuid()})))
        answer = await asyncio.get_running_loop().run_in_executor(None, asked)
        server.stop()
        pools.close()
        return answer

    with caplog.at_level(logging.ERROR):
        status, kind, body = asyncio.run(run())
    assert status == 500
    if ours:
        assert (kind, json.loads(body)["id"]) == ("application/json", "bug")
    else:
        assert body.startswith("unforeseen error in the daemon — RuntimeError('broken')")
    assert any(record.exc_info and "broken" in str(record.exc_info[1]) for record in caplog.records)
