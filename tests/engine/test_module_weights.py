"""The weights of a model's modules as the packer takes them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from llmkit.engine.module_weights import ModuleWeights, pack_model
from llmkit.engine.native.weights import PackedModel, pack_weights
from llmkit.kernels.library import available, why_not
from llmkit.kernels.packed import PackedWeight
from llmkit.model.save import save_model
from llmkit.model.stored_weights import StoredWeights
from llmkit.model.transformer import Transformer

Make = Callable[..., Transformer]
DOWN = "model.layers.1.mlp.down_proj.weight"


def matrices(model: PackedModel) -> list[PackedWeight]:
    return list(model.native._weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_arrays_are_the_parameters_own_memory(make_model: Make, dtype: torch.dtype) -> None:
    model = make_model().to(dtype)
    weights = ModuleWeights(model)
    parameter = model.get_parameter(DOWN)
    taken = weights.take(DOWN)
    assert taken.ctypes.data == parameter.data_ptr() and taken.shape == tuple(parameter.shape)
    assert taken.dtype == (np.uint16 if dtype == torch.bfloat16 else np.float32)
    assert weights.shapes == {name: tuple(one.shape) for name, one in model.state_dict().items()}
    weights.give_up(DOWN)
    assert model.get_parameter(DOWN) is parameter


def test_what_is_released_leaves_an_empty_tensor_of_its_dtype(make_model: Make) -> None:
    model = make_model().to(torch.bfloat16)
    weights = ModuleWeights(model, release=True)
    weights.give_up(DOWN)
    empty = model.get_parameter(DOWN)
    assert (empty.numel(), empty.dtype) == (0, torch.bfloat16)


@pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
@pytest.mark.parametrize("tied", [False, True])
def test_modules_and_their_files_are_packed_into_the_same_bytes(
    make_model: Make, tmp_path: Path, tied: bool
) -> None:
    model = make_model(tie_word_embeddings=tied, attention_bias=True, output_bias=True)
    save_model(model, tmp_path)
    ours, theirs = pack_model(model), pack_weights(StoredWeights(tmp_path))
    assert ours.config == theirs.config and ours.dtype == theirs.dtype == "float32"
    assert len(matrices(ours)) == len(matrices(theirs)) == 1 + 6 * model.config.num_hidden_layers
    for one, other in zip(matrices(ours), matrices(theirs), strict=True):
        assert np.array_equal(one.data, other.data)
