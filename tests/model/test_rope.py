"""Rotary positions: published frequencies, transformers' tables, and rotation in the complex plane."""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from llmkit.model.config import ModelConfig
from llmkit.model.rope import Rope, inverse_frequencies, rotate
from llmkit.model.transformer import Transformer

Make = Callable[..., ModelConfig]
LLAMA31: dict[str, Any] = {
    **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "original_max_position_embeddings": 8192,
}
HEAD: dict[str, Any] = {"hidden_size": 512, "head_dim": 128}
CPU = torch.device("cpu")


def test_llama_31_has_the_frequencies_worked_out_for_it(make_config: Make) -> None:
    found = inverse_frequencies(make_config(**HEAD, rope_theta=500_000.0, rope_scaling=LLAMA31)).tolist()
    assert len(found) == 64
    for index, expected in ((24, 7.292665076e-3), (32, 5.248460220e-4), (63, 3.068925878e-7)):
        assert found[index] == pytest.approx(expected, rel=2e-6)  # theta ** (i / 64) in float32


def test_plain_and_linear_frequencies_are_the_formula(make_config: Make) -> None:
    plain = inverse_frequencies(make_config(**HEAD))
    assert plain.tolist() == pytest.approx([10_000 ** (-2 * i / 128) for i in range(64)], rel=2e-6)
    linear = inverse_frequencies(make_config(**HEAD, rope_scaling={"rope_type": "linear", "factor": 2.5}))
    assert linear.tolist() == pytest.approx([10_000 ** (-2 * i / 128) / 2.5 for i in range(64)], rel=2e-6)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rope_theta": 1e6, "head_dim": 12},
        {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        {**HEAD, "rope_theta": 5e5, "rope_scaling": LLAMA31, "max_position_embeddings": 131_072},
        {**HEAD, "rope_scaling": {**LLAMA31, "factor": 32.0}, "max_position_embeddings": 131_072},
    ],
)
def test_cosines_and_sines_are_transformers(
    fields: dict[str, Any], make_config: Make, transformers: ModuleType
) -> None:
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = make_config(**fields)
    theirs = LlamaRotaryEmbedding(transformers.LlamaConfig(**config.to_hf()))
    cos, sin = theirs(torch.zeros(1), torch.arange(300)[None])
    ours = Rope(config).table(300, CPU)
    half = config.head_dim // 2
    torch.testing.assert_close(ours[0][:300], cos[0, :, :half], rtol=0, atol=1e-6)
    torch.testing.assert_close(ours[1][:300], sin[0, :, :half], rtol=0, atol=1e-6)


def test_a_pair_turns_as_a_complex_number_does(make_config: Make) -> None:
    config = make_config(head_dim=8)
    x = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    cos, sin = Rope(config).table(5, CPU)
    ours = rotate(x, cos[:5], sin[:5])
    angle = torch.outer(torch.arange(5.0), inverse_frequencies(config))
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones_like(angle), angle)
    torch.testing.assert_close(ours, torch.cat((turned.real, turned.imag), dim=-1))


def test_a_score_depends_on_the_distance_alone(make_config: Make) -> None:
    cos, sin = Rope(make_config(head_dim=8)).table(90, CPU)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(1))

    def score(at: int, to: int) -> float:
        turned = rotate(q, cos[[at]], sin[[at]]), rotate(k, cos[[to]], sin[[to]])
        return (turned[0] * turned[1]).sum().item()

    assert score(80, 77) == pytest.approx(score(3, 0), abs=1e-5)
    assert score(3, 0) != pytest.approx(score(4, 0), abs=1e-3)


def test_a_table_grows_for_a_longer_text_and_keeps_what_it_had(make_config: Make) -> None:
    rope = Rope(make_config())
    short = rope.table(10, CPU)[0].clone()
    long = rope.table(1000, CPU)
    assert len(long[0]) >= 1000
    torch.testing.assert_close(long[0][: len(short)], short, rtol=0, atol=0)
    assert rope.table(10, CPU)[0] is long[0]
    assert long[1][999, 0].item() == pytest.approx(math.sin(999), abs=1e-6)


def test_a_model_in_bfloat16_keeps_its_angles_exact(
    make_config: Make, make_model: Callable[..., Transformer]
) -> None:
    model = make_model(make_config()).to(torch.bfloat16)
    assert model.model.rope is not None
    cos, _ = model.model.rope.table(200, CPU)
    assert cos.dtype == torch.float32
    assert cos[199, 0].item() == pytest.approx(math.cos(199), abs=1e-6)
    assert not any("rope" in name for name in model.state_dict())


def test_a_model_built_or_used_under_another_default_device_has_real_angles(make_config: Make) -> None:
    with torch.device("meta"):
        rope = Rope(make_config())
        cos, _ = rope.table(2, CPU)
    assert cos[1, 0].item() == pytest.approx(math.cos(1), abs=1e-6)
