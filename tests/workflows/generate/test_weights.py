"""What weights are said to take, beside what the packed model takes."""

from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
from coded_models import coded_gguf
from gguf_models import case_config, random_model

from llmkit.engine.layer_groups import one_group
from llmkit.engine.native.weights import pack_weights
from llmkit.kernels.library import available, why_not
from llmkit.model.load import load_model
from llmkit.model.quantised.coded_weights import CodedWeights
from llmkit.model.stored_numbers import ARRAY_DTYPES
from llmkit.model.stored_weights import StoredWeights
from llmkit.workflows.generate.weights import _block, held_weight_bytes
from tests.model.recurrent.conftest import MAMBA, hybrid

pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
SHAPE = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "vocab_size": 40}


@pytest.mark.parametrize("codes", ["Q4_K", "Q8_0"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_codes_are_counted_as_they_lie_in_memory(tmp_path: Path, codes: str, dtype: str) -> None:
    config = case_config("llama", SHAPE)
    types = {"attn": codes, "ffn": codes, "token_embd": codes, "output": codes}
    path = coded_gguf(tmp_path / "a.gguf", random_model(config), types)
    weights, each = StoredWeights(path, dtype=dtype, coded=CodedWeights()), ARRAY_DTYPES[dtype].itemsize
    norms = sum(prod(shape) * each for name, shape in weights.shapes.items() if "norm" in name)
    packed = pack_weights(weights).nbytes
    found = held_weight_bytes(path, config, dtype, "cpu", stays_coded=True)
    assert found == pytest.approx(packed + norms, rel=0.05)
    plain = held_weight_bytes(path, config, dtype, "cpu", stays_coded=False)
    assert plain == sum(map(prod, weights.shapes.values())) * each
    assert found < 0.6 * plain


def test_plain_numbers_are_counted_in_their_dtype(tmp_path: Path) -> None:
    path = coded_gguf(tmp_path / "a.gguf", random_model(case_config("llama", SHAPE)), {})
    model = load_model(path)
    for dtype, width in (("float32", 4), ("bfloat16", 2)):
        found = held_weight_bytes(path, model.config, dtype, "cpu", stays_coded=True)
        assert found == sum(one.numel() for one in model.parameters()) * width


def test_a_model_whose_layers_all_keep_a_state_has_blocks_of_no_bytes() -> None:
    config = hybrid("granitemoehybrid", mamba=replace(MAMBA, layers=(0, 1, 2))).config
    assert _block(config, "float32", one_group(config)) == 0
