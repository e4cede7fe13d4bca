"""What falls due in a run: as often as asked, scores and samples as they should be."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.pretrain.data import PretrainData
from llmkit.workflows.run.duties import build_duties
from llmkit.workflows.run.sample import sample
from tests.workflows.duties_bench import Bench, bench_maker


@pytest.fixture
def make_bench(make_data: Callable[..., PretrainData], tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Runs of four updates in `tmp_path/run`."""
    with bench_maker(make_data, tmp_path) as make:
        yield make


def test_duties_are_as_often_as_asked_and_absent_without_what_they_need(
    make_bench: Callable[..., Bench], make_data: Callable[..., PretrainData], byte_tokenizer: Tokenizer
) -> None:
    bench = make_bench()
    duties = build_duties(bench.job, bench.trainer, bench.saver)
    assert (duties.evaluate, duties.sample, duties.sample_every) == (None, None, 0)
    assert (duties.checkpoint_every, duties.save) == (1, bench.saver)  # a tenth of four steps
    assert duties.keep_every == 0 and duties.rescue == bench.saver.rescue
    bench = make_bench(
        valid=make_data(vocab=259),
        tokenizer=byte_tokenizer,
        eval_every=3,
        sample_every=2,
        checkpoint_every=4,
        keep_every=3,
    )
    duties = build_duties(bench.job, bench.trainer, bench.saver)
    assert (duties.eval_every, duties.sample_every, duties.checkpoint_every) == (3, 2, 4)
    assert duties.evaluate is not None and duties.sample is not None
    assert duties.can_save_at_once() and duties.keep_every == 3


def test_a_score_is_torchs_mean_loss_over_the_validation_rows(
    make_bench: Callable[..., Bench], make_data: Callable[..., PretrainData], byte_tokenizer: Tokenizer
) -> None:
    valid = make_data(count=7, vocab=256)
    bench = make_bench(valid=valid, tokenizer=byte_tokenizer, eval_rows=5)
    evaluate = build_duties(bench.job, bench.trainer, bench.saver).evaluate
    assert evaluate is not None
    called: list[bool] = []
    found = evaluate(lambda: called.append(True))
    tokens = torch.from_numpy(valid.rows.read(np.arange(5)).tokens.astype(np.int64))
    with torch.no_grad():
        logits = bench.trainer.model(tokens[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()
    assert found.loss == pytest.approx(loss, rel=1e-5)
    assert found.tokens == 5 * 8 and called
    assert found.bits_per_byte == pytest.approx(loss / math.log(2), rel=1e-5)  # a token is a byte


def test_samples_go_on_from_every_prompt_by_a_seed_of_their_own_at_each_step(
    make_bench: Callable[..., Bench], byte_tokenizer: Tokenizer
) -> None:
    bench = make_bench(
        tokenizer=byte_tokenizer, sample_every=1, sample_tokens=9, seed=40, prompts=("ab", "c")
    )
    write = build_duties(bench.job, bench.trainer, bench.saver).sample
    assert write is not None
    expected = {
        step: [
            (
                prompt,
                sample(
                    bench.trainer.model, byte_tokenizer, prompt, tokens=9, temperature=0.8, seed=40 + step
                ),
            )
            for prompt in ("ab", "c")
        ]
        for step in (1, 2)
    }
    assert {step: write(step) for step in (1, 2)} == expected
    assert expected[1] != expected[2]
