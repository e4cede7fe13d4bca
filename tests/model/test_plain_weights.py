"""Tensors of a folder, as its family's files have them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.formats.model_folder import TensorInfo
from llmkit.model.config import ModelConfig
from llmkit.model.plain_weights import plain_weights
from llmkit.model.quantised.quantisation import quantisation
from llmkit.model.quantised.stored import QuantisedInfo

MLX = {"quantization": {"bits": 4, "group_size": 32}}


@pytest.mark.parametrize(
    ("family", "module", "shape"),
    [("gpt2", "h.1.mlp.c_fc", (64, 256)), ("llama", "model.layers.1.mlp.up_proj", (256, 64))],
)
def test_a_quantised_matrix_has_the_shape_and_the_name_of_its_familys_files(
    family: str, module: str, shape: tuple[int, int], make_config: Callable[..., ModelConfig]
) -> None:
    parts = {"weight": ("U32", (256, 8)), "scales": ("F16", (256, 2)), "biases": ("F16", (256, 2))}
    tensors = {
        f"{module}.{part}": TensorInfo(f"{module}.{part}", dtype, size, 0, Path("there"), 0)
        for part, (dtype, size) in parts.items()
    }
    found = plain_weights(tensors, make_config(family), quantisation(MLX, "config.json"))
    ((name, matrix),) = found.items()
    assert name == ("transformer." if family == "gpt2" else "") + module + ".weight"
    assert isinstance(matrix, QuantisedInfo)
    assert (matrix.shape, matrix.turned) == (shape, family == "gpt2")
    assert plain_weights(tensors, make_config(family), None).keys() == {
        name.removesuffix("weight") + part for part in parts
    }
