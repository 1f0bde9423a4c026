"""Directory trees to import, and what they must look like in a mount."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

MIB = 1 << 20
BIG_BYTES = 100 * MIB
LONG_NAME = "n" * 251 + ".bin"
MANY = 5000


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(MIB):
            digest.update(piece)
    return digest.hexdigest()


def fingerprint(top: Path, exclude: frozenset[str] = frozenset()) -> dict[str, str]:
    """Path below `top` → hash of every file; names in `exclude` are left out. Links count as what they point to."""
    found = {}
    for directory, directories, files in os.walk(top, followlinks=True):
        directories[:] = [name for name in directories if name not in exclude]
        for name in files:
            if name not in exclude:
                path = Path(directory, name)
                found[str(path.relative_to(top))] = sha256(path)
    return found


def make_odd_tree(top: Path) -> None:
    """Everything that is awkward and can be stored: odd names, an empty and a big file, deep and full directories."""
    generator = random.Random(20261)
    files = {
        "empty": b"",
        "one byte": b"x",
        LONG_NAME: b"a name of 255 bytes",
        "d" * 255 + "/" + "e" * 255: b"below a long name",
        'it\'s "quoted".txt': b"quotes",
        "back\\slash\\n": b"a backslash is a letter",
        " leading and trailing ": b"spaces",
        "-rf": b"a dash",
        ".hidden/.file": b"dots",
        "...": b"three dots",
        "$HOME `id` ;|&<>~#%=,:_": b"shell",
        "file1": b"1",
        "file10": b"10",
        "file1.d/x": b"next to file1",
        "file1-": b"sorts between",
        "same/a": b"equal content" * 1000,
        "same/b": b"equal content" * 1000,
        "/".join(f"level{i}" for i in range(40)) + "/deep": b"deep",
        "edge-1M": generator.randbytes(MIB),
        "edge-1M-1": generator.randbytes(MIB - 1),
        "edge-1M and 1": generator.randbytes(MIB + 1),
        "edge-1000000": generator.randbytes(1_000_000),
        "edge-999999": generator.randbytes(999_999),
        "medium": generator.randbytes(5 * MIB + 17),
    }
    for path, content in files.items():
        target = top / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    with (top / "big").open("wb") as big:
        for _ in range(BIG_BYTES // (10 * MIB)):
            big.write(generator.randbytes(10 * MIB))
    many = top / "many"
    many.mkdir()
    for number in range(MANY):
        (many / f"entry-{number:05}").write_bytes(b"%d" % number)
