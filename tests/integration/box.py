"""A person with an empty home: the command line, a daemon of its own, its mounts; everything goes away with it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pachmount import paths
from pachmount.api import schema
from pachmount.client import DaemonClient
from pachmount.fuse.kernel import KernelMount, mount_table
from pachmount.names import parse_source
from pachmount.pfs.client import PfsClient
from pachmount.pfs.model import CommitRef, RepoRef

EXTERNAL_CLUSTER = os.environ.get("PACHMOUNT_TEST_PACHD", "")
STOP_SECONDS = 60.0
_DROPPED = ("PACH", "PFS_", "XDG_", "NO_COLOR", "FORCE_COLOR", "TTY_", "COLUMNS")
_PROBLEM = re.compile(r"(^|\s)(ERROR|CRITICAL)\s|Traceback \(most recent call last\)|Fatal Python error")


def bytes_on_disk(directory: Path) -> int:
    """What the files of a directory take on disk, as `du` says; they may go while it looks."""
    total = 0
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total


def wait_until(condition: Callable[[], Any], what: str, timeout: float = 20.0) -> Any:
    """Poll until `condition` is true; its value. Fails with `what` did not happen."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)
    return value


def mounts_seen(box: Box) -> list[KernelMount]:
    """What is mounted in a box, and at /pfs, where `exec` and `run` mount, for everybody."""
    below = ("/pfs/", f"{box.root}/")
    return [entry for entry in mount_table() if f"{entry.mountpoint}/".startswith(below)]


@contextlib.contextmanager
def running_box(env: Mapping[str, str] | None = None) -> Iterator[Box]:
    """A box whose daemon runs, for fixtures of modules."""
    box = Box(env)
    try:
        box.start()
        yield box
        box.stop()
    finally:
        box.close()


class Box:
    """A user in a short temporary directory (socket paths are limited to 107 bytes). `env` is for all it starts."""

    def __init__(self, env: Mapping[str, str] | None = None, *, share: Box | None = None) -> None:
        """With `share`, another mount directory of the same user: home, cache and embedded store are shared."""
        self._owner = share is None
        self.root = share.root if share is not None else Path(tempfile.mkdtemp(prefix="pm-"))
        self._unique = uuid.uuid4().hex[:8]
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(_DROPPED)}
        self.env |= {
            "HOME": str(self.root),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "XDG_STATE_HOME": str(self.root / "state"),
            "XDG_DATA_HOME": str(self.root / "data"),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "PFS_MOUNT_DIR": str(self.root / ("pfs" if self._owner else f"pfs-{self._unique}")),
            "PACH_CONFIG": str(self.root / "pachctl.json"),
            "GRPC_ENABLE_FORK_SUPPORT": "0",
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        (self.root / "run").mkdir(mode=0o700, exist_ok=True)
        self._servers: list[Server] = []
        self._clusters: dict[str, PfsClient] = {}
        self._made: list[tuple[str, RepoRef]] = []
        self._log_offsets: dict[Path, int] = {}

    # --- commands

    def run(
        self, *arguments: str, stdin: str | None = None, timeout: float = 90, cwd: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """`pachmount ARGUMENTS`."""
        return subprocess.run(
            [sys.executable, "-m", "pachmount", *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**self.env, **env},
            cwd=cwd or self.root,
            check=False,
        )

    def ok(self, *arguments: str, **options: Any) -> str:
        """The same for a command that must succeed; its answer."""
        done = self.run(*arguments, **options)
        assert done.returncode == 0, f"pachmount {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}"
        return done.stdout

    def refused(self, *arguments: str, code: int | None = None, **options: Any) -> str:
        """The same for a command that must fail with one clear line; what it said."""
        done = self.run(*arguments, **options)
        assert done.returncode not in (0, 70), f"pachmount {' '.join(arguments)}: {done}"
        assert code is None or done.returncode == code, done
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("error: "), done.stderr
        assert done.stdout == "", done.stdout
        return done.stderr

    def sh(self, command: str, *arguments: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A shell command with arguments as $1…; for everything that looks into a mount that may not answer."""
        return subprocess.run(
            ["bash", "-c", command, "sh", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.env,
            cwd=self.root,
            check=False,
        )

    def out(self, command: str, *arguments: str | Path, timeout: float = 60) -> str:
        """The answer of a shell command that must succeed."""
        done = self.sh(command, *arguments, timeout=timeout)
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stderr}"
        return done.stdout

    def python(self, code: str, *arguments: str | Path, timeout: float = 60) -> str:
        """What a Python program prints; it must succeed."""
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.root,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    # --- places

    @property
    def places(self) -> paths.Places:
        return paths.places(None, self.env)

    @property
    def mount_dir(self) -> Path:
        return Path(self.env["PFS_MOUNT_DIR"])

    def path(self, mount: str, *below: str) -> Path:
        return self.mount_dir.joinpath(mount, *below)

    def mounts_in_kernel(self) -> list[KernelMount]:
        """Everything mounted below the box."""
        return [entry for entry in mount_table() if entry.mountpoint.startswith(f"{self.root}/")]

    # --- the daemon

    def start(self) -> None:
        """Start the daemon; it uses the cluster under test if there is one."""
        self.ok("daemon", "start")
        if EXTERNAL_CLUSTER:
            self.ok("login", EXTERNAL_CLUSTER)

    @contextlib.contextmanager
    def daemon(self) -> Iterator[DaemonClient]:
        """The daemon's API."""
        with DaemonClient(self.places.socket) as client:
            yield client

    def status(self) -> dict[str, Any]:
        with self.daemon() as client:
            return client.status().model_dump()

    def mount_status(self, name: str) -> dict[str, Any]:
        return next(entry for entry in self.status()["mounts"] if entry["name"] == name)

    @property
    def pid(self) -> int:
        """The daemon's."""
        return int(self.places.lock_file.read_text())

    @property
    def embedded_pids(self) -> list[int]:
        """The embedded server's process, if it runs."""
        return [pid for pid in self.process_ids() if b"pachmount.localpfs" in _command(pid)]

    def mount(self, source: str, name: str = "", at: Path | None = None, mode: str = "") -> dict[str, Any]:
        """Mount through the API (the command is tested where it matters: it takes half a second); the mount."""
        parsed = parse_source(source)
        entry = schema.MountEntry(
            name=name or parsed.repo,
            project=parsed.project,
            repo=parsed.repo,
            branch=parsed.branch,
            commit=parsed.commit,
            path=parsed.path,
            mountpoint=str(at or ""),
            mode=mode,
        )
        with self.daemon() as client:
            client.mount([entry])
        return self.mount_status(entry.name)

    def unmount(self, *names: str) -> None:
        with self.daemon() as client:
            client.unmount(names)

    def refresh(self, name: str, commit: str = "") -> dict[str, Any]:
        """Move a mount to the newest commit, or to `commit`; the mount."""
        with self.daemon() as client:
            client.refresh([schema.RefreshEntry(name=name, commit=commit)])
        return self.mount_status(name)

    def listed(self, name: str, timeout: float = 60) -> dict[str, Any]:
        """Wait until a mount knows all its names; its status."""
        wait_until(lambda: self.mount_status(name)["listing"] == "complete", f"listing of {name}", timeout)
        return self.mount_status(name)

    # --- the cluster's contents

    @property
    def address(self) -> str:
        return str(self.status()["cluster"]["address"])

    def cluster(self, address: str = "") -> PfsClient:
        """A client of our own for the daemon's cluster, or for another."""
        address = address or self.address
        if address not in self._clusters:
            self._clusters[address] = PfsClient(address)
        return self._clusters[address]

    def repo(self, stem: str = "repo", address: str = "") -> str:
        """A name that no repo has yet, on a cluster that other people's tests use too."""
        name = f"{stem}-{uuid.uuid4().hex[:8]}"
        if EXTERNAL_CLUSTER:
            self._made.append((address or EXTERNAL_CLUSTER, RepoRef("default", name)))
        return name

    def put(self, repo: str, files: Mapping[str, bytes], branch: str = "master", *, address: str = "") -> str:
        """Add or overwrite files in one commit; its id."""
        client, ref = self.cluster(address), RepoRef("default", repo)
        client.create_repo(ref, update=True)
        with client.modify_file(CommitRef(ref, "", branch)) as change:
            for path, content in files.items():
                change.delete_file(path)
                change.add_file(path, content)
        head = client.inspect_branch(ref, branch).head
        return client.inspect_commit(head, wait="finished", timeout=60).commit.id

    def server(self, *, listen: str = "127.0.0.1:0") -> Server:
        """Another embedded server as a process of its own, on TCP, through `pachmount serve`."""
        server = Server(self, self.root / f"served-{len(self._servers)}", listen)
        self._servers.append(server)
        return server

    # --- the end

    def log_problems(self) -> list[str]:
        """Lines that should not be in the logs, added since the last call."""
        state = self.places.lock_file.parent
        found = []
        for file in (self.places.log_file, state / "daemon.stderr", state / "localpfs.log"):
            try:
                text = file.read_text(errors="replace")
            except FileNotFoundError:
                continue
            new = text[self._log_offsets.get(file, 0) :]
            self._log_offsets[file] = len(text)
            lines = new.splitlines()
            for number, line in enumerate(lines):
                if _PROBLEM.search(line):
                    found.append(f"{file.name}: " + "\n    ".join(lines[number : number + 25]))
        return found

    def clean(self) -> None:
        """Unmount everything; what is staged goes."""
        with self.daemon() as client:
            if client.status().datum is not None:
                client.unmount_datums()
            names = [mount.name for mount in client.status().mounts]
            if names:
                client.unmount(names, staged="discard")

    def stop(self) -> None:
        """Stop the daemon in an orderly way; nothing stays mounted in its mount directory."""
        for client in self._clusters.values():
            client.close()
        self._clusters.clear()
        self.run("daemon", "stop", timeout=STOP_SECONDS)
        left = [entry for entry in self.mounts_in_kernel() if entry.mountpoint.startswith(f"{self.mount_dir}/")]
        assert not left, f"the daemon left mounts: {left}"

    def close(self) -> None:
        """End every process that was started here, detach what is mounted, remove all files. Never fails or hangs."""
        for repo_address, repo in self._made:
            with contextlib.suppress(Exception), PfsClient(repo_address) as client:
                client.delete_repo(repo, force=True)
        for client in self._clusters.values():
            client.close()
        with contextlib.suppress(Exception):
            self.run("daemon", "stop", timeout=STOP_SECONDS)
        if not self._owner:
            return
        self.crash()
        if not self.mounts_in_kernel():
            shutil.rmtree(self.root, ignore_errors=True)

    def crash(self) -> None:
        """Kill every process that was started here, and detach what is mounted."""
        for server in self._servers:
            server.kill()
        for pid in self.process_ids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for entry in reversed(self.mounts_in_kernel()):
            command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount", "-uz"]
            with contextlib.suppress(subprocess.SubprocessError, OSError):
                subprocess.run([*command, entry.mountpoint], timeout=20, check=False, capture_output=True, cwd="/")

    def process_ids(self) -> Iterable[int]:
        """Our processes: those with the box's unique directory in their environment as home."""
        mark = f"HOME={self.root}\0".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes() and _command(int(entry.name)):
                        yield int(entry.name)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Server:
    """`pachmount serve` in a process of its own, that tests stop, kill, freeze and start again at the same port."""

    def __init__(self, box: Box, root: Path, listen: str) -> None:
        self._box = box
        self._root = root
        self._listen = listen
        self._process: subprocess.Popen[str] | None = None
        self.address = ""
        self.start()

    def start(self) -> None:
        log = open(f"{self._root}.log", "a")  # noqa: SIM115 (closed below)
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pachmount", "serve", "--root", self._root, "--listen", self._listen],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._box.env,
                cwd=self._box.root,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert " on " in line, Path(f"{self._root}.log").read_text()
        self.address = line.split()[-1]
        self._listen = self.address.removeprefix("grpc://")

    @property
    def pid(self) -> int:
        """The process that serves (a child of the command)."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def replace(self) -> None:
        """End it, and let another server with an empty store answer at the same address."""
        self.kill()
        self._root = self._root.with_name(f"{self._root.name}-other")
        self.start()

    def freeze(self) -> None:
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        wait_until(lambda: all(") T " in (thread / "stat").read_text() for thread in threads), "the server is stopped")

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would. Does nothing when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, OSError, IndexError):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGKILL)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
