"""What is shipped: the front end is in the wheel and in the sdist, and nobody needs Node.js or Jupyter for the rest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from pachmount import __version__
from tests.packaging.building import ROOT, build

LAB = ROOT / "lab"
FRONT_END = f"pachmount-{__version__}.data/data/share/jupyter/labextensions/pachmount-lab/"
SERVER_CONFIG = f"pachmount-{__version__}.data/data/etc/jupyter/jupyter_server_config.d/pachmount_lab.json"


def test_the_wheel_has_a_front_end_that_jupyterlab_can_load(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        package = json.loads(archive.read(f"{FRONT_END}package.json"))
        config = json.loads(archive.read(SERVER_CONFIG))
    loaded = package["jupyterlab"]["_build"]
    assert FRONT_END + loaded["load"] in names
    assert f"{FRONT_END}static/{PurePosixPath(loaded['style']).name}.js" in names
    assert FRONT_END + "schemas/pachmount-lab/panel.json" in names
    assert FRONT_END + "install.json" in names
    assert config == {"ServerApp": {"jpserver_extensions": {"pachmount_lab": True}}}
    assert "pachmount_lab/__init__.py" in names


def test_the_wheel_has_the_front_end_once_and_nothing_of_its_making(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert [name for name in names if name.startswith("pachmount_lab/") and not name.endswith((".py", ".typed"))] == []
    assert [name for name in names if name.endswith((".ts", ".tsx", ".map", "yarn.lock"))] == []


def test_the_sdist_has_the_sources_and_what_was_built_of_them(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "lab/src/index.ts",
        "lab/yarn.lock",
        "lab/hatch_build.py",
        "lab/pachmount_lab/labextension/package.json",
    } <= names
    assert not any(
        part in name.split("/") for name in names for part in ("node_modules", ".yarn", "lib", "__pycache__")
    )


def test_without_node_the_wheel_has_the_command_line_only_and_the_build_says_so(unpacked: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(unpacked, source)
    shutil.rmtree(source / "lab" / "pachmount_lab" / "labextension")
    made, said = build(source, "wheel", tmp_path / "wheel", "auto", node=False)
    assert "no JupyterLab front end" in said
    with zipfile.ZipFile(made) as archive:
        names = archive.namelist()
    assert "pachmount/cli/main.py" in names
    assert not any("labextensions" in name for name in names)


def test_a_front_end_of_other_sources_is_not_shipped(unpacked: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(unpacked, source)
    with (source / "lab" / "src" / "index.ts").open("a") as index:
        index.write("// patched\n")
    assert "no JupyterLab front end" in build(source, "wheel", tmp_path / "wheel", "auto", node=False)[1]


def test_the_front_end_has_our_version() -> None:
    assert json.loads((LAB / "package.json").read_text())["version"] == __version__


def test_nothing_of_jupyter_is_imported_without_the_extension() -> None:
    names = ("jupyter_server", "jupyter_core", "jupyterlab", "traitlets", "pachmount_lab")
    code = f"import sys, pachmount, pachmount.cli.root, pachmount.daemon.app; print(set({names}) & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_jupyter_here_uses_what_is_built_here(tmp_path: Path) -> None:
    _assert_jupyter_knows_the_extension(Path(sys.prefix), tmp_path)
    installed = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / "pachmount-lab"
    assert installed.resolve() == LAB / "pachmount_lab" / "labextension"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_clean_environment_with_the_wheel(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    pip = [tmp_path / "venv" / "bin" / "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", f"pachmount[lab] @ file://{wheel}"], check=True)
    subprocess.run([*pip, "check"], check=True)
    _assert_jupyter_knows_the_extension(tmp_path / "venv", tmp_path)


def _assert_jupyter_knows_the_extension(prefix: Path, home: Path) -> None:
    environment = {**os.environ, "HOME": str(home), "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def listed(*command: str) -> str:
        done = subprocess.run(
            [prefix / "bin" / "jupyter", *command], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout + done.stderr

    front = next(line for line in listed("labextension", "list").splitlines() if "pachmount-lab" in line)
    assert f"v{__version__}" in front
    assert "enabled" in front
    assert "OK" in front
    server = listed("server", "extension", "list").splitlines()
    assert any("pachmount_lab" in line and __version__ in line and "OK" in line for line in server), server
