"""The directory of a run: logs and outputs of its datums, and which of them need not be run again.

    lock             held while a run uses the directory
    outcomes.jsonl   a line for each datum that was done or forgotten: JSON, a tab and its checksum
    datums/ID/       what a datum printed, and its output

It may have come from somebody else, or from a disk with faults: a line that is not as it was written counts for nothing
(its datum is run again), and no name in it leads anywhere else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b, sha256
from pathlib import Path
from typing import IO

from pachmount import own_files
from pachmount.beneath import Beneath, Spot
from pachmount.datums.model import Datum
from pachmount.documents import DamagedError, parse_json
from pachmount.errors import BusyError, ConfigurationError, DataError, UsageError
from pachmount.paths import make_private_dir
from pachmount.running import filling
from pachmount.running.merge import cannot_write
from pachmount.running.messages import Outcome
from pachmount.running.place import OUT
from pachmount.running.transform import Transform

_LOCK = "lock"
_STEM = "outcomes"
_JOURNAL = f"{_STEM}.jsonl"
_DATUMS = "datums"
_MOST_LINES = 1_000
"""Lines of the journal that may say nothing, and as many again as those that do."""
_MOST_BYTES = 1 << 30
"""Of the journal: those of the most datums that a run can have fit."""
_MAX_LINE = 256 << 10
_DONE = ("success", "recovered")
_ID = re.compile(r"[0-9a-f]{64}")
_MAX_KEY = 256
_HINT = "give the run another directory with --run-dir DIR, or remove that one: all datums are run again then"


class RunDirectory:
    """Kept over runs of one spec, and used by one at a time. Raises BusyError, ConfigurationError and UsageError.

    `top` is the directory, open; `damage` tells what was wrong with it and what was done about that, "" for nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        _refuse_foreign(path)
        make_private_dir(path)
        with ExitStack() as stack, _explained(path):
            self.top = stack.enter_context(Beneath(path))
            lock = self._open_own(_LOCK, os.O_CREAT | os.O_RDWR)
            stack.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                why = f"another run uses '{path}'"
                raise BusyError(
                    "the spec is being run already", why, "wait for it, or give this one --run-dir"
                ) from error
            filling.remove_leftovers(self.top)
            found = self._read()
            self._known = found.known
            if found.damaged:
                self._set_aside(found.damaged)
            if found.damaged or found.is_torn or found.lines > _MOST_LINES + 2 * len(self._known):
                self._shorten()
            self._journal = self._open_own(_JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            stack.callback(os.close, self._journal)
            self._opened = stack.pop_all()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._opened.close()

    def forget(self, datum_ids: Iterable[str]) -> None:
        """Run these anew."""
        for datum_id in datum_ids:
            if datum_id in self._known:
                self._note(datum_id, "", None)

    def of_datum(self, datum_id: str) -> Path:
        """Where a datum's logs and output are."""
        return self.path / _below(datum_id)

    def output_of(self, datum_id: str) -> Spot:
        return self.top.at(f"{_below(datum_id)}/{OUT}")

    def done(self, datum_id: str, key: str) -> Outcome | None:
        """What became of a datum before, if that holds for `key`, which stands for its content and the code."""
        known = self._known.get(datum_id)
        if known is None or known[0] != key:
            return None
        output = self.output_of(datum_id).look()
        if output is None or not stat.S_ISDIR(output.st_mode):
            return None
        return replace(known[1], state="skipped" if known[1].state == "success" else known[1].state)

    def begin(self, datum_id: str) -> Path:
        """An empty directory for a datum. Raises PachmountError."""
        spot = self.top.at(_below(datum_id))
        try:
            found = spot.look()
            if found is not None:
                if not stat.S_ISDIR(found.st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, "it is no directory", str(spot))
                self._note(datum_id, "", None)
                self.top.remove_tree(spot.path)
            spot.mkdir()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return Path(str(spot))

    def add(self, outcome: Outcome, key: str) -> None:
        """Remember what became of a datum."""
        if outcome.state in _DONE:
            self._note(outcome.datum, key, outcome)

    def _note(self, datum_id: str, key: str, outcome: Outcome | None) -> None:
        rest = _line(datum_id, key, outcome)
        try:
            while rest:
                rest = rest[os.write(self._journal, rest) :]
        except OSError as error:
            raise cannot_write(self.path, error) from error
        if outcome is None:
            self._known.pop(datum_id, None)
        else:
            self._known[datum_id] = key, outcome

    def _shorten(self) -> None:
        """Keep of the journal only what still holds."""
        lines = (_line(datum_id, key, outcome) for datum_id, (key, outcome) in self._known.items())
        self.top.at(_JOURNAL).replace(b"".join(lines), _STEM, 0o600)

    def _set_aside(self, damaged: int) -> None:
        """Keep a journal with damaged lines under another name."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        for name in (f"{_STEM}.damaged-{stamp}{suffix}.jsonl" for suffix in ("", *(f"-{n}" for n in range(1, 100)))):
            with contextlib.suppress(FileExistsError):
                self.top.at(_JOURNAL).move_aside(name)
                what = f"{damaged:,} of the notes on what was done before are damaged"
                self.damage = f"{what}, and are now in '{self.path / name}': their datums are run again"
                return
        raise FileExistsError(errno.EEXIST, "no name is free to set the damaged notes aside", _JOURNAL)

    def _open_own(self, name: str, flags: int) -> int:
        """A regular file of ours in the directory, private whatever the umask."""
        descriptor = self.top.at(name).open(flags, 0o600)
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1 or info.st_uid != os.geteuid():
                raise OSError(errno.EINVAL, "it is no regular file of this directory alone", str(self.path / name))
            if stat.S_IMODE(info.st_mode) != 0o600:
                os.fchmod(descriptor, 0o600)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _read(self) -> _Journal:
        found = _Journal()
        try:
            descriptor = self.top.at(_JOURNAL).open_file()
        except FileNotFoundError:
            return found
        with open(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            if size > _MOST_BYTES:
                why = f"it has {size:,} bytes, more than the notes on a run can have"
                raise OSError(errno.EFBIG, why, str(self.path / _JOURNAL))
            while line := file.readline(_MAX_LINE):
                found.lines += 1
                if not line.endswith(b"\n") and not (rest := _rest_of_line(file)).endswith(b"\n"):
                    found.is_torn = True  # the last line of a run that was killed
                    found.damaged += bool(rest)
                elif line.strip() and not (len(line) < _MAX_LINE and found.take(line)):
                    found.damaged += 1
        return found


@dataclass
class _Journal:
    """What is known of each datum, how many lines say so, and how many are damaged; `is_torn`: the last has no end."""

    known: dict[str, tuple[str, Outcome]] = field(default_factory=dict)
    lines: int = 0
    damaged: int = 0
    is_torn: bool = False

    def take(self, line: bytes) -> bool:
        """Whether a line is as it was written; then it counts."""
        text, tab, digest = line.rstrip(b"\n").rpartition(b"\t")
        if tab and digest != _digest(text):
            return False
        try:
            datum_id, key, fields = parse_json(text if tab else digest)  # one of the version before has no checksum
            outcome = Outcome.checked(fields) if fields is not None else None
        except (DamagedError, ValueError, TypeError):
            return False
        if not isinstance(datum_id, str) or not _ID.fullmatch(datum_id) or not isinstance(key, str):
            return False
        if len(key) > _MAX_KEY or (outcome is not None and (outcome.datum != datum_id or outcome.state not in _DONE)):
            return False
        self.known.pop(datum_id, None)
        if outcome is not None:
            self.known[datum_id] = key, outcome
        return True


def _rest_of_line(file: IO[bytes]) -> bytes:
    """Pass over what is left of a line; its last piece."""
    last = b""
    while piece := file.readline(_MAX_LINE):
        last = piece
        if piece.endswith(b"\n"):
            break
    return last


def _below(datum_id: str) -> str:
    """Where the directory of a datum is. Raises DataError for what is no id."""
    if not _ID.fullmatch(datum_id):
        raise DataError(f"there is a datum with the id {datum_id[:80]!a}", "an id has 64 hexadecimal digits")
    return f"{_DATUMS}/{datum_id}"


def _refuse_foreign(path: Path) -> None:
    """Raises UsageError for a directory that has other files, and was of no run before: none of them is touched."""
    try:
        names = os.listdir(path)
    except OSError:  # it is not there, or making it tells why not
        return
    others = sorted(name for name in names if name not in (_JOURNAL, _DATUMS) and not own_files.is_own(name))
    if others and _LOCK not in names:
        why = f"it has files that are of no run: {own_files.shown(others)}"
        raise UsageError(f"cannot use '{path}' for a run", why, "name a directory that is new or empty: --run-dir DIR")


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise ConfigurationError(f"cannot use '{path}'", f"{error.strerror or error}{where}", _HINT) from error


def _line(datum_id: str, key: str, outcome: Outcome | None) -> bytes:
    text = json.dumps([datum_id, key, asdict(outcome) if outcome else None]).encode()
    return b"%b\t%b\n" % (text, _digest(text))


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=8).hexdigest().encode()


def code_key(transform: Transform, directory: str, code: Iterable[Path] = ()) -> str:
    """Stands for the command and its surroundings: files that its words name, and `code`, with all that is in them."""
    digest = sha256(json.dumps([asdict(replace(transform, tries=0, timeout=0.0)), directory]).encode())
    named = (Path(directory, word) for word in (*transform.cmd, *transform.err_cmd))
    for path in (*(path for path in named if _is_file(path)), *code):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(f"{file}\0{_hash_of(file)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def datum_key(code: str, datum: Datum) -> str:
    """Stands for the code and what it gets to see."""
    seen: Sequence[tuple[str, ...]] = sorted((file.input, file.path, file.hash) for file in datum.files)
    return sha256(json.dumps([code, seen]).encode()).hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a word that can be no path
        return False


def _hash_of(file: Path) -> str:
    digest = sha256()
    with open(file, "rb") as content:
        while piece := content.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
