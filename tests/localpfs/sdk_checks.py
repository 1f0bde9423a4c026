"""What the official pachyderm-sdk does with a server; run by test_sdk.py in a venv of its own (`.venv-sdk`).

`python sdk_checks.py HOST:PORT` runs every function `check_...` below and prints one line of JSON for each.
This file may import the SDK and the standard library only.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import string
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs, pps

_PROJECT = "sdk" + "".join(random.choices(string.ascii_lowercase, k=12))


def _hash(content: bytes) -> bytes:
    """The hash that PFS shows of a small file."""
    return hashlib.blake2b(hashlib.blake2b(content, digest_size=32).digest(), digest_size=32).digest()


def _new_repo(client: Client) -> pfs.Repo:
    name = "".join(random.choices(string.ascii_lowercase, k=12))
    repo = pfs.Repo.from_uri(f"{_PROJECT}/{name}")
    client.pfs.create_repo(repo=repo, description="of a test")
    return repo


def _branch(repo: pfs.Repo, name: str = "master") -> pfs.Branch:
    return pfs.Branch(name=name, repo=repo)


def _file(commit: pfs.Commit, path: str) -> pfs.File:
    return pfs.File(commit=commit, path=path)


def _put(client: Client, repo: pfs.Repo, branch: str = "master", **files: bytes) -> pfs.Commit:
    """A finished commit with these files ("__" in a name stands for a slash)."""
    with client.pfs.commit(branch=_branch(repo, branch)) as commit:
        for name, data in files.items():
            commit.put_file_from_bytes("/" + name.replace("__", "/"), data)
    return commit


def _paths(infos: Iterator[pfs.FileInfo]) -> list[str]:
    return [info.file.path for info in infos]


def _refused(code: grpc.StatusCode, run: Callable[[], object]) -> str:
    """Run something that the server must refuse with this code; the text it gives."""
    try:
        run()
    except grpc.RpcError as error:
        if error.code() is not code:
            raise
        return str(error.details())
    raise AssertionError("this was not refused")


def check_version(client: Client) -> None:
    version = client.get_version()
    assert (version.major, version.minor) >= (2, 0)


def check_projects(client: Client) -> None:
    project = pfs.Project(name=_PROJECT + "x")
    assert not client.pfs.project_exists(project)
    client.pfs.create_project(project=project, description="one")
    assert client.pfs.inspect_project(project=project).description == "one"
    client.pfs.create_project(project=project, description="two", update=True)
    assert client.pfs.inspect_project(project=project).description == "two"
    assert project.name in [info.project.name for info in client.pfs.list_project()]
    _refused(grpc.StatusCode.ALREADY_EXISTS, lambda: client.pfs.create_project(project=project))
    client.pfs.delete_project(project=project)
    assert not client.pfs.project_exists(project)


def check_repos(client: Client) -> None:
    repo = _new_repo(client)
    assert client.pfs.repo_exists(repo)
    info = client.pfs.inspect_repo(repo=repo)
    assert info.description == "of a test"
    assert info.created.year >= 2024
    assert repo.name in [one.repo.name for one in client.pfs.list_repo(type="user", projects=[repo.project])]
    _put(client, repo, a=b"12345")
    assert client.pfs.inspect_repo(repo=repo).details.size_bytes == 5
    client.pfs.delete_repo(repo=repo)
    assert not client.pfs.repo_exists(repo)
    _refused(grpc.StatusCode.NOT_FOUND, lambda: client.pfs.inspect_repo(repo=repo))


def check_branches(client: Client) -> None:
    repo = _new_repo(client)
    assert not client.pfs.branch_exists(_branch(repo))
    client.pfs.create_branch(branch=_branch(repo))
    assert client.pfs.branch_exists(_branch(repo))
    first = _put(client, repo, a=b"1")
    second = _put(client, repo, a=b"2")
    client.pfs.create_branch(branch=_branch(repo, "release"), head=first)
    names = [info.branch.name for info in client.pfs.list_branch(repo=repo)]
    assert sorted(names) == ["master", "release"]
    head = client.pfs.inspect_branch(branch=_branch(repo, "release")).head
    assert head.id == first.id
    client.pfs.create_branch(branch=_branch(repo, "release"), head=second)  # move it
    assert client.pfs.inspect_branch(branch=_branch(repo, "release")).head.id == second.id
    released = pfs.Commit(repo=repo, branch=_branch(repo, "release"))
    assert client.pfs.pfs_file(_file(released, "/a")).read() == b"2"
    client.pfs.create_branch(branch=_branch(repo, "release"), head=first)  # and back
    assert client.pfs.pfs_file(_file(released, "/a")).read() == b"1"
    client.pfs.delete_branch(branch=_branch(repo, "release"))
    assert not client.pfs.branch_exists(_branch(repo, "release"))
    assert client.pfs.commit_exists(first)


def check_commit_context(client: Client) -> None:
    repo = _new_repo(client)
    with client.pfs.commit(branch=_branch(repo), description="why") as commit:
        file = commit.put_file_from_bytes("/greeting", b"hello")
        assert client.pfs.inspect_commit(commit=commit).finished.year < 2000  # how the SDK shows that it is not set
    info = commit.wait()
    assert info.finished >= info.started
    assert info.description == "why"
    assert info.details.size_bytes == 5
    assert client.pfs.pfs_file(file).read() == b"hello"
    assert [one.commit.id for one in commit.wait_all()] == [commit.id]
    _refused(grpc.StatusCode.UNKNOWN, lambda: client.pfs.put_file_from_bytes(commit=commit, path="/late", data=b"x"))


def check_an_exception_ends_the_commit(client: Client) -> None:
    repo = _new_repo(client)
    try:
        with client.pfs.commit(branch=_branch(repo)) as commit:
            commit.put_file_from_bytes("/a", b"1")
            raise KeyError("of the user")
    except KeyError:
        pass
    assert client.pfs.wait_commit(commit).finished.year >= 2024
    assert client.pfs.path_exists(_file(commit, "/a"))


def check_put_bytes(client: Client) -> None:
    repo = _new_repo(client)
    with client.pfs.commit(branch=_branch(repo)) as commit:
        commit.put_file_from_bytes("/empty", b"")
        commit.put_file_from_bytes("/a", b"first")
        commit.put_file_from_bytes("/a", b"second")
        commit.put_file_from_bytes("/b", b"one")
        commit.put_file_from_bytes("/b", b", two", append=True)
    for path, content in (("/empty", b""), ("/a", b"second"), ("/b", b"one, two")):
        assert client.pfs.pfs_file(_file(commit, path)).read() == content
        info = client.pfs.inspect_file(file=_file(commit, path))
        assert info.size_bytes == len(content)
        assert info.hash == (_hash(content) if content else hashlib.blake2b(b"", digest_size=32).digest())


def check_put_streams(client: Client) -> None:
    repo = _new_repo(client)
    content = random.Random(1).randbytes(45_000_000)  # three messages of the SDK
    with client.pfs.commit(branch=_branch(repo)) as commit:
        commit.put_file_from_file(path="/big", file=io.BytesIO(content))
        commit.put_file_from_file(path="/big", file=io.BytesIO(b"tail"), append=True)
    with client.pfs.pfs_file(_file(commit, "/big")) as source:
        assert source.read() == content + b"tail"
    parts = client.pfs.get_file(file=_file(commit, "/big"), offset=44_999_990)
    assert b"".join(part.value for part in parts) == content[44_999_990:] + b"tail"


def check_put_a_directory(client: Client) -> None:
    repo = _new_repo(client)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "deep/er").mkdir(parents=True)
        (Path(name) / "top.txt").write_text("line 1\nline 2\n")
        (Path(name) / "deep/er/leaf").write_bytes(bytes(256))
        with client.pfs.commit(branch=_branch(repo)) as commit:
            commit.put_files(source=name, path="/in")
    assert _paths(client.pfs.walk_file(file=_file(commit, "/"))) == [
        "/", "/in/", "/in/deep/", "/in/deep/er/", "/in/deep/er/leaf", "/in/top.txt",
    ]  # fmt: skip
    with client.pfs.pfs_file(_file(commit, "/in/top.txt")) as source:
        assert source.peek(4) == b"line"
        assert list(source) == [b"line 1\n", b"line 2\n"]


def check_url_is_refused(client: Client) -> None:
    repo = _new_repo(client)
    with client.pfs.commit(branch=_branch(repo)) as commit:
        run = lambda: commit.put_file_from_url(path="/u", url="ftp://localhost/nothing")  # noqa: E731
        _refused(grpc.StatusCode.UNKNOWN, run)
    assert not client.pfs.path_exists(_file(commit, "/u"))


def check_listings(client: Client) -> None:
    repo = _new_repo(client)
    commit = _put(client, repo, d__a=b"1", d__b=b"22", d__sub__c=b"333", e=b"")
    assert _paths(client.pfs.list_file(file=_file(commit, "/"))) == ["/d/", "/e"]
    assert _paths(client.pfs.list_file(file=_file(commit, "/d"))) == ["/d/a", "/d/b", "/d/sub/"]
    assert _paths(client.pfs.walk_file(file=_file(commit, "/d"))) == [
        "/d/", "/d/a", "/d/b", "/d/sub/", "/d/sub/c",
    ]  # fmt: skip
    assert _paths(client.pfs.glob_file(commit=commit, pattern="/d/*")) == ["/d/a", "/d/b", "/d/sub/"]
    assert _paths(client.pfs.glob_file(commit=commit, pattern="/**/c")) == ["/d/sub/c"]
    assert _paths(client.pfs.glob_file(commit=commit, pattern="/{e,x}")) == ["/e"]
    info = client.pfs.inspect_file(file=_file(commit, "/d"))
    assert info.file_type == pfs.FileType.DIR
    assert info.size_bytes == 6
    page = client.pfs.list_file(file=_file(commit, "/d"), number=1, pagination_marker=_file(commit, "/d/a"))
    assert _paths(page) == ["/d/b"]
    back = client.pfs.list_file(file=_file(commit, "/d"), number=2, reverse=True)
    assert _paths(back) == ["/d/sub/", "/d/b"]


def check_exists(client: Client) -> None:
    repo = _new_repo(client)
    commit = _put(client, repo, d__a=b"1")
    assert client.pfs.commit_exists(commit)
    for path, there in (("/d/a", True), ("/d", True), ("/d/", True), ("/", True), ("/x", False), ("/d/a/b", False)):
        assert client.pfs.path_exists(_file(commit, path)) is there, path
    nowhere = pfs.Commit.from_uri(f"{repo.as_uri()}@nobranch")
    assert not client.pfs.commit_exists(nowhere)
    try:
        client.pfs.path_exists(_file(nowhere, "/a"))
    except ValueError:
        return
    raise AssertionError("a commit that is not there has paths")


def check_tar(client: Client) -> None:
    repo = _new_repo(client)
    commit = _put(client, repo, d__a=b"1" * 1000, d__sub__c=b"", e=b"5")
    with client.pfs.pfs_tar_file(_file(commit, "/")) as archive:
        seen = [(info.name, info.size) for info in archive]
    assert [one for one in seen if one[1]] == [("d/a", 1000), ("e", 1)], seen
    assert "d/sub/c" in [name for name, _ in seen]
    with tempfile.TemporaryDirectory() as name:
        with client.pfs.pfs_tar_file(_file(commit, "/d")) as archive:
            archive.extractall(name)
        assert (Path(name) / "d/a").read_bytes() == b"1" * 1000
        assert (Path(name) / "d/sub/c").read_bytes() == b""


def check_read_errors(client: Client) -> None:
    repo = _new_repo(client)
    commit = _put(client, repo, d__a=b"1")
    run = lambda: list(client.pfs.get_file(file=_file(commit, "/missing")))  # noqa: E731
    assert "/missing" in _refused(grpc.StatusCode.NOT_FOUND, run)
    _refused(grpc.StatusCode.UNKNOWN, lambda: list(client.pfs.get_file(file=_file(commit, "/d"))))
    try:
        client.pfs.pfs_file(_file(commit, "/missing"))
    except ValueError:
        return
    raise AssertionError("a missing file was opened")


def check_diff(client: Client) -> None:
    repo = _new_repo(client)
    old = _put(client, repo, same=b"1", changed=b"1", gone=b"1")
    with client.pfs.commit(branch=_branch(repo)) as new:
        new.put_file_from_bytes("/changed", b"22")
        new.put_file_from_bytes("/new", b"3")
        new.delete_file(path="/gone")
    expected = {"/changed": (2, 1), "/gone": (None, 1), "/new": (1, None)}
    for other in (None, _file(old, "/")):
        found = {}
        for pair in client.pfs.diff_file(new_file=_file(new, "/"), old_file=other):
            path = pair.new_file.file.path or pair.old_file.file.path
            sizes = [info.size_bytes if info.file.path else None for info in (pair.new_file, pair.old_file)]
            found[path] = tuple(sizes)
        found.pop("/")
        assert found == expected, found


def check_copy_and_delete(client: Client) -> None:
    repo, other = _new_repo(client), _new_repo(client)
    source = _put(client, other, d__a=b"from there", d__b=b"too")
    _put(client, repo, old=b"old", d__x=b"x")
    with client.pfs.commit(branch=_branch(repo)) as commit:
        commit.copy_file(src=_file(source, "/d/a"), dst="/copy")
        commit.copy_file(src=_file(source, "/d"), dst="/tree")
        commit.copy_file(src=_file(source, "/d/b"), dst="/old", append=True)
        commit.delete_file(path="/d/")
    walked = _paths(client.pfs.walk_file(file=_file(commit, "/")))
    assert walked == ["/", "/copy", "/old", "/tree/", "/tree/a", "/tree/b"], walked
    assert client.pfs.pfs_file(_file(commit, "/copy")).read() == b"from there"
    assert client.pfs.pfs_file(_file(commit, "/old")).read() == b"oldtoo"


def check_commits(client: Client) -> None:
    repo = _new_repo(client)
    made = [_put(client, repo, **{f"f{number}": b"x"}) for number in range(4)]
    listed = [info.commit.id for info in client.pfs.list_commit(repo=repo)]
    assert listed == [commit.id for commit in reversed(made)]
    part = client.pfs.list_commit(repo=repo, from_=made[0], to=made[2])
    assert [info.commit.id for info in part] == [made[2].id, made[1].id]
    assert client.pfs.inspect_commit(commit=made[2]).parent_commit.id == made[1].id
    with client.pfs.commit(branch=_branch(repo, "side"), parent=made[1]) as side:
        side.put_file_from_bytes("/side", b"s")
    assert _paths(client.pfs.list_file(file=_file(side, "/"))) == ["/f0", "/f1", "/side"]
    client.pfs.drop_commit(commit=side)
    assert not client.pfs.commit_exists(side)
    client.pfs.squash_commit_set(commit_set=pfs.CommitSet(id=made[1].id))
    assert not client.pfs.commit_exists(made[1])
    assert _paths(client.pfs.list_file(file=_file(made[3], "/"))) == ["/f0", "/f1", "/f2", "/f3"]
    opened = client.pfs.start_commit(branch=_branch(repo))
    client.pfs.put_file_from_bytes(commit=opened, path="/junk", data=b"j")
    client.pfs.clear_commit(commit=opened)
    client.pfs.finish_commit(commit=opened)
    assert not client.pfs.path_exists(_file(opened, "/junk"))


def check_wait_and_subscribe(client: Client) -> None:
    repo = _new_repo(client)
    client.pfs.create_branch(branch=_branch(repo))
    seen: list[str] = []
    enough = threading.Event()

    def subscribe() -> None:
        for info in client.pfs.subscribe_commit(repo=repo, branch="master", state=pfs.CommitState.FINISHED):
            seen.append(info.commit.id)
            if len(seen) == 3:  # the empty one that came with the branch, and two
                enough.set()
                return

    threading.Thread(target=subscribe, daemon=True).start()
    first = _put(client, repo, a=b"1")
    second = client.pfs.start_commit(branch=_branch(repo))
    threading.Timer(0.5, lambda: client.pfs.finish_commit(commit=second)).start()
    start = time.monotonic()
    assert client.pfs.wait_commit(second).finished.year >= 2024
    assert time.monotonic() - start > 0.3
    assert enough.wait(20), seen
    assert seen[1:] == [first.id, second.id]


def check_datums(client: Client) -> None:
    repo, other = _new_repo(client), _new_repo(client)
    _put(client, repo, a1=b"1", a2=b"2", a3=b"3")
    _put(client, other, x=b"1", y=b"2")

    def of(name: pfs.Repo, glob: str) -> pps.Input:
        return pps.Input(pfs=pps.PfsInput(project=_PROJECT, repo=name.name, branch="master", glob=glob))

    listed = list(client.pps.list_datum(input=of(repo, "/*")))
    assert sorted(info.data[0].file.path for info in listed) == ["/a1", "/a2", "/a3"]
    assert all(len(info.datum.id) == 64 for info in listed)
    crossed = list(client.pps.list_datum(input=pps.Input(cross=[of(repo, "/*"), of(other, "/*")])))
    assert len(crossed) == 6
    united = list(client.pps.list_datum(input=pps.Input(union=[of(repo, "/"), of(other, "/*")])))
    assert len(united) == 3
    stream = client.pps.generate_datums(of(repo, "/*"), 2)
    assert [len(batch) for batch in stream] == [2, 1]


def check_file_sets(client: Client) -> None:
    repo = _new_repo(client)
    request = pfs.ModifyFileRequest(add_file=pfs.AddFile(path="/in/set", raw=b"content"))
    made = client.pfs.create_file_set(iter([request]))
    client.pfs.renew_file_set(file_set_id=made.file_set_id, ttl_seconds=60)
    with client.pfs.commit(branch=_branch(repo)) as commit:
        client.pfs.add_file_set(commit=commit, file_set_id=made.file_set_id)
    assert client.pfs.pfs_file(_file(commit, "/in/set")).read() == b"content"


def check_what_is_missing_is_said(client: Client) -> None:
    """Only of servers without transactions."""
    if client.get_version().additional == "-localpfs":
        assert "StartTransaction" in _refused(grpc.StatusCode.UNIMPLEMENTED, client.transaction.start_transaction)


def main() -> int:
    client = Client.from_pachd_address(sys.argv[1])
    checks = [value for name, value in globals().items() if name.startswith("check_")]
    project = pfs.Project(name=_PROJECT)
    client.pfs.create_project(project=project)
    failed = 0
    for check in checks:
        start, problem = time.monotonic(), ""
        try:
            check(client)
        except Exception:  # noqa: BLE001 - it goes into the report
            problem = traceback.format_exc()
            failed += 1
        print(json.dumps({"check": check.__name__, "problem": problem, "seconds": round(time.monotonic() - start, 2)}))
        sys.stdout.flush()
    for info in client.pfs.list_repo(type="user", projects=[project]):
        client.pfs.delete_repo(repo=info.repo)
    client.pfs.delete_project(project=project, force=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
