"""Reading and rewriting pachctl's config file safely: locked, atomic, private, unknown keys kept."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pachmount.errors import BusyError, ConfigurationError
from pachmount.files import replace_text
from pachmount.paths import make_dirs

_LOCK_LIMIT_S = 10.0


def read_document(path: Path) -> dict[str, Any]:
    """The file as nested dicts in the file's order; {} if it is missing or empty. Raises ConfigurationError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}", str(error)) from error
    if not text.strip():
        return {}
    try:
        document = json.loads(text)
    except ValueError:
        document = _read_yaml(path, text)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"cannot use {path}", "it does not hold a table of settings")
    return document


def rewrite_document(path: Path, change: Callable[[dict[str, Any]], None], *, make_parent: bool) -> None:
    """Read the file, let `change` edit it in place, and put the result in its place, all under a lock.

    A new file gets a `user_id`. Raises ConfigurationError (unreadable or unwritable file), BusyError (lock held long).
    """
    path = Path(os.path.realpath(path))
    try:
        if make_parent:
            make_dirs(path.parent, 0o755)
        elif not path.parent.is_dir():
            raise ConfigurationError(f"cannot use config at {path}", "could not stat parent directory")
        with _locked(path.with_name(path.name + ".lock")):
            document = read_document(path)
            if not document.get("user_id"):
                document = {"user_id": uuid.uuid4().hex} | {k: v for k, v in document.items() if k != "user_id"}
            change(document)
            replace_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}", error.strerror or str(error)) from error


def _read_yaml(path: Path, text: str) -> Any:
    import yaml  # only here: it takes a while

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"cannot use {path}", f"it is neither JSON nor YAML ({error})") from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` while the block runs. The lock file stays: removing it would race."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_LIMIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BusyError(f"cannot lock {path}", "another program is writing the configuration") from None
                time.sleep(0.005 + 0.02 * secrets.randbelow(1000) / 1000)
        yield
    finally:
        os.close(descriptor)
