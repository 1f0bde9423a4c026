"""A cluster with authentication: the embedded server with an auth file, for tests of logins and permissions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, RepoRef
from pachmount.pfs.proto import auth_pb2, auth_pb2_grpc
from tests.integration.box import Box
from tests.localpfs.servers import Server, running

ROOT_TOKEN = "iamroot"
AUTH_FILE = """
root_token = "iamroot"
token_lifetime = 3600
state_lifetime = LIFETIME

[[users]]
login = "ada"
password = "right"
email = "ada@example.com"

[[users]]
login = "bob"
password = "right"
email = "bob@example.com"

[[tokens]]
token = "reader-token-0123456789"
principal = "user:reader@example.com"

[[tokens]]
token = "writer-token-0123456789"
principal = "user:writer@example.com"

[[tokens]]
token = "short-lived-0123456789"
principal = "user:reader@example.com"
expires = 0.001

[[bindings]]
resource = "repo:default/images"
principal = "user:reader@example.com"
roles = ["repoReader"]

[[bindings]]
resource = "repo:default/images"
principal = "user:ada@example.com"
roles = ["repoReader"]

[[bindings]]
resource = "repo:default/images"
principal = "user:writer@example.com"
roles = ["repoWriter"]
"""
READER, WRITER, EXPIRED = "reader-token-0123456789", "writer-token-0123456789", "short-lived-0123456789"


class AuthCluster:
    """Has the repo `images`, which reader and ada may read and writer may write, and `secret`, which is root's."""

    def __init__(self, server: Server) -> None:
        self.address = server.address
        self.root = PfsClient(server.address, token=ROOT_TOKEN)
        self._channel = server.channel
        for repo in ("images", "secret"):
            self.put(repo, {"/f": b"first"})

    def put(self, repo: str, files: dict[str, bytes]) -> str:
        """Add files in one commit; its id."""
        ref = RepoRef("default", repo)
        self.root.create_repo(ref, update=True)
        with self.root.modify_file(CommitRef(ref, "", "master")) as change:
            for path, content in files.items():
                change.add_file(path, content)
        head = self.root.inspect_branch(ref, "master").head
        return self.root.inspect_commit(head, wait="finished", timeout=60).commit.id

    def revoke(self, token: str) -> None:
        """What the cluster does with a token after its end."""
        calls = auth_pb2_grpc.APIStub(self._channel)  # type: ignore[no-untyped-call]
        calls.RevokeAuthToken(auth_pb2.RevokeAuthTokenRequest(token=token), metadata=[("authn-token", ROOT_TOKEN)])


@contextlib.contextmanager
def auth_cluster(directory: Path, more: str = "", lifetime: int = 180) -> Iterator[AuthCluster]:
    """A running one, over TCP. `more` is put at the end of its auth file; a login may take `lifetime` s."""
    file = directory / "auth.toml"
    file.write_text(AUTH_FILE.replace("LIFETIME", str(lifetime)) + more)
    with running(directory / "auth-store", "127.0.0.1:0", "--auth", str(file)) as server:
        cluster = AuthCluster(server)
        try:
            yield cluster
        finally:
            cluster.root.close()


def tokens_in(box: Box) -> dict[str, str]:
    """The session tokens in pachctl's file, by context."""
    contexts = json.loads(Path(box.env["PACH_CONFIG"]).read_text())["v2"]["contexts"]
    return {name: entry["session_token"] for name, entry in contexts.items() if "session_token" in entry}
