"""Running datums without a kernel: specs' transforms, variables, keys, choosing, fetching ahead, reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pachmount.api.schema import WarmupEntry
from pachmount.datums.model import Datum, DatumFile, PfsInput
from pachmount.errors import BusyError, NotFoundError, UsageError
from pachmount.running.choose import choose, user_of
from pachmount.running.commits import LEAST_AHEAD, Commits, Prefetch
from pachmount.running.environment import of_datum
from pachmount.running.messages import Order, Outcome, Placed
from pachmount.running.records import RunDirectory, code_key, datum_key
from pachmount.running.transform import DEFAULT_TRIES, Transform, read_transform, seconds_of

FILE = DatumFile("in", "default", "images", "master", "c" * 32, "/a/b", False, 3, "ff")


def datum(number: int = 0, **changes: Any) -> Datum:
    return Datum(f"{number:064x}", (replace(FILE, **changes),))


# --- the transform


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 0), ("0", 0), ("30s", 30), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), (".5s", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text, "x") == seconds


@pytest.mark.parametrize("text", ["30", "s", "1 s", "-1s", "1d", "soon"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError, match="no duration"):
        seconds_of(text, "x")


def test_a_spec_without_code() -> None:
    assert read_transform({}) == Transform(tries=DEFAULT_TRIES)


@pytest.mark.parametrize("camel", [False, True])
def test_a_whole_transform(camel: bool) -> None:
    fields = {"cmd": ["a"], "stdin": ["b"], "env": {"X": 1, "Y": None}, "user": "u"}
    names = ("working_dir", "accept_return_code", "err_cmd", "err_stdin")
    if camel:
        names = ("workingDir", "acceptReturnCode", "errCmd", "errStdin")
    fields |= dict(zip(names, ("/w", ["3", 4], ["e"], ["f"]), strict=True))
    read = read_transform({"transform": fields, "datum_tries": "5", "datum_timeout": "2m"})
    expected = Transform(("a",), ("b",), (("X", "1"), ("Y", "")), "/w", "u", (3, 4), ("e",), ("f",), 5, 120.0)
    assert read == expected
    assert read.running(["z"]) == replace(expected, cmd=("z",), stdin=(), working_dir="", user="")


@pytest.mark.parametrize(
    "spec",
    [
        {"transform": []},
        {"transform": {"cmd": "sh"}},
        {"transform": {"cmd": [1]}},
        {"transform": {"env": ["x"]}},
        {"transform": {"accept_return_code": "1"}},
        {"transform": {"accept_return_code": ["x"]}},
        {"datum_tries": -1},
        {"datum_timeout": 30},
    ],
)
def test_wrong_transforms(spec: dict[str, Any]) -> None:
    spec = {"transform": {"cmd": ["x"]}, **spec}
    with pytest.raises(UsageError):
        read_transform({key: value if value != [] else ["x"] for key, value in spec.items()})


# --- variables


def test_variables() -> None:
    two = Datum(
        "d" * 64, (FILE, replace(FILE, path="/z", join_on="j", group_by="g"), replace(FILE, input="all", path="/"))
    )
    assert of_datum(two, "0" * 32, "secret") == {
        "in": "/pfs/in/z",
        "in_COMMIT": "c" * 32,
        "PACH_DATUM_in_JOIN_ON": "j",
        "PACH_DATUM_in_GROUP_BY": "g",
        "all": "/pfs/all",
        "all_COMMIT": "c" * 32,
        "PACH_DATUM_ID": "d" * 64,
        "PACH_JOB_ID": "0" * 32,
        "PACH_OUTPUT_COMMIT_ID": "0" * 32,
        "PACH_TOKEN": "secret",
    }


def test_messages_survive_the_way() -> None:
    order = Order("id", "/x", [Placed("/s\udcff", "/t", True)], {"a": "b"})
    assert Order.decode(order.encode()) == order
    outcome = Outcome("id", "failed", 3, 1, 0.5, "why")
    assert Outcome.decode(outcome.encode()) == outcome


# --- what was done


def test_done_datums_are_remembered(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as run:
        for number, state in enumerate(("success", "recovered", "failed")):
            one = datum(number)
            (run.begin(one.id) / "out").mkdir()
            run.add(Outcome(one.id, state), "key")  # type: ignore[arg-type]
    with open(tmp_path / "run" / "outcomes.jsonl", "a") as journal:
        journal.write('["torn')
    with RunDirectory(tmp_path / "run") as run:
        states = [run.done(datum(number).id, "key") for number in range(3)]
        assert [one.state if one else None for one in states] == ["skipped", "recovered", None]
        assert run.done(datum(0).id, "other") is None
        run.begin(datum(0).id)
        assert run.done(datum(0).id, "key") is None
        run.output_of(datum(1).id).rmdir()
        assert run.done(datum(1).id, "key") is None


def test_a_run_that_was_killed_forgets_what_it_began(tmp_path: Path) -> None:
    one = datum()
    with RunDirectory(tmp_path) as run:
        (run.begin(one.id) / "out").mkdir()
        run.add(Outcome(one.id, "success"), "key")
        (run.begin(one.id) / "out").mkdir()
    with RunDirectory(tmp_path) as run:
        assert run.done(one.id, "key") is None


def test_forgetting_and_one_at_a_time(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        for name in (datum().id, datum(1).id):
            (run.begin(name) / "out").mkdir()
            run.add(Outcome(name, "success"), "key")
        run.forget([datum().id])
        assert run.done(datum().id, "key") is None
        assert run.done(datum(1).id, "key") is not None
        with pytest.raises(BusyError):
            RunDirectory(tmp_path)
    with RunDirectory(tmp_path) as run:
        assert run.done(datum().id, "key") is None


def test_keys_follow_code_and_content(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("one")
    (tmp_path / "lib").mkdir()
    transform = Transform(cmd=("python", "code.py", "\0", "x" * 5000))

    def key(used: Transform = transform, *code: Path) -> str:
        return code_key(used, str(tmp_path), code)

    assert key(transform, tmp_path / "lib") == key()
    keys = {key(), key(replace(transform, env=(("A", "1"),)))}
    (tmp_path / "lib" / "module.py").write_text("x")
    keys.add(key(transform, tmp_path / "lib"))
    (tmp_path / "code.py").write_text("two")
    keys.add(key())
    assert len(keys) == 4
    assert key(replace(transform, tries=9, timeout=1.0)) == key()
    same = datum_key("c", datum())
    assert datum_key("c", datum(commit="d" * 32)) == same
    assert len({same, datum_key("d", datum()), datum_key("c", datum(hash="00")), datum_key("c", datum(path="/x"))}) == 4


# --- choosing


def test_choosing() -> None:
    datums = [datum(0), datum(0xABC0 << 240), datum(0xABD0 << 240)]
    assert [one.index for one in choose(datums, ())] == [0, 1, 2]
    assert [one.index for one in choose(datums, ("2", datums[1].id, "2"))] == [1, 2]
    assert [one.index for one in choose(datums, (datums[2].id[:12].upper(),))] == [2]
    with pytest.raises(UsageError, match="2 ids"):
        choose(datums, (datums[1].id[:2],))
    with pytest.raises(NotFoundError, match="no datum '12'"):
        choose([replace(datums[0], id="12" + "0" * 62)], ("12",))
    assert [one.index for one in choose([replace(datums[0], id="12" + "0" * 62)], ("12000000",))] == [0]
    for unknown in ("3", "f", ""):
        with pytest.raises(NotFoundError):
            choose(datums, (unknown,))


def test_users() -> None:
    ours = user_of("")
    assert ours is not None
    assert ours.uid is None
    assert user_of("nobody-of-that-name") is None
    assert user_of("root:nobody-of-that-name") is None


# --- fetching ahead


class Daemon:
    """Takes note of what is to be warmed up."""

    def __init__(self) -> None:
        self.asked: list[list[WarmupEntry]] = []
        self.refuse = False

    def warm_up(self, entries: Sequence[WarmupEntry]) -> None:
        if self.refuse:
            raise BusyError("too many")
        self.asked.append(list(entries))

    def mount(self, entries: Sequence[object]) -> None:
        pass

    def status(self) -> Any:
        return type("Status", (), {"mounts": ()})


def prefetch(datums: list[Datum], **options: Any) -> tuple[Daemon, Prefetch]:
    daemon = Daemon()
    commits = Commits(Path("/x"), PfsInput("in", "default", "images", "master", "/*", **options))
    commits.mount(daemon, iter(datums))  # type: ignore[arg-type]
    return daemon, Prefetch(daemon, commits)  # type: ignore[arg-type]


def test_every_datum_is_fetched_once_and_before_its_turn() -> None:
    datums = [datum(number, path=f"/{number}") for number in range(200)]
    daemon, ahead = prefetch(datums)
    for number in range(len(datums)):
        ahead(iter(datums[number + 1 :]))
        fetched = {path for entries in daemon.asked for entry in entries for path in entry.paths}
        assert {f"/{later}" for later in range(number + 1, min(number + LEAST_AHEAD, 200))} <= fetched
    paths = [path for entries in daemon.asked for entry in entries for path in entry.paths]
    assert paths == [f"/{number}" for number in range(1, 200)]
    assert len(daemon.asked) < 10


def test_big_datums_are_fetched_a_few_at_a_time() -> None:
    datums = [datum(number, path=f"/{number}", size_bytes=1 << 30) for number in range(20)]
    daemon, ahead = prefetch(datums)
    ahead(iter(datums[1:]))
    [[entry]] = daemon.asked
    assert len(entry.paths) == LEAST_AHEAD


def test_what_the_daemon_refuses_is_asked_for_again() -> None:
    datums = [datum(number, path=f"/{number}") for number in range(8)]
    daemon, ahead = prefetch(datums)
    daemon.refuse = True
    ahead(iter(datums[1:]))
    daemon.refuse = False
    ahead(iter(datums[2:]))
    assert daemon.asked[0][0].paths == [f"/{number}" for number in range(2, 8)]


def test_empty_files_are_not_fetched() -> None:
    datums = [datum(number) for number in range(8)]
    daemon, ahead = prefetch(datums, empty_files=True)
    ahead(iter(datums[1:]))
    assert daemon.asked == []


def test_one_mount_for_a_commit() -> None:
    def both() -> Iterator[Datum]:
        yield datum(0)
        yield datum(1, commit="d" * 32, path="/")
        yield datum(2, input="other")

    commits = Commits(Path("/x"), PfsInput("in", "default", "images", "master", "/*"))
    commits.mount(Daemon(), both())  # type: ignore[arg-type]
    assert [commits.place(one)[0].source for one in both()] == ["/x/commit-0/a/b", "/x/commit-1", "/x/commit-0/a/b"]
