"""Input specs: the YAML or JSON of a pipeline, or the short form `repo@branch:/glob`, as dataclasses; and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pachmount.datums.document import MALFORMED, Value, first_document
from pachmount.datums.glob import BadPatternError, compile_glob
from pachmount.datums.model import DEFAULT_REPO_TYPE, Combination, Cross, Group, Input, Join, PfsInput, Union, leaves
from pachmount.datums.rules import OURS, Rules
from pachmount.errors import InvalidNameError, NoInputError, UsageError
from pachmount.names import DEFAULT_BRANCH, DEFAULT_PROJECT, check_mount_name, parse_source

MOST_INPUTS = 1_000
"""PFS inputs in one spec; aliases of YAML could make it grow without end."""
_DEEPEST = 50

_COMBINATIONS: dict[str, type[Combination]] = {"cross": Cross, "union": Union, "join": Join, "group": Group}
_KINDS = ("pfs", *_COMBINATIONS, "cron")
_TEXTS = ("name", "project", "repo", "repo_type", "branch", "commit", "glob", "join_on", "group_by")
_FLAGS = ("outer_join", "lazy", "empty_files", "s3")
_ECHOED = (
    *("project", "name", "repo", "branch", "commit", "glob", "join_on", "outer_join", "group_by"),
    *("lazy", "empty_files", "s3"),
)
_PIPELINE = (
    *("pipeline", "tf_job", "transform", "parallelism_spec", "egress", "update", "output_branch", "s3_out"),
    *("resource_requests", "resource_limits", "sidecar_resource_limits", "input", "description", "reprocess"),
    *("service", "spout", "datum_set_spec", "datum_timeout", "job_timeout", "salt", "datum_tries"),
    *("scheduling_spec", "pod_spec", "pod_patch", "spec_commit", "metadata", "reprocess_spec", "autoscaling"),
    *("tolerations", "sidecar_resource_requests", "dry_run", "determined", "maximum_expected_uptime"),
)


def _spellings(*names: str) -> dict[str, str]:
    """Every field in its own spelling and in JSON's (`joinOn`)."""
    camel = {name.split("_")[0] + "".join(map(str.capitalize, name.split("_")[1:])): name for name in names}
    return camel | {name: name for name in names}


_PIPELINE_FIELDS = _spellings(*_PIPELINE)
_INPUT_FIELDS = _spellings(*_KINDS)
_PFS_FIELDS = _spellings(*_TEXTS, *_FLAGS, "trigger")
_CRON_FIELDS = _spellings("name", "project", "repo", "commit", "spec", "overwrite", "start")


@dataclass(frozen=True)
class Pipeline:
    """What a spec says. `fields` are the other fields of the pipeline (snake_case), {} for a bare input."""

    input: Input
    fields: dict[str, Any]


def parse(text: str | bytes, rules: Rules = OURS, default_project: str = DEFAULT_PROJECT) -> Input:
    """The input in the text of a pipeline (or list, or several documents: the first) or of a bare input.

    Defaults are filled in. Raises UsageError (NoInputError if there is none) whose `why` is the place in the text.
    """
    return parse_pipeline(text, rules, default_project).input


def parse_pipeline(text: str | bytes, rules: Rules = OURS, default_project: str = DEFAULT_PROJECT) -> Pipeline:
    """The same, with the other fields of the pipeline (`transform`, `datum_tries`, …), whose values are not checked."""
    try:
        found = _first_object(text)
        if any(value in _INPUT_FIELDS for value in found.fields()) and "input" not in found.fields():
            source, others = found, {}
        else:
            others = found.fields(_PIPELINE_FIELDS, "pps_v2.CreatePipelineRequest")
            if "input" not in others:
                raise NoInputError(f"{rules.processing}datum input is not specified", "the pipeline has no 'input'")
            source = others.pop("input")
        reader = _Reader(rules, default_project)
        read = reader.read(source, 0)
        return Pipeline(read, {name: value.plain() for name, value in others.items()})
    except UsageError as error:
        if error.what == "EOF" or error.what.startswith(MALFORMED):
            error.what = rules.reading + error.what
        raise


def parse_short(text: str, default_project: str = DEFAULT_PROJECT) -> PfsInput:
    """`[project/]repo[@branch[=commit] | @commit][:/glob]`, by default the glob `/`. Raises InvalidSourceError."""
    where, _, glob = text.partition(":")
    source = parse_source(where, default_project)
    glob = glob or "/"
    _check_glob(glob, lambda what: UsageError(what, text))
    name = check_mount_name(source.repo)
    return PfsInput(name, source.project, source.repo, source.branch or DEFAULT_BRANCH, glob, source.commit)


def to_dict(source: Input) -> dict[str, Any]:
    """The input as JSON-ready objects: snake_case, empty fields left out."""
    if not isinstance(source, PfsInput):
        kind = next(kind for kind, combination in _COMBINATIONS.items() if isinstance(source, combination))
        return {kind: [to_dict(member) for member in source.inputs]}
    fields = {name: getattr(source, name) for name in _ECHOED}
    fields["trigger"] = dict(source.trigger)
    return {"pfs": {name: value for name, value in fields.items() if value}}


def _first_object(text: str | bytes) -> Value:
    found = first_document(text)
    if found.has_kind("seq"):
        found = next(iter(found.items()), found)
    if not found.has_kind("map"):
        raise found.error(f"{MALFORMED}it is no object")
    return found


def _check_glob(glob: str, error: Callable[[str], UsageError]) -> None:
    try:
        compile_glob(glob)
    except (BadPatternError, RecursionError) as bad:
        raise error(f"invalid glob '{glob}': {bad}") from bad


class _Reader:
    """Reads inputs by some rules, and counts them."""

    def __init__(self, rules: Rules, default_project: str) -> None:
        self._rules = rules
        self._project = default_project
        self._count = 0
        self._places: dict[int, Value] = {}

    def read(self, value: Value, depth: int) -> Input:
        """The input that `value` describes."""
        found = self._read(value, depth)
        if self._rules.strict:
            self._check_names(found, set())
        return found

    def _read(self, value: Value, depth: int) -> Input:
        if depth > _DEEPEST:
            raise value.error(f"inputs are nested deeper than {_DEEPEST} levels")
        fields = value.fields(_INPUT_FIELDS, "pps_v2.Input")
        given = [kind for kind in _KINDS if kind in fields and not _is_empty_list(fields[kind])]
        if not given:
            raise self._refusal(value, self._rules.none_set)
        if len(given) > 1 and self._rules.strict:
            raise self._refusal(value, "multiple input types set", f"{value.place}: {', '.join(given)}")
        field = fields[given[0]]
        if given[0] == "cron":
            field.fields(_CRON_FIELDS, "pps_v2.CronInput")
            raise self._refusal(field, self._rules.cron)
        if given[0] == "pfs":
            return self._pfs(field)
        return _COMBINATIONS[given[0]](tuple(self._read(member, depth + 1) for member in field.items()))

    def _pfs(self, value: Value) -> PfsInput:
        self._count += 1
        if self._count > MOST_INPUTS:
            raise value.error(f"there are more than {MOST_INPUTS} inputs")
        fields = value.fields(_PFS_FIELDS, "pps_v2.PFSInput")
        texts = {name: fields[name].text() if name in fields else "" for name in _TEXTS}
        flags = {name: name in fields and fields[name].flag() for name in _FLAGS}
        if self._rules.strict:
            self._check(value, fields, texts, flags)
        if "glob" in fields:
            _check_glob(texts["glob"], lambda what: self._refusal(fields["glob"], what))
        texts["project"] = texts["project"] or self._project
        texts["branch"] = texts["branch"] or DEFAULT_BRANCH
        texts["glob"] = texts["glob"] or "/"
        texts["repo_type"] = texts["repo_type"] or DEFAULT_REPO_TYPE
        if texts["repo_type"] != DEFAULT_REPO_TYPE:
            raise self._refusal(fields["repo_type"], f'repos of type "{texts["repo_type"]}" cannot be mounted')
        texts["name"] = texts["name"] or self._default_name(texts)
        try:
            check_mount_name(texts["name"])
        except InvalidNameError as error:
            place = fields.get("name") or fields.get("repo") or value
            raise self._refusal(place, error.what, f"{place.place}: {error.why}") from error
        values: dict[str, Any] = texts | flags
        if "trigger" in fields:
            values["trigger"] = tuple((name, field.plain()) for name, field in fields["trigger"].fields().items())
        found = PfsInput(**values)
        self._places[id(found)] = fields.get("name") or value
        return found

    def _check(self, value: Value, fields: dict[str, Value], texts: dict[str, str], flags: dict[str, bool]) -> None:
        if texts["commit"] and not self._rules.commit_allowed:
            raise self._refusal(fields["commit"], "commit cannot be specified")
        for name in ("repo", "glob"):
            if not texts[name]:
                raise self._refusal(value, f"{name} must be specified")
        if texts["repo"] == "out" and not texts["name"]:
            raise self._refusal(value, "name must be specified for repo 'out'")
        if flags["s3"] and self._rules.s3:
            raise self._refusal(fields["s3"], self._rules.s3)

    def _default_name(self, texts: dict[str, str]) -> str:
        branch = "" if texts["branch"] == DEFAULT_BRANCH else f"_{texts['branch']}"
        return self._rules.name.format(project=texts["project"], repo=texts["repo"], _branch=branch)

    def _check_names(self, source: Input, used: set[str]) -> None:
        """Members of a union may share names, but not with an input outside that is crossed with the union, say."""
        if isinstance(source, PfsInput):
            if source.name in used:
                what = f'{self._rules.names}name "{source.name}" was used more than once'
                raise UsageError(self._rules.processing + what, self._places[id(source)].place, "give one another name")
            used.add(source.name)
        elif isinstance(source, Union):
            outside = set(used)
            for member in source.inputs:
                self._check_names(member, set(outside))
            used.update(leaf.name for leaf in leaves(source))
        else:
            for member in source.inputs:
                self._check_names(member, used)

    def _refusal(self, value: Value, what: str, why: str = "") -> UsageError:
        return UsageError(self._rules.processing + self._rules.parsing + what, why or value.place)


def _is_empty_list(value: Value) -> bool:
    return value.has_kind("seq") and not value.items()
