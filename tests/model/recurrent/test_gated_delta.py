"""The two ways in which files keep the inputs of the delta rule."""

from dataclasses import replace

import torch

from llmkit.model.recurrent.gated_delta import GatedDelta, GatedNorm
from tests.model.recurrent.conftest import DELTA, hybrid


@torch.no_grad()
def test_inputs_by_head_give_what_inputs_apart_give() -> None:
    config = hybrid("qwen3_5_text").config
    apart, joined = GatedDelta(config, DELTA), GatedDelta(config, replace(DELTA, inputs_by_head=True))
    q, k, v = apart.in_proj_qkv.weight.split([12, 12, 20])
    rows = []
    for head in range(2):  # a key head's query, key, two values and their gates
        rows += [q[head * 6 : head * 6 + 6], k[head * 6 : head * 6 + 6]]
        rows += [one[head * 10 : head * 10 + 10] for one in (v, apart.in_proj_z.weight)]
    joined.in_proj_qkvz.weight.copy_(torch.cat(rows))
    rates = [
        one.weight[head * 2 : head * 2 + 2] for head in range(2) for one in (apart.in_proj_b, apart.in_proj_a)
    ]
    joined.in_proj_ba.weight.copy_(torch.cat(rates))
    missing = joined.load_state_dict(
        {name: one for name, one in apart.state_dict().items() if not name.startswith("in_proj")},
        strict=False,
    )
    assert missing.missing_keys == ["in_proj_qkvz.weight", "in_proj_ba.weight"]
    x = torch.randn(2, 9, 32)
    one, other = (layer.read(layer.inputs(x), None, None) for layer in (joined, apart))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_the_norm_is_of_a_head_and_its_gate_comes_after() -> None:
    norm, x, gate = GatedNorm(5, 1e-6), torch.randn(3, 5), torch.randn(3, 5)
    unit = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(norm(x, gate), unit * gate * gate.sigmoid())
    assert norm(x.bfloat16(), gate.bfloat16()).dtype == torch.bfloat16
