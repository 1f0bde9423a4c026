"""Input specs: defaults, what is refused with which text at which place, and the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pachmount.datums.model import Cross, Group, Join, PfsInput, Union, leaves
from pachmount.datums.rules import OURS, V2_6, V2_9, Rules
from pachmount.datums.spec import MOST_INPUTS, parse, parse_pipeline, parse_short, to_dict
from pachmount.errors import InvalidNameError, InvalidSourceError, NoInputError, UsageError

_READING = "error reading next CreatePipeline request: "
_PROCESSING = "error processing input: "
_PARSING = _PROCESSING + "error parsing datum input: "
_COMMIT = "6999431679524ace92f617772ed42ef2"


def _pfs(**fields: Any) -> dict[str, Any]:
    return {"pfs": {"repo": "a", "glob": "/"} | fields}


def _refused(text: str | bytes | dict[str, Any], rules: Rules = OURS) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse(json.dumps(text) if isinstance(text, dict) else text, rules)
    return caught.value


def test_defaults_of_a_pipeline() -> None:
    assert parse(json.dumps(_pfs())) == PfsInput("a", "default", "a", "master", "/")
    assert parse(json.dumps(_pfs()), default_project="p") == PfsInput("a", "p", "a", "master", "/")
    assert parse(json.dumps(_pfs(name="x", project="q", branch="dev"))) == PfsInput("x", "q", "a", "dev", "/")


def test_defaults_of_2_6_have_project_and_branch_in_the_name() -> None:
    spec = {"cross": [_pfs(), _pfs(branch="dev"), _pfs(project="p", glob="")]}
    assert [(leaf.name, leaf.glob) for leaf in leaves(parse(json.dumps(spec), V2_6))] == [
        ("default_a", "/"),
        ("default_a_dev", "/"),
        ("p_a", "/"),
    ]


def test_every_kind_and_field() -> None:
    text = """
        pipeline: {name: edges}
        transform: {cmd: [python, edges.py]}
        datum_tries: 2
        input:
          cross:
          - union:
            - pfs: {repo: a, glob: /*, lazy: true}
            - pfs: {repo: b, glob: "/*", emptyFiles: true}
          - join:
            - pfs: {repo: c, glob: "/(*)", joinOn: $1, outer_join: true, branch: on}
            - group:
              - pfs: {repo: d, glob: "/(*)", group_by: $1, trigger: {size: 1K}}
    """
    read = parse_pipeline(text)
    assert read.input == Cross(
        (
            Union(
                (
                    PfsInput("a", "default", "a", "master", "/*", lazy=True),
                    PfsInput("b", "default", "b", "master", "/*", empty_files=True),
                )
            ),
            Join(
                (
                    PfsInput("c", "default", "c", "on", "/(*)", join_on="$1", outer_join=True),
                    Group((PfsInput("d", "default", "d", "master", "/(*)", group_by="$1", trigger=(("size", "1K"),)),)),
                )
            ),
        )
    )
    assert read.fields == {
        "pipeline": {"name": "edges"},
        "transform": {"cmd": ["python", "edges.py"]},
        "datum_tries": 2,
    }
    assert parse(yaml.safe_dump(to_dict(read.input))) == read.input


@pytest.mark.parametrize("rules", [V2_6, V2_9])
def test_what_is_echoed(rules: Rules) -> None:
    asked = {"cross": [{"pfs": {"repo": "b", "glob": "/*.txt"}}, {"pfs": {"repo": "a", "branch": "dev", "glob": "/"}}]}
    names = ["b", "a"] if rules is V2_9 else ["default_b", "default_a_dev"]
    expected = [
        {"project": "default", "name": names[0], "repo": "b", "branch": "master", "glob": "/*.txt"},
        {"project": "default", "name": names[1], "repo": "a", "branch": "dev", "glob": "/"},
    ]
    echoed = to_dict(parse(json.dumps({"input": asked}), rules))
    assert [list(member["pfs"].items()) for member in echoed["cross"]] == [list(each.items()) for each in expected]


@pytest.mark.parametrize(
    "text",
    [
        '[{"input": {"pfs": {"repo": "a", "glob": "/"}}}, {"input": {}}]',
        '{"input": {"pfs": {"repo": "a", "glob": "/"}}}\n{"input": {}}',
        '{\n\t"input": {"pfs": {"repo": "a", "glob": "/"}}}',
        "input: {pfs: {repo: a, glob: /}}\n---\ninput: 7\n",
        "- pfs: {repo: a, glob: /}\n- nonsense",
        "description: &x a\ninput: {pfs: {repo: *x, glob: /}}",
        "input: {pfs: {<<: [{repo: a, glob: /x}, {repo: b}], glob: /}}",
        "\ufeffpfs: {repo: a, glob: /}",
    ],
)
def test_ways_to_write_it(text: str) -> None:
    assert parse(text.encode()) == PfsInput("a", "default", "a", "master", "/")


@pytest.mark.parametrize(
    ("spec", "text", "place"),
    [
        (_pfs(commit=_COMMIT), "commit cannot be specified", "input.pfs.commit, line 1"),
        (_pfs(repo=""), "repo must be specified", "input.pfs, line 1"),
        ({"pfs": {"glob": "/"}}, "repo must be specified", "input.pfs, line 1"),
        ({"pfs": {"repo": "a"}}, "glob must be specified", "input.pfs, line 1"),
        (_pfs(repo="out"), "name must be specified for repo 'out'", "input.pfs, line 1"),
        (_pfs(s3=True), "s3 data not supported in mounting datums", "input.pfs.s3, line 1"),
        ({"cron": {"name": "t", "spec": "@daily"}}, "cron input type not supported in mounting datums", "input.cron, "),
        ({}, "no input set", "input, line 1"),
        ({"cross": [_pfs(), {}]}, "no input set", "input.cross[1], line 1"),
        ({"cross": []}, "no input set", "input, line 1"),
        (_pfs() | {"cross": [_pfs(repo="b")]}, "multiple input types set", "input, line 1: pfs, cross"),
        (_pfs(name="../x"), "invalid mount name '../x'", "input.pfs.name, line 1: only letters"),
        (_pfs(name="out"), "invalid mount name 'out'", "input.pfs.name, line 1: 'out' is reserved"),
        (_pfs(glob="/["), "invalid glob '/[': unexpected end of input", "input.pfs.glob, line 1"),
        (_pfs(repo_type="meta"), 'repos of type "meta" cannot be mounted', "input.pfs.repo_type, line 1"),
    ],
)
def test_what_2_9_refuses(spec: dict[str, Any], text: str, place: str) -> None:
    error = _refused({"input": spec}, V2_9)
    assert error.what == _PARSING + text
    assert error.why.startswith(place)
    if "commit" not in text:
        assert _refused({"input": spec}).what == text


def test_a_commit_is_ours_to_honour() -> None:
    for rules in (OURS, V2_6):
        found = parse(json.dumps(_pfs(commit=_COMMIT)), rules)
        assert [leaf.commit for leaf in leaves(found)] == [_COMMIT]


@pytest.mark.parametrize("body", ["{}", "input: null", "pipeline: {name: x}"])
def test_no_input(body: str) -> None:
    for rules, prefix in ((OURS, ""), (V2_6, ""), (V2_9, _PROCESSING)):
        error = _refused(body, rules)
        assert isinstance(error, NoInputError)
        assert error.what == prefix + "datum input is not specified"


@pytest.mark.parametrize(
    "spec",
    [
        {"cross": [_pfs(), _pfs(glob="/*")]},
        {"join": [_pfs(), _pfs()]},
        {"group": [_pfs(), _pfs()]},
        {"cross": [_pfs(), {"union": [_pfs(repo="b"), _pfs()]}]},
        {"cross": [{"union": [_pfs(repo="b"), _pfs()]}, _pfs()]},
        {"union": [{"cross": [_pfs(), _pfs()]}, _pfs(repo="b")]},
    ],
)
def test_a_name_twice(spec: dict[str, Any]) -> None:
    error = _refused({"input": spec}, V2_9)
    assert error.what == _PROCESSING + 'invalid names in datum input: name "a" was used more than once'
    assert error.why.startswith("input.")
    assert _refused({"input": spec}).what == 'name "a" was used more than once'
    assert parse(json.dumps(spec), V2_6)


@pytest.mark.parametrize(
    "spec", [{"union": [_pfs(), _pfs()]}, {"union": [{"cross": [_pfs(), _pfs(repo="b")]}, _pfs()]}]
)
def test_members_of_a_union_may_share_a_name(spec: dict[str, Any]) -> None:
    assert parse(json.dumps(spec), V2_9)


def test_what_2_6_takes_and_refuses() -> None:
    both = _pfs() | {"cross": [_pfs(repo="b")]}
    assert parse(json.dumps(both), V2_6) == PfsInput("default_a", "default", "a", "master", "/")
    assert parse(json.dumps({"pfs": {"glob": "/"}}), V2_6) == PfsInput("default_", "default", "", "master", "/")
    assert [leaf.s3 for leaf in leaves(parse(json.dumps(_pfs(s3=True)), V2_6))] == [True]
    cron = _refused({"cron": {"name": "t", "spec": "@daily"}}, V2_6)
    assert cron.what.startswith("can't list datums with a cron input")
    assert _refused({"input": {}}, V2_6).what == "unrecognized input type"


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        ("", "EOF", ""),
        ("  \n", "EOF", ""),
        ("a: [1", "malformed pipeline spec: yaml: line 1: did not find expected ',' or ']'", ""),
        ("7", "malformed pipeline spec: it is no object", "line 1"),
        ("[]", "malformed pipeline spec: it is no object", "line 1"),
        ("null", "malformed pipeline spec: it is no object", "line 1"),
        (b"\xff", "malformed pipeline spec: it is not UTF-8", None),
        ("[" * 5000, "malformed pipeline spec: yaml: too deeply nested", ""),
        (
            "input:\n  pfs:\n    repos: a",
            'malformed pipeline spec: unknown field "repos" in pps_v2.PFSInput',
            "input.pfs.repos, line 3",
        ),
        (
            "input:\n  crosses: []",
            'malformed pipeline spec: unknown field "crosses" in pps_v2.Input',
            "input.crosses, line 2",
        ),
        (
            "inputs: {}",
            'malformed pipeline spec: unknown field "inputs" in pps_v2.CreatePipelineRequest',
            "inputs, line 1",
        ),
        ("input: 7", "malformed pipeline spec: input must be an object", "input, line 1"),
        ("input: {cross: {}}", "malformed pipeline spec: input.cross must be a list", "input.cross, line 1"),
        (
            "input:\n  pfs: {repo: a,\n   glob: 7}",
            "malformed pipeline spec: input.pfs.glob must be a string",
            "input.pfs.glob, line 3",
        ),
        (
            "pfs: {repo: a, glob: /, lazy: 1}",
            "malformed pipeline spec: pfs.lazy must be true or false",
            "pfs.lazy, line 1",
        ),
        ('pfs: {repo: a, repo: b}', 'malformed pipeline spec: "repo" stands there twice', "pfs, line 1"),
        (r'pfs: {repo: "\ud800", glob: /}', "malformed pipeline spec: half a character", "pfs.repo, line 1"),
        ("pfs: !!python/object:os.x {}", "malformed pipeline spec: pfs must be an object", "pfs, line 1"),
        ("a: &a {<<: *a}", "malformed pipeline spec: unknown field", None),
        ("pfs: &a {<<: *a}", "malformed pipeline spec: only objects can be merged", "pfs, line 1"),
    ],
)  # fmt: skip
def test_malformed_text(text: str | bytes, what: str, why: str | None) -> None:
    error = _refused(text)
    assert error.what.startswith(what)
    assert why is None or error.why == why
    assert _refused(text, V2_6).what == error.what
    assert _refused(text, V2_9).what == _READING + error.what


def test_an_alias_cannot_make_a_spec_endless() -> None:
    assert "nested deeper" in _refused("cross: &x [cross: *x]").what
    levels = [f"a{n}: &a{n} {{cross: [{f'*a{n - 1}, ' * 9} *a{n - 1}]}}" for n in range(1, 9)]
    text = "pipeline:\n  a0: &a0 {pfs: {repo: a, glob: /}}\n  " + "\n  ".join(levels) + "\ninput: *a8\n"
    assert _refused(text).what == f"there are more than {MOST_INPUTS} inputs"


_SPECS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["/*", "a", "$1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["input", "pfs", "cross", "union", "join", "group", "cron", "repo", "glob", "name", "s3", "<<"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(
    st.text() | st.binary() | _SPECS.map(json.dumps) | _SPECS.map(yaml.safe_dump), st.sampled_from([OURS, V2_6, V2_9])
)
def test_any_text_gives_a_spec_or_an_error_of_ours(text: str | bytes, rules: Rules) -> None:
    try:
        found = parse_pipeline(text, rules).input
    except UsageError:
        return
    assert parse(json.dumps(to_dict(found)), rules) == found


def test_short_forms() -> None:
    assert parse_short("images") == PfsInput("images", "default", "images", "master", "/")
    assert parse_short("images:/*", "p") == PfsInput("images", "p", "images", "master", "/*")
    assert parse_short("p/a@dev:/@(x|y)/*.png") == PfsInput("a", "p", "a", "dev", "/@(x|y)/*.png")
    assert parse_short(f"a@dev={_COMMIT}:*") == PfsInput("a", "default", "a", "dev", "*", _COMMIT)
    for wrong in ("", ":/*", "a b:/*", "a@:/*"):
        with pytest.raises(InvalidSourceError):
            parse_short(wrong)
    with pytest.raises(UsageError, match="invalid glob"):
        parse_short("a:/[")
    with pytest.raises(InvalidNameError):
        parse_short("out:/*")
