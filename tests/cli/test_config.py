"""`config`: what is in force and why, and changes of the settings file that lose nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import User

from pachmount.cli.main import run
from pachmount.errors import ExitCode

Output = pytest.CaptureFixture[str]


@pytest.fixture
def file(user: User) -> Path:
    """The settings file, not there yet."""
    return user.home / ".config" / "pachmount" / "pachmount.toml"


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def shown(capsys: Output, *arguments: str) -> dict[str, dict[str, object]]:
    assert run(["config", "show", "--json", *arguments]) == 0
    return {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}


def test_each_setting_has_its_source(file: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, 'cache_size = "20G"\nread_timeout = 5\n')
    monkeypatch.setenv("PACHMOUNT_READ_TIMEOUT", "7")
    found = shown(capsys)
    assert (found["cache_size"]["value"], found["cache_size"]["source"]) == (20 << 30, str(file))
    assert (found["read_timeout"]["value"], found["read_timeout"]["source"]) == (7.0, "PACHMOUNT_READ_TIMEOUT")
    assert found["log_level"]["source"] == "default"


def test_one_value_alone_is_for_scripts(user: User, capsys: Output) -> None:
    assert run(["config", "show", "log_level"]) == 0
    assert capsys.readouterr().out == "info\n"


def test_the_table_names_variables_that_nothing_reads(
    user: User, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACHMOUNT_CACH_SIZE", "1G")
    assert run(["config", "show"]) == 0
    out, err = capsys.readouterr()
    assert "10.0 GiB" in out
    assert "PACHMOUNT_CACH_SIZE is no setting — did you mean PACHMOUNT_CACHE_SIZE?" in err


def test_set_keeps_comments_and_other_settings(file: Path, capsys: Output) -> None:
    write(file, '# mine\ncache_size = "20G"  # much\nlog_level = "debug"\n')
    assert run(["config", "set", "cache_size", "30G"]) == 0
    assert capsys.readouterr().out == "cache_size = 30.0 GiB\n"
    assert file.read_text() == '# mine\ncache_size = "30G"  # much\nlog_level = "debug"\n'


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("read_timeout", "2.5", "read_timeout = 2.5"),
        ("allow_other", "yes", "allow_other = true"),
        ("listen", "127.0.0.1:9002", 'listen = "127.0.0.1:9002"'),
        ("cache_size", "0", "cache_size = 0"),
    ],
)
def test_set_makes_the_file(file: Path, capsys: Output, name: str, text: str, line: str) -> None:
    assert run(["config", "set", name, text]) == 0
    assert file.read_text().strip() == line
    capsys.readouterr()
    assert shown(capsys)[name]["source"] == str(file)


@pytest.mark.parametrize(("name", "text"), [("cache_size", "much"), ("read_timeout", "0"), ("log_level", "loud")])
def test_a_bad_value_changes_nothing(file: Path, capsys: Output, name: str, text: str) -> None:
    write(file, 'log_level = "debug"\n')
    assert run(["config", "set", name, text]) == ExitCode.BAD_CONFIGURATION
    assert f"invalid setting '{name}'" in capsys.readouterr().err
    assert file.read_text() == 'log_level = "debug"\n'


def test_unset_gives_the_default_back(file: Path, capsys: Output) -> None:
    write(file, 'log_level = "debug"\ncach_size = "1G"\n')
    assert run(["config", "unset", "cach_size"]) == 0  # a mistake can be taken out, too
    assert run(["config", "unset", "log_level"]) == 0
    assert file.read_text() == ""
    assert run(["config", "unset", "log_level"]) == 0
    assert "says nothing about log_level" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["show", "cach_size"], ["set", "cach_size", "1"], ["unset", "cach_size"]])
def test_an_unknown_name_is_told_the_nearest(user: User, capsys: Output, command: list[str]) -> None:
    assert run(["config", *command]) == ExitCode.BAD_CONFIGURATION
    assert "unknown setting 'cach_size' — did you mean 'cache_size'?" in capsys.readouterr().err


def test_what_is_wrong_is_told_with_its_place_and_a_way_out(
    file: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, 'cache_size = "much"\ncach_size = 1\n')
    assert run(["config", "show"]) == ExitCode.BAD_CONFIGURATION
    said = capsys.readouterr().err
    assert f"invalid setting 'cache_size' in '{file}' — " in said
    assert "hint: pachmount config unset cache_size\n" in said
    assert run(["config", "unset", "cache_size"]) == 0
    assert run(["config", "show"]) == ExitCode.BAD_CONFIGURATION
    said = capsys.readouterr().err
    assert f"unknown setting 'cach_size' in '{file}' — did you mean" in said
    assert "hint: pachmount config unset cach_size\n" in said
    assert run(["config", "unset", "cach_size"]) == 0
    monkeypatch.setenv("PACHMOUNT_CACHE_SIZE", "lots")
    assert run(["config", "show"]) == ExitCode.BAD_CONFIGURATION
    said = capsys.readouterr().err
    assert "invalid setting 'cache_size' in PACHMOUNT_CACHE_SIZE — " in said
    assert "hint: unset PACHMOUNT_CACHE_SIZE\n" in said


def test_a_file_with_an_unknown_name_is_refused(file: Path, capsys: Output) -> None:
    write(file, "cach_size = 1\n")
    assert run(["config", "show"]) == ExitCode.BAD_CONFIGURATION
    assert "did you mean 'cache_size'?" in capsys.readouterr().err


def test_broken_toml_is_told_with_its_line_and_left_alone(file: Path, capsys: Output) -> None:
    write(file, "cache_size = \n")
    assert run(["config", "set", "cache_size", "1G"]) == ExitCode.BAD_CONFIGURATION
    assert f"cannot read '{file}'" in capsys.readouterr().err
    assert file.read_text() == "cache_size = \n"


def test_a_link_stays_a_link(file: Path, user: User) -> None:
    target = user.home / "dotfiles.toml"
    write(target, "")
    file.parent.mkdir(parents=True)
    file.symlink_to(target)
    assert run(["config", "set", "log_level", "debug"]) == 0
    assert file.is_symlink()
    assert target.read_text() == 'log_level = "debug"\n'


def test_path(file: Path, capsys: Output) -> None:
    assert run(["config", "path"]) == 0
    assert capsys.readouterr().out == f"{file}\n"
