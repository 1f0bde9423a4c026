"""The auth file: root token, users, and what they and others may do to begin with."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from pachmount.errors import ConfigurationError
from pachmount.localpfs.access import CLUSTER, Resource, of_project, of_repo
from pachmount.localpfs.auth import principals
from pachmount.localpfs.auth.roles import ROLES
from pachmount.localpfs.model import RepoName
from pachmount.localpfs.status import Refusal

_HINT = "docs/localpfs.md says under Authentication what can stand in it"


def _principal(value: str) -> str:
    try:
        principals.check(value)
    except Refusal as refusal:
        raise ValueError(refusal.text) from None
    return value


def _role(value: str) -> str:
    if value not in ROLES:
        raise ValueError(f"no such role; there are {', '.join(sorted(ROLES))}")
    return value


Principal = Annotated[str, AfterValidator(_principal)]
RoleName = Annotated[str, AfterValidator(_role)]
Secret = Annotated[str, Field(pattern=r"^[!-~]+$")]
Seconds = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class User(_Part):
    """Somebody who can log in through a browser; known to the server as `user:` and the address."""

    login: str = Field(min_length=1)
    password: str = Field(min_length=1)
    email: str = Field(min_length=1)
    groups: tuple[Annotated[str, Field(pattern="^group:.")], ...] = ()


class Token(_Part):
    """A token that is good from the start; `expires` in seconds from then, by default never."""

    token: Secret
    principal: Principal
    expires: Seconds | None = None


class Binding(_Part):
    """Roles on `cluster`, `project:NAME` or `repo:PROJECT/NAME`."""

    resource: str
    principal: Principal
    roles: tuple[RoleName, ...] = Field(min_length=1)

    @field_validator("resource")
    @classmethod
    def _check_resource(cls, value: str) -> str:
        _resource(value)
        return value

    def on(self) -> Resource:
        return _resource(self.resource)


class AuthSettings(_Part):
    """What the auth file says. Times are in seconds."""

    root_token: Secret
    token_lifetime: Seconds = 30 * 24 * 3600.0
    id_token_lifetime: Seconds = 24 * 3600.0
    state_lifetime: Seconds = 180.0
    login_port: int = Field(default=0, ge=0, le=65535)
    users: tuple[User, ...] = ()
    tokens: tuple[Token, ...] = ()
    bindings: tuple[Binding, ...] = ()

    @field_validator("users")
    @classmethod
    def _check_logins(cls, users: tuple[User, ...]) -> tuple[User, ...]:
        _check_different("login", [user.login for user in users])
        return users


def load(path: Path) -> AuthSettings:
    """Read an auth file. Raises ConfigurationError; its text never quotes what stands in the file."""
    what = f"cannot use the auth file {path}"
    try:
        data = _toml().loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(what, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(what, "it is not UTF-8") from error
    except ModuleNotFoundError as error:
        raise ConfigurationError(what, "Python 3.10 cannot read TOML", "pip install tomli, or Python 3.11") from error
    except ValueError as error:
        raise ConfigurationError(what, f"it is not TOML: {error}", _HINT) from None
    try:
        settings = AuthSettings.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise ConfigurationError(what, "; ".join(map(_sentence, found)), _HINT) from None
    tokens = [token.token for token in settings.tokens]
    if len({settings.root_token, *tokens}) <= len(tokens):
        raise ConfigurationError(what, "two tokens in it are the same", _HINT)
    return settings


def _sentence(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{place}: no such key"
    return f"{place}: {str(error['msg']).removeprefix('Value error, ')}"


def _toml() -> Any:
    return importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


def _resource(text: str) -> Resource:
    kind, _, name = text.partition(":")
    if text == "cluster":
        return CLUSTER
    if kind == "project" and name and "/" not in name:
        return of_project(name)
    project, slash, repo = name.partition("/")
    if kind == "repo" and project and slash and repo and "/" not in repo:
        return of_repo(RepoName(project, repo, "user"))
    raise ValueError("must be cluster, project:NAME or repo:PROJECT/NAME")


def _check_different(what: str, values: list[str]) -> None:
    if len(set(values)) < len(values):
        raise ValueError(f"two have the same {what}")
