"""What all tests share: whether this machine can mount, and a clean environment for everything they start."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from pachmount.errors import CannotMountError
from pachmount.fuse import library

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # tests start many processes while a gRPC client is open
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; programs under test inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def missing_for_fuse() -> str:
    """What keeps this machine from mounting with FUSE, or ""."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"/dev/fuse cannot be opened: {error.strerror}"
    try:
        library.choose()
    except CannotMountError as error:
        return str(error)
    return ""


@pytest.fixture(scope="session")
def fuse() -> None:
    """Skips tests where FUSE is missing; in CI that is a failure, since scripts/setup installs what it needs."""
    missing = missing_for_fuse()
    if missing and os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"cannot test mounts, and CI may not skip them: {missing}")
    if missing:
        pytest.skip(missing)


@pytest.fixture(autouse=True)
def _same_directory() -> Iterator[None]:
    """A test that changes the working directory does not change it for the next one."""
    before = os.getcwd()
    yield
    os.chdir(before)
