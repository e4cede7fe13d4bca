"""Importance matrices by the names of GGUF files, and as moments of a model's matrices."""

from typing import Any

import numpy as np
import pytest
import torch

from llmkit.errors import DataError
from llmkit.formats.gguf.imatrix import Importance
from llmkit.quant.grids import grid_named
from llmkit.quant.importance import importance_of, moments_of
from llmkit.quant.moments import InputsOfPass, Moments, add_inputs
from llmkit.quant.rounding import round_matrix
from tests.quant.small_models import DELTA, GRANITE_H, NEMOTRON_H, experts, model, on_meta, sparse_nemotron

IDS = torch.randint(96, (6, 16), generator=torch.Generator().manual_seed(1))
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 2},
    "tied": {"num_hidden_layers": 2, "tie_word_embeddings": True},
    "joined": {"num_hidden_layers": 2, "model_type": "phi3"},
    "delta": {"num_hidden_layers": 2, **DELTA},
    "granite": {"num_hidden_layers": 2, **GRANITE_H},
    "nemotron_h": {"num_hidden_layers": 3, **NEMOTRON_H},
    "nemotron_3": {"num_hidden_layers": 3, **sparse_nemotron()},
    "experts": {"num_hidden_layers": 3, "model_type": "qwen3_moe", "qk_norm": "head", "experts": experts()},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_puts_in_what_whole_passes_of_the_model_do(kind: str) -> None:
    made = model(**KINDS[kind])
    weights = {
        name: value.detach()
        for name, value in made.named_parameters()
        if value.dim() > 1 and not name.endswith("conv1d.weight")
    }
    with torch.inference_mode(), InputsOfPass(weights) as watch:
        made(IDS)
    wanted: dict[str, Moments] = {}
    add_inputs(wanted, [watch])
    found = moments_of(
        on_meta(**KINDS[kind]),
        importance_of(made, IDS),
        [n for n in weights if not n.endswith("mlp.gate.weight")],
    )
    assert {name for name in wanted if not name.endswith("mlp.gate.weight")} == set(found)
    for name, one in found.items():
        assert one.count == wanted[name].count
        assert torch.allclose(one.squares, wanted[name].squares, rtol=1e-3, atol=1e-4), name


def test_what_heads_put_in_stands_where_a_file_has_the_heads() -> None:
    made, name = model(**KINDS["delta"]), "model.layers.0.linear_attn.out_proj.weight"
    weights = {name: made.get_parameter(name).detach()}
    with torch.inference_mode(), InputsOfPass(weights) as watch:
        made(IDS)
    heads = watch.inputs[name].square().mean(0).view(16, 16)
    found = torch.from_numpy(importance_of(made, IDS)["blk.0.ssm_out.weight"].squares).view(16, 16)
    # two share each of eight key heads: the first of all there, then the second
    assert torch.allclose(found, torch.cat((heads[0::2], heads[1::2])), rtol=1e-3)


def test_an_expert_that_no_token_came_to_has_ones_and_counts_nothing() -> None:
    made = model(**KINDS["experts"])
    found = importance_of(made, IDS[:1, :1])
    stack = found["blk.0.ffn_down_exps.weight"]
    assert stack.squares.shape == (4, 256)
    assert sorted(stack.counts.tolist()) == [0, 0, 1, 1]
    assert (stack.squares[stack.counts == 0] == 1).all()


def test_of_the_squares_alone_columns_are_weighed_and_no_error_is_fed_back() -> None:
    torch.manual_seed(0)
    weight, inputs = torch.randn(8, 64), torch.randn(50, 64) * torch.linspace(0.1, 5, 64)
    whole = Moments.of_width(64)
    whole.add(inputs)
    grid = grid_named("Q4_0")
    by_squares = round_matrix(weight, grid, Moments.of_squares(whole.squares, 50))
    nearest = round_matrix(weight, grid, whole, feedback=False)
    assert torch.equal(by_squares.codes, nearest.codes)
    change = by_squares.values() - weight
    share = (change.square() * whole.squares).sum() / (weight.square() * whole.squares).sum()
    assert by_squares.output_noise == pytest.approx(float(share), rel=1e-4)


def test_another_models_importance_is_refused() -> None:
    shape, wanted = on_meta(num_hidden_layers=1), ["model.layers.0.mlp.up_proj.weight", "lm_head.weight"]
    ones = np.ones((1, 256), np.float32), np.ones(1, np.float32)
    assert set(moments_of(shape, {"blk.0.ffn_up.weight": Importance(*ones)}, wanted)) == {wanted[0]}
    with pytest.raises(DataError, match=r"nothing of blk\.0\.ffn_up\.weight"):
        moments_of(shape, {"blk.9.ffn_up.weight": Importance(*ones)}, wanted)
    with pytest.raises(DataError, match=r"has 256 columns, in the importance matrix 128"):
        moments_of(shape, {"blk.0.ffn_up.weight": Importance(ones[0][:, :128], ones[1])}, wanted)
