"""A model's numbers and vectors as the kernels take them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from gguf_models import case_config

from llmkit.engine.native_vectors import added_positions, angles_of, norm_of, sizes_of, vector
from llmkit.kernels.forward_weights import NormKind, Residual
from llmkit.model.norm import RMSNorm


def test_numbers_are_the_config_s_and_what_it_leaves_open_is_the_usual() -> None:
    config = case_config("gemma", {"hidden_size": 48})
    sizes = sizes_of(config, torch.bfloat16)
    assert (sizes.hidden, sizes.vocabulary, sizes.norm_kind) == (48, config.vocab_size, NormKind.RMS)
    assert sizes.residual is Residual.SERIAL
    assert sizes.scale == config.head_dim**-0.5
    assert sizes.embedding_scale == 6.9375  # the root of 48 in bfloat16
    assert sizes_of(config, torch.float32).softcap == 0.0


def test_a_norm_s_factor_is_one_and_its_weight_where_the_family_says_so() -> None:
    module: Any = RMSNorm(3, 1e-6, plus_one=True)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.5, 0.0, -1.0]))
    found = norm_of(module)
    assert found is not None and found.bias is None
    assert np.array_equal(found.weight, [1.5, 1.0, 0.0])
    assert norm_of(None) is None


def test_vectors_are_float32_in_the_order_asked_for_and_none_of_none() -> None:
    values = vector(torch.tensor([1.0, 2.0], dtype=torch.bfloat16), lambda rows: rows.flip(0))
    assert values is not None and values.dtype == np.float32 and values.tolist() == [2, 1]
    assert vector(None) is None and added_positions(None) is None


def test_layers_choose_their_table_of_angles_or_none() -> None:
    layers: Any = SimpleNamespace(
        position="rope", no_rope_layers={1}, sliding_layers={2}, sliding_rope_theta=1e4
    )
    assert [angles_of(layers, layer) for layer in (0, 1, 2)] == [0, -1, 1]
    layers.sliding_rope_theta = None
    assert angles_of(layers, 2) == 0
    layers.position = "learned"
    assert angles_of(layers, 0) == -1
