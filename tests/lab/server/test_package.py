"""The package: what it needs, what it leaves alone, and that Jupyter finds it."""

from __future__ import annotations

import re
import subprocess
import sys

from pachmount import __version__

WITHOUT_JUPYTER = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].startswith(("jupyter", "traitlets")):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import pachmount_lab
"""
NOTHING_OF_JUPYTER = """
import sys
import pachmount.cli.root, pachmount.client, pachmount.daemon.app
print([name for name in sys.modules if name.startswith(("jupyter", "traitlets", "pachmount_lab"))])
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_without_jupyter_an_import_says_what_to_install() -> None:
    done = python("-c", WITHOUT_JUPYTER)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install 'pachmount[lab]'")


def test_pachmount_itself_imports_nothing_of_jupyter() -> None:
    assert python("-c", NOTHING_OF_JUPYTER).stdout.strip() == "[]"


def test_jupyter_finds_it_without_being_told() -> None:
    done = python("-m", "jupyter_core.command", "server", "extension", "list")
    listed = done.stdout + done.stderr
    assert re.search(rf"pachmount_lab.* {re.escape(__version__)} .*OK", listed), listed
