"""Replays recorded conformance scenarios against a server and compares codes and answers.

As a program, `python -m tests.localpfs.replay ADDRESS FILE...` prints the differences and the steps passed per file.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import random
import re
import string
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format, message_factory
from google.protobuf.message import Message

from pachmount.pfs.proto import admin_pb2, auth_pb2, enterprise_pb2, health_pb2, pfs_pb2, pps_pb2, version_pb2
from tests.localpfs.outcomes import Outcome, collect, pausing
from tests.localpfs.servers import connect

VERSION = "2.11.6"
_MODULES = {
    "pfs_v2": pfs_pb2,
    "pps_v2": pps_pb2,
    "auth_v2": auth_pb2,
    "admin_v2": admin_pb2,
    "versionpb_v2": version_pb2,
    "enterprise_v2": enterprise_pb2,
    "grpc.health.v1": health_pb2,
}
_BYTES_METHODS = ("GetFile", "GetFileTAR")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_ID = re.compile(r"[0-9a-f]{32}")
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")
DEFAULT_SECONDS = 60.0

# Steps that cannot be meant for an embedded server, or that record an accident of the recorded build.
LEFT_OUT = {
    ("09-cluster", "s1"): "the recorded builds had no version number; ours says which version it behaves like",
}


@dataclass
class Report:
    """The result of one scenario file."""

    passed: int = 0
    skipped: int = 0
    differences: list[str] = field(default_factory=list)


class Replayer:
    """Runs the steps of one scenario."""

    def __init__(self, channel: grpc.Channel, name: str, scenario: dict[str, Any]) -> None:
        self._channel = channel
        self._name = name
        self._scenario = scenario
        letters = "".join(random.choices(string.ascii_lowercase, k=11))
        self._values = {"project": f"p{letters}", "project2": f"p{letters}2", "project3": f"p{letters}3"}
        self._running: dict[str, tuple[threading.Thread, list[Outcome], float]] = {}

    def run(self) -> Report:
        report = Report()
        for step in self._scenario["steps"]:
            if VERSION not in step.get("only", [VERSION]) or (self._name, step["id"]) in LEFT_OUT:
                report.skipped += 1
                continue
            difference = self._step(step)
            if difference:
                report.differences.append(
                    f"{self._name} {step['id']} {step.get('call')} ({step.get('note', '')})\n{difference}"
                )
            else:
                report.passed += 1
        return report

    def _step(self, step: dict[str, Any]) -> str:
        if "join" in step:
            thread, outcomes, limit = self._running.pop(step["join"])
            thread.join(limit + 5)
            if not outcomes:
                return "  the call in the background did not end"
            outcome = outcomes[0]
        elif step.get("background"):
            outcomes = []
            thread = threading.Thread(target=lambda: outcomes.append(self._call(step)), daemon=True)
            thread.start()
            self._running[step["id"]] = (thread, outcomes, step.get("deadline_s", DEFAULT_SECONDS))
            return ""
        else:
            outcome = self._call(step)
        if outcome.code == "OK":
            self._save(step, outcome.messages)
        if "expect" not in step:
            return ""
        return self._compare(step, outcome)

    def _call(self, step: dict[str, Any]) -> Outcome:
        service, method = step["call"].split("/")
        request_type, response_type = types_of(service, method)
        metadata = self._metadata(step)
        limit = step.get("deadline_s", DEFAULT_SECONDS)
        path = f"/{step['call']}"
        if "requests" in step:  # on the wire a single answer is a stream of one
            many = self._channel.stream_stream(path, request_type.SerializeToString, response_type.FromString)
            bodies = pausing(step["requests"], step.get("pause"))
            call = many((self._request(body, request_type) for body in bodies), metadata=metadata)
        else:
            one = self._channel.unary_stream(path, request_type.SerializeToString, response_type.FromString)
            call = one(self._request(step.get("request", {}), request_type), metadata=metadata)
        pause = None if "requests" in step else step.get("pause")
        return collect(call, limit, step.get("take"), step.get("quiet_s"), pause)

    def _metadata(self, step: dict[str, Any]) -> tuple[tuple[str, str], ...]:
        """The pairs of a step; a value may be a list of values."""
        given = {key: value if isinstance(value, list) else [value] for key, value in step.get("metadata", {}).items()}
        return tuple((key, self._fill(value)) for key, values in given.items() for value in values)

    def _request(self, body: dict[str, Any], request_type: type[Message]) -> Message:
        left = copy.deepcopy(body)
        raw = None
        if "raw" in left.get("add_file", {}):
            raw = raw_bytes(left["add_file"].pop("raw"))  # content is taken as it is
        message = json_format.ParseDict(self._fill(left), request_type(), ignore_unknown_fields=True)
        if raw is not None:
            message.add_file.raw.value = raw  # type: ignore[attr-defined]
        return message

    def _fill(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._fill(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._fill(one) for one in value]
        if isinstance(value, str):
            return _VARIABLE.sub(lambda found: self._value(found), value)
        return value

    def _value(self, found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name is None:
            return "$"
        return self._values[name]

    def _save(self, step: dict[str, Any], messages: list[Message]) -> None:
        dicts = [plain(message) for message in messages]
        for name, path in step.get("save", {}).items():
            first, _, rest = path.partition(".")
            number, path = (int(first), rest) if first.isdecimal() else (0, path)
            value = pick(dicts[number], path)
            if isinstance(value, str):
                self._values[name] = value

    def _compare(self, step: dict[str, Any], outcome: Outcome) -> str:
        expected = step.get("differs", {}).get(VERSION)
        by_rule = expected is None
        expected = step["expect"] if expected is None else expected
        lines = []
        if outcome.code != expected["code"]:
            ends = VERSION in step.get("ends_server", []) and outcome.code != "OK"
            if not ends:
                lines.append(
                    f"  code: {outcome.code} {outcome.text!r}, expected {expected['code']} {expected.get('text')!r}"
                )
        method = step["call"].rpartition("/")[2]
        for what, want in expected.items():
            if what in ("code", "text", "messages"):
                continue
            got, want = self._facts(step, method, outcome, what, want, by_rule)
            if not matches(want, got):
                lines.extend(_differences(what, want, got))
        return "\n".join(lines)

    def _facts(
        self, step: dict[str, Any], method: str, outcome: Outcome, what: str, want: Any, by_rule: bool
    ) -> tuple[Any, Any]:
        """What the server gave and what is expected, in a form in which they can be compared."""
        want = self._fill(want)
        if method in _BYTES_METHODS:
            data = b"".join(message.value for message in outcome.messages)  # type: ignore[attr-defined]
            if any(not message.ByteSize() for message in outcome.messages):
                return "an empty message", want
            if what == "total":
                return len(data), want
            if what == "sha256":
                return hashlib.sha256(data).hexdigest(), want
            try:
                entries = list(tar_entries(data))
            except (tarfile.TarError, ValueError) as error:
                return f"no archive: {error}", want
            return entries, want
        got = [plain(message) for message in outcome.messages]
        if "filter" in step:
            prefix = self._fill(step["filter"]["prefix"])
            got = [one for one in got if str(pick(one, step["filter"]["field"]) or "").startswith(prefix)]
        if what == "values":
            path = step["pick"]
            picked = [[pick(one, p) for p in path] if isinstance(path, list) else pick(one, path) for one in got]
            return picked, want
        rules = self._scenario.get("rules", {}).get(VERSION, []) if by_rule else []
        if what == "count":
            return len(got), want
        if what in ("first", "last"):
            got = got[:1] if what == "first" else got[-1:]
        return [sorted_sets(one) for one in got], [sorted_sets(ruled(one, rules)) for one in want]


def types_of(service: str, method: str) -> tuple[Any, Any]:
    """Request and response type of a method; of an unknown one types that hold nothing."""
    package, _, name = service.rpartition(".")
    module = _MODULES.get(package)
    descriptor = module.DESCRIPTOR.services_by_name.get(name) if module is not None else None
    found = descriptor.methods_by_name.get(method) if descriptor is not None else None
    if found is None:
        return empty_pb2.Empty, empty_pb2.Empty
    make = message_factory.GetMessageClass
    return make(found.input_type), make(found.output_type)


def raw_bytes(source: dict[str, Any]) -> bytes:
    if "text" in source:
        return str(source["text"]).encode()
    return fill(source["fill"], source["size"], source.get("offset", 0))


def fill(seed: str, size: int, offset: int = 0) -> bytes:
    """Bytes [offset, offset + size) of the endless stream that belongs to a seed."""
    first, last = offset // 64, (offset + size + 63) // 64
    blocks = b"".join(hashlib.blake2b(f"{seed}/{number}".encode()).digest() for number in range(first, last))
    return blocks[offset - first * 64 :][:size]


def plain(message: Message) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def pick(value: Any, path: str) -> Any:
    for name in path.split("."):
        if isinstance(value, list):
            value = [pick(one, name) for one in value]
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return value


def ruled(value: Any, rules: list[str], *, in_children: bool = False) -> Any:
    if isinstance(value, list):
        return [ruled(one, rules, in_children=in_children) for one in value]
    if not isinstance(value, dict):
        return value
    made = {key: ruled(one, rules, in_children=in_children or key == "child_commits") for key, one in value.items()}
    if "strip_commit_branch" in rules and not in_children and "id" in made and isinstance(made.get("repo"), dict):
        made.pop("branch", None)
    is_info = ("commit" in made and "origin" in made) or ("branch" in made and "head" in made)
    if "add_times" in rules and is_info:
        made |= {"created_at": "<time>", "updated_at": "<time>"}
    return made


def sorted_sets(value: Any) -> Any:
    if isinstance(value, list):
        return [sorted_sets(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {key: sorted_sets(one) for key, one in value.items()}
    for name in ("branches", "child_commits"):
        if isinstance(made.get(name), list):
            made[name].sort(key=lambda one: json.dumps(one, sort_keys=True))
    details = made.get("details")
    if isinstance(details, dict):
        details.pop("compacting_time", None)
        details.pop("validating_time", None)
    if "origin" in made and made.get("error"):
        made["error"] = "<any>"
    return made


def matches(want: Any, got: Any) -> bool:
    if isinstance(want, dict) and isinstance(got, dict):
        return want.keys() == got.keys() and all(matches(one, got[key]) for key, one in want.items())
    if isinstance(want, list) and isinstance(got, list):
        return len(want) == len(got) and all(map(matches, want, got))
    if want == "<any>":
        return got is not None
    if want == "<hash>":
        return bool(got)
    if isinstance(want, str) and isinstance(got, str):
        if want == "<time>":
            return _TIME.fullmatch(got) is not None
        pattern = re.escape(want).replace("<id>", _ID.pattern).replace("<any>", ".*")
        return re.fullmatch(pattern, got, re.DOTALL) is not None
    return bool(want == got)


def _differences(what: str, want: Any, got: Any) -> Iterator[str]:
    """The first places at which two lists differ, one line each."""
    if not isinstance(want, list) or not isinstance(got, list):
        yield f"  {what}: {got!r}, expected {want!r}"
        return
    if len(want) != len(got):
        yield f"  {what}: {len(got)} messages, expected {len(want)}"
    shown = 0
    for number in range(max(len(want), len(got))):
        one = want[number] if number < len(want) else None
        other = got[number] if number < len(got) else None
        if not matches(one, other) and shown < 3:
            shown += 1
            got_text, want_text = json.dumps(other, sort_keys=True), json.dumps(one, sort_keys=True)
            yield f"  {what}[{number}]:\n    got      {got_text}\n    expected {want_text}"


def tar_entries(data: bytes) -> Iterator[dict[str, Any]]:
    if not data:
        return
    if len(data) % 512:
        raise ValueError(f"an archive of {len(data)} bytes")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            if info.isdir():
                yield {"name": info.name.rstrip("/") + "/", "type": "dir", "size": info.size}
                continue
            content = archive.extractfile(info)
            digest = hashlib.sha256(content.read() if content else b"").hexdigest()
            yield {"name": info.name, "type": "file", "size": info.size, "sha256": digest}


def replay(channel: grpc.Channel, path: Path) -> Report:
    return Replayer(channel, path.stem, json.loads(path.read_text())).run()


def main() -> int:
    channel = connect(sys.argv[1])
    failed = 0
    for name in sys.argv[2:]:
        report = replay(channel, Path(name))
        for difference in report.differences:
            print(difference)
        total = report.passed + len(report.differences)
        print(f"{Path(name).stem}: {report.passed} of {total} steps passed, {report.skipped} left out")
        failed += len(report.differences)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
