"""Rotary positions: the reference's frequencies, transformers' to the bit, rotation in the complex plane."""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from llmkit.model.config import ModelConfig
from llmkit.model.rope import TORCH, Rope, rotate
from llmkit.model.rope_tables import inverse_frequencies

from .rope_cases import SCALINGS, positions_of, scaling_fields

Make = Callable[..., ModelConfig]
HEAD: dict[str, Any] = {"hidden_size": 512, "head_dim": 128}
CPU = torch.device("cpu")


def _theirs(config: ModelConfig) -> Any:
    """The config of a transformers model with the same positions."""
    from transformers import GPTNeoXConfig

    dynamic = (config.rope_scaling or {}).get("rope_type") == "dynamic"
    scaling = {key: value for key, value in (config.rope_scaling or {"rope_type": "default"}).items()}
    if dynamic:
        del scaling["original_max_position_embeddings"]  # theirs are the model's
    return GPTNeoXConfig(
        hidden_size=4 * config.head_dim,
        num_attention_heads=4,
        max_position_embeddings=config.max_position_embeddings,
        rope_parameters={
            **scaling,
            "rope_theta": config.rope_theta,
            "partial_rotary_factor": config.rotary_dim / config.head_dim,
        },
    )


def _frequencies(config: ModelConfig, length: int = 0) -> torch.Tensor:
    return torch.from_numpy(inverse_frequencies(config, length, power=TORCH.power))


@pytest.mark.parametrize(
    ("fields", "length", "expected"),
    [
        (SCALINGS["llama3"], 0, {24: 7.292665076e-3, 32: 5.248460220e-4, 63: 3.068925878e-7}),
        (SCALINGS["yarn"], 0, {24: 5.375321489e-3, 32: 6.029411452e-4, 63: 3.102344408e-7}),
        (SCALINGS["dynamic"], 8192, {32: 5.723381881e-3}),
    ],
)
def test_the_check_values_of_the_reference_are_met_to_a_billionth(
    fields: dict[str, Any], length: int, expected: dict[int, float], make_config: Make
) -> None:
    found = _frequencies(make_config(**HEAD, **fields), length).tolist()
    assert len(found) == 64
    for index, value in expected.items():
        assert found[index] == pytest.approx(value, rel=1e-9)


def _exact(scaling: dict[str, Any], theta: float, width: int, length: int) -> list[float]:
    """The published formulas in double precision."""
    plain = [theta ** (-2 * i / width) for i in range(width // 2)]
    factor, original = scaling.get("factor", 1.0), scaling.get("original_max_position_embeddings", 0)
    match scaling.get("rope_type"):
        case "linear":
            return [value / factor for value in plain]
        case "dynamic":
            base = theta * (factor * max(length, original) / original - (factor - 1)) ** (width / (width - 2))
            return [base ** (-2 * i / width) for i in range(width // 2)]
        case "longrope":
            factors = scaling["long_factor" if length > original else "short_factor"]
            return [value / by for value, by in zip(plain, factors, strict=True)]
        case "llama3":
            turns = [original * value / (2 * math.pi) for value in plain]
            keep = [min(max((turn - 1.0) / 3.0, 0.0), 1.0) for turn in turns]
            if scaling["high_freq_factor"] == 1.0:  # Llama 4: one step, where Llama 3 has a ramp up to 4
                keep = [float(turn > 1.0) for turn in turns]
        case "yarn":
            ends = [
                width * math.log(original / (2 * math.pi * scaling[beta])) / (2 * math.log(theta))
                for beta in ("beta_fast", "beta_slow")
            ]
            low, high = (math.floor(ends[0]), math.ceil(ends[1])) if scaling["truncate"] else ends
            low, high = max(low, 0), min(high, width - 1)
            keep = [1 - min(max((i - low) / (high - low), 0.0), 1.0) for i in range(width // 2)]
        case _:
            return plain
    return [value * share + value / factor * (1 - share) for value, share in zip(plain, keep, strict=True)]


@pytest.mark.parametrize("length", [0, 9000])
@pytest.mark.parametrize("kind", SCALINGS)
def test_frequencies_are_the_published_formulas(kind: str, length: int, make_config: Make) -> None:
    config = make_config(**HEAD, **scaling_fields(kind, 128))
    exact = _exact(config.rope_scaling or {}, config.rope_theta, 128, length)
    assert _frequencies(config, length).tolist() == pytest.approx(exact, rel=2e-6)


def test_of_a_file_with_dynamic_scaling_only_the_context_counts(transformers: ModuleType) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    sizes = {"hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 128}
    scaling = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}
    scaling["original_max_position_embeddings"] = 16
    theirs = transformers.LlamaConfig(**sizes, rope_parameters=scaling, original_max_position_embeddings=32)
    ours = ModelConfig.from_hf(theirs.to_dict())
    for length in (60, 128, 300):
        expected, _ = ROPE_INIT_FUNCTIONS["dynamic"](theirs, seq_len=torch.tensor(length))
        assert torch.equal(_frequencies(ours, length), expected)


def test_a_context_that_dynamic_scaling_stretched_is_the_same_to_transformers_when_it_is_saved(
    transformers: ModuleType, make_config: Make
) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaling = {"rope_type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 32}
    ours = make_config(max_position_embeddings=128, rope_scaling=scaling)
    theirs = transformers.LlamaConfig(**ours.to_hf())
    assert ModelConfig.from_hf(theirs.to_dict()) == ours
    for length in (20, 60, 128, 300):
        expected, _ = ROPE_INIT_FUNCTIONS["dynamic"](theirs, seq_len=torch.tensor(length))
        assert torch.equal(_frequencies(ours, length), expected)


@pytest.mark.parametrize(("head_dim", "rotary_dim"), [(128, 128), (64, 16), (80, 40), (12, 12)])
@pytest.mark.parametrize("kind", [kind for kind in SCALINGS if kind != "default"])
def test_frequencies_are_transformers_to_the_bit(
    kind: str, head_dim: int, rotary_dim: int, transformers: ModuleType
) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = positions_of(head_dim=head_dim, rotary_dim=rotary_dim, **scaling_fields(kind, rotary_dim))
    assert config.rope_scaling is not None
    initialise = ROPE_INIT_FUNCTIONS[config.rope_scaling["rope_type"]]
    for length in (0, 300, 4096, 4097, 50_000):
        # a tensor, as their forward pass gives it beyond the context
        theirs, factor = initialise(_theirs(config), seq_len=torch.tensor(length) if length > 4096 else None)
        assert torch.equal(_frequencies(config, length), theirs)
        rope = Rope(config)
        assert rope.table(5, CPU)[0][0, 0].item() == pytest.approx(factor, rel=1e-7)  # cos 0


@pytest.mark.parametrize("rotary_dim", [64, 16])
@pytest.mark.parametrize("kind", SCALINGS)
def test_cosines_and_sines_are_transformers_as_far_as_position_100_000(
    kind: str, rotary_dim: int, transformers: ModuleType
) -> None:
    from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXRotaryEmbedding

    config = positions_of(head_dim=64, rotary_dim=rotary_dim, **scaling_fields(kind, rotary_dim))
    theirs, ours = GPTNeoXRotaryEmbedding(_theirs(config)), Rope(config)
    for end in (1, 40, 300, 4096, 5000, 100_000, 100_001, 200):  # a new, short text at last
        at = torch.tensor([0, end // 2, end - 1])
        cos, sin = theirs(torch.zeros(1), at[None])
        mine = ours.table(end, CPU)
        torch.testing.assert_close(mine[0][at], cos[0, :, : rotary_dim // 2], rtol=0, atol=3e-7)
        torch.testing.assert_close(mine[1][at], sin[0, :, : rotary_dim // 2], rtol=0, atol=3e-7)
    assert ours.depends_on_length == (kind in ("longrope", "dynamic", "dynamic of 2.7"))


def test_sliding_layers_have_their_own_base_without_scaling() -> None:
    scaled = {"rotary_dim": 8, "rope_theta": 1e6, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    two, one = Rope(positions_of(**scaled, sliding_rope_theta=1e4)), Rope(positions_of(**scaled))
    plain = Rope(positions_of(rotary_dim=8)).table(50, CPU)
    torch.testing.assert_close(two.table(50, CPU, sliding=True), plain, rtol=0, atol=0)
    torch.testing.assert_close(two.table(50, CPU), one.table(50, CPU), rtol=0, atol=0)
    torch.testing.assert_close(one.table(50, CPU, sliding=True), one.table(50, CPU), rtol=0, atol=0)
    assert not torch.equal(plain[0], one.table(50, CPU)[0])


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_rotation_of_a_whole_and_of_a_part_of_a_head_is_transformers(
    make_config: Make, transformers: ModuleType
) -> None:
    from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb

    q, k = _random(2, 3, 5, 16), _random(2, 1, 5, 16)
    for width in (16, 4):
        cos, sin = (part[:5] for part in Rope(make_config(head_dim=width)).table(5, CPU))
        wide = torch.cat((cos, cos), 1)[None], torch.cat((sin, sin), 1)[None]
        theirs = apply_rotary_pos_emb(q, k, *wide)
        torch.testing.assert_close((rotate(q, cos, sin), rotate(k, cos, sin)), theirs, rtol=0, atol=1e-6)
        assert torch.equal(rotate(q, cos, sin)[..., width:], q[..., width:])


def test_rotation_of_pairs_side_by_side_is_deepseeks(make_config: Make, transformers: ModuleType) -> None:
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import apply_rotary_pos_emb_interleave

    q, k = _random(2, 3, 5, 16), _random(2, 1, 5, 16)
    cos, sin = (part[:5] for part in Rope(make_config(head_dim=16)).table(5, CPU))
    wide = torch.cat((cos, cos), 1)[None], torch.cat((sin, sin), 1)[None]
    ours = rotate(q, cos, sin, interleaved=True), rotate(k, cos, sin, interleaved=True)
    torch.testing.assert_close(ours, apply_rotary_pos_emb_interleave(q, k, *wide), rtol=0, atol=1e-6)
    # the same scores as of pairs in halves, with heads reordered before
    order = torch.cat((torch.arange(0, 16, 2), torch.arange(1, 16, 2)))
    halves = rotate(q[..., order], cos, sin) @ rotate(k[..., order], cos, sin).mT
    torch.testing.assert_close(ours[0] @ ours[1].mT, halves)


def test_a_pair_turns_as_a_complex_number_does(make_config: Make) -> None:
    config = make_config(head_dim=8)
    x = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    cos, sin = Rope(config).table(5, CPU)
    ours = rotate(x, cos[:5], sin[:5])
    angle = torch.outer(torch.arange(5.0), _frequencies(config))
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
    make_config: Make, make_model: Callable[..., Any]
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


def test_tables_follow_the_device_and_stay_there(make_config: Make) -> None:
    rope, elsewhere = Rope(make_config()), torch.device("meta")
    cos, sin = rope.table(10, elsewhere)
    assert cos.device == sin.device == elsewhere
    assert rope.table(10, elsewhere)[0] is cos
    assert rope.table(10, CPU)[0][1, 0].item() == pytest.approx(math.cos(1), abs=1e-6)


def test_a_table_made_while_a_text_is_written_serves_training_too(make_config: Make) -> None:
    rope = Rope(make_config())
    with torch.inference_mode():
        rope.table(10, CPU)
    cos, sin = rope.table(10, CPU)
    assert not cos.is_inference() and not sin.is_inference()
