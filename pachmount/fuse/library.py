"""Which libfuse serves the mounts, and with which binding: libfuse 2 with fusepy, else libfuse 3 with mfusepy.

The only file that imports either. libfuse 2 comes first: its mounts are what most tests and all figures are about.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pachmount.errors import CannotMountError

FUSEPY, MFUSEPY = "fusepy", "mfusepy"
BINDING_VARIABLE = "PACHMOUNT_FUSE_BINDING"
"""Names one of the two, where the choice shall not be ours."""
PATH_VARIABLE = "FUSE_LIBRARY_PATH"
"""The file of a libfuse 2 or 3, for this program and for both bindings."""
LIBFUSE2_HINT = "apt install libfuse2 (libfuse2t64 on Debian 13 and Ubuntu 24.04)"
MFUSEPY_HINT = "pip install 'pachmount[fuse3]'"

_FILES = {FUSEPY: ("libfuse.so.2",), MFUSEPY: ("libfuse3.so.4", "libfuse3.so.3")}
_MODULES = {FUSEPY: "fuse", MFUSEPY: "mfusepy"}


@dataclass(frozen=True)
class Library:
    """A libfuse that can be loaded: its file, its version as in "3.14", and the binding for it."""

    file: str
    version: str
    binding: str


def choose(environment: Mapping[str, str] = os.environ) -> Library:
    """The libfuse to use; CannotMountError, with what to install, if there is none or its binding is missing."""
    wanted = environment.get(BINDING_VARIABLE, "")
    if wanted and wanted not in _MODULES:
        hint = f"unset {BINDING_VARIABLE}"
        raise CannotMountError("cannot load libfuse", f"{BINDING_VARIABLE} is '{wanted}', not fusepy or mfusepy", hint)
    named = environment.get(PATH_VARIABLE, "")
    files = [named] if named else [file for binding in _FILES if wanted in ("", binding) for file in _FILES[binding]]
    found = next((library for library in map(_look, files) if library is not None), None)
    if found is None:
        hint = LIBFUSE2_HINT if wanted != MFUSEPY else "apt install fuse3"
        raise CannotMountError("cannot load libfuse", f"{' or '.join(files)} cannot be loaded", hint)
    if wanted not in ("", found.binding):
        why = f"{BINDING_VARIABLE} is '{wanted}', but {found.file} is libfuse {found.version}, for {found.binding}"
        raise CannotMountError("cannot load libfuse", why, f"unset {BINDING_VARIABLE} or {PATH_VARIABLE}")
    if importlib.util.find_spec(_MODULES[found.binding]) is None:
        why = f"libfuse {found.version} needs {found.binding}, which is not installed"
        hint = f"{MFUSEPY_HINT}, or {LIBFUSE2_HINT}" if found.binding == MFUSEPY else "pip install fusepy"
        raise CannotMountError("cannot load libfuse", why, hint)
    return found


def load() -> Any:
    """The binding's module, with a table of all operations of its libfuse; CannotMountError as `choose`."""
    found = choose()
    before = os.environ.get(PATH_VARIABLE)
    os.environ[PATH_VARIABLE] = found.file  # spares the bindings a search with gcc and ldconfig
    try:
        module: Any = importlib.import_module(_MODULES[found.binding])
    except (OSError, ImportError, AttributeError) as error:  # AttributeError: mfusepy of a libfuse it does not know
        raise CannotMountError(f"cannot load {found.binding}", str(error), "pachmount doctor") from error
    finally:
        if before is None:
            del os.environ[PATH_VARIABLE]
    if found.binding == FUSEPY:
        module.fuse_operations = _whole_table(module)
    return module


def minor_of_libfuse3(module: Any) -> int | None:
    """14 of libfuse 3.14; None with libfuse 2."""
    minor: int | None = module.fuse_version_minor if module.__name__ == MFUSEPY else None
    return minor


def _look(file: str) -> Library | None:
    try:
        number: int = ctypes.CDLL(file).fuse_version()
    except (OSError, AttributeError):
        return None
    major, minor = divmod(number, 10 if number < 100 else 100)
    return Library(file, f"{major}.{minor}", MFUSEPY if major >= 3 else FUSEPY)


def _whole_table(fuse: Any) -> type[ctypes.Structure]:
    """libfuse 2.9's `struct fuse_operations`, of which fusepy knows the members up to `ioctl`."""
    info = ctypes.POINTER(fuse.fuse_file_info)
    fallocate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, fuse.c_off_t, fuse.c_off_t, info)
    others = [(name, ctypes.c_void_p) for name in ("poll", "write_buf", "read_buf", "flock")]
    fields = [*fuse.fuse_operations._fields_, *others, ("fallocate", fallocate)]
    return type("fuse_operations", (ctypes.Structure,), {"_fields_": fields})
