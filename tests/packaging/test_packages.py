"""What packagers and users find in the wheel and the sdist."""

from __future__ import annotations

import email
import email.message
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pachmount import __version__
from tests.packaging.building import ROOT

DATA = f"pachmount-{__version__}.data/data/"
DIST_INFO = f"pachmount-{__version__}.dist-info/"


@pytest.fixture(scope="module")
def shipped(wheel: Path) -> dict[str, bytes]:
    """Each file of the wheel by its name there."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def metadata(shipped: dict[str, bytes]) -> email.message.Message:
    return email.message_from_bytes(shipped[f"{DIST_INFO}METADATA"])


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_index_would_take_both(wheel: Path, sdist: Path) -> None:
    assert run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", wheel, sdist).count("PASSED") == 2


def test_the_wheel_is_well_made(wheel: Path) -> None:
    assert run(sys.executable, "-m", "check_wheel_contents", wheel).strip().endswith("OK")


@pytest.mark.parametrize(
    ("source", "installed"),
    [
        ("completions/pachmount.bash", "share/bash-completion/completions/pachmount"),
        ("completions/_pachmount", "share/zsh/site-functions/_pachmount"),
        ("completions/pachmount.fish", "share/fish/vendor_completions.d/pachmount.fish"),
        *((f"{page.relative_to(ROOT)}", f"share/{page.relative_to(ROOT)}") for page in ROOT.glob("man/man*/*")),
    ],
)
def test_shells_and_man_find_our_files(shipped: dict[str, bytes], source: str, installed: str) -> None:
    assert shipped[DATA + installed] == (ROOT / source).read_bytes()


def test_the_wheel_has_the_licence(shipped: dict[str, bytes], metadata: email.message.Message) -> None:
    assert shipped[f"{DIST_INFO}licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_wheel_has_the_programs_and_the_types(shipped: dict[str, bytes]) -> None:
    scripts = shipped[f"{DIST_INFO}entry_points.txt"].decode()
    assert "pachmount = pachmount.__main__:main" in scripts
    assert "mount.fuse.pachmount = pachmount.cli.mount_helper:main" in scripts
    assert "pachmount/py.typed" in shipped


def test_the_wheel_has_nothing_that_only_developers_use(shipped: dict[str, bytes]) -> None:
    own = {f"{DATA}", DIST_INFO, "pachmount/", "pachmount_lab/"}
    assert [name for name in shipped if not name.startswith(tuple(own))] == []
    assert [name for name in shipped if "test" in Path(name).parts or Path(name).name.startswith("test_")] == []


def test_what_the_metadata_says(metadata: email.message.Message) -> None:
    assert metadata["Requires-Python"] == ">=3.10"
    classifiers = metadata.get_all("Classifier", [])
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)} <= set(classifiers)
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    assert metadata.get_all("Project-URL") is None
    assert {"lab", "fsspec", "fuse3"} <= set(metadata.get_all("Provides-Extra", []))


def test_the_sdist_has_all_that_the_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "pyproject.toml", "scripts/test", "tests/packaging/smoke.py", "lab/hatch_build.py"} <= names
