"""The table of subcommands, and how an error becomes an exit status; nothing else.

A subcommand's module is imported when it is called, so `llmkit --help` costs what Python and typer cost.
"""

import errno
import os
import re
import signal
import stat
import sys
from importlib import import_module
from itertools import pairwise
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from llmkit.commands.base import HELP_NAMES, argument_name, build_command
from llmkit.commands.descriptors import discard, prepare
from llmkit.errors import DISK_FULL, LlmkitError, on_one_line, room_hint
from llmkit.signals import Ending, has_come, numpy_before_torch
from llmkit.version import __version__
from llmkit.workflows.peer_names import command_hint, meant

COMMANDS = {
    "clean": "filter, repair and tag documents, each drop explained",
    "dedup": "exact, near (MinHash, compared), paragraph, line",
    "mix": "sources in given proportions, by tokens; licences",
    "train-tokenizer": "byte-level BPE or unigram, from text or documents",
    "tokenize": "count, ids, pieces, decode, chunk, compare, budget",
    "pack": "token documents into rows of one length, in zstd shards",
    "pretrain": "train a model from scratch or on; resumable",
    "finetune": "answers, preferences, rewards; full or LoRA; resumable",
    "merge": "several models into one; adapters into and out of a base",
    "quantize": "round weights to few bits, and say what it cost",
    "convert": "HF folder to and from GGUF; dtype, shards, tied head",
    "generate": "text from a model: one prompt, a file or a jsonl stream",
    "chat": "a conversation, by hand or line by line from a pipe",
    "serve": "a model over HTTP, as OpenAI and Anthropic; keys, quotas",
    "retrieve": "index documents, find the passages that answer",
    "eval": "token scores, perplexity, KL, answers; significance",
    "inspect-attention": "what heads look at, do, and are needed for",
    "kv-estimate": "memory, speed and cost from a config alone",
    "bench": "time prefill, decode, train, load, tokenize, serve",
    "show": "any artefact as a table or JSON",
    "diff": "two artefacts: tensors, configs, tokenizers, shards",
    "doctor": "check the machine, the artefacts, the data",
    "completion": "shell completion for bash, zsh or fish",
    "man": "manual pages as roff",
}


class Cli(TyperGroup):
    """The `llmkit` command: a table of names, each loaded from `llmkit/commands/` when asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order data travels."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the module of one subcommand; None where there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        word = cmd_name.replace("-", "_")
        module = import_module(f"llmkit.commands.{word}.{word}")
        return module.group() if hasattr(module, "group") else build_command(cmd_name, getattr(module, word))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list in --help, straight from the table."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def build_cli() -> Cli:
    """The whole command line; also read for the man pages and the completions."""
    app = typer.Typer(
        cls=Cli,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=HELP_NAMES,
    )
    app.callback(invoke_without_command=True)(_llmkit)
    cli = typer.main.get_command(app)
    assert isinstance(cli, Cli)
    cli.params = [
        param for param in cli.params if param.name not in ("install_completion", "show_completion")
    ]
    return cli


def _llmkit(
    ctx: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True),
) -> None:
    """The whole life of a large language model, in commands that pipe.

    A model is a Hugging Face folder, a GGUF file, or what pretrain or finetune left.

    \b
    Examples:
      llmkit train-tokenizer corpus.txt --vocab-size 2048 -o tok
      llmkit pack -t tok corpus.txt -o shards
      llmkit pretrain --data shards -t tok -o run
      llmkit generate -m run "def main"
    """
    if version:
        print(f"llmkit {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        print(ctx.get_help(), file=sys.stderr)
        raise typer.Exit(2)


def main() -> NoReturn:
    """Run the command line and leave with its exit status."""
    prepare()
    numpy_before_torch()
    signal.signal(signal.SIGTERM, Ending())
    try:
        if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # by __main__
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status = run(sys.argv[1:])
    except KeyboardInterrupt as stop:
        status = _report_interrupt(str(stop))
    signal.signal(signal.SIGTERM, _ignore)
    if status == 0:
        try:
            sys.stdout.flush()
        except OSError as error:
            status = _report_os_error(error)
    if status:
        discard(1)
    sys.exit(status)


def run(args: list[str]) -> int:
    """Run one command line in this process.

    Returns:
        The exit status: the table of `errors.py`, plus 70 for a bug, 130 and 143 for SIGINT and SIGTERM.
    """
    cli = build_cli()
    if "_LLMKIT_COMPLETE" in os.environ:
        cli.main(args, prog_name="llmkit", complete_var="_LLMKIT_COMPLETE")
    try:
        with cli.make_context("llmkit", args) as ctx:
            cli.invoke(ctx)
        sys.stdout.flush()
        return 0
    except typer.Exit as stop:
        return stop.exit_code
    except LlmkitError as error:
        return _report(error.problem, error.hint, error.status)
    except typer.TyperException as error:
        return _report_usage(error, args)
    except KeyboardInterrupt as stop:
        return _report_interrupt(str(stop))
    except OSError as error:
        return _report_os_error(error)
    except MemoryError:
        return _report(
            "out of memory", "give it smaller pieces: fewer rows, a shorter context, a smaller batch", 5
        )
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        return _report_bug() if name in ("", "llmkit") else _report_lacking(name)
    except Exception as error:
        if _interrupt_behind(error):
            return _report_interrupt(f"while stopping: {type(error).__name__}: {error}")
        if has_come(signal.getsignal(signal.SIGTERM)):
            return 128 + signal.SIGTERM
        return _report_bug()


def _report(problem: str, hint: str, status: int) -> int:
    """The two lines of every error, and of an end that is none, on stderr."""
    kind = "error: " if status else ""
    print(f"llmkit: {kind}{on_one_line(problem)}\n  hint: {on_one_line(hint)}", file=sys.stderr, flush=True)
    return status


def _report_bug() -> int:
    """The traceback of what is being handled, and where to take it."""
    import traceback

    traceback.print_exc()
    return _report("this is a bug in llmkit", "report the traceback above with the command line", 70)


def _report_lacking(module: str) -> int:
    """A module of a package that went, or was never installed, or of a Python that was built without it."""
    if module in sys.stdlib_module_names:
        return _report(f"this Python was built without its module {module}", "use another Python", 4)
    return _report(f"the package {module} is not installed", f"pip install {module}", 4)


def _report_interrupt(text: str) -> int:
    """One line; the interrupt's text, if any, says what is kept."""
    print(f"llmkit: interrupted {' '.join(text.split())}".rstrip(), file=sys.stderr)
    return 130


def _interrupt_behind(error: BaseException) -> bool:
    """Whether an error came from Ctrl-C: libraries that are unwound half-way through something complain."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, KeyboardInterrupt):
        behind = behind.__cause__ if behind.__suppress_context__ else behind.__context__
    return behind is not None


def _report_usage(error: typer.TyperException, args: list[str]) -> int:
    """typer's own complaint in the same two lines, with the nearest word that exists."""
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx else "llmkit"
    message, _, choices = error.format_message().partition(". Choose from:")
    problem = message.split("\n")[0].split(" (Possible")[0].split(" Did you mean")[0].rstrip(".?")
    problem += f": one of {' '.join(choices.split())}" if choices else ""
    hint = f"{path} --help"
    option = getattr(error, "option_name", None)
    if option and ctx and type(error).__name__ == "NoSuchOption":
        guess = _flag_meant(option, ctx.command.get_params(ctx))
        hint = f"{guess} ({hint})" if guess else hint
    elif problem.startswith("No such command"):
        commands = list(COMMANDS) if path == "llmkit" else ctx.command.list_commands(ctx)  # type: ignore[union-attr]
        hint = command_hint(problem.split("'")[1], path, commands) or hint
    elif ctx and (surplus := re.match(r"Got unexpected extra argument(?:\(s\)|s)? \((.+)\)", problem)):
        hint = f"{_surplus_meant(surplus[1].split()[0], args, ctx.command.params)} ({hint})"
    return _report(
        f"{path.removeprefix('llmkit ')}: {problem[0].lower()}{problem[1:]}", hint, error.exit_code
    )


def _surplus_meant(word: str, args: list[str], params: list[Any]) -> str:
    """What a word too many was probably to be: llama.cpp's number of tokens, or a part of a text."""
    if ("-n", word) in pairwise(args) and any(param.name == "max_tokens" for param in params):
        return f"-n is --dry-run; how many tokens: --max-tokens {word}"
    return "a text of several words, or a name with blanks, goes in quotes"


def _flag_meant(option: str, params: list[Any]) -> str | None:
    """The flag or argument that an unknown flag probably means, as a hint."""
    flags = {
        name.lstrip("-").replace("-", "_"): name
        for param in params
        for name in ([f"--{param.name}"] if param.param_type_name == "argument" else param.opts)
    }
    arguments = {param.name: argument_name(param) for param in params if param.param_type_name == "argument"}
    guess = meant(option.lstrip("-").replace("-", "_"), flags)
    if guess in arguments:
        return f"{arguments[guess]} goes without a flag"
    return f"did you mean {flags[guess]}?" if guess else None


def _report_os_error(error: OSError) -> int:
    """An error of the system: a reader that left is a success, the rest is named and classed."""
    if isinstance(error, BrokenPipeError):
        discard(1)
        return 0
    is_full = error.errno in DISK_FULL
    if is_full and not error.filename and _is_stdout_full():
        error.filename = "stdout"
    where = f"{error.filename}: " if error.filename else ""
    what = (error.strerror or str(error)).lower()
    if is_full:
        then = "; the previous output is untouched"
        if error.filename == "stdout":
            then = ", or send it elsewhere; what is there is cut short"
        return _report(f"{where}{what}", f"{room_hint(error.errno)}{then}", 5)
    if error.errno == errno.EBADF and not error.filename:
        return _report("stdout: it is closed", "send it to a file or a pipe, or to /dev/null", 5)
    if error.errno == errno.ENOMEM:
        return _report(f"{where}{what}", "give it smaller pieces, or a machine with more memory", 5)
    if isinstance(error, FileNotFoundError):
        return _report(f"{where}{what}", "check the path", 4)
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError):
        return _report(f"{where}{what}", "check the path and its permissions", 2)
    return _report(f"{where}{what}", "the system refused; check the disk and the path", 5)


def _is_stdout_full() -> bool:
    """Whether stdout is what has no room: what waits for it cannot be written, or its disk is full."""
    try:
        sys.stdout.flush()
        os.write(1, b"")  # of a device; Python may have kept nothing
        return stat.S_ISREG(os.fstat(1).st_mode) and not os.fstatvfs(1).f_bavail
    except OSError:
        return True


def _ignore(signum: int, frame: object) -> None:
    """This process is ending: a handler, as SIG_IGN would be inherited by what an unwinding stack starts."""
