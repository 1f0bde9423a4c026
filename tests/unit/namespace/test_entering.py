"""What is said where a mount namespace cannot be had, on systems that this one is not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pachmount.errors import CannotMountError
from pachmount.namespace import entering

DENIED = OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in place of /proc/sys."""
    moved = tuple(
        (file.replace("/proc/sys", str(tmp_path)), value, remedy) for file, value, remedy in entering._REFUSALS
    )
    for file, _, _ in moved:
        Path(file).parent.mkdir(exist_ok=True)
    monkeypatch.setattr(entering, "_REFUSALS", moved)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("user/max_user_namespaces", "0"),
        ("kernel/unprivileged_userns_clone", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ],
)
def test_the_switch_is_named_with_its_remedy(system: Path, file: str, value: str) -> None:
    (system / file).write_text(f"{value}\n")
    refused = entering.refusal(DENIED)
    assert refused.why == f"user namespaces are switched off here ({system / file} is {value})"
    assert file.split("/")[1] in refused.hint


def test_switches_that_are_on_are_not_blamed(system: Path) -> None:
    (system / "user/max_user_namespaces").write_text("63000\n")
    (system / "kernel/unprivileged_userns_clone").write_text("1\n")
    refused = entering.refusal(DENIED)
    assert refused.why == "Operation not permitted (user namespaces are not allowed here)"
    assert "--cap-add SYS_ADMIN" in refused.hint


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CannotMountError, match="does not exist"):
        entering.check_device(str(tmp_path / "fuse"))
