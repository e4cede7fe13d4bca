"""Rounded keys and values against ggml's own Python, the engine's int8 codes, and published noise."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from llmkit.engine import kv_codes
from llmkit.engine.block_store import CODES_ESTIMATED_AS
from llmkit.errors import ConfigError
from llmkit.model.config_parts import LatentConfig
from llmkit.quant.kv_forms import KV_FORMS, kv_form, kv_forms_for

HEADS = torch.randn(64, 16, 128, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("name", ["q8_0", "q5_1", "q5_0", "q4_1", "q4_0"])
def test_blocks_are_ggmls_to_the_bit(name: str) -> None:
    quants = pytest.importorskip("gguf.quants")
    kind = pytest.importorskip("gguf").GGMLQuantizationType[name.upper()]
    heads = torch.cat((HEADS.flatten(0, 1), torch.zeros(1, 128), 1e-3 * HEADS[0]))
    expected = quants.dequantize(quants.quantize(heads.numpy(), kind), kind)
    assert np.array_equal(kv_form(name).round(heads).numpy(), expected)


def test_int8_is_the_engines_to_the_bit() -> None:
    heads = torch.cat((HEADS, torch.zeros(1, 16, 128)))
    expected = kv_codes.decode(*kv_codes.encode(heads), torch.float32)
    assert torch.equal(kv_form(CODES_ESTIMATED_AS).round(heads), expected)


@pytest.mark.parametrize(
    ("name", "noise", "nbytes"),
    [  # of Gaussian heads of 128 numbers, measured with ggml's own code
        *(("q8_0", 2.9e-5, 1.0625), ("int8-token", 4.2e-5, 1.03125)),
        *(("q5_1", 1.4e-3, 0.75), ("q5_0", 1.8e-3, 0.6875), ("q4_0", 7.4e-3, 0.5625)),
    ],
)
def test_noise_and_bytes_are_the_known_ones(name: str, noise: float, nbytes: float) -> None:
    form = kv_form(name)
    rounded = form.round(HEADS)
    assert float((rounded - HEADS).square().mean() / HEADS.square().mean()) == pytest.approx(noise, rel=0.05)
    assert form.bytes_per_value(128) == nbytes


def test_fp8_has_the_noise_of_three_bits_after_the_point() -> None:
    form = kv_form("fp8-token")
    noise = float((form.round(HEADS) - HEADS).square().mean() / HEADS.square().mean())
    # steps of 1/8 in [1, 2): 8^-2 / 12 over a mean square of 7/3, or 1 if all were at the lower end
    assert 8**-2 / 12 / (7 / 3) < noise < 8**-2 / 12
    assert form.bytes_per_value(128) == 1.03125


def test_heads_and_names_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="head_dim is no multiple of that"):
        kv_form("q4_0").bytes_per_value(48)
    with pytest.raises(ConfigError, match="no way to round a cache to 'q4_2'"):
        kv_form("q4_2")
    assert all(KV_FORMS[name].name == name for name in KV_FORMS)


def test_of_some_forms_those_are_left_in_which_the_cache_can_be_kept() -> None:
    def left(head_dim: int, latent: LatentConfig | None = None) -> list[str]:
        config: Any = SimpleNamespace(head_dim=head_dim, latent=latent)
        return [form.name for form in kv_forms_for(config, ("int8-token", "q8_0", "q4_0"))]

    latent = LatentConfig(kv_lora_rank=48, qk_nope_head_dim=8, qk_rope_head_dim=16, v_head_dim=8)
    assert left(32) == ["int8-token", "q8_0", "q4_0"] and left(16) == ["int8-token"]
    assert left(16, latent) == ["q8_0", "q4_0"]  # a latent of 64 numbers, two blocks
    with pytest.raises(ConfigError, match="none of them holds this model's latents, of 40 numbers") as error:
        left(16, replace(latent, kv_lora_rank=24))
    assert "--kv-dtype" not in error.value.hint
