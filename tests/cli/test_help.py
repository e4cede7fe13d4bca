"""--help of every command: narrow, quick, with examples that run as they are written."""

import re
import shutil
import subprocess
import sys

import pytest
from workbench import Workbench

from llmkit.cli import build_cli
from llmkit.commands.documentation import CommandPage, read_pages
from llmkit.kernels.library import available, why_not

PAGES = [page for page in read_pages(build_cli()) if page.path]
LEAVES = [page for page in PAGES if not page.subcommands]
WIDE = (  # rows that fill GGUF's blocks of 256
    "llmkit pretrain --data shards -t tok --hidden-size 256 --intermediate-size 256 --num-hidden-layers 1"
    " --steps 2 --batch-rows 4 -o run --resume never --force"
)
ids = pytest.mark.parametrize("page", LEAVES, ids=lambda page: "-".join(page.path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: "-".join(page.path))
def test_help_fits_80_columns_under_both_names(llmkit_run, page: CommandPage) -> None:
    long, short = llmkit_run(*page.path, "--help"), llmkit_run(*page.path, "-h")
    assert (long.status, long.err, long.out) == (0, "", short.out)
    assert [line for line in long.text.splitlines() if len(line) > 80] == []
    assert re.findall(r"--[a-z-]+-$", long.text, re.M) == []  # a flag in two cannot be copied


@ids
def test_help_starts_with_a_sentence_and_two_examples_or_more(page: CommandPage) -> None:
    assert page.blocks[0].text.endswith(".") and len(page.examples) >= 2
    for example in page.examples:
        assert f"{page.command} " in f"{example} " and len(example) <= 76


@ids
def test_every_flag_says_what_it_does(page: CommandPage) -> None:
    obvious = re.compile(r"hidden_size|intermediate_size|num_.*|head_dim|rope_theta|tie_word_embeddings")
    silent = [flag.name for flag in page.options if not flag.summary and not obvious.fullmatch(flag.name)]
    assert silent == []


@ids
def test_the_examples_run_as_they_are_written(copy: Workbench, page: CommandPage) -> None:
    if page.path == ("quantize",):
        assert copy.run(WIDE).status == 0
        text = (copy.folder / "valid.txt").read_text()  # little is enough to calibrate and to score
        (copy.folder / "corpus.txt").write_text(text[:1500])
        (copy.folder / "valid.txt").write_text(text[1500:3000])
    if page.path == ("convert",):
        assert copy.run("llmkit finetune run --data chat.jsonl --lora --steps 1 -o lora").status == 0
    for example in page.examples:
        missing = [tool for tool in ("jq", "zstd") if tool in example.split() and shutil.which(tool) is None]
        if missing:
            pytest.skip(f"no {missing[0]} on this machine")
        done = copy.run(example)
        assert done.status == 0, f"{example}\n{done.err}"


def test_the_example_of_llmkit_itself_is_the_whole_road(copy: Workbench) -> None:
    page = read_pages(build_cli())[0]
    shutil.rmtree(copy.folder / "tok")
    shutil.rmtree(copy.folder / "shards")
    shutil.rmtree(copy.folder / "run")
    for example in page.examples:
        done = copy.run(example if "pretrain" not in example else f"{example} --steps 1")
        assert done.status == 0, f"{example}\n{done.err}"


def _loaded(script: str, bench: Workbench) -> set[str]:
    """The packages that a Python script has imported when it ends."""
    report = "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules}, file=sys.__stderr__)"
    done = subprocess.run(
        [sys.executable, "-c", script + report],
        cwd=bench.folder, env=bench.variables(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stderr.splitlines()[-1].split())


def test_help_of_every_command_loads_nothing_heavy(bench: Workbench) -> None:
    lines = [["--help"], ["--version"], *([*page.path, "--help"] for page in PAGES)]
    loaded = _loaded(f"from llmkit.cli import run\nassert not any(run(line) for line in {lines!r})", bench)
    assert not loaded & {"torch", "numpy", "tokenizers", "rich", "transformers", "safetensors", "jinja2"}


def test_what_needs_no_tensors_loads_no_torch(bench: Workbench) -> None:
    lines = [
        *("tokenize -t tok docs.jsonl", "tokenize -t tok --jsonl docs.jsonl", "tokenize -t tok chat.jsonl"),
        *("show run", "show tok", "show shards", "show docs.jsonl", "show shards --verify"),
        *("doctor run", "diff run run"),
        *("kv-estimate config.json", "kv-estimate run", "man pack", "completion zsh"),
        *("dedup docs.jsonl", "dedup --by line docs.jsonl", "mix --source a=docs.jsonl -t tok"),
    ]
    script = f"from llmkit.cli import run\nassert not any(run(line.split()) for line in {lines!r})"
    assert not _loaded(script, bench) & {"torch", "transformers"}


@pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
def test_texts_are_written_by_the_kernels_without_torch(bench: Workbench) -> None:
    lines = [
        *("generate -m run -p a --max-tokens 3", "generate -m run -p a --json --logprobs 3 --top-p 0.9"),
        *("generate -m run -p a --weights int4 --kv-dtype int8 --stats", "generate -m run -p a --dry-run"),
        *("generate -m run -p a --prompt-cache kept --draft lookup", "generate -m run -p a --json-schema {}"),
        *("chat -m run --dry-run", "serve -m run --dry-run"),
    ]
    script = f"from llmkit.cli import run\nassert not any(run(line.split()) for line in {lines!r})"
    assert not _loaded(script, bench) & {"torch", "transformers"}
