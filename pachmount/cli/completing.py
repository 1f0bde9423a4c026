"""What can follow on a command line: `_PACHMOUNT_COMPLETE=1 pachmount WORD… UNFINISHED` prints it, a candidate a line.

The scripts that shells load (`completion_scripts.py`) call it. A line is `value`, or `value<TAB>description`; `:files`
and `:directories` leave it to the shell. A person waits at every Tab, so Typer is not imported: commands come from a
generated table (`command_table.py`).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from pachmount import paths
from pachmount.cli.command_table import Command, Option, read_table
from pachmount.glance import glance

TIMEOUT = 1.0
"""Seconds that a question to the daemon may take; a person waits."""
MAX_FILES = 1000
MAX_COMMITS = 50
FILES, DIRECTORIES = ":files", ":directories"


class Typed(NamedTuple):
    """The command line so far: the unfinished word, the values of the command's arguments before it, its options."""

    word: str
    arguments: Sequence[str]
    mount_dir: Path | None


def complete(words: Sequence[str]) -> None:
    """Print the candidates for the last of `words`. An error ends in silence: a person is typing."""
    with contextlib.suppress(Exception):
        sys.stdout.write("".join(f"{line}\n" for line in answer(words)))


def answer(words: Sequence[str]) -> list[str]:
    """The candidates for the last of `words` (the command line without the program's name), as lines."""
    *before, word = words or [""]
    command, rest = _command(before)
    metavar, typed = _read(command, rest, word)
    if metavar is not None:
        return _matching(_values(metavar, typed), word)
    if command.commands:
        visible = (each for each in command.commands if not each.hidden)
        return _matching(((each.name, each.help) for each in visible), word)
    return _matching(_options(command), word) if word.startswith("-") else []


def _command(words: Sequence[str]) -> tuple[Command, list[str]]:
    """The command that `words` lead to, and what follows its name."""
    command = read_table()
    rest = list(words)
    while command.commands and rest:
        name = rest.pop(0)
        command = next((each for each in command.commands if each.name == name), command)
    return command, rest


def _read(command: Command, words: Sequence[str], word: str) -> tuple[str | None, Typed]:
    """What the help calls the value that `word` will be; None for an option's name or a command's."""
    options = {name: option for option in command.options for name in option.names}
    given: list[str] = []
    mount_dir = None
    waiting: Option | None = None
    for each in words:
        if waiting is not None:
            mount_dir = Path(each) if "--mount-dir" in waiting.names else mount_dir
            waiting = None
        elif each in options:
            waiting = options[each] if options[each].takes_value else None
        elif not each.startswith("-"):
            given.append(each)
    typed = Typed(word, given, mount_dir)
    if waiting is not None:
        return waiting.metavar, typed
    if word.startswith("-") or not command.arguments:
        return None, typed
    if len(given) < len(command.arguments):
        return command.arguments[len(given)].metavar, typed
    return (command.arguments[-1].metavar if command.arguments[-1].repeats else None), typed


def _options(command: Command) -> Iterator[tuple[str, str]]:
    for option in command.options:
        if not option.hidden:
            names = [name for name in option.names if name.startswith("--")]
            yield from ((name, option.help) for name in names or option.names)
    yield "--help", "Show this message and exit."


def _values(metavar: str, typed: Typed) -> Iterable[tuple[str, str]]:
    """The values of a parameter, told from what its help calls it."""
    if metavar in _PLACES:
        return [(_PLACES[metavar], "")]
    find = _LIVE.get(metavar)
    return find(typed) if find is not None else ()


def _matching(candidates: Iterable[tuple[str, str]], word: str) -> list[str]:
    lines = []
    for value, description in candidates:
        if value in (FILES, DIRECTORIES) or value.startswith(word):
            lines.append(f"{value}\t{description.splitlines()[0]}" if description else value)
    return lines


# -- live names


def _ask(typed: Typed, route: str, **query: str | int) -> Any:
    if paths.daemon_url():
        return []
    fields = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
    target = f"{route}?{fields}" if fields else route
    return glance(paths.places(typed.mount_dir).socket, target, TIMEOUT) or []


def _mounts(typed: Typed) -> Iterator[tuple[str, str]]:
    status = _ask(typed, "/status")
    for mount in status.mounts if status else []:
        if mount.name not in typed.arguments:
            yield mount.name, mount.source.partition("=")[0]


def _mount_paths(typed: Typed) -> Iterator[tuple[str, str]]:
    name, colon, path = typed.word.partition(":")
    if colon:
        yield from _entries(typed, f"{name}:", path, mount=name)
    else:
        yield from _mounts(typed)


def _paths_in_mount(typed: Typed) -> Iterator[tuple[str, str]]:
    """Paths of the mount that is the first argument."""
    if typed.arguments:
        yield from _entries(typed, "", typed.word, mount=typed.arguments[0])


def _sources(typed: Typed) -> Iterator[tuple[str, str]]:
    """`project/`, `repo`, `repo@branch`, `repo@branch=commit`, `repo@branch:/path`, as far as the word is typed."""
    source, colon, path = typed.word.partition(":")
    repo, at, reference = source.partition("@")
    if colon:
        yield from _entries(typed, f"{source}:", path, source=source)
    elif not at:
        yield from _repos(typed)
    elif "=" in reference:
        branch = reference.partition("=")[0]
        for commit in _ask(typed, "/commits", repo=repo, branch=branch, number=MAX_COMMITS):
            yield f"{repo}@{branch}={commit.commit}", commit.description
    else:
        for branch in _ask(typed, "/branches", repo=repo):
            yield f"{repo}@{branch.branch}", f"head {branch.head[:8]}" if branch.head else ""


def _repos(typed: Typed) -> Iterator[tuple[str, str]]:
    with_project = "/" in typed.word
    projects = set()
    for entry in _ask(typed, "/repos"):
        projects.add(entry.project)
        if with_project:
            yield f"{entry.project}/{entry.repo}", ""
        elif entry.project == "default":
            yield entry.repo, ""
    if not with_project:
        yield from ((f"{project}/", "project") for project in sorted(projects - {"default"}))


def _targets(typed: Typed) -> Iterator[tuple[str, str]]:
    """Repos and their branches."""
    yield from (found for found in _sources(typed) if ":" not in found[0] and "=" not in found[0])


def _commits(typed: Typed) -> Iterator[tuple[str, str]]:
    """Commits of the source or mount that is the first argument."""
    if not typed.arguments:
        return
    name = typed.arguments[0]
    repo, _, branch = name.partition(":")[0].partition("@")
    status = _ask(typed, "/status")
    for mount in status.mounts if status else []:
        if mount.name == name:
            repo, branch = f"{mount.project}/{mount.repo}", mount.branch
    branch = branch.partition("=")[0]
    for commit in _ask(typed, "/commits", repo=repo, branch=branch, number=MAX_COMMITS):
        yield commit.commit, commit.description


def _branches(typed: Typed) -> Iterator[tuple[str, str]]:
    """Branches of the repo of the mount that is the first argument."""
    status = _ask(typed, "/status")
    for mount in status.mounts if status else []:
        if mount.name in typed.arguments:
            for branch in _ask(typed, "/branches", repo=f"{mount.project}/{mount.repo}"):
                yield branch.branch, ""


def _entries(typed: Typed, prefix: str, path: str, **where: str) -> Iterator[tuple[str, str]]:
    """What the directory of `path` has, each with the whole word."""
    directory, _, name = path.rpartition("/")
    query: dict[str, str | int] = {"number": MAX_FILES}
    if "mount" in where:
        query |= {"mount": where["mount"], "path": directory or "/", "filter": name}
    else:
        query |= {"source": f"{where['source']}:{directory or '/'}"}
    page = _ask(typed, "/files", **query)
    for entry in page.files if page else []:
        last = entry.path.rstrip("/").rpartition("/")[2]
        lead = f"{directory}/" if directory or path.startswith("/") or prefix else ""
        yield f"{prefix}{lead}{last}{'/' if entry.type == 'dir' else ''}", ""


def _contexts(_typed: Typed) -> Iterator[tuple[str, str]]:
    import json

    path = Path(os.environ.get("PACH_CONFIG") or paths.home() / ".pachyderm" / "config.json")
    try:
        contexts = json.loads(path.read_text(encoding="utf-8"))["v2"]["contexts"]
        yield from ((name, entry.get("pachd_address", "")) for name, entry in contexts.items())
    except (OSError, ValueError, LookupError, AttributeError):
        return


def _settings(_typed: Typed) -> Iterator[tuple[str, str]]:
    from pachmount.settings import Settings

    yield from ((name, field.description or "") for name, field in Settings.model_fields.items())


def _fixed(*values: str) -> Callable[[Typed], Iterable[tuple[str, str]]]:
    return lambda _typed: [(value, "") for value in values]


_PLACES = {"FILE": FILES, "SPEC": FILES, "NOTEBOOK|SCRIPT": FILES, "DIR": DIRECTORIES, "DIR|FILE|-": FILES}
"""By the name of a parameter in its help: what the shell itself completes."""

_LIVE: dict[str, Callable[[Typed], Iterable[tuple[str, str]]]] = {
    "SOURCE": _sources,
    "SOURCE:GLOB": _sources,
    "SOURCE:/PATH": _sources,
    "SOURCE[:/PATH]": _sources,
    "WHAT": _sources,
    "TARGET": _targets,
    "REPO[@BRANCH]": _targets,
    "NAME|DIR": _mounts,
    "NAME": _mounts,
    "NAME[:/PATH]": _mount_paths,
    "PATH": _paths_in_mount,
    "COMMIT": _commits,
    "BRANCH": _branches,
    "CONTEXT": _contexts,
    "SETTING": _settings,
    "SHELL": _fixed("bash", "zsh", "fish"),
    "LEVEL": _fixed("debug", "info", "warning", "error"),
    "FORMAT": _fixed("text", "json"),
}
"""By the name of a parameter in its help: what we know."""
