"""`pachmount exec`: a command with its own /pfs, as root and as an ordinary user; nothing is left of it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.integration.box import Box, mounts_seen, wait_until
from tests.integration.strangers import GID, UID, Stranger, device_mode

FILES = {"/a.txt": b"first", "/sub/b.bin": bytes(range(256)) * 100}
PFS = Path("/pfs")
Start = Callable[..., subprocess.Popen[str]]
WAIT_FOR_SIGNAL = "echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def repo(box: Box) -> str:
    name = box.repo("images")
    box.put(name, FILES)
    return name


@pytest.fixture(autouse=True)
def _nothing_is_left(box: Box) -> Iterator[None]:
    """No mount, no process and no file, in whatever way a command ended."""
    mounts, there = mounts_seen(box), PFS.exists()
    before = set(box.process_ids())
    yield
    wait_until(lambda: set(box.process_ids()) <= before, "all processes have ended")
    assert mounts_seen(box) == mounts
    assert PFS.exists() == there
    assert not any(_private(box).iterdir())


def _private(box: Box) -> Path:
    directory = box.root / "state" / "pachmount" / "exec"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory


@pytest.fixture
def start(box: Box) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start(ARGUMENT, …)`: `pachmount exec`, the leader of a process group, once the command has said "ready"."""
    made: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "pachmount", "exec", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=box.env,
            cwd=box.root,
            start_new_session=True,
        )
        made.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in made:
        process.terminate()
        process.communicate(timeout=60)


def test_files_are_at_pfs_in_the_command_and_what_it_starts(box: Box, repo: str) -> None:
    script = f"cat /pfs/{repo}/a.txt; (cd / && exec sha256sum pfs/{repo}/sub/b.bin); ls /pfs"
    done = box.run("exec", repo, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    digest = box.python("import hashlib; print(hashlib.sha256(bytes(range(256)) * 100).hexdigest())").strip()
    assert done.stdout == f"first{digest}  pfs/{repo}/sub/b.bin\n{repo}\n"


def test_sources_are_those_of_mount(box: Box, repo: str) -> None:
    box.put(repo, {"/a.txt": b"second"})
    other = box.repo("other")
    box.put(other, {"/x": b"x"})
    script = f"cat /pfs/{repo}/a.txt /pfs/{other}/x"
    assert box.ok("exec", f"{repo}@master^", other, "--", "sh", "-c", script) == "firstx"
    assert box.ok("exec", f"{repo}@master:/sub", "-n", "old", "--", "ls", "/pfs", "/pfs/old/sub").endswith("b.bin\n")


def test_the_rest_of_the_machine_is_as_ever(box: Box, repo: str) -> None:
    file = box.root / "written"
    done = box.ok("exec", repo, "--", "sh", "-c", 'pwd; id -u; ls -A /; echo x > "$1"', "sh", str(file))
    expected = sorted({*os.listdir("/"), "pfs"})
    lines = done.splitlines()
    assert lines[:2] == [str(box.root), str(os.geteuid())]
    assert sorted(lines[2:]) == expected
    assert file.read_text() == "x\n"


def test_pfs_cannot_be_written_to(box: Box, repo: str) -> None:
    done = box.run("exec", repo, "--", "sh", "-c", f"touch /pfs/out || touch /pfs/{repo}/new")
    assert done.returncode == 1
    assert done.stderr.count("Read-only file system") == 2


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -KILL $$"], 128 + signal.SIGKILL),
        (["no-such-program"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_exit_code_is_the_commands(box: Box, repo: str, command: list[str], code: int) -> None:
    assert box.run("exec", repo, "--", *command).returncode == code


def test_input_and_arguments_reach_the_command(box: Box, repo: str) -> None:
    done = box.run("exec", repo, "--", "sh", "-c", 'cat; echo "$@"', "sh", "--json", "--", "-q", stdin="typed ")
    assert done.stdout == "typed --json -- -q\n"


def test_within_it_the_client_knows_its_mounts(box: Box, repo: str) -> None:
    inner = f"{shlex.quote(sys.executable)} -m pachmount"
    listed = box.ok("exec", repo, "-n", "x", "--", "sh", "-c", f"{inner} mount")
    assert listed.startswith("x: ")
    assert "at /pfs/x (mounted)" in listed
    again = f"{inner} exec {repo} -n x -- cat /pfs/x/a.txt"
    assert box.ok("exec", repo, "-n", "x", "--", "sh", "-c", again) == "first"


def test_a_pfs_of_the_machine_is_covered_and_the_root_stays(box: Box) -> None:
    there = Path("/srv")  # in place of /pfs, which not every machine has
    if not there.is_dir() or there.is_symlink():
        pytest.skip(f"there is no {there}")
    code = """
import os, sys
from pathlib import Path
from pachmount.namespace import entering, tree
root = os.stat("/")
entering.enter()
tree.prepare(Path("/srv"), Path(sys.argv[1]))
print(os.listdir("/srv"), os.path.samestat(root, os.stat("/")), os.getcwd())
"""
    answer = box.python(code, _private(box)).strip()
    assert answer == f"[] True {box.root}"


def test_settings_for_other_daemons_do_not_matter(box: Box, repo: str) -> None:
    others = {"PACHMOUNT_LISTEN": "127.0.0.1:1", "PACHMOUNT_URL": "http://127.0.0.1:1", "SIDECAR_MODE": "1"}
    others["PFS_SOCK_PATH"] = str(box.root / "no.sock")
    inner = f"{shlex.quote(sys.executable)} -m pachmount mount"
    assert "(mounted)" in box.ok("exec", repo, "--", "sh", "-c", inner, **others)


def test_commands_at_the_same_time_have_each_their_own(box: Box, repo: str, start: Start) -> None:
    box.put(repo, {"/a.txt": b"second"})
    running = start(f"{repo}@master^", "-n", "x", "--", "sh", "-c", f"echo ready; {WAIT_FOR_SIGNAL}")
    first = start(f"{repo}@master^", "-n", "x", "--", "sh", "-c", "echo ready; sleep 2; cat /pfs/x/a.txt")
    assert box.ok("exec", repo, "-n", "x", "--", "cat", "/pfs/x/a.txt") == "second"
    assert first.communicate(timeout=60)[0] == "first"
    running.terminate()
    assert running.wait(60) == 128 + signal.SIGTERM


def test_the_embedded_server_is_started_if_there_is_none(new_box: Callable[..., Box], tmp_path: Path) -> None:
    other = new_box()
    (tmp_path / "a").write_text("x")
    other.ok("import", str(tmp_path), "images")
    other.stop()
    assert other.ok("exec", "images", "--", "cat", "/pfs/images/a") == "x"
    assert not list(other.process_ids())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["exec", "--", "true"], "missing argument 'SOURCE"),
        (["exec", "{repo}"], "a command is missing"),
        (["exec", "{repo}", "--"], "a command is missing"),
        (["exec", "{repo}", "{repo}@dev", "--", "true"], "two sources have the name"),
        (["exec", "{repo}", "other", "-n", "x", "--", "true"], "there are 2 sources"),
        (["exec", "{repo}@@", "--", "true"], "@@"),
    ],
)
def test_wrong_use(box: Box, repo: str, arguments: list[str], said: str) -> None:
    assert said in box.refused(*(argument.format(repo=repo) for argument in arguments), code=2)


def test_a_repo_that_is_not_there(box: Box) -> None:
    assert "not found" in box.refused("exec", "no-such-repo", "--", "true", code=66)


# --- signals


def test_ctrl_c_ends_the_command(box: Box, repo: str, start: Start) -> None:
    process = start(repo, "--", "sh", "-c", WAIT_FOR_SIGNAL)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 128 + signal.SIGINT


def test_a_signal_is_passed_on_and_the_command_decides(box: Box, repo: str, start: Start) -> None:
    process = start(repo, "--", "sh", "-c", f"trap 'exit 5' TERM; {WAIT_FOR_SIGNAL}")
    process.terminate()
    assert process.wait(30) == 5


def test_the_terminal_tells_the_command_once(box: Box, repo: str) -> None:
    counting = "import signal, time\nseen = []\nsignal.signal(signal.SIGINT, lambda *_: seen.append(1))\n"
    counting += (
        "print('ready', flush=True)\nwhile not seen: time.sleep(0.01)\ntime.sleep(0.5)\nprint('seen', len(seen))"
    )
    arguments = ["-m", "pachmount", "exec", repo, "--", sys.executable, "-c", counting]
    terminal = pexpect.spawn(sys.executable, arguments, env=box.env, cwd=str(box.root), timeout=30, encoding="utf-8")
    terminal.expect_exact("ready")
    terminal.sendintr()
    terminal.expect_exact("seen 1")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_kill_9_ends_the_command_and_the_daemon(box: Box, repo: str, start: Start) -> None:
    process = start(repo, "--", "sh", "-c", WAIT_FOR_SIGNAL)
    process.kill()
    process.wait(30)  # the rest is in _nothing_is_left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_at_any_moment_leaves_nothing(box: Box, repo: str, number: signal.Signals) -> None:
    for delay in (0.2, 0.35, 0.5, 0.65, 0.8, 1.0):
        command = [sys.executable, "-m", "pachmount", "exec", repo, "--", "sleep", "5"]
        with subprocess.Popen(command, env=box.env, cwd=box.root) as process:
            time.sleep(delay)
            process.send_signal(number)
            assert process.wait(30) in (-number, 128 + number)


def test_what_the_command_leaves_running_does_not_keep_the_mounts(box: Box, repo: str) -> None:
    done = box.run("exec", repo, "--", "sh", "-c", f"(exec sleep 5 < /pfs/{repo}/a.txt > /dev/null 2>&1) & exit 3")
    assert done.returncode == 3


# --- without privileges


@pytest.fixture
def stranger(new_box: Callable[..., Box], repo: str) -> Iterator[Stranger]:
    other = Stranger(new_box(start=False))
    with device_mode(0o666):
        yield other
        other.run("daemon", "stop")


def test_an_ordinary_user_needs_no_privilege(stranger: Stranger, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    source = stranger.box.root / "files"
    source.mkdir(mode=0o755)
    (source / "a.txt").write_text("first")
    assert stranger.run("import", str(source), "images").returncode == 0
    program = "id -u; id -g; cat /pfs/images/a.txt; stat -c ' %u' /pfs/images/a.txt; umount /pfs/images; exit 4"
    done = stranger.run("exec", "images", "--", "sh", "-c", program)
    assert done.returncode == 4, done.stderr
    assert done.stdout == f"{UID}\n{GID}\nfirst {UID}\n"
    assert "umount: /pfs/images:" in done.stderr
    box = stranger.box
    assert mounts_seen(box) == []
    assert not any((box.root / "state" / "pachmount" / "exec").iterdir())
    assert stranger.run("daemon", "stop").returncode == 0
    assert stranger.run("exec", "images", "--", "cat", "/pfs/images/a.txt").stdout == "first"
    wait_until(lambda: not list(box.process_ids()), "all processes have ended")


def test_an_ordinary_user_who_may_not_open_the_device(stranger: Stranger) -> None:
    with device_mode(0o600):
        done = stranger.run("exec", "images", "--", "true")
    assert done.returncode == 73
    assert done.stderr.splitlines() == [
        "error: cannot mount with FUSE — /dev/fuse: Permission denied",
        "hint: an administrator can let all users open it: chmod 666 /dev/fuse",
    ]


def test_user_namespaces_that_are_off(box: Box, repo: str) -> None:
    if box.sh("unshare --user --map-root-user true").returncode:
        pytest.skip("this user may not have user namespaces at all")
    drop = "setpriv --bounding-set -sys_admin --inh-caps -sys_admin --"
    script = f'echo 0 > /proc/sys/user/max_user_namespaces; exec {drop} "$@"'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    ours = [sys.executable, "-m", "pachmount", "exec", repo, "--", "true"]
    done = box.sh('exec "$@"', *command, *ours)
    assert done.returncode == 73, done
    why = "user namespaces are switched off here (/proc/sys/user/max_user_namespaces is 0)"
    assert done.stderr.startswith(f"error: cannot make a mount namespace — {why}\nhint: ")
