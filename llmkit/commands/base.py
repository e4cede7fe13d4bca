"""What every subcommand has in common: settings from a file, --print-config, colour, quiet, a closed pipe.

A subcommand is a plain function with typer annotations. `build_command` turns it into a `Command`, which adds
the common options, keeps them out of the function's signature, and hands it `ctx.obj`, a `Session`.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from typer.core import TyperCommand, TyperGroup

from llmkit.commands.coercion import use_plain_coercion
from llmkit.commands.console import ColorChoice, Console
from llmkit.commands.missing_value import refuse_swallowed
from llmkit.commands.optional_value import spell_out
from llmkit.commands.settings import read_settings, setting_name, to_toml, words_of
from llmkit.commands.values import ShownCount, parse_count, parse_size
from llmkit.errors import LlmkitError
from llmkit.formats.provenance import Invocation, portable

use_plain_coercion()  # before any command is built: half of what a short one takes
_SKIP_BAD = re.compile(", or (pass over bad [a-z]+ with )?--skip-bad")
HELP_NAMES = {"help_option_names": ["-h", "--help"], "max_content_width": 80}
HOW_NOT_WHAT = frozenset(  # settings that say where, how loud and how fast: no part of an artefact's record
    {
        *("out", "output", "make_rule", "force", "dry_run", "resume", "metrics", "rejects", "max_time"),
        *("workers", "threads", "as_json", "log_every", "unbuffered", "async_checkpoint"),
        *("executor", "shard", "report"),
        *("nproc", "dp", "fsdp", "tp", "pp", "ep", "cp", "max_restarts", "activation_checkpointing"),
    }
)


class Session(msgspec.Struct, frozen=True):
    """What a subcommand gets as `ctx.obj`: the console on stderr, and the record of how it was called."""

    console: Console
    invocation: Invocation


def _common_options(
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.toml", help="Settings; flags win over them.", is_eager=True),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings that would be used, as TOML, and stop.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
    color: Annotated[ColorChoice, typer.Option("--color", help="When to use colour.")] = "auto",
) -> None:
    """The options of every subcommand."""


def _common_params() -> list[Any]:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(_common_options)
    return typer.main.get_command(app).params


class Command(TyperCommand):
    """A subcommand with the common options, whose function never sees them."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for param in self.params:
            if _parser_of(param) in (parse_count, parse_size) and isinstance(param.default, int):
                param.default = ShownCount(param.default)
        common = _common_params()
        self.params = [*self.params, *common]
        self._common = {param.name for param in common}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read --config before anything else, so that its values stand in for defaults."""
        path = _settings_path(args)
        if path and not ctx.resilient_parsing:
            params = [param for param in self.params if param.name not in ("config", "print_config")]
            ctx.default_map = read_settings(Path(path), params, ctx.command_path)
        if "--print-config" in args:  # what is required may come later
            for param in self.params:
                param.required = False
        words = spell_out(self.params, args)
        if not ctx.resilient_parsing:
            refuse_swallowed(self.params, words, command=ctx.command_path, help_names=ctx.help_option_names)
        try:
            return super().parse_args(ctx, words)
        except typer.TyperException as error:
            if getattr(error, "ctx", ctx) is None:  # an option without its value: nobody said whose it is
                error.ctx = ctx  # type: ignore[attr-defined]
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the function with a Session; under --print-config only say what it would be given."""
        common = {name: ctx.params.pop(name) for name in self._common}
        given = [(param, ctx.params[param.name]) for param in self.params if param.name in ctx.params]
        if common["print_config"]:
            sys.stdout.write(to_toml({setting_name(param): value for param, value in given}))
            return None
        console = Console(quiet=common["quiet"], verbose=common["verbose"], color=common["color"])
        given = [(param, portable(value)) for param, value in given if param.name not in HOW_NOT_WHAT]
        invocation = Invocation(
            command=ctx.command_path.removeprefix("llmkit "),
            settings={setting_name(param): value for param, value in given},
            words=tuple(word for param, value in given for word in words_of(param, value)),
        )
        ctx.obj = Session(console, invocation)
        try:
            return super().invoke(ctx)
        except LlmkitError as error:
            if not any("--skip-bad" in param.opts for param in self.params):
                error.hint = without_skip_bad(error.hint)
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS] FILE [OTHER]...`: square brackets around what may be left out."""
        names = [
            (argument_name(param), param) for param in self.params if param.param_type_name == "argument"
        ]
        return ["[OPTIONS]"] + [
            (name if param.required else f"[{name}]") + ("..." if param.nargs != 1 else "")
            for name, param in names
        ]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options as two lists; an argument by its name, without the Python type behind it."""
        rows: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                kind = param.param_type_name
                rows[kind].append((argument_name(param), record[1]) if kind == "argument" else record)
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            if rows[kind]:
                with formatter.section(title):
                    formatter.write_dl(rows[kind])


class Group(TyperGroup):
    """A subcommand that has subcommands of its own, such as `bench tokenize`."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list in --help: of each the first sentence, whole."""
        found = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first_paragraph(one)) for name, one in found.items()])


def build_command(name: str, function: Callable[..., None]) -> Command:
    """The command called `name` for a function annotated with typer's Argument and Option."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name=name, cls=Command, context_settings=HELP_NAMES)(function)
    command = typer.main.get_command(app)
    assert isinstance(command, Command)
    return command


def build_group(name: str, help_text: str, functions: dict[str, Callable[..., None]]) -> Group:
    """A group called `name` over several functions."""
    commands = {key: build_command(key, function) for key, function in functions.items()}
    return Group(
        name=name, help=help_text, commands=dict(commands), rich_markup_mode=None, context_settings=HELP_NAMES
    )


def without_skip_bad(hint: str) -> str:
    """A hint of what reads lines, which knows no flags, for a command that has no --skip-bad."""
    return _SKIP_BAD.sub("", hint)


def _first_paragraph(command: Any) -> str:
    return " ".join((command.help or "").partition("\n\n")[0].split())


def _parser_of(param: Any) -> Any:
    return getattr(getattr(param.type_descriptor, "parameter_info", None), "parser", None)


def argument_name(param: Any) -> str:
    """What help calls an argument: `FILE`, whether its metavar was written FILE, FILE... or [FILE]..."""
    name = param.metavar or param.name.upper().replace("_", "-")
    return str(name).strip("[].")


def _settings_path(args: list[str]) -> str | None:
    """What --config says."""
    for position, word in enumerate(args):
        if word == "--":
            return None
        if word == "--config" and position + 1 < len(args):
            return args[position + 1]
        if word.startswith("--config="):
            return word.removeprefix("--config=")
    return None
