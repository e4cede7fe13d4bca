"""Mamba-2's layer, against its formula."""

from dataclasses import replace

import torch
from torch.nn import functional as F

from llmkit.model.recurrent.mamba2 import GroupedNorm, Mamba2
from tests.model.recurrent.conftest import MAMBA, hybrid


def made(**changes: object) -> Mamba2:
    torch.manual_seed(0)
    layer = Mamba2(hybrid("granitemoehybrid").config, replace(MAMBA, **changes))  # type: ignore[arg-type]
    for parameter in (layer.D, layer.dt_bias, layer.norm.weight):
        torch.nn.init.normal_(parameter)
    return layer.double()


@torch.no_grad()
def test_the_first_position_is_what_the_formula_says() -> None:
    layer, x = made(bias=True), torch.randn(1, 1, 32, dtype=torch.float64)
    gate, convolved, dt = F.linear(x, layer.in_proj.weight, layer.in_proj.bias)[0, 0].split((64, 88, 4))
    assert layer.conv1d.bias is not None
    value, k, q = F.silu(convolved * layer.conv1d.weight[:, 0, -1] + layer.conv1d.bias).split((64, 12, 12))
    step = F.softplus(dt + layer.dt_bias)
    heads = []
    for head in range(4):  # two for each group
        one, key = value[head * 16 : head * 16 + 16], slice(head // 2 * 6, head // 2 * 6 + 6)
        heads.append(one * (step[head] * (k[key] @ q[key]) + layer.D[head]))
    y = (torch.cat(heads) * gate * gate.sigmoid()).unflatten(0, (2, 32))
    y = (y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt()).flatten() * layer.norm.weight
    read, (last, state) = layer.read(layer.inputs(x), None, None)
    torch.testing.assert_close(read[0, 0], y)
    torch.testing.assert_close(last[0, -1], convolved)
    assert state.shape == (1, 4, 6, 16) and not last[0, :-1].any()


@torch.no_grad()
def test_steps_end_at_their_limits_in_a_prompt_and_after_it() -> None:
    layer, limited = made(), made(step_limits=(0.4, 0.5))
    layer.dt_bias.fill_(0.0)
    limited.dt_bias.fill_(0.0)
    x = torch.randn(1, 5, 32, dtype=torch.float64)
    inputs = limited.inputs(x)
    steps = F.softplus(inputs[2]).clamp(0.4, 0.5)
    as_asked = (*inputs[:2], torch.log(torch.expm1(steps)))  # whose softplus is within
    read, after = limited.read(inputs, None, None)
    torch.testing.assert_close(read, layer.read(as_asked, None, None)[0])
    first, before = limited.read([one[:, :4] for one in inputs], None, None)
    second, last = limited.read([one[:, 4:] for one in inputs], before, None)
    torch.testing.assert_close(torch.cat((first, second), 1), read)
    torch.testing.assert_close(last, after)


def test_the_gate_comes_before_the_norm_which_is_of_a_group() -> None:
    norm, x, gate = GroupedNorm(6, 2, 1e-6), torch.randn(3, 6), torch.randn(3, 6)
    gated = (x * gate * gate.sigmoid()).unflatten(-1, (2, 3))
    unit = gated / (gated.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(norm(x, gate), unit.flatten(-2))
    assert norm(x.bfloat16(), gate.bfloat16()).dtype == torch.bfloat16
