"""What commands and flags exist, read from the command line itself: one source for manual and completion."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import typer

from llmkit.errors import UsageError
from llmkit.estimate.cache_dtypes import CACHE_DTYPES
from llmkit.estimate.devices import devices
from llmkit.estimate.scheme_names import SCHEMES
from llmkit.model.presets import PRESETS
from llmkit.probe.evaluate.needle_tasks import TASKS
from llmkit.workflows.clean.options import PRESET_NAMES
from llmkit.workflows.quantize.options import TYPE_NAMES

EXIT_STATUSES = (
    (0, "done; also when the reader of a pipe left early"),
    (1, "ran well, and the answer is no: over budget, does not fit, files differ, nothing found"),
    (2, "wrong usage or configuration"),
    (3, "bad input data, or artefacts that do not belong together"),
    (4, "something is missing: a file, a model, an optional package"),
    (5, "resources: memory, disk, port"),
    (6, "a remote refused or cannot be reached"),
    (70, "a bug: the traceback is kept for a report"),
    (75, "stopped with a checkpoint saved: run the same line again"),
    (130, "interrupted by Ctrl-C, nothing to resume"),
    (143, "ended by SIGTERM, nothing to resume"),
)
COMMON_FLAGS = frozenset({"config", "print_config", "quiet", "verbose", "color", "help"})


@dataclass(frozen=True)
class Flag:
    """One option or argument."""

    name: str
    names: tuple[str, ...]
    """`-o`, `--out`; empty for an argument."""
    metavar: str
    """What stands for its value; empty for a switch."""
    help: str
    """With the default, as --help shows it."""
    choices: tuple[str, ...]
    is_path: bool
    repeatable: bool

    @property
    def summary(self) -> str:
        """The help without its `[default: …]`."""
        return re.sub(r"\s*\[[^]]*\]$", "", self.help)


@dataclass(frozen=True)
class Block:
    """A paragraph of a help text; verbatim ones keep their line breaks."""

    text: str
    verbatim: bool


@dataclass(frozen=True)
class CommandPage:
    """One command as its --help tells it."""

    path: tuple[str, ...]
    """`("pack",)`, `("bench", "tokenize")`, `()` for llmkit itself."""
    usage: str
    blocks: tuple[Block, ...]
    """The first block is one sentence: what the command does."""
    examples: tuple[str, ...]
    arguments: tuple[Flag, ...]
    options: tuple[Flag, ...]
    subcommands: tuple[tuple[str, str], ...]
    """Name and one line each; empty for a command that has none."""

    @property
    def title(self) -> str:
        """`llmkit-pack`: the name of its manual page."""
        return "-".join(("llmkit", *self.path))

    @property
    def command(self) -> str:
        """`llmkit pack`, as it is typed."""
        return " ".join(("llmkit", *self.path))


def read_pages(cli: Any) -> list[CommandPage]:
    """The page of every command, llmkit's own first.

    Args:
        cli: what `llmkit.cli.build_cli` returns.

    Raises:
        UsageError: this Python keeps no docstrings, which the pages are made of.
    """
    if sys.flags.optimize > 1:
        raise UsageError(
            "pages are made of docstrings, which Python leaves out with -OO and PYTHONOPTIMIZE=2",
            hint="PYTHONOPTIMIZE=1 llmkit ...",
        )
    commands = cli.list_commands(typer.Context(cli))
    known: dict[str, Iterable[str]] = {
        **{"preset": PRESETS, "clean preset": PRESET_NAMES, "man command": commands},
        **{
            "kv-estimate device": devices(),
            "kv-estimate dtype": SCHEMES,
            "kv-estimate kv_dtype": CACHE_DTYPES,
            "quantize kind": TYPE_NAMES,
            "eval needle tasks": (*TASKS, "ruler"),
        },
    }
    return list(_walk(cli, (), known))


def _walk(command: Any, path: tuple[str, ...], known: Mapping[str, Iterable[str]]) -> Iterator[CommandPage]:
    """Pages; known: the values of a parameter, in any command or in one, that its type does not tell."""
    ctx = typer.Context(command, info_name=" ".join(("llmkit", *path)), **command.context_settings)
    names = command.list_commands(ctx) if hasattr(command, "list_commands") else []
    children = {name: command.get_command(ctx, name) for name in names}
    blocks, examples = _read_help(command.help or "")
    params = [
        _flag(param, ctx, _choices(param, path, known))
        for param in command.get_params(ctx)
        if not param.hidden
    ]
    yield CommandPage(
        path=path,
        usage=" ".join((" ".join(("llmkit", *path)), *command.collect_usage_pieces(ctx))),
        blocks=blocks,
        examples=examples,
        arguments=tuple(flag for flag in params if not flag.names),
        options=tuple(flag for flag in params if flag.names),
        subcommands=tuple((name, _first_sentence(child.help or "")) for name, child in children.items()),
    )
    for name, child in children.items():
        yield from _walk(child, (*path, name), known)


def _flag(param: Any, ctx: Any, choices: tuple[str, ...]) -> Flag:
    shown, text = param.get_help_record(ctx)
    if param.param_type_name == "argument":
        return Flag(
            name=param.name,
            names=(),
            metavar=(param.metavar or param.name.upper()).strip("[]."),
            help=text,
            choices=choices,
            is_path=_is_path(param),
            repeatable=param.nargs != 1,
        )
    switch = param.is_flag or param.count
    return Flag(
        name=param.name,
        names=(*sorted(param.opts, key=len), *param.secondary_opts),
        metavar="" if switch else (param.metavar or shown.rpartition(" ")[2]),
        help=text,
        choices=() if switch else choices,
        is_path=not switch and _is_path(param),
        repeatable=param.multiple,
    )


def _choices(param: Any, path: tuple[str, ...], known: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    for name in (" ".join((*path, param.name)), param.name):
        if name in known:
            return tuple(known[name])
    descriptor = getattr(param, "type_descriptor", None)  # typer's --help has none
    return tuple(str(choice) for choice in (descriptor.choices if descriptor else None) or ())


def _is_path(param: Any) -> bool:
    descriptor = getattr(param, "type_descriptor", None)
    annotation = descriptor.annotation if descriptor else None
    return Path in (annotation, *get_args(annotation))


def _read_help(text: str) -> tuple[tuple[Block, ...], tuple[str, ...]]:
    """A docstring as blocks, its `Examples:` taken out."""
    blocks: list[Block] = []
    examples: tuple[str, ...] = ()
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = paragraph.split("\n")
        verbatim = lines[0].strip() == "\b"
        if verbatim and lines[1].strip() == "Examples:":
            examples = tuple(line.strip() for line in lines[2:])
        elif verbatim:
            blocks.append(Block("\n".join(lines[1:]), verbatim=True))
        else:
            blocks.append(Block(" ".join(line.strip() for line in lines), verbatim=False))
    return tuple(blocks), examples


def _first_sentence(text: str) -> str:
    return _read_help(text)[0][0].text
