"""A model's numbers and vectors as the kernels take them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gguf_models import case_config
from numpy.typing import NDArray

from llmkit.engine.native.vectors import Vectors, added_positions, angles_of, half_by_half, sizes_of
from llmkit.kernels.forward_weights import NormKind, Residual


def vectors_of(config: Any, tensors: dict[str, NDArray[Any]]) -> Vectors:
    return Vectors(config, {name: one.shape for name, one in tensors.items()}, tensors.__getitem__)


def test_numbers_are_the_config_s_and_what_it_leaves_open_is_the_usual() -> None:
    config = case_config("gemma", {"hidden_size": 48})
    sizes = sizes_of(config, "bfloat16", vocabulary=7)
    assert (sizes.hidden, sizes.vocabulary, sizes.norm_kind) == (48, 7, NormKind.RMS)
    assert sizes.residual is Residual.SERIAL
    assert sizes.scale == config.head_dim**-0.5
    assert sizes.embedding_scale == 6.9375  # the root of 48 in bfloat16
    assert sizes_of(config, "float32", vocabulary=7).embedding_scale == pytest.approx(48**0.5, rel=1e-7)
    assert sizes_of(config, "float32", vocabulary=7).softcap == 0.0


def test_a_norm_s_factor_is_one_and_its_weight_where_the_family_says_so() -> None:
    weight = {"model.norm.weight": np.array([0.5, 0.0, -1.0], np.float32)}
    found = vectors_of(case_config("gemma", {"hidden_size": 48}), weight).norm("model.norm")
    assert found is not None and found.bias is None
    assert np.array_equal(found.weight, [1.5, 1.0, 0.0])
    plain = vectors_of(case_config("llama", {}), weight)
    norm = plain.norm("model.norm")
    assert norm is not None and np.array_equal(norm.weight, [0.5, 0.0, -1.0])
    assert plain.norm("model.layers.0.input_layernorm") is None


def test_vectors_are_float32_and_none_where_there_is_none() -> None:
    vectors = vectors_of(
        case_config("llama", {}), {"x.bias": np.array([0x3F80, 0x4000], np.uint16)}
    )  # bfloat16
    values = vectors.take("x.bias")
    assert values is not None and values.dtype == np.float32 and values.tolist() == [1, 2]
    assert vectors.take("y.bias") is None and added_positions(vectors) is None


def test_pairs_that_stand_side_by_side_are_put_half_a_head_apart_and_what_does_not_turn_stays() -> None:
    config: Any = SimpleNamespace(head_dim=6, rotary_dim=4, rope_interleaved=True, latent=None)
    assert half_by_half(config, np.arange(12)).tolist() == [0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11]
    matrix = np.arange(12)[:, None] * [1, 10]
    assert half_by_half(config, matrix)[:, 1].tolist() == [0, 20, 10, 30, 40, 50, 60, 80, 70, 90, 100, 110]
    config.latent = "of latents the last ones turn"
    assert half_by_half(config, np.arange(12)).tolist() == [0, 1, 2, 4, 3, 5, 6, 7, 8, 10, 9, 11]
    assert half_by_half(config, np.arange(9), head_dim=9).tolist() == [0, 1, 2, 3, 4, 5, 7, 6, 8]
    config.rope_interleaved = False
    assert half_by_half(config, matrix) is matrix


def test_layers_choose_their_table_of_angles_or_none() -> None:
    layers: Any = SimpleNamespace(
        position="rope", no_rope_layers={1}, sliding_layers={2}, sliding_rope_theta=1e4
    )
    assert [angles_of(layers, layer) for layer in (0, 1, 2)] == [0, -1, 1]
    layers.sliding_rope_theta = None
    assert angles_of(layers, 2) == 0
    layers.position = "learned"
    assert angles_of(layers, 0) == -1
