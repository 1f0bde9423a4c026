"""Runs one random sequence of calls on two servers and compares codes and answers.

`python -m tests.tools.differential ADDRESS_A ADDRESS_B [--seed N] [--steps N]`; an address is HOST:PORT or
unix:///PATH. Each server gets a new project, which is removed in the end unless there are differences.

What only one server can know is put aside before comparing: ids become the names of what they stand for, times and
texts of errors are not compared (only whether they are there), nor are the hashes of files of 1,000,000 bytes and more,
and what the versions of pachd differ in everywhere (the branch in commits, created_at, updated_at).
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import random
import re
import string
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from google.protobuf import json_format

from tests.localpfs.outcomes import Outcome, collect
from tests.localpfs.replay import (
    DEFAULT_SECONDS,
    plain,
    raw_bytes,
    sorted_sets,
    tar_entries,
    types_of,
)
from tests.localpfs.servers import connect
from tests.tools.operations import REPOS, Operations, Step

_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")
_ID = re.compile(r"[0-9a-f]{12}4[0-9a-f]{19}|[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_BIG = 1_000_000
_UNCOMPARED = {"created_at", "updated_at", "size_bytes_upper_bound", "compacting_time", "validating_time", "auth_info"}
_SHOWN = 1500
_CHANGING = {"ModifyFile", "FinishCommit", "ClearCommit", "DropCommit", "SquashCommit", "AddFileSet", "CreateBranch"}


class Side:
    """One of the two servers, with the ids that it gave to what both have."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self._values = {"project": "d" + "".join(random.choices(string.ascii_lowercase, k=10))}

    def run(self, step: Step) -> tuple[str, str, Any]:
        """The code, the text and the comparable answer of a call."""
        outcome = self._outcome(step)
        if step.method == "InspectCommit" and outcome.code == "OK" and _is_finishing(plain(outcome.messages[0])):
            return self.run(replace(step, request={**(step.request or {}), "wait": "FINISHED"}))
        if step.save and outcome.code == "OK":
            self._save(step.save, plain(outcome.messages[0]))
        return outcome.code, self._named(outcome.text), self._comparable(step.method, outcome)

    def _outcome(self, step: Step) -> Outcome:
        request_type, response_type = types_of(step.service, step.method)
        path = f"/{step.service}/{step.method}"
        if step.requests is not None:
            many = self.channel.stream_stream(path, request_type.SerializeToString, response_type.FromString)
            call = many(iter([self._message(body, request_type) for body in step.requests]))
        else:
            one = self.channel.unary_stream(path, request_type.SerializeToString, response_type.FromString)
            call = one(self._message(step.request or {}, request_type))
        return collect(call, DEFAULT_SECONDS, None, None)

    def left_out(self, step: Step) -> bool:
        """Whether the step must not be run, since what pachd does with it is not worth copying.

        Squashing a commit whose branch is gone makes pachd 2.11 panic. An open commit and one with an error have only
        their changes in pachd: if the commit that they began with is squashed or deleted with its repo, they begin with
        the one before it or with nothing. The embedded server keeps showing what they showed.
        """
        if step.method == "DeleteRepo":
            repos = [{"name": name, "type": "user", "project": {"name": "$project"}} for name in REPOS]
            answers = [self.run(Step("ListCommit", {"repo": repo}))[2] for repo in repos]
            parents = [(info["commit"], info.get("parent_commit")) for infos in answers for info in infos]
            name = (step.request or {})["repo"]["name"]
            return any(name == of["repo"]["name"] != one["repo"]["name"] for one, of in parents if of)
        if step.method != "SquashCommit":
            return False
        outcome = self._outcome(Step("InspectCommit", step.request))
        if outcome.code != "OK":
            return False
        info = plain(outcome.messages[0])
        branch = info["commit"].get("branch")
        if not branch or self._outcome(Step("InspectBranch", {"branch": branch})).code != "OK":
            return True
        children = [self.run(Step("InspectCommit", {"commit": one}))[2] for one in info.get("child_commits", ())]
        return any(child and "error" in child[0] for child in children)

    def clean_up(self) -> None:
        """Remove the project with all that is in it."""
        project = {"name": "$project"}
        names = self.run(Step("ListRepo", {"type": "user", "projects": [project]}))[2]
        for info in names:
            repo = {"name": info["repo"]["name"], "type": "user", "project": project}
            self.run(Step("DeleteRepo", {"repo": repo, "force": True}))
        self.run(Step("DeleteProject", {"project": project, "force": True}))

    def _save(self, name: str, answer: dict[str, Any]) -> None:
        found = answer.get("file_set_id") or answer.get("id") or answer.get("commit", {}).get("id")
        if found and found not in self._values.values():
            self._values[name] = found
        elif found:  # known already under another name
            self._values.setdefault(name, found)

    def _message(self, body: dict[str, Any], request_type: Any) -> Any:
        left = copy.deepcopy(body)
        raw = raw_bytes(left["add_file"].pop("raw")) if "raw" in left.get("add_file", {}) else None
        message = json_format.ParseDict(self._filled(left), request_type())
        if raw is not None:
            message.add_file.raw.value = raw
        return message

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._filled(one) for one in value]
        if isinstance(value, str):
            # What was never made has an id that no server knows.
            return _VARIABLE.sub(
                lambda m: "$" if m[0] == "$$" else self._values.get(m[1] or m[2], "0" * 12 + "4" + "0" * 19), value
            )
        return value

    def _comparable(self, method: str, outcome: Outcome) -> Any:
        if method in ("GetFile", "GetFileTAR"):
            data = b"".join(message.value for message in outcome.messages)  # type: ignore[attr-defined]
            if outcome.code != "OK":
                return []  # how much came before the error is a matter of buffers
            if method == "GetFile":
                return [len(data), hashlib.sha256(data).hexdigest()]
            try:
                return list(tar_entries(data))
            except (tarfile.TarError, ValueError) as error:
                return f"no archive: {error}"
        if method == "DiffFile" and outcome.code != "OK":
            return []  # pachd reads both sides at once: how much came before the error is chance
        return [sorted_sets(self._normal(sorted_sets(plain(message)))) for message in outcome.messages]

    def _normal(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._normal(one) for one in value]
        if isinstance(value, str):
            return self._named(value)
        if not isinstance(value, dict):
            return value
        made = {key: self._normal(one) for key, one in value.items() if key not in _UNCOMPARED}
        if "id" in made and isinstance(made.get("repo"), dict):
            made.pop("branch", None)
        if "hash" in made and int(made.get("size_bytes", 0)) >= _BIG:
            made["hash"] = "<hash>"
        return made

    def _named(self, text: str) -> str:
        if _TIME.fullmatch(text):
            return "<time>"
        for name, value in self._values.items():
            text = text.replace(value, f"${name}")
        return _ID.sub("<id>", text)


def _is_finishing(info: dict[str, Any]) -> bool:
    return "finishing" in info and "finished" not in info


@dataclass
class Comparison:
    """What a run came to."""

    steps: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def compare(
    channels: tuple[grpc.Channel, grpc.Channel],
    seed: int,
    steps: int,
    *,
    texts: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    between: Callable[[int], grpc.Channel | None] = lambda _: None,
) -> Comparison:
    """Run `steps` random calls on both servers. Ends early after ten differences, since one brings forth others.

    After each call that changes something the files of the newest commits are compared, in the end those of all.
    `between` is called after each step; a channel that it returns is the second server's from then on.
    """
    sides = [Side(channel) for channel in channels]
    operations = Operations(seed)
    result = Comparison()

    def both(number: int, step: Step) -> str:
        """Run a step on both sides and note a difference; the code, empty when the sides have different ones."""
        one, other = (side.run(step) for side in sides)
        result.codes[f"{step.method} {one[0]}"] += 1
        if one[0] != other[0] or one[2] != other[2] or (texts and one[1] != other[1]):
            difference = _described(number, step, one, other)
            result.differences.append(difference)
            tell(difference)
        return one[0] if one[0] == other[0] else ""

    for number in range(steps):
        step = operations.next()
        while any(side.left_out(step) for side in sides):
            operations.learn(ok=False)
            step = operations.next()
        code = both(number, step)
        result.steps += 1
        operations.learn(code == "OK")
        last = number == steps - 1
        if last or step.method in _CHANGING:
            for look in operations.trees(every=last):
                both(number, look)
        if len(result.differences) >= 10:
            break
        channel = between(number)
        if channel is not None:
            sides[1].channel = channel
    if not result.differences:
        for side in sides:
            side.clean_up()
    return result


def _described(number: int, step: Step, one: tuple[str, str, Any], other: tuple[str, str, Any]) -> str:
    asked = json.dumps(step.request if step.requests is None else step.requests, ensure_ascii=False)
    lines = [f"step {number}: {step.method} {asked[:_SHOWN]}"]
    for name, (code, text, answer) in (("A", one), ("B", other)):
        lines.append(f"  {name}: {code} {text!r}")
        lines += [f"     {line}" for line in _lines(answer, (other if name == "A" else one)[2])]
    return "\n".join(lines)


def _lines(answer: Any, against: Any) -> list[str]:
    """The parts of an answer that the other one does not have."""
    if not isinstance(answer, list) or not isinstance(against, list):
        return [json.dumps(answer)[:_SHOWN]]
    alone = [part for at, part in enumerate(answer) if at >= len(against) or part != against[at]]
    return [
        f"{len(answer)} messages",
        *[json.dumps(part, ensure_ascii=False, sort_keys=True)[:_SHOWN] for part in alone[:3]],
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address_a")
    parser.add_argument("address_b")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--texts", action="store_true", help="compare the texts of errors too")
    arguments = parser.parse_args()
    channels = (connect(arguments.address_a), connect(arguments.address_b))
    result = compare(channels, arguments.seed, arguments.steps, texts=arguments.texts, tell=print)
    for what, count in sorted(result.codes.items()):
        print(f"{count:6} {what}")
    print(f"seed {arguments.seed}: {result.steps} steps, {len(result.differences)} differences")
    return 1 if result.differences else 0


if __name__ == "__main__":
    sys.exit(main())
