"""Lists, ranges and shares as people type them."""

import pytest
from typer import BadParameter

from llmkit.commands.base import Session
from llmkit.commands.bench.flags import (
    Reporting,
    expand_dtypes,
    expand_sizes,
    expand_threads,
    finish,
    join,
    list_of,
    parse_part,
)
from llmkit.commands.console import Console
from llmkit.formats.provenance import Invocation
from llmkit.probe.bench import BenchReport, BenchRow
from llmkit.probe.environment import Environment


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("128", (128,)),
        ("128,512", (128, 512)),
        ("2k,1Ki", (2000, 1024)),
        ("1-4", (1, 2, 3, 4)),
        ("512-2048+512", (512, 1024, 1536, 2048)),
        ("512-2047+512", (512, 1024, 1536)),
        ("128-1Ki*2", (128, 256, 512, 1024)),
        ("3-30*3", (3, 9, 27)),
        ("0-2048+1024", (0, 1024, 2048)),
        ("7-7", (7,)),
        ("4,1-4,8", (4, 1, 2, 3, 8)),  # each once, where it first stands
    ],
)
def test_lists_and_ranges_are_those_of_llama_bench(text: str, sizes: tuple[int, ...]) -> None:
    assert expand_sizes(text) == sizes


@pytest.mark.parametrize(
    "text",
    ["", "a", "4-1", "1-", "-1", "1-8+0", "1-8*1", "0-8*2", "1-8+2*2", "1-2000", "1,,2", "1.5", "1-2-3"],
)
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(BadParameter):
        expand_sizes(text)


def test_threads_may_be_left_to_the_command() -> None:
    assert expand_threads("auto") == ()
    assert expand_threads("1-4*2") == (1, 2, 4)


def test_dtypes_are_known_names_each_once() -> None:
    assert expand_dtypes("float32, bfloat16,float32") == ("float32", "bfloat16")
    with pytest.raises(BadParameter, match="int8"):
        expand_dtypes("float32,int8")


def test_a_settings_file_may_give_a_number_or_a_list() -> None:
    parse = list_of(expand_sizes)
    assert parse("128,512") == parse([128, 512]) == "128,512"
    assert parse(64) == "64"
    with pytest.raises(BadParameter):
        parse(["x"])


def test_a_default_is_shown_as_it_would_be_typed() -> None:
    assert expand_sizes(join((128, 512))) == (128, 512)
    assert expand_threads(join(())) == ()


def test_a_part_is_a_share_and_never_all_of_it() -> None:
    assert parse_part("10%") == parse_part("0.1") == parse_part(0.1) == 0.1
    for wrong in ("ten", "200%", "-1%", "100%", "1"):
        with pytest.raises(BadParameter):
            parse_part(wrong)


@pytest.mark.parametrize(("ratio", "advice"), [(1.0, "read the ratios"), (None, "--against")])
def test_a_noisy_machine_is_told_on_stderr_with_what_still_holds(
    capsys: pytest.CaptureFixture[str], ratio: float | None, advice: str
) -> None:
    row = BenchRow("case", 1.0, 1.0, 1.0, 0.0, 1.0, ratio, ratio)
    work = {"documents": 1, "bytes": 1, "tokens": 1, "rounds": 1}
    report = BenchReport("tokenize", work, Environment("c", 1, "3", {}, 9.0), "load average 9.0", [row])
    finish(Session(Console(), Invocation("bench")), report, Reporting())
    told = capsys.readouterr().err
    assert told.startswith("noisy: load average 9.0; ") and advice in told
