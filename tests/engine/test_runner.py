"""A pass: the scores that are wanted, of the right tokens, by the flat step or by the modules."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from llmkit.engine.runner import Runner
from llmkit.engine.scheduler import Work
from llmkit.engine.step import FlatStep
from llmkit.engine.store import KVStore
from llmkit.kernels.memory import Floats
from llmkit.model.transformer import Transformer
from tests.written_texts import known

Make = Callable[..., Transformer]


def _scores(model: Transformer, ids: list[int]) -> Floats:
    with torch.inference_mode():
        return model(torch.tensor([ids]))[0].numpy()


def test_scores_come_after_the_last_token_and_after_each_guess(make_model: Make) -> None:
    model = make_model()
    runner = Runner(model, KVStore(model.config, 12, 4))
    guessing, reading, plain = (
        known(0, [1, 2, 3], [4, 2], drafts=[7, 8]),
        known(0, [*range(9)], [0, 1]),
        known(0, [5, 6], [9]),
    )
    found = runner.run([Work(guessing, 0, 5, 2), Work(reading, 0, 6, 0), Work(plain, 0, 2, 0)])
    assert found[1] is None and found[0] is not None and found[2] is not None
    torch.testing.assert_close(found[0], _scores(model, [1, 2, 3, 7, 8])[2:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[2], _scores(model, [5, 6])[1:], rtol=1e-4, atol=1e-4)


def test_a_pass_without_any_last_token_scores_nothing(make_model: Make) -> None:
    model = make_model()
    runner = Runner(model, KVStore(model.config, 12, 4))
    assert runner.run([Work(known(0, [*range(9)], [0, 1, 2]), 0, 4, 0)]) == [None]
    assert runner.run([Work(known(0, [*range(9)], [0, 1, 2]), 4, 1, 0)]) == [None]  # nor does a single one


@pytest.mark.parametrize(("table", "steps"), [([2, 3], 1), ([3, 2], 0)])
def test_one_token_of_one_text_goes_flat_where_its_memory_lies_side_by_side(
    make_model: Make, monkeypatch: pytest.MonkeyPatch, table: list[int], steps: int
) -> None:
    model = make_model()
    runner = Runner(model, KVStore(model.config, 6, 4))
    text = known(0, [1, 2, 3, 4, 5, 6], table)
    runner.run([Work(text, 0, 5, 0)])
    flat: list[int] = []
    step = FlatStep.__call__
    monkeypatch.setattr(FlatStep, "__call__", lambda self, *rest: flat.append(1) or step(self, *rest))
    (found,) = runner.run([Work(text, 5, 1, 0)])
    assert found is not None and len(flat) == steps
    torch.testing.assert_close(found, _scores(model, text.tokens)[5:], rtol=1e-4, atol=1e-4)


def test_a_model_with_other_parts_never_goes_flat(make_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FlatStep, "__call__", pytest.fail)
    model = make_model(model_type="smollm3", no_rope_layers=(1,))
    runner = Runner(model, KVStore(model.config, 6, 4))
    (found,) = runner.run([Work(known(0, [1], [0]), 0, 1, 0)])
    assert found is not None
    torch.testing.assert_close(found, _scores(model, [1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_are_drawn_from_in_float32_whatever_the_model_computes_in(
    make_model: Make, dtype: torch.dtype
) -> None:
    model = make_model().to(dtype)
    runner = Runner(model, KVStore(model.config, 6, 4, dtype))
    for work in (Work(known(0, [1, 2], [0]), 0, 2, 0), Work(known(0, [1, 2], [0]), 1, 1, 0)):
        (found,) = runner.run([work])
        assert found is not None and found.dtype == np.float32 and np.isfinite(found).all()
