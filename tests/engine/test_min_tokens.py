"""A text has as many tokens as it must before anything ends it."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine
from llmkit.engine.min_tokens import MinTokens
from llmkit.engine.request import Request
from llmkit.model.transformer import Transformer

END, ASKED = 7, 5


def test_ends_are_ruled_out_until_there_are_enough_tokens() -> None:
    min_tokens, logits = MinTokens(1, {2, 0}), np.array([1.0, 2.0, 3.0], np.float32)
    assert min_tokens.apply(logits).tolist() == [-math.inf, 2.0, -math.inf]
    min_tokens.add()
    assert min_tokens.apply(logits).tolist() == logits.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("least", [0, 1, 4])
def test_a_text_that_would_end_at_once_ends_after_that_many_tokens(
    least: int, temperature: float, make_model: Callable[..., Transformer]
) -> None:
    wants_to_end = ((END, 1000.0), (ASKED, 900.0))
    sampling = SamplingConfig(
        max_tokens=20, temperature=temperature, logit_bias=wants_to_end, stop_ids=(ASKED,)
    )
    request = Request((1, 2), sampling, stop_ids=frozenset({END}), min_tokens=least)
    ids = [one.id for one in Engine(make_model()).run(request)]
    assert len(ids) == least + 1 and ids[-1] == END
    assert not {END, ASKED} & set(ids[:-1])
