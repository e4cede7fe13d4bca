"""Rounded caches against forward passes that are written out with the rounding in them."""

import copy

import pytest
import torch
from gguf_models import CASES, case_config, random_model
from torch import Tensor, nn

from llmkit.errors import ConfigError
from llmkit.model import attention
from llmkit.quant.kv_forms import kv_form
from llmkit.quant.kv_noise import kv_noise
from tests.quant.small_models import model
from tests.quant.test_trial import IDS, plain_divergence

FORMS = [kv_form("q4_0"), kv_form("int8-token")]


@pytest.fixture(scope="module")
def original() -> nn.Module:
    return model(num_hidden_layers=2)


def test_rows_are_layers_and_parts_and_then_everything_at_once(original: nn.Module) -> None:
    rows = list(kv_noise(original, IDS, FORMS))
    places = [(row.layer, row.part, row.form) for row in rows]
    forms = ("q4_0", "int8-token")
    assert places == [
        *((layer, part, form) for layer in (0, 1) for part in ("keys", "values") for form in forms),
        *((None, part, form) for part in ("keys", "values", "both") for form in forms),
    ]
    by_place = dict(zip(places, rows, strict=True))
    for (layer, part, form), row in by_place.items():
        assert row.bytes_per_value == {"q4_0": 0.5625, "int8-token": 1 + 4 / 64}[form]
        assert row.kld > 0
        if form == "q4_0":
            assert row.noise > 50 * by_place[layer, part, "int8-token"].noise
            assert row.kld > 10 * by_place[layer, part, "int8-token"].kld
    total = by_place[None, "both", "q4_0"].kld
    assert total > max(by_place[None, "keys", "q4_0"].kld, by_place[None, "values", "q4_0"].kld)


@pytest.mark.parametrize("part", ["keys", "values"])
def test_a_layers_rounding_moves_the_text_as_a_whole_pass_does(
    original: nn.Module, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = kv_noise(original, IDS, FORMS[:1])
    row = next(row for row in rows if (row.layer, row.part) == (1, part))
    round_, scale = FORMS[0].round, 64**-0.5
    seen: dict[str, Tensor] = {}

    def written_out(self: attention.Attention, q: Tensor, k: Tensor, v: Tensor, mask: None) -> Tensor:
        exact = k if part == "keys" else v
        rounded = round_(exact.float()).to(exact.dtype)
        seen["noise"] = (rounded - exact).square().sum() / exact.square().sum()
        k, v = (rounded, v) if part == "keys" else (k, rounded)
        scores = q.unflatten(1, (2, 2)) @ k[:, :, None].transpose(-1, -2) * scale
        hidden = torch.ones(24, 24, dtype=torch.bool).triu(1)
        return (scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v[:, :, None]).flatten(1, 2)

    changed = copy.deepcopy(original)
    layer = changed.get_submodule("model.layers.1.self_attn")
    monkeypatch.setattr(layer, "_attend", written_out.__get__(layer))
    outputs: list[Tensor] = []
    for one in (original, changed):
        attention_of = one.get_submodule("model.layers.1.self_attn")
        with (
            attention_of.register_forward_hook(lambda _m, _i, out: outputs.append(out)),
            torch.inference_mode(),
        ):
            one(IDS)
    exact, moved = outputs
    assert row.noise == pytest.approx(float(seen["noise"]), rel=1e-4)
    expected = float((moved - exact).square().sum() / exact.square().sum())
    assert row.attention_noise == pytest.approx(expected, rel=1e-3)
    assert row.kld == pytest.approx(plain_divergence(original, changed), rel=2e-3)


def test_latent_rows_are_one_part() -> None:
    family, changes = next(case for case in CASES if case[0] == "deepseek_v2")
    config = case_config(family, {**changes, "kv_lora_rank": 24, "qk_rope_head_dim": 8, "head_dim": 8})
    made, ids = random_model(config).float().eval(), IDS % config.vocab_size
    rows = list(kv_noise(made, ids, FORMS[:1]))
    assert [(row.layer, row.part) for row in rows] == [
        (layer, "latents") for layer in (*range(config.num_hidden_layers), None)
    ]
    assert all(row.kld > 0 and row.noise > 1e-3 for row in rows)
    with pytest.raises(ConfigError, match="keeps latents"):
        list(kv_noise(made, ids, FORMS[1:]))
