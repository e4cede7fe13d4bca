"""Settings by their names elsewhere: the hint names what they are here, where the command has it."""

import pytest

from llmkit.cli import build_cli
from llmkit.commands.documentation import read_pages
from llmkit.workflows.peer_names import _NOTHING, COMMANDS_ELSEWHERE, ELSEWHERE, meant


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("generate -m x a --temp 0", "did you mean --temperature?"),
        ("generate -m x a --n-predict 9", "did you mean --max-tokens?"),
        ("generate -m x a --n_predict 9", "did you mean --max-tokens?"),
        ("generate -m x a --lora l", "did you mean --adapter?"),
        ("generate -m x a --repeat-penalty 2", "did you mean --repetition-penalty?"),
        ("generate -m x a --jinja", "llmkit generate --help"),
        ("chat -m x --ctx-size 9", "did you mean --context?"),
        ("chat -m x --no-think", "did you mean --chat-template-kwargs?"),
        ("finetune x --learning-rate 1", "did you mean --lr?"),
        ("finetune --model x", "MODEL goes without a flag"),
        ("pretrain --depth 4", "did you mean --num-hidden-layers?"),
        ("pretrain --ctx-size 4", "did you mean --seq-len?"),
        ("train-tokenizer --model-type unigram", "did you mean --type?"),
        ("dedup --threshold 1", "did you mean --similarity?"),
        ("convert model -o out", "OUT goes without a flag"),
    ],
)
def test_a_flag_of_another_program_is_told_what_it_is_called_here(llmkit_run, line: str, hint: str) -> None:
    done = llmkit_run(*line.split())
    assert (done.status, done.out) == (2, b"")
    assert done.err.splitlines()[1].startswith(f"  hint: {hint}"), done.err


def test_a_settings_file_is_told_the_same() -> None:
    assert meant("temp", {"tp": 0, "temperature": 0}) == "temperature"
    assert meant("jinja", {"json": 0}) is None and meant("jsno", {"json": 0}) == "json"


def test_what_is_meant_is_there_and_what_others_say_is_not() -> None:
    flags = [name for page in read_pages(build_cli()) for one in page.options for name in one.names]
    here = {name.lstrip("-").replace("-", "_") for name in flags}
    assert set(ELSEWHERE) <= here | {"stop_ids"}  # of rows alone
    assert all(meant(word, here - {word}) is None for word in _NOTHING)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("run model.gguf", "did you mean llmkit generate?"),
        ("llama-server -m x", "did you mean llmkit serve?"),
        ("perplexity x", "did you mean llmkit eval ppl?"),
        ("chat_sft", "did you mean llmkit finetune?"),
        ("kv", "did you mean llmkit kv-estimate?"),  # begins one command alone
        ("eval perplexity", "did you mean llmkit eval ppl?"),
        ("eval sft", "llmkit eval --help"),  # no part of the group
        ("rerank q", "did you mean llmkit retrieve query?"),
        ("retrieve rerank", "did you mean llmkit retrieve query?"),
        ("convert_hf_to_gguf.py m", "did you mean llmkit convert?"),
        ("mlx_lm.lora", "did you mean llmkit finetune?"),
        ("bench deco x", "did you mean llmkit bench decode?"),
        ("help generate", "llmkit --help, or llmkit COMMAND --help"),
        ("pull a/b", "llmkit downloads nothing: hf download OWNER/MODEL --local-dir FOLDER"),
        ("co", "llmkit --help"),  # begins two
    ],
)
def test_a_command_of_another_program_is_told_what_it_is_here(llmkit_run, line: str, hint: str) -> None:
    done = llmkit_run(*line.split())
    assert (done.status, done.out) == (2, b"")
    assert done.err.splitlines()[1] == f"  hint: {hint}"


def test_commands_that_are_meant_are_there_and_what_others_say_is_not_and_means_one() -> None:
    here = {" ".join(page.path) for page in read_pages(build_cli())}
    words = [word for others in COMMANDS_ELSEWHERE.values() for word in others.split()]
    assert set(COMMANDS_ELSEWHERE) <= here
    assert not here & set(words) and len(words) == len(set(words))
