"""Settings: flags over `PACHMOUNT_*` variables over `pachmount.toml` over defaults.

Import it lazily in commands: pydantic-settings costs more than the rest of a short command.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from pachmount import paths
from pachmount.errors import ConfigurationError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(value: Any) -> Any:
    """Read `10G`, `512 MiB` or a number of bytes; anything else is left for the validator to refuse."""
    if not isinstance(value, str):
        return value
    text = value.strip().upper().removesuffix("B").removesuffix("I").strip()
    unit = text[-1:] if text[-1:].isalpha() else ""
    try:
        return int(float(text.removesuffix(unit)) * _UNITS[unit])
    except (KeyError, ValueError):
        raise ValueError("a size is a number of bytes or a number with K, M, G or T, such as 10G") from None


Size = Annotated[int, BeforeValidator(parse_size)]

ENV_PREFIX = "PACHMOUNT_"


EDIT_HINT = 'mend it: "$EDITOR" "$(pachmount config path)"'


def file_path() -> Path:
    """The user's settings file, which need not exist."""
    return paths.config_dir() / "pachmount.toml"


class Settings(BaseSettings):
    """What a user can tune. Sizes are bytes, times are seconds."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid")

    cache_dir: Path = Field(default_factory=paths.cache_dir, description="where downloaded blocks are kept")
    cache_size: Size = Field(default=10 << 30, ge=0, description="upper limit of the block cache on disk")
    listings_size: Size = Field(default=1 << 30, ge=0, description="upper limit of the listings kept on disk")
    memory_size: Size = Field(default=64 << 20, ge=16 << 20, description="upper limit of blocks held in memory")
    staging_size: Size = Field(default=50 << 30, ge=1 << 20, description="upper limit of a mount's staged changes")
    read_ahead: Size = Field(default=64 << 20, ge=1 << 20, description="how far a sequential reader is read ahead")
    read_timeout: float = Field(default=30.0, gt=0, description="how long a read or lookup may wait for the cluster")
    call_timeout: float = Field(default=15.0, gt=0, description="how long one call to the cluster may take")
    max_datums: int = Field(default=10_000_000, ge=1, description="how many datums an input may have")
    poll_interval: float = Field(default=5.0, gt=0, description="how often branch heads are looked at")
    on_shutdown: Literal["keep", "commit"] = Field(
        default_factory=lambda: "commit" if paths.sidecar_mode() else "keep",
        description="what becomes of staged changes when the daemon stops; in sidecar mode they are committed",
    )
    shutdown_grace: float = Field(default=25.0, gt=0, description="how long the daemon commits when it stops")
    stop_timeout: float = Field(default=30.0, ge=1, description="how long the daemon may take to end")
    allow_other: bool = Field(
        default_factory=lambda: paths.sidecar_mode() and os.geteuid() == 0,
        description="let other users of this machine see the mounts; root's in sidecar mode are",
    )
    file_owner: str = Field(default="", description="USER[:GROUP] to whom the mounted files belong; default: you")
    socket_users: str = Field(default="", description="who else may use the daemon's socket: names, ids, or *")
    listen: str = Field(default="", description="serve the REST API at this HOST:PORT, too")
    require_token: bool = Field(default=True, description="ask for the token there")
    token_file: Path | None = Field(default=None, description="where that token is; made if there is none")
    allowed_hosts: str = Field(default="", description="more names by which clients call the daemon there")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the signature is pydantic's)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, file_path())
        return init_settings, env_settings, toml


def load(**flags: Any) -> Settings:
    """The settings in force; flags that are None count as not given. Raises ConfigurationError."""
    try:
        return Settings(**{key: value for key, value in flags.items() if value is not None})
    except ValidationError as error:
        raise invalid(error, flags) from error
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise ConfigurationError(f"cannot read '{file_path()}'", why, EDIT_HINT) from error


def invalid(error: ValidationError, given: Mapping[str, Any]) -> ConfigurationError:
    """The first thing that is wrong with the settings, in our words, and where it is unless it was just `given`."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    variable = f"{ENV_PREFIX}{name.upper()}"
    place, hint = f" in '{file_path()}'", f"pachmount config unset {name}"
    if given.get(name) is not None:
        place, hint = "", "pachmount config show"
    elif variable in os.environ:
        place, hint = f" in {variable}", f"unset {variable}"
    if first["type"] == "extra_forbidden":
        return unknown(name, place, hint)
    why = str(first["msg"]).removeprefix("Value error, ")
    return ConfigurationError(f"invalid setting '{name}'{place}", why, hint)


def unknown(name: str, place: str = "", hint: str = "'pachmount config show' lists all") -> ConfigurationError:
    """There is no setting of that name; tells the nearest one."""
    near = nearest(name)
    why = f"did you mean '{near}'?" if near else "there is none of that name"
    return ConfigurationError(f"unknown setting '{name}'{place}", why, hint)


def nearest(name: str) -> str:
    """The setting whose name is most like `name`, "" if none is."""
    found = difflib.get_close_matches(name.lower().replace("-", "_"), Settings.model_fields, n=1)
    return found[0] if found else ""


OTHER_VARIABLES = frozenset(
    {"PACHMOUNT_URL", "PACHMOUNT_TOKEN", "PACHMOUNT_FUSE_BINDING", "PACHMOUNT_LAB_STOP_DAEMON", "PACHMOUNT_TEST_PACHD"}
)
"""Variables that are no settings; the last one is for tests."""


def unread_variables() -> list[tuple[str, str]]:
    """PACHMOUNT_* variables that nothing reads, each with the one that may be meant, or ""."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    unread = sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name not in known)
    nears = [nearest(name.removeprefix(ENV_PREFIX)) for name in unread]
    return [(name, f"{ENV_PREFIX}{near.upper()}" if near else "") for name, near in zip(unread, nears, strict=True)]
