"""Words become the values that typer's own pydantic makes of them, and what it refuses is refused better."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer.core
from typer import Argument, BadParameter, Option

from llmkit.commands.base import Command, build_command
from llmkit.commands.coercion import plain_param, use_plain_coercion
from llmkit.commands.values import parse_count
from llmkit.errors import LlmkitError

Seen = dict[str, Any]
Call = Callable[..., Seen]


def _job(
    ctx: typer.Context,
    paths: Annotated[list[Path] | None, Argument(metavar="PATH...")] = None,
    word: Annotated[Literal["first", "last"], Option()] = "first",
    count: Annotated[int, Option(min=1, max=10_000)] = 3,
    rate: Annotated[float | None, Option()] = None,
    rates: Annotated[list[float] | None, Option("--rates")] = None,
    name: Annotated[str | None, Option()] = None,
    out: Annotated[Path | None, Option("--out", "-o")] = None,
    size: Annotated[int | None, Option(parser=parse_count)] = None,
    rows: Annotated[int, Option(min=8, max=100, parser=parse_count)] = 10,
    mask: Annotated[bool, Option()] = True,
    tie: Annotated[bool | None, Option()] = None,
    text: Annotated[str | None, Option(metavar="TEXT")] = None,
    id: Annotated[str | None, Option(metavar="ID")] = None,
    file_or_text: Annotated[str | None, Option(metavar="FILE|TEXT")] = None,
) -> None:
    """A command with a flag of every type."""


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Call:
    """What the command is given for some words, by this module."""
    monkeypatch.setattr(typer.core, "build_runtime_param", plain_param)
    return _caller(build_command("job", _job))


@pytest.fixture
def typers_own() -> Call:
    """The same by typer, with pydantic."""
    return _caller(build_command("job", _job))


def _caller(command: Command) -> Call:
    def call(*words: str, settings: Seen | None = None) -> Seen:
        with command.make_context("job", list(words), default_map=settings) as ctx:
            return dict(ctx.params)

    return call


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("a", "-", "b/c"),
        ("--word", "last", "--count", "7", "--rate", "1e-3", "--name", "7", "--out", "x/y"),
        ("--rates", "1", "--rates", "2.5", "--size", "64Ki", "--no-mask", "--tie"),
        ("--count", " 5 ", "--rate", "3", "--no-tie", "-o", "-"),
    ],
)
def test_words_are_the_values_that_typer_makes_of_them(
    plain: Call, typers_own: Call, words: tuple[str, ...]
) -> None:
    assert plain(*words) == typers_own(*words)


def test_settings_of_a_file_are_as_well(plain: Call, typers_own: Call) -> None:
    settings = {
        **{"paths": ["a", "b"], "word": "last", "count": 9, "rate": 2, "rates": [1, 2.5], "name": "n"},
        **{"out": "x", "size": 64, "mask": False, "tie": True},
    }
    assert plain(settings=settings) == typers_own(settings=settings)
    assert {type(value) for value in plain(settings=settings)["rates"]} == {float}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--word", "lust"), "'lust' is not one of first, last; did you mean last?"),
        (("--count", "many"), "'many' is not a whole number"),
        (("--count", "1.5"), "'1.5' is not a whole number"),
        (("--count", "0"), "'0' is below 1"),
        (("--count", "10001"), "'10001' is above 10000"),
        (("--rates", "1", "--rates", "x"), "'x' is not a number"),
        (("--size", "much"), "'much' is not a number such as 512"),
    ],
)
def test_wrong_words_are_refused_by_both_and_the_flag_is_named(
    plain: Call, typers_own: Call, words: tuple[str, ...], says: str
) -> None:
    with pytest.raises(BadParameter):
        typers_own(*words)
    with pytest.raises(BadParameter) as caught:
        plain(*words)
    message = caught.value.format_message()
    assert says in message and f"'{words[-2]}'" in message


@pytest.mark.parametrize(("word", "says"), [("7", "'7' is below 8"), ("1k", "'1k' is above 100")])
def test_the_bounds_of_an_option_hold_for_what_its_own_parser_read(plain: Call, word: str, says: str) -> None:
    assert plain("--rows", "8")["rows"] == 8
    with pytest.raises(BadParameter, match=says) as caught:
        plain("--rows", word)
    assert "'--rows'" in caught.value.format_message()
    with pytest.raises(BadParameter, match="is below 8"):
        plain(settings={"rows": 0})


def test_an_empty_path_is_refused_and_named_wherever_it_stands(plain: Call) -> None:
    with pytest.raises(BadParameter, match="it is empty") as caught:
        plain("-o", "")
    assert "'--out'" in caught.value.format_message()
    with pytest.raises(BadParameter, match="it is empty"):
        plain("a", "")
    with pytest.raises(BadParameter, match="it is empty"):
        plain(settings={"out": ""})


def test_bytes_that_are_no_utf_8_are_a_name_of_a_file_and_no_text(plain: Call) -> None:
    for flag in ("--text", "--name"):
        with pytest.raises(BadParameter, match=r"'caf\\udce9' is not UTF-8") as caught:
            plain(flag, os.fsdecode(b"caf\xe9"))
        assert f"'{flag}'" in caught.value.format_message()
    name = os.fsdecode(b"caf\xe9.txt")
    assert plain("--file-or-text", name, name)["file_or_text"] == name
    assert plain("--id", name)["id"] == name  # a file's document has its name for an id
    assert plain("--text", "caf\xe9 \U0001f600")["text"] == "caf\xe9 \U0001f600"


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (("tokenize", "-t", "tok", "--text"), "'--text'"),
        (("generate", "-m", "run"), "'PROMPT'"),
        (("generate", "-m", "run", "a", "--regex"), "'--regex'"),
        (("generate", "-m", "run", "a", "--dry-sequence-breaker"), "'--dry-sequence-breaker'"),
        (("chat", "-m", "run", "--system"), "'--system'"),
        (("inspect-attention", "run", "-p"), "'--prompt' / '-p'"),
        (("show", "run", "--embeddings", "--token"), "'--token'"),
        (("train-tokenizer", "a.txt", "--special"), "'--special'"),
        (("retrieve", "query", "index"), "'[TEXT]'"),
    ],
)
def test_no_command_takes_such_bytes_for_a_text(llmkit_run, words: tuple[str, ...], flag: str) -> None:
    done = llmkit_run(*words, os.fsdecode(b"h\xe4"))
    assert done.status == 2 and done.err.count("\n") == 2
    assert f"invalid value for {flag}" in done.err and "is not UTF-8" in done.err


@pytest.mark.parametrize(
    "settings",
    [
        *({"count": True}, {"count": 1.5}, {"rate": "fast"}, {"rate": [1]}, {"mask": "perhaps"}),
        *({"paths": "one"}, {"out": 3}, {"out": ["x"]}, {"word": 1}, {"tie": 2}),
        *({"name": ["n"]}, {"name": {"n": 1}}, {"size": [64]}, {"size": True}, {"size": 1.5}),
    ],
)
def test_settings_of_the_wrong_kind_are_refused(plain: Call, settings: Seen) -> None:
    with pytest.raises(BadParameter):
        plain(settings=settings)


@pytest.mark.parametrize("settings", [{"rates": 0.3}, {"rates": "0.3"}, {"rates": {"a": 1}}, {"paths": 1}])
def test_one_value_for_a_flag_that_takes_several_is_told_as_no_list(plain: Call, settings: Seen) -> None:
    with pytest.raises(BadParameter, match="is not a list") as caught:
        plain(settings=settings)
    assert ("'--rates'" if "rates" in settings else "PATH") in caught.value.format_message()


def test_a_float_of_a_settings_file_is_a_count_where_it_is_whole(plain: Call) -> None:
    seen = plain(settings={"size": 1e6, "count": 8e3})
    assert (seen["size"], seen["count"]) == (1_000_000, 8000)
    assert (type(seen["size"]), type(seen["count"])) == (int, int)


def test_types_that_it_does_not_know_are_left_to_typer(plain: Call) -> None:
    def rare(
        pair: Annotated[tuple[int, str], Option()] = (1, "a"),
        there: Annotated[Path | None, Option(exists=True)] = None,
    ) -> None:
        """A command of rare types."""

    call = _caller(build_command("rare", rare))
    assert call("--pair", "2", "b")["pair"] == (2, "b")
    with pytest.raises(BadParameter):
        call("--there", "/no/such/file")


def _all_params() -> Iterator[tuple[Any, Any]]:
    """Every flag and argument of every command, and its context."""
    from llmkit.cli import build_cli

    todo: list[Any] = [build_cli()]
    while todo:
        command = todo.pop()
        ctx = typer.Context(command)
        for param in command.get_params(ctx):
            if hasattr(param, "type_descriptor"):  # typer's --help has none
                yield param, ctx
        names = command.list_commands(ctx) if hasattr(command, "list_commands") else []
        todo += [command.get_command(ctx, name) for name in names]


def test_no_flag_of_any_command_is_of_a_type_that_loads_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmkit.commands import coercion

    rare: list[str] = []
    monkeypatch.setattr(typer.core, "build_runtime_param", plain_param)
    monkeypatch.setattr(coercion, "_typers_own", lambda descriptor: rare.append(str(descriptor)))
    params = list(_all_params())
    for param, _ in params:
        param.get_runtime_param()
    assert rare == [] and len(params) > 500


@pytest.mark.parametrize("value", [True, 7, -1, 1e6, 1.5, [64], [[1]], {"a": 1}, date(2020, 1, 1)], ids=repr)
def test_no_flag_of_any_command_meets_a_value_of_a_settings_file_with_a_traceback(
    monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    monkeypatch.setattr(typer.core, "build_runtime_param", plain_param)
    seen = 0
    for param, ctx in _all_params():
        with suppress(BadParameter, LlmkitError):
            param.get_runtime_param().coerce(value, param, ctx)
        seen += 1
    assert seen > 500


@pytest.fixture
def restored() -> Iterator[None]:
    """typer as it was before."""
    before = typer.core.build_runtime_param  # type: ignore[attr-defined]
    yield
    typer.core.build_runtime_param = before  # type: ignore[attr-defined]


@pytest.mark.usefixtures("restored")
def test_it_is_switched_on_for_the_whole_process() -> None:
    use_plain_coercion()
    with pytest.raises(BadParameter, match="below 1"):
        _caller(build_command("job", _job))("--count", "0")


def test_a_command_then_runs_without_pydantic(shell: Callable[..., Any]) -> None:
    line = (
        'python -c "import sys; from llmkit.commands.coercion import use_plain_coercion as use; use();'
        " from llmkit.cli import run; status = run(['kv-estimate', '--preset', 'tiny', '--batch', '2']);"
        " print('pydantic' in sys.modules, status, file=sys.stderr)\""
    )
    assert shell(line).err.strip() == "False 0"


@pytest.mark.parametrize(("word", "count"), [("2k", 2000), ("1e3", 1000), ("4Ki", 4096), ("1_000", 1000)])
def test_a_whole_number_may_be_a_count_with_a_suffix(plain: Call, word: str, count: int) -> None:
    assert plain("--count", word)["count"] == count == plain("--size", word)["size"]


@pytest.mark.parametrize("word", ["1.5", "2x", "k", "1e-3"])
def test_what_is_no_count_is_no_whole_number_either(plain: Call, word: str) -> None:
    with pytest.raises(BadParameter, match="is not a whole number"):
        plain("--count", word)
