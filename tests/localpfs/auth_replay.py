"""Replays the scenarios with authentication: the steps of a browser, sets of permissions, and a stricter server."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

from pachmount.pfs.proto import auth_pb2
from tests.localpfs import browser
from tests.localpfs.outcomes import Outcome
from tests.localpfs.replay import Replayer, Report, matches

ROOT_TOKEN = "iamroot"  # as in the recording
_SECONDS_OFF = 8
_SETS = ("permissions", "satisfied", "missing", "roles")
_ALL = sorted(name for name, number in auth_pb2.Permission.items() if number)
_BINDING_TEXTS = ("UNAUTHENTICATED", "PERMISSION_DENIED", "INTERNAL")

# Calls that the embedded server does not offer: it may answer UNIMPLEMENTED where the recorded one did not.
NEVER_OFFERED = {
    "pfs_v2.API/FindCommits": "no client of ours searches for the commits that changed a file",
    "pfs_v2.API/CreateBranch": "provenance of a branch belongs to pipelines",
    "pps_v2.API/ListPipeline": "the embedded server never runs pipelines",
    "pps_v2.API/InspectPipeline": "the embedded server never runs pipelines",
    "pps_v2.API/ListJob": "the embedded server never runs jobs",
    "auth_v2.API/GetConfiguration": "the configuration is the auth file",
    "auth_v2.API/ExtractAuthTokens": "tokens are kept in memory and moved nowhere",
}
# Calls of which only the code counts.
CODE_ONLY = {
    "admin_v2.API/InspectCluster": "the warning about a client without a version has a text of our own",
}
# Calls of which the text of a refusal does not count.
CODE_OF_REFUSAL = {
    "pfs_v2.API/ModifyFile": "being stricter, it asks for REPO_WRITE on the target before it looks at what is copied",
}
# Steps that come out differently.
DIFFERENT = {
    ("02-root", "s146"): ("OK", "without provenance nothing keeps repo b from being deleted"),
    ("09-project-owner", "s148"): ("OK", "without provenance nothing keeps repo b from being deleted"),
}
# How the text of an answer begins that follows 2.11.6 where 2.12 answers otherwise.
OLDER = {
    "invalid commit ID given with a branch": "2.11.6 takes no branch name for the id of a commit that has a branch too",
}
# What a stricter server answers to the steps marked `lax`: the codes, and nothing else is compared.
STRICT = {
    "pfs_v2.API/InspectCommitSet": ("PERMISSION_DENIED",),
    "pfs_v2.API/ModifyFile": ("PERMISSION_DENIED",),
    "pfs_v2.API/AddFileSet": ("PERMISSION_DENIED",),
    "pfs_v2.API/GetFileSet": ("PERMISSION_DENIED",),
    "pfs_v2.API/GetFile": ("NOT_FOUND", "UNKNOWN"),  # nothing was written; no file set was made
    "pfs_v2.API/GetFileTAR": ("UNAUTHENTICATED", "INTERNAL", "UNKNOWN"),
    "pfs_v2.API/ListFile": ("OK",),  # nothing was written
    "pfs_v2.API/ListCommitSet": ("OK",),  # without the commits that one may not see
}


class AuthReplayer(Replayer):
    """Runs the steps of one scenario; `stricter` are those that were let through by the recorded server only."""

    def __init__(self, channel: grpc.Channel, name: str, scenario: dict[str, Any]) -> None:
        super().__init__(channel, name, scenario)
        self._values["root"] = ROOT_TOKEN
        self.stricter: list[str] = []

    def _step(self, step: dict[str, Any]) -> str:
        if "sleep_s" in step:
            time.sleep(step["sleep_s"])
            return ""
        if "callback_of" in step:
            self._values["callback"] = browser.query(self._values[step["callback_of"]])["redirect_uri"]
            return ""
        if "http" in step:
            return _page_difference(step["expect"], browser.request(self._fill(step["http"]["url"])))
        if "login" in step:
            form = step["login"]
            return _page_difference(
                step["expect"], browser.log_in(self._fill(form["url"]), form["user"], form["password"])
            )
        if "id_token" in step:
            return self._get_id_token(step)
        return super()._step(step)

    def _get_id_token(self, step: dict[str, Any]) -> str:
        form = step["id_token"]
        url = self._fill(form["url"])
        callback = browser.query(url)["redirect_uri"]
        page = browser.log_in(url, form["user"], form["password"], stop_at=callback)
        fields = {"grant_type": "authorization_code", "code": browser.query(page.location)["code"]}
        issuer = url.partition("/auth?")[0]
        description = json.loads(browser.request(f"{issuer}/.well-known/openid-configuration").body)
        answer = browser.request(description["token_endpoint"], fields | {"redirect_uri": callback})
        if answer.status == 200:
            self._values[step["save_as"]] = json.loads(answer.body)["id_token"]
        return _page_difference(step["expect"], answer)

    def _value(self, found: Any) -> str:
        name = found[1] or found[2]
        return super()._value(found) if name is None or name in self._values else f"no-{name}"

    def _compare(self, step: dict[str, Any], outcome: Outcome) -> str:
        call = step["call"]
        if call in NEVER_OFFERED and outcome.code == "UNIMPLEMENTED":
            return ""
        if (self._name, step["id"]) in DIFFERENT:
            code, _ = DIFFERENT[self._name, step["id"]]
            return "" if outcome.code == code else f"  code: {outcome.code}, expected {code} of our own"
        if any(outcome.text.startswith(text) for text in OLDER):
            return ""
        if call in CODE_ONLY:
            step = step | {"expect": {"code": step["expect"]["code"]}}
        difference = super()._compare(step, outcome) + self._text_difference(step, step["expect"], outcome)
        if difference and step.get("lax") and outcome.code in STRICT.get(call, ()):
            self.stricter.append(step["id"])
            return ""
        return difference

    def _text_difference(self, step: dict[str, Any], expected: dict[str, Any], outcome: Outcome) -> str:
        text = expected.get("text", "")
        if step["call"] in CODE_OF_REFUSAL and expected["code"] == "PERMISSION_DENIED":
            return ""
        counts = expected["code"] in _BINDING_TEXTS or "token" in text or "role binding" in text
        if not counts or expected["code"] == "UNIMPLEMENTED" or matches(self._fill(text), outcome.text):
            return ""
        return f"\n  text: {outcome.text!r}\n  expected {self._fill(text)!r}"

    def _facts(
        self, step: dict[str, Any], method: str, outcome: Outcome, what: str, want: Any, by_rule: bool
    ) -> tuple[Any, Any]:
        if what == "seconds":
            return abs(outcome.seconds - want) <= _SECONDS_OFF or outcome.seconds, True
        got, want = super()._facts(step, method, outcome, what, want, by_rule)
        if what == "values":
            path = step["pick"]
            return tuple([_in_order(value, path, step) for value in values] for values in (got, want))  # type: ignore[return-value]
        return _normal(got), _normal(want)


def _in_order(value: Any, path: str | list[str], step: dict[str, Any]) -> Any:
    """A picked value in which lists that are sets are sorted."""
    if isinstance(path, list):
        return [_in_order(one, name, step) for one, name in zip(value, path, strict=True)]
    name = path.rpartition(".")[2]
    if isinstance(value, list) and (step.get("unordered") or name in _SETS):
        return sorted(set(value))
    return _normal(value)


def _normal(value: Any) -> Any:
    """Without what older servers leave out, and with sets in order."""
    if isinstance(value, list):
        return [_normal(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {key: _normal(one) for key, one in value.items() if key != "created_by"}
    for name in _SETS:
        if isinstance(made.get(name), list):
            made[name] = _ALL if made[name] == ["<all>"] else sorted(set(made[name]))
    return made


def _page_difference(expected: dict[str, Any], page: browser.Page) -> str:
    """Status codes of the callback, and the texts that it shows, count; the issuer's own pages do not."""
    lines = []
    if page.status != expected["status"]:
        lines.append(f"  status: {page.status} {page.body!r}, expected {expected['status']}")
    if "body" in expected and not matches(expected["body"], page.body):
        lines.append(f"  body: {page.body!r}, expected {expected['body']!r}")
    if "callback" in expected.get("path", "") and urlsplit(page.url).path != expected["path"]:
        lines.append(f"  path: {page.url!r}, expected {expected['path']!r}")
    return "\n".join(lines)


def replay(channel: grpc.Channel, path: Path) -> tuple[Report, list[str]]:
    """The report of a scenario, and the steps in which the server was stricter."""
    replayer = AuthReplayer(channel, path.stem, json.loads(path.read_text()))
    return replayer.run(), replayer.stricter
