"""What a pipeline's spec says of its code: the command, its surroundings, and what counts as success."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pachmount.errors import UsageError

DEFAULT_TRIES = 3
"""That of a pipeline."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"


@dataclass(frozen=True)
class Transform:
    """`cmd` is executed without a shell. `stdin` and `err_stdin` are lines.

    `timeout` is in seconds, 0 for none; `tries` is how often a datum is tried in all.
    """

    cmd: tuple[str, ...] = ()
    stdin: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    user: str = ""
    accept_return_code: tuple[int, ...] = ()
    err_cmd: tuple[str, ...] = ()
    err_stdin: tuple[str, ...] = ()
    tries: int = DEFAULT_TRIES
    timeout: float = 0.0

    def running(self, command: Sequence[str]) -> Transform:
        """The same with another command, which gets no input and runs here and as us, not as in the image."""
        return replace(self, cmd=tuple(command), stdin=(), working_dir="", user="")


def read_transform(spec: Mapping[str, Any]) -> Transform:
    """The code of a pipeline's spec; raises UsageError. A spec without `transform` has no command."""
    transform = spec.get("transform") or {}
    if not isinstance(transform, Mapping):
        raise _wrong("transform", "an object")
    tries = _get(spec, "datum_tries", "datumTries")
    return Transform(
        cmd=_texts(transform, "cmd"),
        stdin=_texts(transform, "stdin"),
        env=_variables(transform),
        working_dir=_text(transform, "working_dir", "workingDir"),
        user=_text(transform, "user"),
        accept_return_code=_codes(transform),
        err_cmd=_texts(transform, "err_cmd", "errCmd"),
        err_stdin=_texts(transform, "err_stdin", "errStdin"),
        tries=DEFAULT_TRIES if tries in (None, 0, "0") else _positive(tries, "datum_tries"),
        timeout=seconds_of(_text(spec, "datum_timeout", "datumTimeout"), "datum_timeout"),
    )


def seconds_of(text: str, name: str) -> float:
    """The seconds of a duration such as `30s`, `1m30s`, `1.5h`; 0 for none."""
    text = text.strip()
    if text in ("", "0"):
        return 0.0
    if not re.fullmatch(f"({_PART})+", text):
        raise UsageError(f"{name}: '{text}' is no duration", "such are 30s, 5m, 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))


def _get(fields: Mapping[str, Any], *names: str) -> Any:
    """A field by its name; JSON of the cluster has it in another spelling."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _text(fields: Mapping[str, Any], *names: str) -> str:
    value = _get(fields, *names)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(names[0], "text")
    return value


def _texts(fields: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    value = _get(fields, *names)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise _wrong(f"transform.{names[0]}", "a list of texts")
    return tuple(value)


def _variables(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    value = fields.get("env") or {}
    if not isinstance(value, Mapping) or any(isinstance(entry, (list, Mapping)) for entry in value.values()):
        raise _wrong("transform.env", "an object of texts")
    return tuple((str(name), "" if entry is None else str(entry)) for name, entry in value.items())


def _codes(fields: Mapping[str, Any]) -> tuple[int, ...]:
    value = _get(fields, "accept_return_code", "acceptReturnCode") or []
    if not isinstance(value, list):
        raise _wrong("transform.accept_return_code", "a list of numbers")
    try:
        return tuple(int(code) for code in value)
    except (TypeError, ValueError) as error:
        raise _wrong("transform.accept_return_code", "a list of numbers") from error


def _positive(value: Any, name: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError) as error:
        raise _wrong(name, "a number") from error
    if number < 1:
        raise _wrong(name, "at least 1")
    return number


def _wrong(name: str, expected: str) -> UsageError:
    return UsageError(f"wrong pipeline spec: '{name}' is not {expected}")
