"""What every subcommand has in common: settings from a file, --print-config, colour, quiet, a closed pipe.

A subcommand is a plain function with typer annotations. `build_command` turns it into a `Command`, which adds
the common options, keeps them out of the function's signature, and hands it `ctx.obj`, a `Session`.
"""

import os
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from llmkit.commands.console import ColorChoice, Console
from llmkit.errors import ConfigError, DataError, MissingError, nearest
from llmkit.formats.provenance import Invocation

HELP_NAMES = {"help_option_names": ["-h", "--help"], "max_content_width": 80}
HOW_NOT_WHAT = frozenset(  # settings that say where, how loud and how fast: no part of an artefact's record
    {
        *("out", "force", "dry_run", "resume", "metrics", "rejects", "max_time"),
        *("workers", "threads", "as_json", "log_every", "unbuffered"),
    }
)


@dataclass(frozen=True)
class Session:
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
        common = _common_params()
        self.params = [*self.params, *common]
        self._common = {param.name for param in common}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read --config before anything else, so that its values stand in for defaults."""
        path = _value_of("--config", args)
        if path is not None and not ctx.resilient_parsing:
            ctx.default_map = self._read_settings(Path(path))
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the function; a reader that left early (`| head`) is a success."""
        common = {name: ctx.params.pop(name) for name in self._common}
        if common["print_config"]:
            sys.stdout.write(to_toml(ctx.params))
            return None
        console = Console(quiet=common["quiet"], verbose=common["verbose"], color=common["color"])
        settings = {name: value for name, value in ctx.params.items() if name not in HOW_NOT_WHAT}
        ctx.obj = Session(console, Invocation(ctx.command_path.removeprefix("llmkit "), settings))
        return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS] FILE [OTHER]...`: square brackets around what may be left out."""
        names = [
            (_argument_name(param), param) for param in self.params if param.param_type_name == "argument"
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
                rows[kind].append((_argument_name(param), record[1]) if kind == "argument" else record)
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            if rows[kind]:
                with formatter.section(title):
                    formatter.write_dl(rows[kind])

    def _read_settings(self, path: Path) -> dict[str, Any]:
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise MissingError(
                f"{path}: no such file", hint="--print-config > FILE.toml writes one"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not TOML: {error}", hint="key = value, strings in quotes") from None
        known = {param.name for param in self.params} - {"config", "print_config"}
        for key in settings:
            if key.replace("-", "_") not in known:
                guess = nearest(key.replace("-", "_"), known)
                hint = f"did you mean {guess}?" if guess else f"known keys: {', '.join(sorted(known))}"
                raise ConfigError(f"{path}: unknown key {key!r} for llmkit {self.name}", hint=hint)
        return {key.replace("-", "_"): value for key, value in settings.items()}


class Group(TyperGroup):
    """A subcommand that has subcommands of its own, such as `bench tokenize`."""


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


def to_toml(settings: dict[str, Any]) -> str:
    """Flat settings as TOML that --config reads back; unset ones are left out."""
    return "".join(
        f"{name} = {_toml_value(value)}\n" for name, value in settings.items() if value is not None
    )


def close_stdout() -> None:
    """Point fd 1 at the null device, so that nothing is flushed into a closed pipe or a full disk at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _toml_value(value: Any) -> str:
    import json  # a JSON string is a TOML string

    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    return json.dumps(str(value), ensure_ascii=False)


def _argument_name(param: Any) -> str:
    """`FILE`, whether its metavar was written FILE, FILE... or [FILE]..."""
    name = param.metavar or param.name.upper().replace("_", "-")
    return str(name).strip("[].")


def _value_of(flag: str, args: list[str]) -> str | None:
    for position, word in enumerate(args):
        if word == "--":
            return None
        if word == flag and position + 1 < len(args):
            return args[position + 1]
        if word.startswith(flag + "="):
            return word.removeprefix(flag + "=")
    return None
