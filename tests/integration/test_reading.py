"""Every way in which programs read: random preads at once, O_DIRECT, sendfile, sparse reads, tiny buffers."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.box import Box

MIB = 1 << 20
SIZE = 24 * MIB + 4321

READER = """
import hashlib, os, random, sys
path, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
generator, size, digest = random.Random(seed), os.stat(path).st_size, hashlib.sha256()
descriptor = os.open(path, os.O_RDONLY)
for _ in range(count):
    offset, length = generator.randrange(size + 10), generator.choice([1, 100, 4096, 131072, 3000000])
    data = os.pread(descriptor, length, offset)
    while len(data) < min(length, max(0, size - offset)):  # only a signal may cut a read
        more = os.pread(descriptor, length - len(data), offset + len(data))
        assert more, (offset, length, len(data))
        data += more
    digest.update(data)
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def content() -> bytes:
    return random.Random(42).randbytes(SIZE)


@pytest.fixture(scope="module")
def repo(shared_box: Box, content: bytes) -> str:
    repo = shared_box.repo("reading")
    shared_box.put(repo, {"/file": content, "/small": b"small"})
    return repo


@pytest.fixture
def file(box: Box, repo: str) -> Path:
    """A file of some blocks, in a fresh mount: nothing of it is in the kernel's page cache."""
    box.mount(repo)
    return box.path(repo, "file")


def test_eight_readers_at_once_get_the_right_bytes_at_random_offsets(box: Box, file: Path, content: bytes) -> None:
    local = box.root / "same"
    local.write_bytes(content)

    def read(path: Path, seed: int) -> str:
        return box.python(READER, path, str(seed), "60", timeout=120).strip()

    with ThreadPoolExecutor(8) as pool:
        shown = [pool.submit(read, file, seed) for seed in range(8)]
        results = [reader.result() for reader in shown]
    assert results == [read(local, seed) for seed in range(8)]


def test_direct_reads_pass_the_page_cache_by(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 2 * MIB) as aligned:
            for offset in (0, 5 * MIB, 20 * MIB + 4096, SIZE - SIZE % 4096):
                length = os.preadv(descriptor, [aligned], offset)
                assert aligned[:length] == content[offset : offset + 2 * MIB]
                assert length == len(content[offset : offset + 2 * MIB])
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("call", ["sendfile", "copy_file_range", "splice"])
def test_the_kernel_copies_without_the_program(box: Box, file: Path, content: bytes, call: str) -> None:
    target = box.root / f"by-{call}"
    program = f"""
import os, sys
source, target = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
read_end, write_end = os.pipe()
while True:
    if {call!r} == "sendfile":
        done = os.sendfile(target, source, None, 1 << 20)
    elif {call!r} == "splice":
        done = os.splice(source, write_end, 1 << 16)
        os.splice(read_end, target, done) if done else None
    else:
        try:
            done = os.copy_file_range(source, target, 1 << 20)
        except OSError as error:
            if error.errno != 18:
                raise
            done = os.write(target, os.read(source, 1 << 20))  # what programs do after EXDEV
    if not done:
        break
"""
    box.python(program, file, target)
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(content).digest()


def test_reads_at_and_after_the_end(file: Path, content: bytes) -> None:
    with file.open("rb", buffering=0) as shown:
        descriptor = shown.fileno()
        assert os.pread(descriptor, 100, SIZE - 10) == content[-10:]
        assert os.pread(descriptor, 100, SIZE) == b""
        assert os.pread(descriptor, 100, SIZE + 10 * MIB) == b""
        assert shown.seek(-5, os.SEEK_END) == SIZE - 5
        assert shown.read(99) == content[-5:]


def test_reading_backwards_and_with_tiny_buffers(file: Path, content: bytes) -> None:
    step = 3 * MIB + 1
    with file.open("rb") as shown:
        for offset in range(SIZE - step, 0, -step):
            shown.seek(offset)
            assert shown.read(step) == content[offset : offset + step]
    with file.open("rb", buffering=0) as shown:
        assert b"".join(shown.read(7) for _ in range(1000)) == content[:7000]


def test_a_second_opening_sees_the_same_and_is_not_fetched_again(box: Box, file: Path, content: bytes) -> None:
    assert file.read_bytes() == content
    reads = box.status()["cache"]["fetched_bytes"]
    assert file.read_bytes() == content
    assert box.status()["cache"]["fetched_bytes"] == reads
