"""A program at work in a read-write mount whose daemon is about to be killed, and what must be there afterwards.

    python -m tests.integration.kill_worker DIRECTORY LOG SEED

It changes what is in a directory until the mount answers no more, and writes to a log, outside of the mount, each
operation before it begins, and that it was answered. `Expected` reads such a log.
"""

from __future__ import annotations

import json
import os
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ["one", "two", "three", "deep/four", "deep/five", "deep/deeper/six"]
GONE = (OSError, EOFError)


class Worker:
    """`files` are open for appending; what was written to them is acknowledged when they are synced or closed."""

    def __init__(self, top: Path, log: Path, seed: int) -> None:
        self._top = top
        self._rng = random.Random(seed)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._files: dict[str, int] = {}

    def run(self) -> None:
        actions = [self.save, self.replace, self.append, self.sync, self.close, self.patch, self.rename, self.unlink]
        weights = [20, 15, 30, 15, 5, 10, 10, 5]
        while True:
            self._rng.choices(actions, weights)[0](self._rng.choice(NAMES))

    def _do(self, kind: str, **values: Any) -> None:
        """Say what is about to be done, or what was."""
        os.write(self._log, json.dumps({"kind": kind, **values}).encode() + b"\n")

    def _begin(self, kind: str, **values: Any) -> None:
        self._do(kind, **values)

    def _done(self) -> None:
        self._do("done")

    def _content(self) -> bytes:
        size = self._rng.choice([0, 10, 1000, 5000, 70_000, 300_000])
        return bytes(self._rng.choice(b"abcdefgh") for _ in range(10)) * (size // 10)

    def _at(self, name: str) -> Path:
        path = self._top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save(self, name: str) -> None:
        """As most programs save."""
        path, content = self._at(name), self._content()
        if name in self._files:
            return
        self._begin("save", name=name, content=content.decode())
        path.write_bytes(content)
        self._done()

    def replace(self, name: str) -> None:
        """As careful programs save."""
        path, content = self._at(name), self._content()
        if name in self._files:
            return
        self._begin("replace", name=name, content=content.decode())
        temporary = path.with_name(f"{path.name}.new")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        self._done()

    def append(self, name: str) -> None:
        """To a file that stays open; acknowledged are only the bytes of an earlier sync."""
        path, content = self._at(name), self._content()
        if name not in self._files:
            self._begin("open", name=name)
            self._files[name] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self._done()
        self._begin("append", name=name, content=content.decode())
        left = content
        while left:
            left = left[os.write(self._files[name], left) :]
        self._done()

    def sync(self, name: str) -> None:
        if name in self._files:
            self._begin("sync", name=name)
            os.fsync(self._files[name])
            self._done()

    def close(self, name: str) -> None:
        if name in self._files:
            self._begin("close", name=name)
            os.close(self._files.pop(name))
            self._done()

    def patch(self, name: str) -> None:
        """Bytes in the middle, synced."""
        path = self._at(name)
        if name in self._files or not path.exists():
            return
        content = self._content()[:5000]
        offset = self._rng.randint(0, path.stat().st_size)
        self._begin("patch", name=name, offset=offset, content=content.decode())
        with path.open("r+b", buffering=0) as file:
            file.seek(offset)
            file.write(content)
            os.fsync(file.fileno())
        self._done()

    def rename(self, name: str) -> None:
        path, other = self._at(name), self._rng.choice(NAMES)
        if path.exists() and not {name, other} & set(self._files) and name != other:
            target = self._at(other)
            self._begin("rename", name=name, to=other)
            path.rename(target)
            self._done()

    def unlink(self, name: str) -> None:
        path = self._at(name)
        if path.exists() and name not in self._files:
            self._begin("unlink", name=name)
            path.unlink()
            self._done()


@dataclass
class File:
    """`kept` is acknowledged; `appended` was written after it, without an answer to a sync."""

    kept: bytes = b""
    appended: bytes = b""

    @property
    def all(self) -> bytes:
        return self.kept + self.appended

    def may_be(self, found: bytes) -> bool:
        return found.startswith(self.kept) and self.all.startswith(found)


@dataclass
class Expected:
    """What must be in the directory, but for the operation that was not answered."""

    files: dict[str, File]
    unanswered: dict[str, Any] = field(default_factory=dict)
    operations: int = 0

    @classmethod
    def after(cls, before: dict[str, bytes], log: Path) -> Expected:
        """What was `before`, and what a log says was done since."""
        expected = cls({name: File(content) for name, content in before.items()})
        lines = log.read_text().splitlines() if log.exists() else []
        for line in lines:
            entry = json.loads(line)
            if entry["kind"] == "done":
                expected._apply(expected.unanswered)
                expected.unanswered = {}
                expected.operations += 1
            else:
                expected.unanswered = entry
        return expected

    def _apply(self, entry: dict[str, Any]) -> None:
        files, kind, name = self.files, entry["kind"], entry["name"]
        content = entry.get("content", "").encode()
        if kind in ("save", "replace"):
            files[name] = File(content)
            if kind == "replace":
                files.pop(f"{name}.new", None)  # of an earlier round
        elif kind == "open":
            files.setdefault(name, File())
        elif kind == "append":
            files[name].appended += content
        elif kind in ("sync", "close"):
            files[name] = File(files[name].all)
        elif kind == "patch":
            files[name] = File(_patched(files[name].all, entry["offset"], content))
        elif kind == "rename":
            files[entry["to"]] = files.pop(name)
        elif kind == "unlink":
            del files[name]

    def wrong(self, found: dict[str, bytes]) -> list[str]:
        """What is not as it must be."""
        entry = self.unanswered
        kind, name, other = (entry.get(key, "") for key in ("kind", "name", "to"))
        unsure = {name, other, f"{name}.new"} if kind else set()
        names = set(self.files) - unsure
        wrong = [f"{path} is missing" for path in names - set(found)]
        wrong += [f"{path} should not be there" for path in set(found) - names - unsure]
        wrong += [
            f"{path}: {len(found[path])} bytes are not what was written"
            for path in names & set(found)
            if not self.files[path].may_be(found[path])
        ]
        return wrong + self._wrong_unanswered(entry, found)

    def _wrong_unanswered(self, entry: dict[str, Any], found: dict[str, bytes]) -> list[str]:
        if not entry:
            return []
        kind, name = entry["kind"], entry["name"]
        before, now, content = self.files.get(name), found.get(name), entry.get("content", "").encode()
        if kind == "rename":
            replaced = self.files.get(entry["to"])
            moved = name not in found and before is not None and before.may_be(found.get(entry["to"], b"\0"))
            stayed = before is not None and now is not None and before.may_be(now)
            intact = (
                found.get(entry["to"]) is None if replaced is None else replaced.may_be(found.get(entry["to"], b""))
            )
            return [] if moved or (stayed and intact) else [f"{name} was lost when it was renamed"]
        if now is None:
            return [] if before is None or kind == "unlink" else [f"{name} is gone after an unanswered {kind}"]
        if kind == "save":
            fine = now in (b"", content) or content.startswith(now)
        elif kind == "replace":
            fine = now == content
        elif kind == "append":
            fine = File(before.kept, before.appended + content).may_be(now) if before else False
        elif kind == "patch" and before is not None:
            after = _patched(before.all, entry["offset"], content)
            fine = len(now) in (len(before.all), len(after)) and all(
                byte in (before.all[at : at + 1], after[at : at + 1])
                for at, byte in enumerate(now[at : at + 1] for at in range(len(now)))
            )
        else:
            fine = kind == "open" and now == b""
        return [] if fine or (before is not None and before.may_be(now)) else [f"{name} is damaged by a {kind}"]


def _patched(before: bytes, offset: int, content: bytes) -> bytes:
    return before[:offset] + content + before[offset + len(content) :]


def tree(top: Path) -> dict[str, bytes]:
    """All files of a directory."""
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


if __name__ == "__main__":
    worker = Worker(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    try:
        worker.run()
    except GONE as error:
        print(error)
