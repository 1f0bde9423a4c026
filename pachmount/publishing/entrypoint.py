"""Runs published code in a pipeline: installs requirements.txt, then runs user_code.py. Written by pachmount."""

import os
import runpy
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CODE = os.path.join(HERE, "user_code.py")
REQUIREMENTS = os.path.join(HERE, "requirements.txt")


def ipython_commands() -> "dict[str, object]":
    """What code that came from a notebook calls for %magics and !commands."""
    try:
        from IPython.core.interactiveshell import InteractiveShell
    except ImportError:
        sys.exit("the code uses IPython's % or ! commands: add ipython to its requirements, or to the image")
    return {"get_ipython": InteractiveShell.instance}


def main() -> None:
    print("running published code with Python", sys.version.split()[0], flush=True)
    if os.path.exists(REQUIREMENTS):
        subprocess.run([sys.executable, "-m", "pip", "install", "-r", REQUIREMENTS], check=True)
    with open(CODE, encoding="utf-8") as file:
        names = ipython_commands() if "get_ipython()" in file.read() else {}
    runpy.run_path(CODE, names, "__main__")


if __name__ == "__main__":
    main()
