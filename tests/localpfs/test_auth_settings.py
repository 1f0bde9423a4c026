"""The auth file: what it may hold, and how mistakes in it are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pachmount.errors import ConfigurationError
from pachmount.localpfs.access import CLUSTER, of_project, of_repo
from pachmount.localpfs.auth.settings import load
from pachmount.localpfs.model import RepoName
from tests.localpfs.servers import launch

_GOOD = """
root_token = "iamroot"
token_lifetime = 60
state_lifetime = 2.5

[[users]]
login = "ada"
password = "p w"
email = "ada@example.com"
groups = ["group:readers"]

[[tokens]]
token = "robot-token"
principal = "robot:ci"
expires = 10

[[bindings]]
resource = "cluster"
principal = "group:readers"
roles = ["repoReader"]

[[bindings]]
resource = "project:default"
principal = "robot:ci"
roles = ["projectOwner"]

[[bindings]]
resource = "repo:default/images"
principal = "allClusterUsers"
roles = ["repoReader", "repoWriter"]
"""


def _written(folder: Path, text: str) -> Path:
    path = folder / "auth.toml"
    path.write_text(text)
    return path


def test_everything_in_a_file_is_read(tmp_path: Path) -> None:
    settings = load(_written(tmp_path, _GOOD))
    assert (settings.root_token, settings.token_lifetime, settings.state_lifetime) == ("iamroot", 60, 2.5)
    assert settings.users[0].groups == ("group:readers",)
    assert settings.tokens[0].expires == 10
    on = [binding.on() for binding in settings.bindings]
    assert on == [CLUSTER, of_project("default"), of_repo(RepoName("default", "images", "user"))]


def test_a_root_token_is_enough(tmp_path: Path) -> None:
    settings = load(_written(tmp_path, 'root_token = "x"'))
    assert (settings.token_lifetime, settings.id_token_lifetime, settings.state_lifetime) == (2592000, 86400, 180)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "root_token: Field required"),
        ("root_token = ", "not TOML"),
        ('root_token = "a b"', "root_token: String should match pattern"),
        ('root_token = "x"\ncolour = 1', "colour: no such key"),
        ('root_token = "x"\nstate_lifetime = 0', "state_lifetime: Input should be greater than 0"),
        ('root_token = "x"\n[[users]]\nlogin = "a"\nemail = "a@b"', "users.0.password: Field required"),
        (
            'root_token = "x"\n[[users]]\nlogin = "a"\nemail = "a@b"\npassword = "p"\nage = 3',
            "users.0.age: no such key",
        ),
        ('root_token = "x"\n[[tokens]]\ntoken = "x"\nprincipal = "robot:a"', "two tokens in it are the same"),
        ('root_token = "x"\n[[tokens]]\ntoken = "y"\nprincipal = "ada"', "tokens.0.principal: subject has no prefix"),
        ('root_token = "x"\n[[tokens]]\ntoken = "y"\nprincipal = "a:b"', "subject has unrecognized prefix: a:"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(_written(tmp_path, text))
    assert why in caught.value.why
    assert str(tmp_path) in caught.value.what


@pytest.mark.parametrize("resource", ["", "repo:images", "repo:/a", "repo:a/b/c", "project:", "project:a/b", "repo"])
def test_resources_that_are_none(tmp_path: Path, resource: str) -> None:
    binding = f'[[bindings]]\nresource = "{resource}"\nprincipal = "robot:a"\nroles = ["repoReader"]'
    with pytest.raises(ConfigurationError, match="must be cluster, project:NAME or repo:PROJECT/NAME"):
        load(_written(tmp_path, f'root_token = "x"\n{binding}'))


def test_roles_that_are_none(tmp_path: Path) -> None:
    binding = '[[bindings]]\nresource = "cluster"\nprincipal = "robot:a"\nroles = ["reader"]'
    with pytest.raises(ConfigurationError, match=r"bindings\.0\.roles\.0: no such role; there are clusterAdmin"):
        load(_written(tmp_path, f'root_token = "x"\n{binding}'))


def test_two_users_with_one_login(tmp_path: Path) -> None:
    user = '[[users]]\nlogin = "a"\npassword = "secret"\nemail = "a@b"\n'
    with pytest.raises(ConfigurationError, match="two have the same login"):
        load(_written(tmp_path, f'root_token = "x"\n{user}{user}'))


def test_an_error_quotes_no_secret(tmp_path: Path) -> None:
    text = 'root_token = "hush hush"\n[[tokens]]\ntoken = "hush again"\nprincipal = "robot:a"'
    with pytest.raises(ConfigurationError) as caught:
        load(_written(tmp_path, text))
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "none")


def test_a_server_tells_the_mistake_instead_of_starting(tmp_path: Path) -> None:
    path = _written(tmp_path, 'root_token = "x"\ncolour = 1')
    process, said = launch(tmp_path / "store", f"unix://{tmp_path}/s", "--auth", str(path))
    assert process.wait(10) == 78
    assert (said["ready"], said["error"]["id"]) == (False, "bad-configuration")
    assert not (tmp_path / "store").exists()
