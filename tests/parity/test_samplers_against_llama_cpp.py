"""Penalties, DRY, adaptive-p and mirostat beside llama.cpp's own."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from llama_samplers import llama_adaptive, llama_dry, llama_mirostat, llama_penalties

from llmkit.engine.adaptive import Adaptive
from llmkit.engine.breaks import breaks_of
from llmkit.engine.config import SamplingConfig
from llmkit.engine.dry import Dry
from llmkit.engine.mirostat import Mirostat
from llmkit.engine.penalties import Penalties
from llmkit.formats.provenance import Invocation
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.convert.convert import convert
from llmkit.workflows.convert.options import ConvertConfig


@pytest.mark.parametrize("kinds", [2, 3, 8])
@pytest.mark.parametrize(
    ("multiplier", "base", "allowed", "last"),
    [(0.8, 1.75, 2, -1), (2.0, 1.2, 1, 20), (1.0, 3.0, 4, 64), (0.5, 1.0, 2, 7), (5.0, 8.0, 1, -1)],
)
def test_dry_takes_off_what_llama_cpp_takes_off(
    kinds: int, multiplier: float, base: float, allowed: int, last: int
) -> None:
    chance = random.Random(kinds)
    said = [chance.randrange(kinds) for _ in range(12)]
    places = [chance.randrange(len(said)) for _ in range(30)]
    tokens = [token for place in places for token in said[place : place + 5]]
    config = SamplingConfig(
        dry_multiplier=multiplier, dry_base=base, dry_allowed_length=allowed, dry_penalty_last_n=last
    )
    _beside(config, tokens, kinds, None, None)


@pytest.mark.parametrize("breaks", [SamplingConfig.dry_sequence_breakers, ("a",), ("said,", "dog:"), (".",)])
def test_repetitions_break_where_they_do_in_llama_cpp(
    breaks: tuple[str, ...], spelled_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder, file = spelled_model(), tmp_path / "model.gguf"
    convert(folder, file, ConvertConfig(), force=False, invocation=Invocation("convert", {}, ()))
    tokenizer = load_tokenizer(folder)
    said = 'Once, Tim and Sam ran. "Look: a dog," he said, "and a dog: he said, and\n'
    chance, text = random.Random(1), ""
    for _ in range(12):
        begin = chance.randrange(len(said) - 10)
        text += said[begin : begin + chance.randint(8, 40)]
    config = SamplingConfig(dry_multiplier=0.8, dry_sequence_breakers=breaks)
    _beside(config, tokenizer.encode(text), tokenizer.vocab_size, tokenizer, file)


def _beside(
    config: SamplingConfig, tokens: list[int], size: int, tokenizer: Tokenizer | None, file: Path | None
) -> None:
    """From a third of the tokens on, after each of them."""
    scores = np.random.default_rng(0).standard_normal(size, np.float32)
    start = len(tokens) // 3
    theirs = llama_dry(
        scores.tolist(),
        tokens,
        start,
        file=file,
        multiplier=config.dry_multiplier,
        base=config.dry_base,
        allowed_length=config.dry_allowed_length,
        penalty_last_n=config.dry_penalty_last_n,
        sequence_breakers=config.dry_sequence_breakers if file is not None else (),
    )
    dry = Dry(config, tokens[:start], breaks_of(config, tokenizer))
    changed = 0
    for count, row in enumerate(theirs, start):
        ours = dry.apply(scores)
        changed += int((ours != scores).sum())
        np.testing.assert_allclose(np.maximum(ours, -1e20), np.maximum(row, -1e20), rtol=1e-5, atol=1e-5)
        if count < len(tokens):
            dry.add(tokens[count])
    assert changed > 10


@pytest.mark.parametrize("last", [-1, 0, 1, 7, 64])
@pytest.mark.parametrize(("start", "frequency", "presence"), [(20, 0.0, 0.0), (0, 0.3, 0.5)])
def test_penalties_look_as_far_back_as_in_llama_cpp(
    last: int, start: int, frequency: float, presence: float
) -> None:
    chance = random.Random(4)
    tokens = [chance.randrange(16) for _ in range(90)]
    scores = np.random.default_rng(0).standard_normal(16, np.float32)
    config = SamplingConfig(
        repetition_penalty=1.3,
        frequency_penalty=frequency,  # of the text alone, so no prompt is read where these are set
        presence_penalty=presence,
        repeat_last_n=last,
    )
    told = (1.3, frequency, presence)
    theirs = llama_penalties(scores.tolist(), tokens, start, last=last, penalties=told)
    penalties = Penalties(config, tokens[:start], 16)
    changed = 0
    for count, row in enumerate(theirs, start):
        ours = penalties.apply(scores)
        changed += int((ours != scores).sum())
        np.testing.assert_allclose(ours, row, rtol=1e-5, atol=1e-6)
        if count < len(tokens):
            penalties.add(tokens[count])
    assert changed > 10 if last else not changed


@pytest.mark.parametrize(("target", "decay"), [(0.0, 0.9), (0.3, 0.5), (0.55, 0.9), (1.0, 0.99)])
def test_adaptive_p_makes_of_scores_what_llama_cpp_makes_of_them(target: float, decay: float) -> None:
    rows = np.random.default_rng(3).standard_normal((60, 12), np.float32) * 3
    rows[:, 5] = -np.inf
    theirs = llama_adaptive(np.maximum(rows, -1e30).tolist(), target, decay, 7)
    adaptive = Adaptive(SamplingConfig(adaptive_target=target, adaptive_decay=decay))
    for row, expected, drawn in zip(rows, theirs["rows"], theirs["drawn"], strict=True):
        alive = row > -np.inf
        np.testing.assert_allclose(
            adaptive.apply(row)[alive], np.array(expected)[alive], rtol=1e-4, atol=1e-4
        )
        adaptive.add(drawn)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("tau", "eta"), [(3.0, 0.1), (5.0, 0.5), (0.5, 1.0), (0.0, 0.1)])
def test_mirostat_leaves_the_tokens_that_llama_cpp_leaves(version: int, tau: float, eta: float) -> None:
    rows = np.random.default_rng(4).standard_normal((80, 300), np.float32) * 2
    theirs = llama_mirostat(rows.tolist(), version, tau, eta, 7)
    mirostat = Mirostat(SamplingConfig(mirostat=version, mirostat_tau=tau, mirostat_eta=eta), 300)
    counts = set()
    for row, kept, drawn in zip(rows, theirs["kept"], theirs["drawn"], strict=True):
        assert np.flatnonzero(mirostat.apply(row) > -np.inf).tolist() == kept
        mirostat.add(drawn)
        counts.add(len(kept))
    assert len(counts) > 4 or tau == 0.0
