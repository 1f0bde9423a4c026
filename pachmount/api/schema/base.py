"""What all models have in common, and errors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

CLIENT_HEADER = "X-Pachmount-Client"
"""A request with this header gets errors as an ErrorAnswer in JSON instead of plain text."""


class Model(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)


class Request(Model):
    """Decoded as the original does: unknown keys ignored, keys matched without regard to case, null = default."""

    @model_validator(mode="before")
    @classmethod
    def _lenient(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {name.lower(): name for name in cls.model_fields}
        return {known[key.lower()]: value for key, value in data.items() if key.lower() in known and value is not None}


class ErrorAnswer(Model):
    id: str
    error: str
    why: str = ""
    hint: str = ""
