"""What weights are said to take, beside what the packed model takes."""

from pathlib import Path

import pytest
import torch
from coded_models import coded_gguf
from gguf_models import case_config, random_model

from llmkit.engine.native_weights import pack_model
from llmkit.kernels.library import available, why_not
from llmkit.model.coded_weights import CodedWeights
from llmkit.model.load import load_model
from llmkit.workflows.generate.weights import held_weight_bytes

pytestmark = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
CPU = torch.device("cpu")
SHAPE = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "vocab_size": 40}


@pytest.mark.parametrize("codes", ["Q4_K", "Q8_0"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_codes_are_counted_as_they_lie_in_memory(tmp_path: Path, codes: str, dtype: torch.dtype) -> None:
    config = case_config("llama", SHAPE)
    types = {"attn": codes, "ffn": codes, "token_embd": codes, "output": codes}
    path = coded_gguf(tmp_path / "a.gguf", random_model(config), types)
    coded = CodedWeights()
    model = load_model(path, dtype=dtype, coded=coded)
    packed = pack_model(model, release=True, coded=coded).nbytes
    norms = sum(one.nbytes for name, one in model.named_parameters() if "norm" in name)
    found = held_weight_bytes(path, model.config, dtype, CPU, stays_coded=True)
    assert found == pytest.approx(packed + norms, rel=0.05)
    plain = held_weight_bytes(path, model.config, dtype, CPU, stays_coded=False)
    assert plain == sum(one.numel() for one in load_model(path, dtype=dtype).parameters()) * dtype.itemsize
    assert found < 0.6 * plain


def test_plain_numbers_are_counted_in_their_dtype(tmp_path: Path) -> None:
    path = coded_gguf(tmp_path / "a.gguf", random_model(case_config("llama", SHAPE)), {})
    model = load_model(path, dtype=torch.float32)
    for dtype in (torch.float32, torch.bfloat16):
        found = held_weight_bytes(path, model.config, dtype, CPU, stays_coded=True)
        assert found == sum(one.numel() for one in model.parameters()) * dtype.itemsize
