"""The frame of the commands: global flags before or after the sub-command, help with the examples first."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pachmount.cli import options, output
from pachmount.cli.state import State

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_GLOBAL_NOTE = "Global options (-q, -v, --debug, --no-input) work here too; see 'pachmount --help'."

_COMMON = {"quiet": options.Quiet, "verbose": options.Verbose, "debug": options.Debug, "no_input": options.NoInput}


class Command(TyperCommand):
    """A command whose help ends with a pointer to the global options."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        arguments, flags = [], []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument":
                arguments.append((parameter.metavar or "", record[1]))  # Typer would add its type
            else:
                flags.append((record[0].rstrip(), record[1]))
        for title, records in (("Arguments", arguments), ("Options", flags)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (the signature is Typer's)
        formatter.write_paragraph()
        formatter.write_text(_GLOBAL_NOTE)


class RunningCommand(Command):
    """A command that runs what follows `--`, which it finds in `State.program`."""

    program_usage: tuple[str, ...] = ("--", "COMMAND", "[ARGUMENT]...")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = args.index("--") if "--" in args else len(args)
        ctx.ensure_object(State).program = args[own + 1 :]
        return super().parse_args(ctx, args[:own])

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), *self.program_usage]


class PerhapsRunningCommand(RunningCommand):
    """The same where there may be nothing to run."""

    program_usage = ("[-- COMMAND [ARGUMENT]...]",)


class Group(TyperGroup):
    """A group that lists its commands by panel, in the order they were added."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (the signature is Typer's)
        return list(self.commands)

    def summaries(self) -> Iterator[tuple[str, str, str]]:
        """Panel, name and one line for each visible command."""
        for name, command in self.commands.items():
            if not command.hidden:
                panel = getattr(command, "rich_help_panel", None) or "Commands"
                summary = (command.short_help or command.help or "").strip().splitlines()[0].rstrip(".")
                yield panel, name, summary

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (the signature is Typer's)
        panels: dict[str, list[tuple[str, str]]] = {}
        for panel, name, summary in self.summaries():
            panels.setdefault(panel, []).append((name, summary))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


class App(typer.Typer):
    """A Typer whose commands are plain functions that take a State first and may return an exit code."""

    def __init__(self, *, cls: type[Group] = Group, **settings: Any) -> None:
        super().__init__(
            cls=cls,
            context_settings=CONTEXT_SETTINGS,
            rich_markup_mode=None,  # plain help: fast, and readable in 80 columns
            pretty_exceptions_enable=False,
            no_args_is_help=True,
            add_completion=False,
            **settings,
        )

    def add(
        self,
        function: Callable[..., Any],
        name: str,
        panel: str | None = None,
        *,
        hidden: bool = False,
        uses_daemon: bool = True,
        cls: type[Command] = Command,
    ) -> None:
        """Make `function` the command `name`; its docstring is the help text. `uses_daemon` adds --mount-dir."""
        register = self.command(name, cls=cls, context_settings=CONTEXT_SETTINGS, rich_help_panel=panel, hidden=hidden)
        register(_with_state(function, uses_daemon))


def apply_flags(state: State, *, quiet: bool, verbose: int, debug: bool, no_input: bool) -> None:
    """Add flags to those already given: `pachmount -q mount r` and `pachmount mount r -q` are the same."""
    state.quiet |= quiet
    state.verbose += verbose
    state.debug |= debug
    state.no_input |= no_input


def _with_state(function: Callable[..., Any], uses_daemon: bool) -> Callable[..., Any]:
    """`function(state, …)` as Typer wants it: `state` comes from the context, the global flags are accepted too."""
    signature = inspect.signature(function, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "state"]

    @functools.wraps(function)
    def command(ctx: typer.Context, **arguments: Any) -> Any:
        state: State = ctx.ensure_object(State)
        apply_flags(state, **{name: arguments.pop(name) for name in _COMMON})
        state.command = ctx.command_path
        state.as_json = bool(arguments.get("as_json", False))
        state.mount_dir = arguments.pop("mount_dir", None) or state.mount_dir
        state.configure_logging()
        try:
            return function(state, **arguments)
        except BrokenPipeError as error:  # sockets report theirs as errors of ours; Typer would end with code 1
            raise output.OutputClosedError from error
        finally:
            state.close()

    def keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)

    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *(keyword(parameter.name, parameter.annotation, parameter.default) for parameter in own),
        *([keyword("mount_dir", options.MountDir, None)] if uses_daemon else []),
        *(
            keyword(name, _hidden(annotation), 0 if name == "verbose" else False)
            for name, annotation in _COMMON.items()
        ),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _hidden(annotation: Any) -> Any:
    """The same option, accepted but not shown in every command's help."""
    import copy
    from typing import Annotated, get_args

    kind, option = get_args(annotation)
    option = copy.copy(option)
    option.hidden = True
    return Annotated[kind, option]
