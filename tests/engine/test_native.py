"""The kernels' passes beside the modules': the same scores, for every part a plain model may have."""

from typing import Any

import numpy as np
import pytest
import torch

from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.native import pack_model, runs_natively
from llmkit.engine.request import Drawn, Request
from llmkit.kernels.library import available, why_not
from llmkit.kernels.packed import PackedFormat
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer

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


def write(engine: Engine, asked: list[Request]) -> list[list[Drawn]]:
    texts: dict[int, list[Drawn]] = {engine.submit(request): [] for request in asked}
    while not engine.is_idle:
        for event in engine.step():
            assert event.drawn is not None
            texts[event.number].append(event.drawn)
    return list(texts.values())


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pass_tokens", [7, 512])
def test_a_ragged_batch_has_the_scores_of_the_modules(shape: str, pass_tokens: int) -> None:
    model = make_model(**SHAPES[shape])
    assert runs_natively(model.config, torch.float32, CPU)
    config = EngineConfig(positions=1000, block_tokens=4, max_texts=5, pass_tokens=pass_tokens)
    expected = write(Engine(model, config), requests(9))
    found = write(Engine(model, config, native=pack_model(model)), requests(9))
    for ours, theirs in zip(found, expected, strict=True):
        assert [one.id for one in ours] == [one.id for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.score is not None and other.score is not None
            assert one.score.logprob == pytest.approx(other.score.logprob, abs=2e-4)


@needs_kernels
def test_a_text_is_bit_for_bit_the_same_alone_and_in_a_busy_batch() -> None:
    model = make_model(**SHAPES["qwen3"])
    native = pack_model(model)
    asked = requests(9)
    busy = write(Engine(model, EngineConfig(positions=2000, max_texts=9), native=native), asked)
    alone = [write(Engine(model, EngineConfig(positions=200), native=native), [one])[0] for one in asked]
    assert busy == alone


@needs_kernels
@pytest.mark.parametrize(
    ("packed_format", "levels"), [(PackedFormat.INT8, 127), (PackedFormat.INT4, 8)], ids=["int8", "int4"]
)
def test_rounded_weights_compute_what_their_values_compute(packed_format: PackedFormat, levels: int) -> None:
    model = make_model(hidden_size=64, intermediate_size=96)
    rounded = make_model(hidden_size=64, intermediate_size=96)
    with torch.no_grad():
        for name, parameter in rounded.named_parameters():
            if parameter.dim() == 2 and "embed" not in name:
                parameter.copy_(rounded_to(parameter, levels))
    config = EngineConfig(positions=300)
    exact = write(Engine(rounded, config), requests(3))
    found = write(Engine(model, config, native=pack_model(model, packed_format)), requests(3))
    for ours, theirs in zip(found, exact, strict=True):
        assert ours[0].score is not None and theirs[0].score is not None
        assert ours[0].id == theirs[0].id  # activations are rounded to 8 bits as well: the first token only
        assert ours[0].score.logprob == pytest.approx(theirs[0].score.logprob, abs=0.15)


def rounded_to(weight: torch.Tensor, levels: int) -> torch.Tensor:
    """In groups of 32 with a float16 scale, as ggml's Q8_0 and Q4_0."""
    groups = weight.detach().view(-1, 32).numpy()
    if levels == 127:
        scale = np.abs(groups).max(1, keepdims=True) / 127
    else:  # the value farthest from 0 becomes -8
        scale = np.take_along_axis(groups, np.abs(groups).argmax(1)[:, None], 1) / -8
    codes = np.round(groups / scale)
    kept = np.clip(codes, -levels, levels if levels == 127 else 7) * scale.astype(np.float16)
    return torch.from_numpy(kept.astype(np.float32)).view(weight.shape)


@needs_kernels
def test_bfloat16_weights_are_read_as_they_are_and_given_up_when_packed() -> None:
    model = make_model(torch.bfloat16, **SHAPES["llama"])
    config = EngineConfig(positions=300)
    # the twin computes in float32 on the same values, which is what the kernels do
    expected = write(Engine(make_model(torch.bfloat16).float(), config), requests(2))
    native = pack_model(model, release=True)
    found = write(Engine(model, config, native=native), requests(2))
    assert [text[0].id for text in found] == [text[0].id for text in expected]
    assert model.model.layers[0].mlp.up_proj.weight.numel() == 0  # type: ignore[union-attr]
    assert native.nbytes >= sum(2 * n for n in (48 * 48 * 4 * 3, 48 * 72 * 3 * 3, 90 * 48))


def test_other_models_do_not_run_natively() -> None:
    plain = ModelConfig(**SIZES)
    assert runs_natively(plain, torch.float32, CPU) == available()
    assert not runs_natively(plain, torch.float16, CPU)
    assert not runs_natively(plain, torch.float32, torch.device("meta"))
    others: list[dict[str, Any]] = [
        {"hidden_act": "gelu"},
        {"model_type": "gemma", "norm_plus_one": True, "embedding_scale": 48**0.5},
        {"model_type": "mistral", "sliding_window": 8, "sliding_layers": (0, 1, 2)},
    ]
    for fields in others:
        assert not runs_natively(ModelConfig(**{**SIZES, **fields}), torch.float32, CPU)
