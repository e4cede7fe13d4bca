"""Hidden states that are added up pass by pass, beside one plain forward of each text."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.hidden import HiddenSums
from llmkit.engine.module_weights import pack_model
from llmkit.kernels.library import available, why_not
from llmkit.model.transformer import Transformer
from tests.model.conftest import SWITCHES
from tests.model.recurrent.conftest import FIELDS, hybrid

ROWS = [[3], [5, 6, 7], list(range(1, 39)), [9] * 17, [2, 4]]
SKIPPED = [0, 1, 2, 0, 1]
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "tied, scaled scores": {"model_type": "cohere", "logit_scale": 0.3, **SWITCHES["cohere"]},
    "capped scores": {
        "model_type": "gemma2",
        "final_logit_softcapping": 2.0,
        **SWITCHES["gemma2"],
        "embedding_scale": 4.0,
    },
    "dynamic rope": {
        "rope_scaling": {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 16}
    },
}
needs_kernels = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")


def expected(model: Transformer) -> Any:
    with torch.inference_mode():
        return np.stack(
            [
                model.hidden(torch.tensor([row]))[0, skipped:].double().sum(0).numpy()
                for row, skipped in zip(ROWS, SKIPPED, strict=True)
            ]
        )


def summed(reading: HiddenSums) -> tuple[Any, int]:
    passes = 1
    while not reading.step():
        passes += 1
    return reading.sums, passes


@pytest.mark.parametrize("most", [4, 16, 512])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kernels", ["torch", pytest.param("native", marks=needs_kernels)])
def test_sums_are_those_of_a_plain_forward_however_large_a_pass_is(
    make_model: Callable[..., Transformer], kernels: str, name: str, most: int
) -> None:
    model = make_model(**SHAPES[name])
    wanted = expected(model)
    computes = pack_model(model) if kernels == "native" else model
    sums, passes = summed(HiddenSums(computes, ROWS, SKIPPED, most=most))
    np.testing.assert_allclose(sums, wanted, rtol=1e-4, atol=1e-4)
    assert (passes == 1) == (most == 512)


def test_an_engine_adds_up_beside_its_texts_and_takes_none_of_their_memory(
    make_model: Callable[..., Transformer],
) -> None:
    model = make_model()
    engine = Engine(model, EngineConfig(positions=48, pass_tokens=8))
    free = engine.pool.num_free
    sums, passes = summed(engine.hidden_sums(ROWS, SKIPPED))
    np.testing.assert_allclose(sums, expected(model), rtol=1e-4, atol=1e-4)
    assert passes > len(ROWS) and engine.pool.num_free == free and engine.is_idle


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("kernels", ["torch", pytest.param("native", marks=needs_kernels)])
def test_texts_of_a_model_with_layers_of_state_are_added_up_each_from_its_own_beginning(
    name: str, kernels: str
) -> None:
    model = hybrid(name, max_position_embeddings=8)  # nothing is added for positions, so they have no end
    computes = pack_model(model) if kernels == "native" else model
    rows = [[3, 1, 4, 1, 5, 9, 2, 6] * 5, [2, 7], [1, 8, 2, 8, 1, 8]]
    sums = HiddenSums(computes, rows, [0, 1, 0], most=16)
    while not sums.step():
        pass
    for row, skipped, found in zip(rows, (0, 1, 0), sums.sums, strict=True):
        with torch.no_grad():
            expected = model.hidden(torch.tensor([row]))[0, skipped:].sum(0)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
