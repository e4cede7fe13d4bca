"""What is refused, and that what is made ready is what was trained."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from adapters_by_hand import adapter
from torch import nn

from llmkit.engine.adapters.prepare import prepare_adapter
from llmkit.errors import DataError, LlmkitError, UsageError
from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.transformer import Transformer

Make = Callable[..., Transformer]
PLACE = "model.layers.1.mlp.up_proj"


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("strength", [1.0, 0.25, 0.0])
def test_a_product_with_its_addition_is_that_of_the_merged_matrix(
    make_model: Make, dora: bool, strength: float
) -> None:
    model = make_model()
    weights = adapter(model, 4, dora=dora)
    made = prepare_adapter(model, "x", weights, strength=strength).additions[PLACE]
    x, weight = torch.randn(5, 16), model.get_submodule(PLACE).weight
    assert isinstance(weight, torch.Tensor)
    expected = x @ weights.modules[PLACE].merged(weight, strength).T
    factors = 1.0 if made.factors is None else made.factors
    torch.testing.assert_close(factors * (x @ weight.T) + x @ made.a.T @ made.b, expected)


def low_rank(inputs: int, outputs: int) -> LowRank:
    return LowRank(torch.ones(2, inputs), torch.ones(outputs, 2), 1.0)


@pytest.mark.parametrize(
    ("weights", "kind", "problem"),
    [
        (
            AdapterWeights({}, {"lm_head.weight": torch.ones(1)}),
            UsageError,
            "modules_to_save: lm_head.weight",
        ),
        (AdapterWeights({"model.embed_tokens": low_rank(16, 40)}), UsageError, "model.embed_tokens"),
        (AdapterWeights({"lm_head": low_rank(16, 40)}), UsageError, "lm_head"),
        (AdapterWeights({"model.layers.0.mlp.experts": low_rank(16, 24)}), UsageError, "mlp.experts"),
        (AdapterWeights({PLACE: low_rank(16, 25)}), DataError, "takes 16 numbers to 24 .found 16 to 25"),
    ],
)
def test_what_nothing_is_added_to_is_refused_by_its_name(
    make_model: Make, weights: AdapterWeights, kind: type[LlmkitError], problem: str
) -> None:
    with pytest.raises(kind, match=problem) as error:
        prepare_adapter(make_model(), "x", weights)
    assert kind is DataError or "llmkit merge" in error.value.hint


def test_lora_needs_no_weights_of_the_base_and_dora_says_that_it_does(make_model: Make) -> None:
    model = make_model()
    weights = adapter(model, 4, dora=True)
    plain = replace(weights, modules={k: replace(v, magnitude=None) for k, v in weights.modules.items()})
    digest = prepare_adapter(model, "x", plain).digest
    for name in weights.modules:
        model.get_submodule(name).weight = nn.Parameter(torch.empty(0), requires_grad=False)
    assert prepare_adapter(model, "x", plain).digest == digest
    with pytest.raises(UsageError, match="given up"):
        prepare_adapter(model, "x", weights)
