"""Writes the man pages from the command tree and the settings: `python -m pachmount.cli.manual`.

Pages are in man(7) macros. What is not in the tree (files, environment, the page of the mount helper) is told here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer.main

from pachmount import __version__
from pachmount.cli.mount_helper import OWN
from pachmount.cli.mount_helper import PROGRAM as HELPER
from pachmount.cli.reference import exit_code_meanings, visible_parameters
from pachmount.cli.root import build
from pachmount.cli.state import PROGRAM

DIRECTORY = Path("man")
"""Seen from the top of the repository."""

REVISED = "2026-11-28"
"""When the words of this module were last changed; man(7) wants a date."""

_FILES = (
    ("~/.config/pachmount/pachmount.toml", "Settings; see pachmount.toml(5)."),
    ("~/.config/pachmount/ignore", "New files that are never committed, in the syntax of gitignore(5)."),
    ("~/.pachyderm/config.json", "Addresses and tokens of clusters, shared with pachctl."),
    ("~/.cache/pachmount", "Downloaded blocks and listings; may be deleted at any time."),
    ("~/.local/state/pachmount", "The log, the list of mounts, and staged changes that are not committed."),
    ("~/.local/share/pachmount/local", "Repositories of the embedded server."),
    ("$XDG_RUNTIME_DIR/pachmount", "The daemon's socket."),
)
_ENVIRONMENT = (
    ("PFS_MOUNT_DIR", "The directory below which mounts appear. Default: /pfs if it can be used, else ~/pfs."),
    ("PFS_SOCK_PATH", "The daemon's socket, in the place of the usual one."),
    ("PACHMOUNT_URL", "Where a daemon listens over TCP (http://HOST:PORT); PACHMOUNT_TOKEN_FILE has its token."),
    ("PACHMOUNT_SETTING", "Any setting of pachmount.toml(5), such as PACHMOUNT_CACHE_SIZE=50G."),
    ("PACH_CONFIG", "Pachctl's configuration file."),
    ("PACHD_ADDRESS", "The address of the cluster."),
    ("PACHMOUNT_TOKEN, DEX_TOKEN", "A session token, or an OIDC token to log in with."),
    ("SIDECAR_MODE", "True: the daemon runs in another container, and is never started from here."),
    ("NO_COLOR, FORCE_COLOR", "No colour, or colour without a terminal."),
)


def pages() -> dict[str, str]:
    """Every page by its path in DIRECTORY."""
    root: Any = typer.main.get_command(build())
    found = {
        f"man1/{PROGRAM}.1": _program(root),
        f"man5/{PROGRAM}.toml.5": _settings(),
        f"man8/{HELPER}.8": _mount_helper(),
    }
    for name, command in root.commands.items():
        if not command.hidden:
            found[f"man1/{PROGRAM}-{name}.1"] = _command(f"{PROGRAM} {name}", command)
    return found


def _program(root: Any) -> str:
    lines = [*_head(PROGRAM, 1, "versioned Pachyderm data as files"), *_synopsis(PROGRAM, root)]
    lines += [".SH DESCRIPTION", *_prose(root.help)]
    panels: dict[str, list[tuple[str, str]]] = {}
    for panel, name, summary in root.summaries():
        panels.setdefault(panel, []).append((f"{PROGRAM}-{name}(1)", f"{summary}."))
    lines.append(".SH COMMANDS")
    for panel, rows in panels.items():
        lines += [f".SS {_text(panel)}", *_list(rows)]
    lines += [*_options(root), *_examples(root.help), ".SH EXIT STATUS"]
    lines += _list((str(int(code)), meaning[0].upper() + meaning[1:] + ".") for code, meaning in exit_code_meanings())
    lines += [".SH ENVIRONMENT", *_list(_ENVIRONMENT), ".SH FILES", *_list(_FILES)]
    return _page([*lines, *_see_also([f"{PROGRAM}.toml(5)"])])


def _command(path: str, command: Any) -> str:
    name = path.replace(" ", "-")
    summary = command.help.strip().splitlines()[0].rstrip(".")
    lines = _head(name, 1, summary[0].lower() + summary[1:])
    members = [(f"{path} {member}", one) for member, one in getattr(command, "commands", {}).items() if not one.hidden]
    if not members:
        lines += [*_synopsis(path, command), ".SH DESCRIPTION", *_prose(command.help)]
        lines += [*_options(command), *_examples(command.help)]
    else:
        lines += _synopsis(*members[0])
        for member, one in members[1:]:
            lines += [".br", *_usage(member, one)]
        lines += [".SH DESCRIPTION", *_prose(command.help)]
        for member, one in members:
            lines += [
                f".SS {_text(member)}",
                *_prose(one.help),
                *_rows(one),
                *_examples(one.help, ".PP\nExamples:\n.PP"),
            ]
    lines += [".SH EXIT STATUS", f"See {PROGRAM}(1)."]
    return _page([*lines, *_see_also([f"{PROGRAM}(1)", f"{PROGRAM}.toml(5)"])])


def _settings() -> str:
    from pachmount.settings import Settings

    lines = _head(f"{PROGRAM}.toml", 5, "settings of pachmount")
    lines += [
        ".SH SYNOPSIS",
        _text("~/.config/pachmount/pachmount.toml"),
        ".SH DESCRIPTION",
        "Lines of TOML, SETTING = VALUE; the file need not exist. Flags come before variables of the environment",
        "(PACHMOUNT_ and the name in capitals), these before the file, and that before the defaults.",
        "An unknown name is an error.",
        f".BR \\*(lq{_text('pachmount config show')}\\*(rq",
        "shows each setting with its value and its source,",
        f".BR \\*(lq{_text('pachmount config set')}\\*(rq",
        "changes one.",
        ".PP",
        "Sizes are bytes, or text such as \\*(lq50G\\*(rq; times are seconds.",
        ".SH SETTINGS",
    ]
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default if field.default_factory is None and field.default is not None else ""
        told = field.description or name.replace("_", " ")
        told = told[0].upper() + told[1:] + "."
        rows.append((name, f"{told} Default: {_value(name, default)}." if _has_default(default) else told))
    lines += [
        *_list(rows),
        ".SH EXAMPLES",
        ".nf",
        'cache_size = "50G"',
        "read_timeout = 60",
        'log_level = "debug"',
        ".fi",
    ]
    return _page([*lines, *_see_also([f"{PROGRAM}(1)", f"{PROGRAM}-config(1)"])])


def _mount_helper() -> str:
    lines = _head(HELPER, 8, "mount a repository with mount(8) or fstab(5)")
    lines += [
        ".SH SYNOPSIS",
        f".B mount \\-t {_text(HELPER.removeprefix('mount.'))}",
        _text("SOURCE DIR [-o OPTION[,OPTION]...]"),
        ".SH DESCRIPTION",
        "mount(8) runs this program, which it looks for in /sbin, to show a repository at a directory.",
        "SOURCE is [PROJECT/]REPO[@BRANCH[=COMMIT]][:/PATH].",
        "Each mount point has a daemon of its own, which ends with it, by umount(8) or pachmount\\-unmount(1).",
        ".PP",
        "Root\\(aqs settings are in /etc/pachmount, its state and cache below /var.",
        ".SH OPTIONS",
        *_list((name, f"{told}.") for name, told in OWN.items()),
        ".PP",
        "Each setting of pachmount.toml(5) is an option, too.",
        "Those of mount(8), systemd and every file system are accepted; others are refused.",
        ".SH EXIT STATUS",
        *_list(
            [("0", "Mounted."), ("1", "Wrong use."), ("2", "A failure of the system."), ("32", "The mount failed.")]
        ),
        ".SH EXAMPLES",
        ".nf",
        _text('ln -s "$(command -v mount.fuse.pachmount)" /sbin/'),
        _text("mount -t fuse.pachmount default/images@master /mnt/images -o ro,allow_other"),
        ".fi",
        ".PP",
        "In fstab(5):",
        ".PP",
        ".nf",
        _text("images@dev:/2024 /mnt/2024 fuse.pachmount noauto,x-systemd.automount,_netdev,follow 0 0"),
        ".fi",
    ]
    return _page([*lines, *_see_also([f"{PROGRAM}(1)", f"{PROGRAM}.toml(5)", "mount(8)", "fstab(5)"])])


def _has_default(default: Any) -> bool:
    return default != "" and type(default).__name__ != "PydanticUndefinedType"


def _value(name: str, default: Any) -> str:
    from pachmount.cli import output

    if isinstance(default, bool):
        return "true" if default else "false"
    return output.size(default) if name.endswith("_size") or name == "read_ahead" else str(default)


# -- parts of a page


def _head(name: str, section: int, summary: str) -> list[str]:
    title = f'.TH {_text(name.upper())} {section} {REVISED} "{PROGRAM} {__version__}" "Pachmount Manual"'
    return [title, ".SH NAME", f"{_text(name)} \\- {_text(summary)}"]


def _synopsis(path: str, command: Any) -> list[str]:
    return [".SH SYNOPSIS", *_usage(path, command)]


def _usage(path: str, command: Any) -> list[str]:
    context = command.make_context(path, [], resilient_parsing=True)
    return [f".B {_text(path)}", _text(" ".join(command.collect_usage_pieces(context)))]


def _paragraphs(text: str) -> list[list[str]]:
    return [paragraph.splitlines() for paragraph in inspect.cleandoc(text).split("\n\n")]


def _prose(text: str) -> list[str]:
    lines: list[str] = []
    for block in _paragraphs(text):
        if block[0].strip() != "\b":
            lines += [*([".PP"] if lines else []), *map(_text, block)]
    return lines


def _examples(text: str, heading: str = ".SH EXAMPLES") -> list[str]:
    lines = []
    for block in _paragraphs(text):
        if block[0].strip() == "\b":
            lines += [*heading.splitlines(), ".nf", *(_text(line.strip()) for line in block[2:]), ".fi"]
    return lines


def _options(command: Any) -> list[str]:
    rows = _rows(command)
    return [".SH OPTIONS", *rows] if rows else []


def _rows(command: Any) -> list[str]:
    context = command.make_context(PROGRAM, [], resilient_parsing=True)
    rows = []
    for parameter in visible_parameters(command):
        if parameter.param_type_name == "argument":
            rows.append((parameter.metavar, parameter.help))
        else:
            rows.append(tuple(part.strip() for part in parameter.get_help_record(context)))
    return _list(rows)


def _list(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = []
    for term, told in rows:
        lines += [".TP", f".B {_text(term)}", *map(_text, told.splitlines())]
    return lines


def _see_also(names: Iterable[str]) -> list[str]:
    return [".SH SEE ALSO", _text(", ".join(names))]


def _text(text: str) -> str:
    """As roff reads it: dashes that can be copied, and no line that begins like a macro."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("—", "\\(em").replace("→", "\\(->").replace("…", "...")
    return f"\\&{text}" if text[:1] in (".", "'") else text


def _page(lines: Iterable[str]) -> str:
    return "".join(f"{line.rstrip()}\n" for line in lines)


if __name__ == "__main__":
    import sys

    from pachmount import generated

    sys.exit(generated.main("pachmount.cli.manual", {DIRECTORY / name: text for name, text in pages().items()}))
