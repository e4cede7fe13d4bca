"""The kernels' passes beside the modules': the same scores, for every part a plain model may have."""

from typing import Any

import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.parts import runs_natively
from llmkit.engine.request import Request
from llmkit.kernels.library import available, why_not
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from tests.written_texts import write

CPU = torch.device("cpu")
SIZES: dict[str, Any] = {
    **{"vocab_size": 90, "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 3},
    **{"num_attention_heads": 4, "max_position_embeddings": 128},
}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama, biased, tied, one group": {
        **{"attention_bias": True, "output_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
        "num_key_value_heads": 1,
    },
    "qwen2": {"model_type": "qwen2", "attention_bias": True, "num_key_value_heads": 2},
    "qwen3": {"model_type": "qwen3", "qk_norm": "head", "head_dim": 16, "num_key_value_heads": 2},
    "mistral, stretched": {
        "model_type": "mistral",
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
}
needs_kernels = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")


def make_model(dtype: torch.dtype = torch.float32, **fields: Any) -> Transformer:
    model = Transformer(ModelConfig(**{**SIZES, **fields})).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0.0, 0.2, generator=generator)
            if "norm" in name:
                parameter.add_(1.0)
    return model.to(dtype)


def requests(count: int) -> list[Request]:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 40, (count,), generator=generator).tolist()
    sampling = SamplingConfig(max_tokens=12, temperature=0.0, ignore_eos=True, logprobs=2)
    return [
        Request(tuple(torch.randint(90, (length,), generator=generator).tolist()), sampling)
        for length in lengths
    ]


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pass_tokens", [7, 512])
def test_a_ragged_batch_has_the_scores_of_the_modules(shape: str, pass_tokens: int) -> None:
    model = make_model(**SHAPES[shape])
    assert runs_natively("float32", "cpu")
    config = EngineConfig(positions=1000, block_tokens=4, max_texts=5, pass_tokens=pass_tokens)
    expected = write(Engine(model, config), requests(9))
    found = write(Engine(pack_model(model), config), requests(9))
    for ours, theirs in zip(found, expected, strict=True):
        assert [one.id for one in ours] == [one.id for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.score is not None and other.score is not None
            assert one.score.logprob == pytest.approx(other.score.logprob, abs=2e-4)


@needs_kernels
def test_a_text_is_bit_for_bit_the_same_alone_and_in_a_busy_batch() -> None:
    model = make_model(**SHAPES["qwen3"])
    packed = pack_model(model)
    asked = requests(9)
    busy = write(Engine(packed, EngineConfig(positions=2000, max_texts=9)), asked)
    alone = [write(Engine(packed, EngineConfig(positions=200)), [one])[0] for one in asked]
    assert busy == alone
