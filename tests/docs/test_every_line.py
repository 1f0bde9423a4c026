"""Every command line of the documents, run: with the names and places of a box in the place of those of the reader.

Documents that are walks, and the tutorial, are run once more as wholes, with what they show, by tests of their own.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pachmount.errors import DaemonNotRunningError, ExitCode
from pachmount.pfs.model import CommitRef, RepoRef
from tests.docs.command_lines import DOCUMENTS, ROOT, command_lines
from tests.integration.auth_cluster import AUTH_FILE, READER, AuthCluster, auth_cluster
from tests.integration.box import Box, wait_until
from tests.integration.pipeline_cluster import PipelineCluster, pipeline_cluster
from tests.integration.tls_proxy import TlsProxy, authority

TUTORIAL = ROOT / "docs" / "tutorial"
LINES = sorted({" ".join(words): words for document in DOCUMENTS for words in command_lines(document)}.items())
ENDLESS = re.compile(
    r"daemon run|daemon logs -f|debug trace .*|stats --watch|mount-server.*|serve --root .*|serve --auth .*"
)
"""Commands that go on until Ctrl-C."""
WITH_LOGIN = re.compile(r"whoami|logout|login|login (ADDRESS )?--(id-)?token-stdin")
OF_MOUNTS = re.compile(
    r"(unmount|refresh|follow|commit|diff|discard|remount|warmup|debug trace|datum) .*|unmount --all.*|commit|stats.*"
)
OF_READ_ONLY = re.compile(r"(refresh|follow) .*|remount .*--rw")
ENDS_WITH = {
    "login --id-token-stdin": ExitCode.NOT_PERMITTED,  # there is no id token of that issuer here
    "login grpcs://pachd.example:443": ExitCode.UNREACHABLE,  # nobody has signed the certificate of a test
    "status --mount-dir /mnt/images": ExitCode.NOT_RUNNING,
    "unmount --all": ExitCode.USAGE,  # without a terminal to ask on
    "staged discard NAME": ExitCode.USAGE,
    "staged discard images": ExitCode.USAGE,
}
"""Exit codes that are not 0."""


class Reader:
    """Somebody who has two clusters, and the files that documents speak of in the current directory."""

    def __init__(self, box: Box, pipelines: PipelineCluster, auth: AuthCluster, tls: tuple[TlsProxy, Path]) -> None:
        self.box = box
        self.pipelines = pipelines
        self.auth = auth
        self.here = box.root / "here"
        shutil.copytree(TUTORIAL, self.here)
        subprocess.run([sys.executable, "make_images.py", "photos"], cwd=self.here, check=True)
        for directory in ("more", "theirs", "bin"):
            (self.here / directory).mkdir()
        (self.here / "more" / "lion.png").write_bytes(b"lion")
        (self.here / "theirs" / "labels.csv").write_text("a,b\n")
        (self.here / "bin" / "python").symlink_to(sys.executable)
        for program in ("train.py", "edges.py"):
            (self.here / program).write_text("import os; assert os.listdir('/pfs/images')\n")
        (self.here / "auth.toml").write_text(AUTH_FILE.replace("LIFETIME", "180"))
        shutil.copy(self.here / "edges.yaml", self.here / "pipeline.yaml")
        self._write_notebook(self.here / "edges.ipynb")
        contexts = {name: {"pachd_address": pipelines.address} for name in ("default", "production")}
        Path(box.env["PACH_CONFIG"]).write_text(json.dumps({"v2": {"active_context": "default", "contexts": contexts}}))
        self._settings = Path(box.env["XDG_CONFIG_HOME"], "pachmount", "pachmount.toml")
        certificate = str(tls[1])
        self._words = {
            "NAME": "images",
            "NAME[:/PATH]": "images:/2024",
            "REPO": "images",
            "REPO@BRANCH": "images@master",
            "SOURCE": "images",
            "OTHER": "other",
            "SETTING": "cache_size",
            "PATH": "/labels.csv",
            "DIR": "somewhere",
            "SPEC": "edges.yaml",
            "NOTEBOOK": "edges.ipynb",
            "COMMAND": "true",
            "TEXT": "text",
            "C": "production",
            "N": "0",
            "ADDRESS": pipelines.address,
            "grpcs://pachd.example:443": tls[0].address,
            "ca.pem": certificate,
            "127.0.0.1:30651": "127.0.0.1:0",
            "x": "images",
            "bash": "true",
        }
        self._directories = {"import": "photos"}
        self._files = {"publish": "edges.ipynb", "login": certificate, "serve": "auth.toml", "mount-server": "log.txt"}

    @staticmethod
    def _write_notebook(path: Path) -> None:
        config = {
            "pipeline": {"name": "edges", "project": {"name": "default"}},
            "image": "python:3.12",
            "input_spec": "pfs:\n  repo: images\n  glob: /*\n",
        }
        cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": "print(1)"}
        metadata = {"pachyderm_pps": {"version": "v1.0.0", "config": config}}
        path.write_text(json.dumps({"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}))

    def arguments(self, words: Sequence[str]) -> list[str]:
        """A line with what is there for what the document says."""
        head = self.pipelines.client.inspect_commit(CommitRef(RepoRef("default", "images"), "master")).commit.id
        found = []
        for word in words[1:]:
            if word in ("…", "..."):
                continue
            named = self._files[words[1]] if word == "FILE" else self._words.get(word, word)
            named = self._directories.get(words[1], named) if word == "DIR" else named
            if word == "ADDRESS" and "--server-ca" in words:
                named = self._words["grpcs://pachd.example:443"]
            if named == word:
                named = re.sub(r"^(~|/scratch|/mnt|/tmp)(?=/)", str(self.box.root / "places"), word)
            found.append(named.replace("=COMMIT", f"={head}"))
        if words[1:3] == ["completion", "true"]:
            found[1] = "bash"
        return found

    def make_ready(self, line: str) -> None:
        """What a line needs: the cluster, the mounts, something staged; what the one before has left goes."""
        if self._settings.exists():
            self._settings.unlink()
            self.box.run("daemon", "stop")
        try:
            self.box.clean()
        except DaemonNotRunningError:
            self.box.ok("daemon", "start")
        for left in ("somewhere", "images", "images-staged", "found", "edges", "run", "edges.run"):
            shutil.rmtree(self.here / left, ignore_errors=True)
        address = self.auth.address if WITH_LOGIN.fullmatch(line) else self.pipelines.address
        cluster = self.box.status()["cluster"]
        if address == self.auth.address and cluster["auth"] != "logged-in":
            self.box.ok("login", address, "--token-stdin", stdin=READER)
        elif address != cluster["address"]:
            self.box.ok("login", address)
        if line.startswith(("datum next", "datum prev", "datum unmount", "datum show", "datum list", "datum status")):
            self.box.ok("datum", "mount", str(self.here / "edges.yaml"))
        elif OF_MOUNTS.fullmatch(line) and address != self.auth.address:
            self.box.mount("images", mode="" if OF_READ_ONLY.fullmatch(line) else "rw")
            if line.startswith(("commit", "diff", "discard")):
                self.box.path("images", "labels.csv").write_text("changed")
                self.box.path("images", "new").write_text("new")
        elif line.startswith("staged") and address != self.auth.address:
            self.box.mount("images", mode="rw")
            self.box.path("images", "new").write_text("new")
            self.box.ok("unmount", "images", "--keep")
        if line == "mount images DIR":
            (self.here / "somewhere").mkdir()
        if line.startswith("pipelines"):
            self.box.ok("publish", "edges.ipynb", cwd=self.here)

    @property
    def env(self) -> dict[str, str]:
        return {
            **self.box.env,
            "PATH": f"{self.here / 'bin'}:{Path(sys.executable).parent}:{self.box.env['PATH']}",
        }

    def run(self, arguments: Sequence[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pachmount", *arguments],
            cwd=self.here,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def run_for_a_while(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run until something is printed, and the command would have failed by then; then Ctrl-C."""
        place = self.here / "somewhere" if "--mount-dir" in arguments else self.box.root / "places" / "own"
        own = {"PFS_MOUNT_DIR": str(place)} if _is_daemon(arguments) else {}
        process = subprocess.Popen(
            ["pachmount", *arguments],
            cwd=self.here,
            env={**self.env, **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        printed: list[str] = []
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            if own:
                self._answers(own)
            else:
                printed.append(process.stdout.readline())
            process.send_signal(signal.SIGINT)
            printed.append(process.communicate(timeout=60)[0])
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()
        return subprocess.CompletedProcess(arguments, process.returncode, "".join(printed), "")

    def _answers(self, own: dict[str, str]) -> None:
        """Wait until the daemon of another mount directory answers."""
        wait_until(lambda: self.box.run("status", **own).returncode == 0, "it answers", 40)


def _is_daemon(arguments: Sequence[str]) -> bool:
    return arguments[0] == "mount-server" or list(arguments[:2]) == ["daemon", "run"]


@pytest.fixture(scope="module")
def reader(fuse: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    places = tmp_path_factory.mktemp("clusters")
    with contextlib.ExitStack() as stack:
        pipelines = stack.enter_context(pipeline_cluster(places / "pipelines"))
        auth = stack.enter_context(auth_cluster(tmp_path_factory.mktemp("auth")))
        trusted, certificate = authority(places)
        proxy = stack.enter_context(TlsProxy(trusted.issue_cert("127.0.0.1"), pipelines.address))
        files = {"/a.png": b"a", "/labels.csv": b"a,b\n", "/2024/b.png": b"b", "/dir/c": b"c"}
        pipelines.put(RepoRef("default", "images"), {"/first": b"1"})
        pipelines.put(RepoRef("default", "images"), files)
        pipelines.put(RepoRef("default", "edges"), {"/a.png": b"a"})
        pipelines.put(RepoRef("default", "labels"), {"/a": b"a"}, "dev")
        pipelines.put(RepoRef("photos", "images"), files)
        pipelines.put(RepoRef("photos", "images"), files, "dev")
        box = Box()
        stack.callback(box.close)
        yield Reader(box, pipelines, auth, (proxy, certificate))
        assert not box.log_problems()


@pytest.mark.parametrize("words", [words for _, words in LINES], ids=[line for line, _ in LINES])
def test_it_runs(reader: Reader, words: list[str]) -> None:
    line = " ".join(words[1:])
    reader.make_ready(line)
    arguments = reader.arguments(words)
    if ENDLESS.fullmatch(line):
        done = reader.run_for_a_while(arguments)
        assert done.returncode in (0, 130), done
        return
    done = reader.run(arguments, stdin=READER)
    expected = ENDS_WITH.get(line, 0)
    if done.returncode == 2 and len(words) <= 3 and not words[-1].startswith("-"):
        assert "Usage" in done.stderr or "error: " in done.stderr  # the command's name, in running text
    else:
        assert done.returncode == expected, done
