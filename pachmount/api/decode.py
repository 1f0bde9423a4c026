"""Decoding request bodies as leniently as the original mount server did (rest-api.md section 1)."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pachmount.errors import UsageError

M = TypeVar("M", bound=BaseModel)

_TYPE_NAMES: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
}


def decode_body(body: bytes, model: type[M]) -> M:
    """The request in `body`: trailing bytes are ignored, null is the empty request; UsageError for anything else."""
    text = body.decode("utf-8", errors="replace").lstrip()
    if not text:
        raise UsageError("EOF")
    data = _parse(text)
    if data is None:
        data = {}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UsageError(_mismatch(model, data, error)) from error


def _parse(text: str) -> Any:
    try:
        data, _ = json.JSONDecoder().raw_decode(text)
        return _without_half_characters(data) if r"\ud" in text.lower() else data
    except json.JSONDecodeError as error:
        raise UsageError(_malformed(text, error)) from error
    except RecursionError as error:
        raise UsageError("json: exceeded max depth") from error
    except ValueError as error:  # Python reads no number of more than some thousand digits
        raise UsageError("json: cannot unmarshal number", "it is too long") from error


def _without_half_characters(data: Any) -> Any:
    r"""Half a surrogate pair (`\ud800`), which no text on its way out can hold, becomes U+FFFD as in the original."""
    text = json.dumps(data, ensure_ascii=False)
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _malformed(text: str, error: json.JSONDecodeError) -> str:
    if error.pos >= len(text.rstrip()) or "Unterminated string" in error.msg:
        return "unexpected EOF"
    return f"invalid character '{text[error.pos]}' at position {error.pos}: {error.msg}"


def _mismatch(model: type[BaseModel], data: Any, error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"] if not isinstance(part, int))
    found = _TYPE_NAMES.get(type(first.get("input", data)), "value")
    where = f"{model.__name__}.{field}" if field else model.__name__
    return f"json: cannot unmarshal {found} into Go struct field {where}"
