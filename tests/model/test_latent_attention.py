"""Latent attention against DeepSeek's in transformers, and its two ways against each other."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from llmkit.errors import ConfigError
from llmkit.model import latent_attention
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import LatentConfig
from llmkit.model.held import Held
from llmkit.model.latent_attention import LatentAttention, absorbing_is_cheaper
from llmkit.model.layout import Layout, layout_mask
from llmkit.model.rope import Rope

LATENT = {
    **{"kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6},
    **{"num_experts_per_tok": 2, "n_routed_experts": 16, "moe_intermediate_size": 48},  # of no matter here
}
SIZES = {
    **{"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 4, "num_hidden_layers": 1},
    **{"max_position_embeddings": 128, "intermediate_size": 48, "vocab_size": 80},
    "rms_norm_eps": 0.5,  # far from that of the two inner norms, which must not be this
}
YARN = {
    **{"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 8.0, "original_max_position_embeddings": 16},
    **{"mscale": 0.7, "mscale_all_dim": 1.3},
}
CPU = torch.device("cpu")


def _ours(config: dict[str, Any] | None = None, **keys: Any) -> LatentAttention:
    """Latent attention of a config.json, with random weights."""
    found = config or {"model_type": "deepseek_v3", **SIZES, **LATENT, "q_lora_rank": 12, **keys}
    torch.manual_seed(0)
    module = LatentAttention(ModelConfig.from_hf(found))
    _fill(module)
    return module


def _fill(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.3)


def _theirs(library: ModuleType, version: int, **keys: Any) -> tuple[nn.Module, nn.Module]:
    """DeepSeek's attention with random weights, and what makes its positions."""
    name = f"DeepseekV{version}"
    code = getattr(library.models, f"deepseek_v{version}")
    modeling = getattr(code, f"modeling_deepseek_v{version}")
    config = getattr(code, f"{name}Config")(**SIZES, **LATENT, **keys, attn_implementation="eager")
    torch.manual_seed(0)
    module = getattr(modeling, f"{name}Attention")(config, layer_idx=0).eval()
    _fill(module)
    return module, getattr(modeling, f"{name}RotaryEmbedding")(config)


def _rope(length: int, width: int = 4) -> tuple[Tensor, Tensor]:
    angle = torch.outer(torch.arange(length).float(), 10.0 ** -torch.arange(width // 2).float())
    return angle.cos(), angle.sin()


def _in_chunks(module: LatentAttention, x: Tensor, chunk: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """x: (B, T, D), so many tokens at a time through a cache that they fill."""
    cos, sin = _rope(x.shape[1], module.latent.qk_rope_head_dim)
    width = module.latent.kv_lora_rank + module.latent.qk_rope_head_dim
    cache = Held(torch.full((*x.shape[:2], width), float("nan"), dtype=dtype))
    parts = []
    for start in range(0, x.shape[1], chunk):
        part = x[:, start : start + chunk]
        end = start + part.shape[1]
        layout = Layout(cos[start:end], sin[start:end], layout_mask(start, part.shape[1], CPU))
        parts.append(module(part, layout, cache))
        cache.length = end
    return torch.cat(parts, dim=1)


def _force(monkeypatch: pytest.MonkeyPatch, absorbed: bool) -> None:
    monkeypatch.setattr(latent_attention, "absorbing_is_cheaper", lambda *_: absorbed)


@pytest.mark.parametrize(
    ("version", "keys"),
    [
        (2, {"q_lora_rank": None}),
        (2, {"q_lora_rank": 12, "attention_bias": True}),
        (2, {"q_lora_rank": 12, "rope_parameters": YARN}),
        (3, {"q_lora_rank": None, "attention_bias": True}),
        (3, {"q_lora_rank": 12}),
        (3, {"q_lora_rank": 12, "rope_interleave": False}),
        (3, {"q_lora_rank": 12, "rope_parameters": YARN, "attention_bias": True}),
    ],
    ids=str,
)
@torch.no_grad()
def test_it_computes_what_deepseeks_attention_does(
    version: int, keys: dict[str, Any], transformers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, rotary = _theirs(transformers, version, **keys)
    config = theirs.config.to_dict()
    ours = _ours(config)
    ours.load_state_dict(theirs.state_dict())  # strict: the same names, the same biases
    x = torch.randn(2, 9, 32)
    positions = rotary(x, torch.arange(9)[None])
    cos, sin = (table[:9] for table in Rope(ModelConfig.from_hf(config)).table(9, CPU))
    seen = torch.ones(9, 9, dtype=torch.bool).tril()
    hidden = torch.zeros(9, 9).masked_fill(~seen, float("-inf"))[None, None]
    expected = theirs(x, attention_mask=hidden, position_embeddings=positions)[0]
    torch.testing.assert_close(ours(x, Layout(cos, sin)), expected, rtol=1e-5, atol=1e-5)
    for absorbed in (False, True):
        _force(monkeypatch, absorbed)
        cache = Held(torch.empty(2, 9, 20))
        torch.testing.assert_close(ours(x, Layout(cos, sin), cache), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_documents_in_a_row_do_not_see_each_other(
    transformers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, rotary = _theirs(transformers, 3, q_lora_rank=None)
    ours = _ours(theirs.config.to_dict())
    ours.load_state_dict(theirs.state_dict())
    x, segments = torch.randn(2, 7, 32), torch.tensor([[0, 0, 0, 1, 1, 1, 1], [4, 4, 4, 4, 4, 9, 9]])
    positions = rotary(x, torch.arange(7)[None])
    cos, sin = (table[0, :, :2] for table in positions)  # theirs are written twice
    layout = Layout(cos, sin, layout_mask(0, 7, CPU, segments=segments))
    for row, first in ((0, 3), (1, 5)):  # each document by itself, at its place
        for part in (slice(0, first), slice(first, 7)):
            length = len(range(7)[part])
            hidden = torch.full((length, length), float("-inf")).triu(1)[None, None]
            turned = (positions[0][:, part], positions[1][:, part])
            expected = theirs(x[row : row + 1, part], attention_mask=hidden, position_embeddings=turned)[0]
            torch.testing.assert_close(ours(x, layout)[row : row + 1, part], expected, rtol=1e-5, atol=1e-5)
    _force(monkeypatch, True)
    found = ours(x, layout, Held(torch.empty(2, 7, 20)))
    torch.testing.assert_close(found, ours(x, layout), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("absorbed", [False, True, None])
@pytest.mark.parametrize("chunk", [1, 3])
@torch.no_grad()
def test_decoding_in_chunks_equals_one_full_pass(
    chunk: int, absorbed: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, x = _ours(), torch.randn(2, 11, 32)
    if absorbed is not None:
        _force(monkeypatch, absorbed)
    expected = module(x, Layout(*_rope(11)))
    torch.testing.assert_close(_in_chunks(module, x, chunk), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_single_token_sees_only_what_its_mask_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = _ours(), torch.randn(2, 6, 32)
    cos, sin = _rope(6)
    hidden = torch.tensor([0, 2])  # so many positions of each text are padding
    seen = (torch.arange(6) >= hidden[:, None])[:, None, None]  # (B, 1, 1, S)
    cache = Held(torch.empty(2, 6, 20))
    module(x[:, :5], Layout(cos[:5], sin[:5]), cache)
    cache.length = 5
    shown = torch.ones(6, 6, dtype=torch.bool).tril() & seen  # (B, 1, S, S)
    expected = module(x, Layout(cos, sin, shown))[:, 5:]
    for absorbed in (False, True):
        _force(monkeypatch, absorbed)
        found = module(x[:, 5:], Layout(cos[5:], sin[5:], seen), cache)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value_dim", [6, 12, 15])
@torch.no_grad()
def test_values_may_be_narrower_than_keys_or_wider(value_dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = _ours(v_head_dim=value_dim), torch.randn(1, 5, 32)
    _force(monkeypatch, True)
    torch.testing.assert_close(_in_chunks(module, x, 2), module(x, Layout(*_rope(5))), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_cache_of_another_dtype_is_read_in_the_models() -> None:
    module, x = _ours(), torch.randn(1, 5, 32)
    found = _in_chunks(module, x, 1, torch.bfloat16)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, module(x, Layout(*_rope(5))), rtol=0, atol=0.1)


@torch.no_grad()
def test_a_cached_row_is_the_normalised_latent_and_the_rotated_shared_key() -> None:
    module, x = _ours(), torch.randn(1, 1, 32)
    cache = Held(torch.zeros(1, 1, 20))
    angle = torch.tensor([[0.5, 0.1]])
    module(x, Layout(angle.cos(), angle.sin()), cache)
    raw = module.kv_a_proj_with_mqa(x)[0, 0]
    latent = raw[:16] / (raw[:16].square().mean() + 1e-6).sqrt() * module.kv_a_layernorm.weight
    torch.testing.assert_close(cache.tensors[0][0, 0, :16], latent)
    pairs = torch.view_as_complex(raw[16:].view(2, 2)) * torch.polar(torch.ones(2), angle[0])
    turned = torch.view_as_real(pairs).flatten().sort().values  # in whatever order a head keeps them
    torch.testing.assert_close(cache.tensors[0][0, 0, 16:].sort().values, turned)


def test_gradients_reach_every_weight_and_the_input() -> None:
    module, x = _ours(attention_bias=True).double(), torch.randn(1, 4, 32).double()
    cos, sin = (part.double() for part in _rope(4))
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module(x, Layout(cos, sin)), (x,))
    module(x, Layout(cos, sin)).square().sum().backward()
    assert [name for name, one in module.named_parameters() if one.grad is None or not one.grad.any()] == []


@pytest.mark.parametrize("keys", [{}, {"kv_lora_rank": 64, "v_head_dim": 8}, {"v_head_dim": 15}], ids=str)
@torch.no_grad()
def test_the_way_taken_is_the_one_of_fewer_operations(
    keys: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = _ours(**keys)
    width = module.kv_a_proj_with_mqa.out_features
    chosen = set()
    for new, held in ((1, 1), (1, 2), (1, 40), (3, 9), (5, 7), (8, 8), (8, 60), (20, 60), (50, 60)):
        counts = []
        for absorbed in (False, True):
            _force(monkeypatch, absorbed)
            cache = Held(torch.zeros(1, held, width))
            cache.length = held - new
            # the kernel that writes scores out, whose matrix products are counted one by one
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                mask = layout_mask(held - new, new, CPU)
                module(torch.zeros(1, new, 32), Layout(mask=mask), cache)
            counts.append(counter.get_total_flops())
        cheaper = absorbing_is_cheaper(module.latent, new, held)
        assert cheaper == (counts[1] < counts[0]), (new, held, counts)
        chosen.add(cheaper)
    assert chosen == {False, True}


def test_deepseek_v3_absorbs_single_tokens_and_expands_a_prompt() -> None:
    sizes = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
    v3 = LatentConfig(q_lora_rank=1536, **sizes)
    assert absorbing_is_cheaper(v3, 1, 1000)
    assert not absorbing_is_cheaper(v3, 1000, 1000)
    # 512 (128 + 128) / (2 (512 + 64) - 2 (128 + 64)) = 170.7 tokens over an endless past
    assert absorbing_is_cheaper(v3, 170, 10**6)
    assert not absorbing_is_cheaper(v3, 171, 10**6)


@torch.no_grad()
def test_what_stands_in_for_the_latents_matrix_is_called_and_never_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Doubled(nn.Linear):
        """As an adapter: its weight is not all of it."""

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    module, x = _ours(), torch.randn(1, 6, 32)
    doubled = Doubled(16, 4 * 14, bias=False)
    doubled.load_state_dict(module.kv_b_proj.state_dict())
    module.kv_b_proj = doubled
    _force(monkeypatch, True)
    torch.testing.assert_close(_in_chunks(module, x, 1), module(x, Layout(*_rope(6))), rtol=1e-5, atol=1e-5)


def test_a_config_without_latents_is_refused() -> None:
    with pytest.raises(ConfigError, match="latent attention has no kv_lora_rank"):
        _ours({"model_type": "llama", **SIZES})
