"""Damages any file of a whole installation at random, and then uses it as its user would.

As a program: `python -m tests.integration.damage [--rounds N] [--seed N]`.

A world has repos on the embedded server, a mount, a read-write mount with staged changes, changes that were kept, a
checkout with an edited file, a run, a context, settings, a cache. It is left by `kill -9` or by a clean stop. Each
round takes a copy, damages one file below its directories, and runs the usual commands. What is read is right, or an
error; no content that was on the disk goes; no command hangs or prints words of Python or of a library; where something
cannot be read, a command names the file or its store; then the repairs make everything usable.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from tests import damaging
from tests.integration.box import Box, wait_until

COMMAND_SECONDS = 60.0
PROBE = 256
_OURS = re.compile(
    r"Traceback|Fatal Python|\bbug\b|internal error|sqlite3\.|disk image is malformed|not a database|object is not"
    r"|\b(?:Type|Key|Value|Index|Attribute|Runtime|Assertion|Unicode\w*|JSONDecode|Operational|Database|OS|Struct)Error\b"
)
"""Words that no user should have to read."""
_PROGRAM = """
import hashlib, json, os, sys
seen = {}
def failed(error):
    seen[os.path.relpath(error.filename, sys.argv[1])] = None
for directory, _, names in os.walk(sys.argv[1], onerror=failed):
    for name in names:
        path = os.path.join(directory, name)
        try:
            with open(path, "rb") as file:
                seen[os.path.relpath(path, sys.argv[1])] = hashlib.sha256(file.read()).hexdigest()
        except OSError:
            seen[os.path.relpath(path, sys.argv[1])] = None
print(json.dumps(seen))
"""

Files = dict[str, bytes]
Seen = dict[str, str | None]  # a path and the digest of its content; None: an error


def _kind(path: Path) -> str:
    """What sort of file it is: names that we make up are left out."""
    parts = [re.sub(r"[0-9a-f]{8,}", "*", part) for part in path.parts]
    if parts[0] == "co" and not parts[-1].startswith("."):
        return "co/FILE"
    if "out" in parts and parts[0] == "state":
        return "/".join(parts[:-1]) + "/FILE"
    return "/".join(parts)


@dataclass
class World:
    """The box in which all rounds take place, and copies of it as it was left."""

    box: Box
    copies: Path
    images: Files = field(default_factory=dict)
    newer: Files = field(default_factory=dict)
    labels: Files = field(default_factory=dict)
    models: Files = field(default_factory=dict)
    edited: bytes = b""
    results: list[bytes] = field(default_factory=list)

    def make(self) -> None:
        """Fill the box. Its copies are `older`, `killed` and `stopped`."""
        box, chance = self.box, random.Random(19)
        settings = box.root / "config" / "pachmount"
        settings.mkdir(parents=True)
        (settings / "ignore").write_text("*.o\n")
        (settings / "pachmount.toml").write_text('listen = "127.0.0.1:0"\npoll_interval = 600\n')
        box.ok("login", "--local")
        self.images = {f"d{number % 3}/{number}": chance.randbytes(3000 + number * 100) for number in range(12)}
        self.images["big"] = chance.randbytes(2_500_000)
        self.labels = {f"{number}": chance.randbytes(3000) for number in range(5)}
        self.models = {f"{number}": chance.randbytes(3000) for number in range(3)}
        for name in ("images", "labels", "models"):
            box.put(name, {f"/{path}": data for path, data in getattr(self, name).items()})
        box.ok("mount", "images")
        box.ok("mount", "labels", "--rw")
        self._write("labels", self.labels, "staged-first", chance.randbytes(5000))
        box.ok("checkout", "images", "co")
        box.stop()
        self._copy("older")

        box.start()
        self._write("labels", self.labels, "staged", chance.randbytes(300_000))
        self._write("labels", self.labels, "ignored.o", chance.randbytes(2000))
        box.path("labels", "1").unlink()
        del self.labels["1"]
        box.ok("mount", "models", "--rw")
        self._write("models", self.models, "kept", chance.randbytes(5000))
        self._write("models", self.models, "2", chance.randbytes(5000))
        box.ok("unmount", "models", "--keep")
        self.edited = chance.randbytes(4000)
        (box.root / "co" / "d0" / "3").write_bytes(self.edited)
        (box.root / "spec.json").write_text(
            '{"pipeline": {"name": "edges"}, "input": {"pfs": {"repo": "labels", "glob": "/[23]"}}}'
        )
        self.run_again()
        self.results = [path.read_bytes() for path in (box.root / "state").rglob("out/*")]
        self.newer = {**self.images, "d1/1": chance.randbytes(3000)}
        box.put("images", {"/d1/1": self.newer["d1/1"]})
        assert self.see("images") == _digests(self.images)
        box.refresh("images")
        box.listed("images")
        assert self.see("images") == _digests(self.newer)
        for client in box._clusters.values():
            client.close()
        box._clusters.clear()
        box.crash()
        self._copy("killed")
        box.start()
        box.stop()
        self._copy("stopped")

    def _write(self, mount: str, files: Files, name: str, content: bytes) -> None:
        self.box.path(mount, name).write_bytes(content)
        files[name] = content

    def run_again(self) -> subprocess.CompletedProcess[str]:
        """The command whose records are among what is damaged."""
        script = "for file in $1/labels/*; do base64 $file > $1/out/$(basename $file); done"
        return self.box.run(
            *("run", "spec.json", "--serial", "--", "sh", "-c", script, "sh", str(self.box.mount_dir)),
            timeout=COMMAND_SECONDS,
        )

    def see(self, mount: str) -> Seen:
        """What is to be seen in a mount."""
        seen: Seen = json.loads(self.box.python(_PROGRAM, self.box.path(mount), timeout=COMMAND_SECONDS))
        return seen

    def _copy(self, name: str) -> None:
        subprocess.run(["cp", "-a", "--reflink=auto", self.box.root, self.copies / name], check=True)

    def restore(self, name: str) -> None:
        """Put the box into the state of a copy."""
        for path in self.box.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        subprocess.run(["cp", "-a", "--reflink=auto", f"{self.copies / name}/.", self.box.root], check=True)

    def victims(self, copy: str) -> dict[str, list[Path]]:
        """All files that may be damaged, relative to the box, by kind."""
        root = self.copies / copy
        found: dict[str, list[Path]] = {}
        for path in damaging.files(root):
            if path.name != "spec.json":
                relative = path.relative_to(root)
                found.setdefault(_kind(relative), []).append(relative)
        return found

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Parts of all contents that may not go: staged ones are named `staged…`, those of the checkout `co…`."""
        known: dict[bytes, str] = {}
        for name in ("images", "newer", "models", "labels"):
            for path, data in getattr(self, name).items():
                known.setdefault(data, f"{name}/{path}")
        known |= dict.fromkeys(self.results, "results")
        known[self.edited] = "co/edited"
        for data, name in known.items():
            for at in range(0, len(data) - PROBE, max(PROBE, min(len(data) // 2, 50_000))):
                yield f"{name}[{at}]", data[at : at + PROBE]

    def on_disk(self) -> set[str]:
        """Which of these contents are on the disk, in places that are not the cache."""
        everything = {
            place: b"\0\0".join(path.read_bytes() for path in damaging.files(self.box.root / place))
            for place in ("data", "state", "co")
        }
        everything["kept"] = everything.pop("data") + everything.pop("state")
        return {
            name for name, part in self.contents() if part in everything["co" if name.startswith("co/") else "kept"]
        }


def _digests(files: Files) -> Seen:
    return {path: sha256(data).hexdigest() for path, data in files.items()}


@dataclass
class Round:
    """One file is damaged; what the user does then."""

    world: World
    victim: Path
    kind: str
    chance: random.Random
    said: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Commands that ended with an error, and what could not be read."""
    gone: set[str] = field(default_factory=set)
    """Contents that the user gave up."""

    def say(self, *command: str, stdin: str | None = None) -> str | None:
        """Run a command that may fail with a clear error; what it printed, None if it failed."""
        began = time.monotonic()
        done = self.world.box.run(*command, stdin=stdin, timeout=COMMAND_SECONDS)
        self.said.append(f"{time.monotonic() - began:.1f} s:")
        return self._look_at(done, command)

    def _look_at(self, done: subprocess.CompletedProcess[str], command: tuple[str, ...]) -> str | None:
        text = f"$ pachmount {' '.join(command)}  ({done.returncode})\n{done.stdout}{done.stderr}"
        self.said.append(text)
        assert 0 <= done.returncode < 128, text
        assert done.returncode != 70, text
        self._is_for_users(text)
        is_no_daemon = done.returncode == 3 and command == ("status",)
        if done.returncode and not is_no_daemon and command[0] != "doctor":  # it looks at other people's mounts, too
            self.failed.append(" ".join(command))
            assert "error: " in done.stderr or command[0] == "serve", text
        return None if done.returncode else done.stdout

    def _is_for_users(self, text: str) -> None:
        found = _OURS.search(text)
        assert found is None, f"{found and found[0]!r} in: {text}"

    def see(self, mount: str, *expected: Files) -> bool:
        """Whether a mount has one of these trees. What is not there as it should be must be an error."""
        try:
            seen = self.world.see(mount)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"reading {mount} hangs") from error
        problems = []
        for files in expected:
            right = _digests(files)
            wrong = [path for path, digest in seen.items() if digest not in (None, right.get(path))]
            errors = {path for path, digest in seen.items() if digest is None}
            missing = [
                path
                for path in files
                if path not in seen and not any(str(above) in errors for above in Path(path).parents)
            ]
            if not wrong and not missing:
                if errors:
                    self.failed.append(f"read {mount}: {sorted(errors)[:3]}")
                return not errors
            problems.append((wrong[:3], missing[:3]))
        raise AssertionError(f"{mount}: wrong bytes, or missing without an error: {problems}")

    def use(self) -> None:
        """All that a user does, up to the end of the daemon."""
        world = self.world
        if self._is_about("state"):
            self.say("status")
            assert all(re.search(rf"\b{name}\b", self.said[-1]) for name in ("labels", "models")), self.said[-1]
        if self.say("daemon", "start") is not None:
            self.see("images", world.newer)
            self.see("labels", world.labels)
        if self._is_about("data", "cache"):
            listed = self.say("list", "-r", "images@master")
            there = {line.strip("/") for line in (listed or "").split("\n") if line and not line.endswith("/")}
            assert listed is None or there == set(world.newer), listed
            if self.say("mount", "images", "--name", "again") is not None:
                self.see("again", world.newer)
        if self._is_about("state/pachmount/pfs"):
            changes = self.say("diff", "labels")
            told = set(re.findall(r"/[\w-]+", changes or ""))
            assert changes is None or {"/staged", "/staged-first", "/1"} <= told, changes
            if self.say("mount", "models", "--rw") is not None:
                self.see("models", world.models)
        if self.failed:
            self.say("status")
            self.say("doctor")
        self._finish_staged()
        if self._is_about("co/", "data"):
            self._update_checkout()
        if self.kind.startswith("state/pachmount/runs"):
            self._look_at(world.run_again(), ("run",))
        elif self.kind.startswith("cache"):
            self.say("cache", "verify")
        elif self.kind.startswith(("config", "pachctl")):
            self.say("config", "show")
            self.say("context", "show")
        self.say("unmount", "--all", "--keep", "--yes")
        self.stop()

    def _is_about(self, *places: str) -> bool:
        """Whether to do something that has to do with these places: else it is done in some rounds only, for time."""
        return self.kind.startswith(places) or self.chance.random() < 0.2

    def _finish_staged(self) -> None:
        world = self.world
        end = self.chance.choice(["commit", "discard", "keep", "unmount"])
        if end == "commit" and self.say("commit", "labels") is not None:
            self.see("labels", world.labels)
        elif end == "discard" and self.say("discard", "labels", "--yes") is not None:
            self.gone |= {name for name, _ in world.contents() if name.startswith(("labels/staged", "labels/ignored"))}
        elif end == "unmount" and self.say("unmount", "labels") is not None and self.say("mount", "labels") is not None:
            committed = {path: data for path, data in world.labels.items() if path != "ignored.o"}
            self.see("labels", committed, world.labels)

    def _update_checkout(self) -> None:
        """The edited file is in the way; then it is given up."""
        world, place = self.world, self.world.box.root / "co"
        before = {path.relative_to(place).as_posix(): path.read_bytes() for path in damaging.files(place)}
        done = world.box.run("checkout", "--update", "co", timeout=COMMAND_SECONDS)
        if "local changes" not in done.stderr:
            self._look_at(done, ("checkout", "--update"))
        for is_forced in (False, True):
            if is_forced:
                self.gone |= {name for name, _ in world.contents() if name.startswith("co/")}
                self.say("checkout", "--update", "--force", "co")
            after = {path.relative_to(place).as_posix(): path.read_bytes() for path in damaging.files(place)}
            for path, data in after.items():
                if not path.startswith(".") and data not in (before.get(path), world.newer.get(path)):
                    raise AssertionError(f"the checkout has other bytes: {path}")
            lost = [path for path in world.images if path in before and path not in after]
            assert not lost, f"the checkout lost {lost}"
            assert is_forced or before.get("d0/3") == after.get("d0/3"), "an edited file was replaced"

    def stop(self) -> None:
        self.say("daemon", "stop")
        wait_until(lambda: not list(self.world.box.process_ids()), "all processes end")

    def check_logs(self) -> None:
        """Logs have no Python, but may say what SQLite said of a file; those that were damaged have anything."""
        for path in damaging.files(self.world.box.root / "state"):
            if path.suffix in (".log", ".stderr") and "ledger" not in path.parts and path.name != self.victim.name:
                text = (
                    path.read_text(errors="replace")
                    .replace("file is not a database", "")
                    .replace("disk image is malformed", "")
                )
                self._is_for_users(f"{path.name}: {text}")

    def repair(self) -> None:
        """What errors say helps; then everything is to be used again."""
        box = self.world.box
        self.say("serve", "--repair")
        for store in sorted(box.places.staged.iterdir()) if box.places.staged.exists() else ():
            code = "import sys, pathlib; from pachmount.overlay.repair import repair; repair(pathlib.Path(sys.argv[1]))"
            box.python(code, store)
        self.failed.clear()
        assert self.say("daemon", "start") is not None
        assert self.say("status") is not None
        if self.say("mount", "images", "--name", "anew") is not None:
            self.see("anew", self.world.newer)
        self.say("unmount", "--all", "--keep", "--yes")
        self.stop()


_FOR_THE_USER = ("data/", "state/pachmount/pfs-*/staged/", "config/", "pachctl.json", "co/")
"""Where damage may be an error; everywhere else it costs nothing but the work to make the file anew."""


@dataclass
class Harness:
    """Rounds of damage."""

    world: World
    seed: int
    kinds: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def run(self, rounds: int, told: Callable[[str], None] = lambda _: None) -> None:
        chance = random.Random(self.seed)
        waiting: dict[str, list[str]] = {"killed": [], "stopped": []}
        for number in range(rounds):
            copy = ("killed", "stopped")[number % 2]
            kinds = self.world.victims(copy)
            if not waiting[copy]:  # each kind once before any comes again
                waiting[copy] = sorted(kinds)
                chance.shuffle(waiting[copy])
            kind = waiting[copy].pop()
            victim, way = chance.choice(kinds[kind]), chance.choice(damaging.WAYS)
            what = f"round {number} (seed {self.seed}): {copy}, {way}: {victim}"
            one = Round(self.world, victim, kind, random.Random(chance.random()))
            try:
                end = self.play(one, copy, way)
            except AssertionError as error:
                raise AssertionError(f"{what}: {error}\n" + "\n".join(one.said)) from error
            self.kinds[kind] += 1
            self.ends[end] += 1
            told(f"{what}: {end}")

    def play(self, one: Round, copy: str, way: str) -> str:
        """One round; how it ended."""
        world, root = self.world, self.world.box.root
        world.restore(copy)
        path = root / one.victim
        whole = path.read_bytes()
        others = [root / other for other in damaging.files(path.parent)]
        damaging.damage(way, path, one.chance, older=world.copies / "older" / one.victim, others=others)
        is_changed = not path.exists() or path.read_bytes() != whole
        before = world.on_disk()
        try:
            one.use()
            one.check_logs()
            gone = before - world.on_disk() - one.gone
            assert not gone, f"contents vanished: {sorted(gone)[:5]}"
            if not one.failed:
                return "all was right"
            assert is_changed, "an error without any damage"
            assert one.kind.startswith(_FOR_THE_USER), f"an error by damage of what can be made anew: {one.failed}"
            said = "\n".join(one.said)
            store = one.victim.parent.name
            assert path.name in said or f"/{store}'" in said or f"'{store}'" in said, "no command names the file"
            if one.kind.startswith(("config", "pachctl")):
                path.write_bytes(whole)
            one.repair()
            gone = before - world.on_disk() - one.gone
            assert not gone, f"the repair removed contents: {sorted(gone)[:5]}"
            return "errors, then repaired"
        finally:
            world.box.crash()

    def lines(self) -> Iterator[str]:
        yield f"{sum(self.ends.values())} rounds, seed {self.seed}, {len(self.kinds)} kinds of files:"
        yield from (f"{count:8} {end}" for end, count in self.ends.most_common())
        yield from (f"{count:8} {kind}" for kind, count in sorted(self.kinds.items()))


@contextmanager
def made() -> Iterator[World]:
    """The world, for as many rounds as are wanted."""
    box = Box()
    with tempfile.TemporaryDirectory(prefix="pm-copies-") as copies:
        try:
            world = World(box, Path(copies))
            world.make()
            yield world
        finally:
            box.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with made() as world:
        harness = Harness(world, arguments.seed)
        try:
            harness.run(arguments.rounds, lambda text: print(text, flush=True))
        except AssertionError as error:
            print(error)
            return 1
        finally:
            print("\n".join(harness.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
