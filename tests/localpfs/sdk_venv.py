"""An interpreter that has the official pachyderm-sdk.

It cannot be installed beside pachmount: it wants python-dotenv 1.0, pydantic-settings 1.2 or newer. So it lives in a
venv of its own, `.venv-sdk`, which is made when it is needed for the first time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_VENV = Path(__file__).resolve().parents[2] / ".venv-sdk"
_SDK = "pachyderm-sdk==2.12.2"


def sdk_python() -> Path:
    """The interpreter; without network the test is skipped, on CI it fails."""
    stamp = _VENV / "setup.stamp"
    if not stamp.exists() or stamp.read_text() != _SDK:
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", _VENV], check=True, capture_output=True)
            pip = [_VENV / "bin/pip", "install", "--quiet", "--disable-pip-version-check", _SDK]
            subprocess.run(pip, check=True, capture_output=True, timeout=150)
        except subprocess.SubprocessError as error:
            why = f"{_SDK} cannot be installed: {getattr(error, 'stderr', None) or error}"
            if os.environ.get("CI", "").lower() == "true":
                pytest.fail(why)
            pytest.skip(why)
        stamp.write_text(_SDK)
    return _VENV / "bin/python"
