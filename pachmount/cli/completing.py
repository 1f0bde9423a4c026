"""What can follow on a command line: `_PACHMOUNT_COMPLETE=1 pachmount WORD… UNFINISHED` prints it, a candidate a line.

The scripts that shells load (`completion_scripts.py`) call it. A line is `value`, or `value<TAB>description`; `:files`
and `:directories` leave it to the shell. Errors are the caller's to hide: a person is typing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import typer.main

from pachmount import paths
from pachmount.glance import glance

TIMEOUT = 1.0
"""Seconds that a question to the daemon may take; a person waits."""
MAX_FILES = 1000
MAX_COMMITS = 50
FILES, DIRECTORIES = ":files", ":directories"


@dataclass(frozen=True)
class Typed:
    """The command line so far: the unfinished word, the values of the command's arguments before it, its options."""

    word: str
    arguments: Sequence[str]
    mount_dir: Path | None


def answer(words: Sequence[str]) -> list[str]:
    """The candidates for the last of `words` (the command line without the program's name), as lines."""
    *before, word = words or [""]
    command, rest = _command(before)
    parameter, typed = _read(command, rest, word)
    if parameter is not None:
        return _matching(_values(parameter, typed), word)
    if hasattr(command, "commands"):
        return _matching(((name, summary) for _, name, summary in command.summaries()), word)
    return _matching(_options(command), word) if word.startswith("-") else []


def _command(words: Sequence[str]) -> tuple[Any, list[str]]:
    """The command that `words` lead to, and what follows its name."""
    from pachmount.cli.main import build

    command: Any = typer.main.get_command(build())
    rest = list(words)
    while hasattr(command, "commands") and rest:
        name = rest.pop(0)
        if name in command.commands:
            command = command.commands[name]
    return command, rest


def _read(command: Any, words: Sequence[str], word: str) -> tuple[Any, Typed]:
    """The parameter of which `word` will be the value, None for an option's name or a command's."""
    options = {name: one for one in command.params if one.param_type_name == "option" for name in one.opts}
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    given: list[str] = []
    mount_dir = None
    waiting = None
    for each in words:
        if waiting is not None:
            mount_dir = Path(each) if waiting.name == "mount_dir" else mount_dir
            waiting = None
        elif each in options:
            waiting = None if options[each].is_flag or options[each].count else options[each]
        elif not each.startswith("-"):
            given.append(each)
    typed = Typed(word, given, mount_dir)
    if waiting is not None:
        return waiting, typed
    if word.startswith("-") or not arguments:
        return None, typed
    if len(given) < len(arguments):
        return arguments[len(given)], typed
    return (arguments[-1] if arguments[-1].nargs == -1 else None), typed


def _options(command: Any) -> Iterator[tuple[str, str]]:
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            names = [name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("--")]
            yield from ((name, parameter.help or "") for name in names or parameter.opts)
    yield "--help", "Show this message and exit."


def _values(parameter: Any, typed: Typed) -> Iterable[tuple[str, str]]:
    """The values of a parameter, told from what its help calls it."""
    if parameter.metavar in _PLACES:
        return [(_PLACES[parameter.metavar], "")]
    find = _LIVE.get(parameter.metavar)
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
    target = f"{route}?{urlencode(query)}" if query else route
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
