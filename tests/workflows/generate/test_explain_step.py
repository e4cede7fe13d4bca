"""The explained step is the first step of generate with the same settings."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.workflows.generate.explain_step import StepReport, explain_step
from llmkit.workflows.generate.files import GenerateFiles


@pytest.fixture
def folder(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    folder = tiny_model(vocab_size=600, max_position_embeddings=64)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return folder


def _explain(folder: Path, chat: bool = False, **sampling: Any) -> StepReport:
    files = GenerateFiles(model=folder, prompt="the License")
    return explain_step(files, GenerateConfig(sampling=sampling, chat=chat))


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.0},
        {"seed": 5, "top_k": 30},
        {"seed": 6, "repetition_penalty": 2.0, "logit_bias": ((70, 2.0),), "typical_p": 0.9},
        {"seed": 7, "xtc_probability": 0.9, "xtc_threshold": 0.01, "top_n_sigma": 2.0},
        {"seed": 7, "regex": "[A-Z].*"},
        {"seed": 8, "dry_multiplier": 3.0, "dry_allowed_length": 1, "adaptive_target": 0.2, "top_k": 20},
        {"seed": 9, "mirostat": 2, "mirostat_tau": 2.0},
    ],
)
def test_the_token_is_the_one_that_generate_draws(folder: Path, sampling: dict[str, Any], chat: bool) -> None:
    import json

    from llmkit.workflows.generate.generate import generate_files

    out = folder / "out.json"
    files = GenerateFiles(model=folder, prompt="the License", out=out, force=True)
    settings = {**sampling, "max_tokens": 1, "logprobs": 3}
    generate_files(files, GenerateConfig(sampling=settings, as_json=True, chat=chat))
    (first,) = json.loads(out.read_text())["logprobs"]
    told = _explain(folder, chat, **sampling)
    assert (told.drawn_id, told.drawn_text) == (first["id"], first["text"])
    assert told.stages[0].entropy_bits == pytest.approx(first["entropy_bits"], rel=1e-4)
    assert [one.id for one in told.stages[0].candidates[:3]] == [one["id"] for one in first["top"]]


def test_steps_that_are_off_are_named(folder: Path) -> None:
    assert _explain(folder, top_p=0.5).off == (
        *("bias", "penalties", "dry", "grammar", "top_n_sigma", "top_k", "min_p", "typical_p"),
        *("xtc_probability", "adaptive_p", "mirostat"),
    )
    greedy = _explain(folder, temperature=0.0)
    assert greedy.is_greedy and len(greedy.stages) == 1


def test_a_token_that_ends_a_text_is_said_to(folder: Path) -> None:
    told = _explain(folder, logit_bias=((0, 1000.0),))
    assert (told.drawn_id, told.drawn_text, told.ends_text) == (0, "<|endoftext|>", True)
