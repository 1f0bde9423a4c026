"""A server that goes away and comes back under a client."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from local_server import LocalServer

from pachmount.errors import ClusterUnreachableError, PachmountError
from pachmount.names import Source
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, RepoRef
from pachmount.pfs.upload import import_tree

REPO = RepoRef("default", "r")


def test_restart(server: LocalServer) -> None:
    with PfsClient(server.address, retry_for=0.2) as hasty, PfsClient(server.address, retry_for=20.0) as patient:
        hasty.create_repo(REPO)
        with hasty.modify_file(CommitRef(REPO, "", "master")) as change:
            change.add_file("/a", b"text")
        head = hasty.inspect_branch(REPO).head
        server.kill()
        start = time.monotonic()
        with pytest.raises(ClusterUnreachableError) as caught:
            hasty.inspect_repo(REPO)
        assert time.monotonic() - start < 3
        assert server.address in caught.value.what
        with pytest.raises(ClusterUnreachableError):
            list(hasty.walk(head))
        with pytest.raises(ClusterUnreachableError):
            list(hasty.open(head, "/a"))
        server.start()
        assert [entry.path for entry in patient.walk(head)] == ["/a"]
        assert b"".join(patient.open(head, "/a")) == b"text"


def test_death_during_an_import(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(40 << 20))
    with PfsClient(server.address, retry_for=20.0) as client:
        killed = []

        def kill(progress: object) -> None:
            if not killed:
                killed.append(server.kill())

        with pytest.raises(PachmountError):
            import_tree(client, tmp_path, Source("default", "r"), progress=kill)
        server.start()
        assert client.list_commits(REPO) == []
