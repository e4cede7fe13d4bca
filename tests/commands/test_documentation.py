import inspect
import re
import subprocess
import sys

import pytest

from llmkit import errors
from llmkit.cli import COMMANDS, build_cli
from llmkit.commands.documentation import EXIT_STATUSES, CommandPage, read_pages


@pytest.fixture(scope="module")
def pages() -> dict[str, CommandPage]:
    return {page.title: page for page in read_pages(build_cli())}


def test_every_command_of_the_table_has_a_page(pages: dict[str, CommandPage]) -> None:
    assert {"llmkit", *(f"llmkit-{name}" for name in COMMANDS)} <= set(pages)


def test_a_command_in_a_group_has_a_page_of_its_own(pages: dict[str, CommandPage]) -> None:
    assert pages["llmkit-bench-tokenize"].command == "llmkit bench tokenize"
    assert [name for name, _ in pages["llmkit-bench"].subcommands] == [
        "prefill",
        "decode",
        "train",
        "load",
        "tokenize",
        "serve",
    ]


def test_flags_tell_their_names_values_choices_and_defaults(pages: dict[str, CommandPage]) -> None:
    flags = {flag.name: flag for flag in pages["llmkit-tokenize"].options}
    assert flags["tokenizer"].names == ("-t", "--tokenizer")
    assert flags["tokenizer"].is_path and flags["tokenizer"].metavar == "PATH"
    assert flags["keep"].choices == ("head", "tail", "middle", "ends")
    assert flags["keep"].help.endswith("[default: head]")
    assert "default" not in flags["keep"].summary
    assert flags["compare"].repeatable and not flags["keep"].repeatable
    assert flags["ids"].metavar == ""
    tool = next(flag for flag in pages["llmkit-serve"].options if flag.name == "tool")
    assert tool.metavar == "'NAME: PROGRAM'"  # of two words
    assert flags["help"].names == ("-h", "--help")


def test_values_that_no_type_tells_are_those_of_the_command(pages: dict[str, CommandPage]) -> None:
    def choices(title: str, name: str) -> tuple[str, ...]:
        page = pages[title]
        return next(flag.choices for flag in (*page.options, *page.arguments) if flag.name == name)

    listed = re.search(r"Presets: ([^.]+)\.", " ".join(one.text for one in pages["llmkit-clean"].blocks))
    assert listed is not None and set(listed[1].split(", ")) <= set(choices("llmkit-clean", "preset"))
    assert "gpt2" not in choices("llmkit-clean", "preset")
    assert "gpt2" in choices("llmkit-kv-estimate", "preset")
    assert choices("llmkit-man", "command") == tuple(COMMANDS)
    assert {"h100", "rtx4090"} <= set(choices("llmkit-kv-estimate", "device"))
    assert {"q4_k_m", "nf4"} <= set(choices("llmkit-kv-estimate", "dtype"))
    assert {"q8_0", "fp8"} <= set(choices("llmkit-kv-estimate", "kv_dtype"))
    assert {"Q4_K_M", "int4-g128"} <= set(choices("llmkit-quantize", "kind"))
    assert {"niah_single_1", "ruler"} <= set(choices("llmkit-eval-needle", "tasks"))
    assert choices("llmkit-generate", "device") == ()  # cpu, cuda:1: others


def test_help_is_taken_apart_into_sentence_blocks_and_examples(pages: dict[str, CommandPage]) -> None:
    page = pages["llmkit-completion"]
    assert page.blocks[0].text == "Print the completion script of a shell."
    assert page.examples[0] == "llmkit completion bash > llmkit.bash"
    assert any(block.verbatim for block in pages["llmkit-tokenize"].blocks)


def test_the_exit_statuses_are_those_of_the_errors() -> None:
    classes = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
    raised = {one.status for one in classes if issubclass(one, errors.LlmkitError)}
    assert raised <= {code for code, _ in EXIT_STATUSES}
    assert {0, 70, 130, 143} <= {code for code, _ in EXIT_STATUSES}


@pytest.mark.parametrize("line", [["man", "pack"], ["completion", "fish"]])
def test_a_python_that_leaves_docstrings_out_writes_no_page_without_them(line: list[str]) -> None:
    # read from the source: the compiled modules of another kind of Python are no business of the tests
    command = [sys.executable, "-OO", "-B", "-m", "llmkit", *line]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr.startswith("llmkit: error: pages are made of docstrings") and done.stderr.count("\n") == 2
    )
