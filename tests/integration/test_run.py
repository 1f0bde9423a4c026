"""`pachmount run`: code sees what a pipeline would show it, datum by datum; nothing is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pexpect
import pytest

from tests.integration.box import Box, mounts_seen, wait_until
from tests.integration.strangers import UID, Stranger, device_mode

FILES = {"/a": b"first", "/b": b"second", "/sub/c": b"third", "/sub/d": b"fourth"}
PFS = Path("/pfs")


@pytest.fixture
def repo(box: Box) -> str:
    name = box.repo("images")
    box.put(name, FILES)
    return name


@pytest.fixture(autouse=True)
def _nothing_is_left(box: Box) -> Iterator[None]:
    """No mount and no process, in whatever way a run ended."""
    mounts = mounts_seen(box)
    before = set(box.process_ids())
    yield
    wait_until(lambda: set(box.process_ids()) <= before, "all processes have ended")
    assert mounts_seen(box) == mounts
    private = box.root / "state" / "pachmount" / "exec"
    assert not private.exists() or not any(private.iterdir())


class Spec:
    """A spec file, and runs of it."""

    def __init__(self, box: Box, directory: Path) -> None:
        self.box = box
        self.directory = directory
        self.file = directory / "spec.json"

    def write(self, source: dict[str, Any], **fields: Any) -> Spec:
        self.file.write_text(json.dumps({"pipeline": {"name": "edges"}, "input": source, **fields}))
        return self

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        run_dir = ("--run-dir", str(self.directory / "run"))
        return self.box.run("run", str(self.file), *run_dir, *arguments, cwd=self.directory, **options)

    def answer(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """What --json says."""
        done = self.run("--json", *arguments)
        assert done.returncode == code, done
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def shell(self, script: str, *arguments: str, code: int = 0) -> dict[str, Any]:
        return self.answer(*arguments, "--", "sh", "-c", script, code=code)

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pachmount", "run", str(self.file)]
        return subprocess.Popen(
            [*command, "--run-dir", str(self.directory / "run"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.box.env,
            cwd=self.directory,
            start_new_session=True,
        )


@pytest.fixture
def spec(box: Box, tmp_path: Path) -> Spec:
    return Spec(box, tmp_path)


def pfs(repo: str, glob: str, **fields: Any) -> dict[str, Any]:
    return {"pfs": {"repo": repo, "glob": glob, **fields}}


def outputs(answer: dict[str, Any], name: str = "stdout") -> list[str]:
    """What each datum printed."""
    return [Path(one[name]).read_text() for one in answer["datums"]]


def tree(directory: Path) -> dict[str, str]:
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*") if p.is_file()}


# --- what code sees


def test_a_datum_has_its_files_and_an_empty_out(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/*"))
    answer = spec.shell("cd /pfs && find . -mindepth 1 | sort && find . -type f -exec cat {} +")
    assert answer["success"] == answer["total"] == 3
    assert sorted(outputs(answer)) == [
        f"./{repo}\n./{repo}/a\n./out\nfirst",
        f"./{repo}\n./{repo}/b\n./out\nsecond",
        f"./{repo}\n./{repo}/sub\n./{repo}/sub/c\n./{repo}/sub/d\n./out\nthirdfourth",
    ]


def test_environment(spec: Spec, repo: str, box: Box) -> None:
    other = box.repo("labels")
    head = box.put(other, {"/x-a": b"", "/y-b": b""})
    cross = {
        "join": [
            pfs(repo, "/(*)", name="in", join_on="$1"),
            pfs(other, "/?-(*)", name="lab", join_on="$1"),
        ]
    }
    spec.write(cross, transform={"env": {"MINE": "1", "in": "hidden by the datum's"}})
    [first, second] = outputs(spec.shell("env | sort"))
    variables = [dict(line.split("=", 1) for line in text.splitlines()) for text in sorted((first, second))]
    paths = sorted((found["in"], found["lab"], found["PACH_DATUM_in_JOIN_ON"]) for found in variables)
    assert paths == [("/pfs/in/a", "/pfs/lab/x-a", "a"), ("/pfs/in/b", "/pfs/lab/y-b", "b")]
    for found in variables:
        assert found["MINE"] == "1"
        assert found["lab_COMMIT"] == head
        assert len(found["PACH_DATUM_ID"]) == 64
        assert found["PACH_JOB_ID"] == found["PACH_OUTPUT_COMMIT_ID"]
        assert len(found["PACH_JOB_ID"]) == 32
        assert not {"PFS_SOCK_PATH", "PFS_MOUNT_DIR", "PACH_TOKEN"} & found.keys()
    assert variables[0]["PACH_JOB_ID"] == variables[1]["PACH_JOB_ID"]


def test_a_commit_in_the_spec(spec: Spec, repo: str, box: Box) -> None:
    old = box.put(repo, {"/b": b"other"})
    box.put(repo, {"/a": b"changed"})
    assert outputs(spec.write(pfs(repo, "/a", commit=old)).shell(f"cat /pfs/{repo}/a")) == ["first"]
    assert outputs(spec.write(pfs(repo, "/a")).shell(f"cat /pfs/{repo}/a")) == ["changed"]


def test_the_whole_repo_as_a_datum_and_a_group_of_files(spec: Spec, repo: str) -> None:
    script = f"cd /pfs/{repo} && ls && cat sub/*"
    [whole] = outputs(spec.write(pfs(repo, "/")).shell(script))
    assert whole == "a\nb\nsub\nthirdfourth"
    group = {"group": [pfs(repo, "/sub/*", name="g", group_by="all")]}
    answer = spec.write(group).shell('ls /pfs/g/sub; echo "$g $PACH_DATUM_g_GROUP_BY"')
    last = answer["datums"][0]["files"][-1].removeprefix("g:")
    assert outputs(answer) == [f"c\nd\n/pfs/g{last} all\n"]


def test_empty_files_have_names_only_and_links_to_them_are_followed(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/sub", name="in", empty_files=True))
    script = "wc -c < /pfs/in/sub/c; ls /pfs/in/sub; ln -s /pfs/in/sub/c /pfs/out/one; ln -s ../in/sub /pfs/out/all"
    out = spec.directory / "result"
    answer = spec.shell(script, "--out", str(out))
    assert outputs(answer) == ["0\nc\nd\n"]
    assert tree(out) == {"one": "third", "all/c": "third", "all/d": "fourth"}


def test_input_cannot_be_changed_and_commits_are_out_of_sight(spec: Spec, repo: str, box: Box) -> None:
    spec.write(pfs(repo, "/a", name="in"))
    script = (
        f'echo x > /pfs/in/a; find "{box.root}/state/pachmount/exec" -mindepth 1; grep -c " /pfs" /proc/self/mounts'
    )
    answer = spec.shell(script)
    assert outputs(answer)[0].splitlines()[0].isdecimal()
    assert "Read-only file system" in outputs(answer, "stderr")[0]


def test_out_of_another_datum_is_not_seen(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/*", name="in"))
    script = 'test -z "$(ls -A /pfs/out)" || exit 9; echo "$in" > "/pfs/out/$(basename "$in")"; sleep 0.3; ls /pfs/out'
    answer = spec.shell(script, "-j", "2")
    assert sorted(outputs(answer)) == ["a\n", "b\n", "sub\n"]


# --- the spec's command


def test_command_input_and_directory_of_the_spec(spec: Spec, repo: str, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    transform = {"cmd": ["sh", "-s", "the"], "stdin": ["pwd", "echo $1 second line"], "working_dir": str(there)}
    answer = spec.write(pfs(repo, "/a"), transform=transform).answer()
    assert outputs(answer) == [f"{there}\nthe second line\n"]


def test_input_that_is_not_read_is_no_error(spec: Spec, repo: str) -> None:
    transform = {"cmd": ["true"], "stdin": ["x" * 100] * 10_000}
    assert spec.write(pfs(repo, "/a"), transform=transform).answer()["success"] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_user_of_the_spec(spec: Spec, repo: str) -> None:
    transform = {"cmd": ["sh", "-c", f"id -u; cat /pfs/{repo}/a > /pfs/out/copy"], "user": "daemon"}
    answer = spec.write(pfs(repo, "/a"), transform=transform).answer("--out", str(spec.directory / "o"))
    assert outputs(answer) == [f"{UID}\n"]
    assert tree(spec.directory / "o") == {"copy": "first"}


def test_nothing_to_run(spec: Spec, repo: str, box: Box) -> None:
    spec.write(pfs(repo, "/a"))
    assert "no 'transform.cmd'" in box.refused("run", str(spec.file), code=2)
    assert (
        "no directory '/no/such'"
        in spec.write(pfs(repo, "/a"), transform={"cmd": ["x"], "working_dir": "/no/such"}).run().stderr
    )


# --- tries, times, codes


def test_a_failing_datum_is_tried_again_with_a_fresh_out(spec: Spec, repo: str, tmp_path: Path) -> None:
    counting = f"echo x >> {tmp_path}/count; ls /pfs/out; touch /pfs/out/left; test $(wc -l < {tmp_path}/count) = 3"
    answer = spec.write(pfs(repo, "/a")).shell(counting)
    assert [(one["state"], one["tries"]) for one in answer["datums"]] == [("success", 3)]
    assert outputs(answer) == [""]


def test_tries_run_out(spec: Spec, repo: str) -> None:
    answer = spec.write(pfs(repo, "/a"), datum_tries=2).shell("echo said; echo why >&2; exit 7", code=1)
    [one] = answer["datums"]
    assert (one["state"], one["tries"], one["exit_code"]) == ("failed", 2, 7)
    assert outputs(answer) == ["said\nsaid\n"]
    assert spec.shell("exit 7", "--retries", "0", code=1)["datums"][0]["tries"] == 1
    done = spec.run("--retries", "0", "--", "sh", "-c", "echo why >&2; exit 7")
    assert "exit code 7" in done.stderr
    assert "why" in done.stderr


def test_codes_that_count_as_success(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/a"), transform={"accept_return_code": [7]})
    assert spec.shell("exit 7")["success"] == 1
    assert spec.shell("exit 8", "--retries", "0", code=1)["failed"] == 1


def test_a_command_for_errors_recovers_without_output(spec: Spec, repo: str) -> None:
    transform = {"err_cmd": ["sh"], "err_stdin": ["test -e $in && echo handled"]}
    spec.write(pfs(repo, "/a", name="in"), datum_tries=2, transform=transform)
    out = spec.directory / "o"
    answer = spec.shell("touch /pfs/out/x; exit 1", "--out", str(out))
    assert [(one["state"], one["tries"], one["exit_code"]) for one in answer["datums"]] == [("recovered", 2, 1)]
    assert outputs(answer) == ["handled\n"]
    assert tree(out) == {}


def test_a_command_for_errors_that_fails(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/a"), datum_tries=1, transform={"err_cmd": ["false"]})
    assert spec.shell("exit 1", code=1)["failed"] == 1


def test_time_is_up(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/a"), datum_timeout="300ms", datum_tries=1)
    [one] = spec.shell("(trap '' TERM; sleep 60) & sleep 60", code=1)["datums"]
    assert one["why"] == "not done after 0.3 s"
    assert one["seconds"] < 5
    assert "no duration" in spec.run("--timeout", "soon", "--", "true").stderr


def test_programs_that_are_left_running_end(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/a"))
    answer = spec.shell("setsid sh -c 'sleep 61; touch /pfs/out/late' & (setsid sleep 61 &) ; exit 0")
    assert answer["success"] == 1  # the rest is in _nothing_is_left


@pytest.mark.parametrize(
    ("command", "code", "why"),
    [
        (["no-such-program"], 127, "cannot run 'no-such-program': No such file or directory"),
        (["/etc/passwd"], 126, "cannot run '/etc/passwd': Permission denied"),
        (["sh", "-c", "kill -KILL $$"], 137, "ended by SIGKILL"),
    ],
)
def test_commands_that_do_not_end_well(spec: Spec, repo: str, command: list[str], code: int, why: str) -> None:
    [one] = spec.write(pfs(repo, "/a")).answer("--retries", "0", "--", *command, code=1)["datums"]
    assert (one["exit_code"], one["why"]) == (code, why)


# --- which datums


def test_chosen_datums(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/**", name="in"))
    whole = spec.shell("true")
    ids = [one["id"] for one in whole["datums"]]
    chosen = spec.shell("echo $in", "--datum", "1", "--datum", ids[0][:9])
    assert [one["index"] for one in chosen["datums"]] == [0, 1]
    assert [one["id"] for one in chosen["datums"]] == ids[:2]
    assert "no datum 'zzz'" in spec.run("--datum", "zzz", "--", "true").stderr


def test_no_new_datum_after_a_failure(spec: Spec, repo: str) -> None:
    answer = spec.write(pfs(repo, "/*")).shell("exit 1", "-j", "1", "--fail-fast", "--retries", "0", code=1)
    assert [one["state"] for one in answer["datums"]] == ["failed", "not run", "not run"]


def test_done_datums_are_skipped_until_code_or_content_changes(spec: Spec, repo: str, box: Box) -> None:
    code = spec.directory / "code.sh"
    code.write_text("echo one")
    spec.write(pfs(repo, "/*"))

    def states(*arguments: str) -> list[str]:
        return sorted(one["state"] for one in spec.answer(*arguments, "--", "sh", "code.sh")["datums"])

    assert states() == ["success"] * 3
    assert states() == ["skipped"] * 3
    assert states("--again") == ["success"] * 3
    code.write_text("echo two")
    assert states() == ["success"] * 3
    box.put(repo, {"/a": b"changed"})
    assert states() == ["skipped", "skipped", "success"]
    (spec.directory / "module.py").write_text("x")
    assert states("--code", "module.py") == ["success"] * 3
    assert states("--code", "module.py") == ["skipped"] * 3


def test_failed_datums_are_run_again(spec: Spec, repo: str, tmp_path: Path) -> None:
    spec.write(pfs(repo, "/*", name="in"))
    script = f'test "$in" != /pfs/in/b || test -e {tmp_path}/mended'
    assert spec.shell(script, "--retries", "0", code=1)["failed"] == 1
    (tmp_path / "mended").touch()
    answer = spec.shell(script)
    assert (answer["skipped"], answer["success"]) == (2, 1)


# --- outputs


def test_outputs_are_merged(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/*", name="in"))
    out = spec.directory / "result"
    script = 'mkdir -p /pfs/out/all/empty; ln -s "$(find $in -type f | sort | head -1)" /pfs/out/all/$(basename $in)'
    answer = spec.shell(script, "--out", str(out))
    assert tree(out) == {"all/a": "first", "all/b": "second", "all/sub": "third"}
    assert (answer["output_files"], answer["output_bytes"]) == (3, 16)
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert "it is not empty" in spec.run("--out", str(out), "--", "true").stderr
    spec.shell("touch /pfs/out/$(basename $in)", "--out", str(out), "--replace")
    assert set(tree(out)) == {"a", "b", "sub"}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("touch /pfs/out/same", "'same' from datums"),
        (
            "cd /pfs/out; if test $in = /pfs/in/a; then touch x; else mkdir x && touch x/$(basename $in); fi",
            "'x' is a file in datum",
        ),
    ],
)
def test_outputs_in_conflict_are_put_nowhere(spec: Spec, repo: str, script: str, said: str) -> None:
    spec.write(pfs(repo, "/*", name="in"))
    done = spec.run("--out", "result", "--commit-out", f"{repo}-out", "--", "sh", "-c", script)
    assert done.returncode == 1
    assert said in done.stderr
    assert not (spec.directory / "result").exists()
    assert f"{repo}-out" not in spec.box.ok("list")


def test_a_failed_datum_makes_no_output(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/*", name="in"), datum_tries=1)
    spec.shell("touch /pfs/out/$(basename $in); test $in != /pfs/in/a", "--out", "result", code=1)
    assert not (spec.directory / "result").exists()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("ln -s /nowhere /pfs/out/x", "output: link 'x' leads nowhere"),
        ("ln -s /pfs/out /pfs/out/x", "output: link 'x' leads to a directory above it"),
        ("mkfifo /pfs/out/x", "output: 'x' is no file"),
    ],
)
def test_output_that_cannot_be_stored(spec: Spec, repo: str, script: str, why: str) -> None:
    [one] = spec.write(pfs(repo, "/a"), datum_tries=1).shell(script, code=1)["datums"]
    assert one["why"].startswith(why)


def test_outputs_as_one_commit(spec: Spec, repo: str, box: Box) -> None:
    target = box.repo("edges")
    box.put(target, {"/old": b"of an earlier run"})
    answer = spec.write(pfs(repo, "/*", name="in")).shell("cp -r $in /pfs/out", "--commit-out", f"{target}@master")
    assert answer["commit"].startswith(f"default/{target}@master=")
    assert box.ok("exec", target, "--", "find", f"/pfs/{target}", "-type", "f").split() == [
        f"/pfs/{target}/{path}" for path in ("a", "b", "sub/c", "sub/d")
    ]


def test_junit(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/*", name="in"), datum_tries=1)
    spec.shell("printf 'said \\033'; test $in != /pfs/in/a || exit 3", "--junit", "report.xml", code=1)
    suite = ElementTree.parse(spec.directory / "report.xml").getroot()
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("edges", "3", "1")
    failures = [case for case in suite if case.find("failure") is not None]
    assert len(failures) == 1
    assert failures[0].findtext("failure") == "exit code 3"
    assert failures[0].findtext("system-out") == "said "


# --- ends


def _wait_for_datum(spec: Spec) -> None:
    wait_until(lambda: list((spec.directory / "run").glob("datums/*/out/ready")), "a datum runs")


SLOW = "test $in = /pfs/in/{first} || {{ touch /pfs/out/ready; setsid sleep 60 & sleep 60; }}"


def _slow(spec: Spec, repo: str) -> list[str]:
    """A command that is done with the first datum and never with the others."""
    spec.write(pfs(repo, "/*", name="in"))
    first = spec.answer("--datum", "0", "--", "sh", "-c", "echo $in")
    return ["--", "sh", "-c", SLOW.format(first=Path(outputs(first)[0].strip()).name)]


def test_ctrl_c_and_going_on(spec: Spec, repo: str) -> None:
    command = _slow(spec, repo)
    with spec.popen("-j", "2", *command) as process:
        _wait_for_datum(spec)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped, " in said
    assert "the same command goes on from here" in said
    assert "Traceback" not in said
    answer = spec.answer("--timeout", "100ms", "--retries", "0", "--datum", "0", *command)
    assert answer["skipped"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_other_ends_leave_nothing(spec: Spec, repo: str, number: signal.Signals) -> None:
    command = _slow(spec, repo)
    with spec.popen("-j", "2", *command) as process:
        _wait_for_datum(spec)
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == -number  # the rest is in _nothing_is_left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_end_at_any_moment_leaves_nothing(spec: Spec, repo: str, number: signal.Signals) -> None:
    spec.write(pfs(repo, "/**", name="in"), datum_tries=50)
    command = ["--again", "-j", "2", "--", "sh", "-c", "(setsid sleep 60 &); cp -r $in /pfs/out; exit 1"]
    for delay in (0.2, 0.5, 0.8, 1.1, 1.4, 1.7):
        with spec.popen(*command) as process:
            time.sleep(delay)
            os.killpg(process.pid, number)
            process.communicate(timeout=30)
        assert process.returncode in (-number, 130, 1)


def test_a_killed_worker_is_a_failed_datum(spec: Spec, repo: str) -> None:
    spec.write(pfs(repo, "/*"))
    answer = spec.shell("(setsid sleep 60 &); sleep 60 & kill -KILL $PPID; sleep 5", "-j", "2", "--datum", "0", code=1)
    assert answer["datums"][0]["why"] == "its worker was killed"


def test_two_runs_of_a_spec_at_once(spec: Spec, repo: str) -> None:
    command = _slow(spec, repo)
    with spec.popen(*command) as process:
        _wait_for_datum(spec)
        done = spec.run("--", "true")
        process.terminate()
    assert done.returncode == 75
    assert "is being run already" in done.stderr


# --- without privileges


@pytest.fixture
def stranger(new_box: Callable[..., Box]) -> Iterator[Stranger]:
    other = Stranger(new_box(start=False))
    with device_mode(0o666):
        yield other
        other.run("daemon", "stop")


def test_an_ordinary_user(stranger: Stranger) -> None:
    box = stranger.box
    source = box.root / "files"
    source.mkdir(mode=0o755)
    for name in "abc":
        (source / name).write_text(name)
    assert stranger.run("import", str(source), "images").returncode == 0
    (box.root / "spec.yaml").write_text('input:\n  pfs: {repo: images, glob: "/*"}\n')
    script = "id -u; ls /pfs /pfs/images; ln -s $images /pfs/out/; umount /pfs/images/* 2> /dev/null && exit 1; true"
    done = stranger.run("run", "spec.yaml", "--json", "-j", "2", "--out", "result", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    printed = {text.splitlines()[-1]: text for text in outputs(answer)}
    assert printed == {name: f"{UID}\n/pfs:\nimages\nout\n\n/pfs/images:\n{name}\n" for name in "abc"}
    assert tree(box.root / "result") == {name: name for name in "abc"}
    assert mounts_seen(box) == []
    assert stranger.run("daemon", "stop").returncode == 0
    wait_until(lambda: not list(box.process_ids()), "all processes have ended")


def test_user_namespaces_that_are_off(spec: Spec, repo: str, box: Box) -> None:
    if box.sh("unshare --user --map-root-user true").returncode:
        pytest.skip("this user may not have user namespaces at all")
    spec.write(pfs(repo, "/a"))
    drop = "setpriv --bounding-set -sys_admin --inh-caps -sys_admin --"
    script = f'echo 0 > /proc/sys/user/max_user_namespaces; exec {drop} "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    ours = [sys.executable, "-m", "pachmount", "run", str(spec.file), "--", "true"]
    done = box.sh('exec "$@"', *command, *ours)
    assert done.returncode == 73, done
    assert done.stderr.startswith("error: cannot make a mount namespace — user namespaces are switched off here")
    assert "or add --serial" in done.stderr


# --- what people see


def test_progress_and_table_on_a_terminal(spec: Spec, repo: str, box: Box) -> None:
    spec.write(pfs(repo, "/*", name="in"), datum_tries=1)
    arguments = ["-m", "pachmount", "run", str(spec.file), "-j", "1", "--run-dir", str(spec.directory / "run")]
    program = ["--", "sh", "-c", "sleep 1; echo oops >&2; test $in != /pfs/in/a"]
    terminal = pexpect.spawn(
        sys.executable, [*arguments, *program], env=box.env, cwd=str(box.root), timeout=30, encoding="utf-8"
    )
    terminal.setwinsize(24, 200)
    terminal.expect("[12]/3 datums.* running")
    terminal.expect("DATUM +ID +STATE +TRIES +EXIT +TIME +FILES")
    terminal.expect("failed +1 +1 .*in:/a")
    terminal.expect_exact("3 datums: 2 success, 1 failed")
    terminal.expect_exact("oops")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 1


def test_ctrl_c_on_a_terminal(spec: Spec, repo: str, box: Box) -> None:
    spec.write(pfs(repo, "/*", name="in"))
    arguments = ["-m", "pachmount", "run", str(spec.file), "--run-dir", str(spec.directory / "run")]
    terminal = pexpect.spawn(
        sys.executable,
        [*arguments, "--", "sh", "-c", "touch /pfs/out/ready; sleep 60"],
        env=box.env,
        timeout=30,
        encoding="utf-8",
    )
    _wait_for_datum(spec)
    terminal.sendintr()
    terminal.expect_exact("stopped, 0 of 3 datums done; the same command goes on from here")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130


# --- one after the other


def test_serial(spec: Spec, repo: str, box: Box) -> None:
    before = box.mount(repo, name="before")["commit"]
    spec.write(pfs(repo, "/*", name="in"))
    counting = spec.directory / "count"
    script = f"""
        test -z "$(ls -A out)" || exit 9
        echo x >> {counting}
        touch out/left
        test $(wc -l < {counting}) -gt 1 || exit 1
        rm out/left; ls -R in; ln -s "$(find $in -type f | sort | head -1)" out/$(basename $in); echo $in
    """
    command = ["sh", "-c", f"cd {box.mount_dir}; {script}"]
    answer = spec.answer("--serial", "--out", "result", "--", *command)
    assert (answer["success"], sum(one["tries"] for one in answer["datums"])) == (3, 4)
    assert tree(spec.directory / "result") == {"a": "first", "b": "second", "sub": "third"}
    shown = {text.splitlines()[-1]: text for text in outputs(answer)}
    assert shown[f"{box.mount_dir}/in/a"] == f"in:\na\n{box.mount_dir}/in/a\n"
    assert box.mount_status("before")["commit"] == before
    assert not box.path("out").exists()
    assert spec.answer("--serial", "--out", "result", "--replace", "--", *command)["skipped"] == 3
    assert "leave one out" in spec.run("--serial", "-j", "2", "--", "true").stderr
    box.ok("unmount", "before")


def test_serial_while_a_datum_is_shown(spec: Spec, repo: str, box: Box) -> None:
    spec.write(pfs(repo, "/*", name="in"))
    box.ok("datum", "mount", str(spec.file))
    done = spec.run("--serial", "--", "true")
    box.ok("datum", "unmount")
    assert done.returncode == 75
    assert "datums are mounted already" in done.stderr


def test_ctrl_c_of_a_serial_run(spec: Spec, repo: str, box: Box) -> None:
    spec.write(pfs(repo, "/*", name="in"))
    box.mount(repo, name="before")
    with spec.popen("--serial", "--", "sh", "-c", f"touch {box.mount_dir}/out/ready; sleep 60 & sleep 60") as process:
        wait_until(box.path("out", "ready").exists, "a datum runs")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert [entry["name"] for entry in box.status()["mounts"]] == ["before"]
    box.ok("unmount", "before")


# --- without a mount


def test_download(spec: Spec, repo: str, box: Box) -> None:
    cross = {"cross": [pfs(repo, "/", name="whole"), pfs(repo, "/sub/", name="names", empty_files=True)]}
    spec.write(cross)
    target = spec.directory / "copy"
    assert "datum 0: 6 files (22 B)" in box.ok("datum", "download", "0", str(spec.file), str(target))
    whole = {f"whole{path}": content.decode() for path, content in FILES.items()}
    assert tree(target) == {**whole, "names/sub/c": "", "names/sub/d": ""}
    assert "not an empty directory" in box.refused("datum", "download", "0", str(spec.file), str(target), code=2)
    assert "no datum '1'" in box.refused("datum", "download", "1", str(spec.file), str(spec.directory / "x"), code=66)
    spec.write(pfs(repo, "/a"))
    answer = json.loads(box.ok("datum", "download", "0", str(spec.file), str(spec.directory / "one"), "--json"))
    assert (answer["index"], answer["files"], answer["bytes"]) == (0, 1, 5)
    assert tree(spec.directory / "one") == {f"{repo}/a": "first"}
