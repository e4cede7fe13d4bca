"""LFM2's layer, against its formula."""

import torch
from torch.nn import functional as F

from llmkit.model.config_states import ShortConvConfig
from llmkit.model.recurrent.short_conv import ShortConv
from tests.model.recurrent.conftest import hybrid


@torch.no_grad()
def test_the_middle_product_is_the_gate_of_what_was_convolved() -> None:
    torch.manual_seed(0)
    layer = ShortConv(hybrid("lfm2").config, ShortConvConfig(layers=(0,), kernel=3, bias=True))
    x = torch.randn(1, 7, 32)
    b, c, value = F.linear(x, layer.in_proj.weight, layer.in_proj.bias).split(32, dim=-1)
    conv = F.conv1d((b * value).transpose(1, 2), layer.conv.weight, layer.conv.bias, padding=2, groups=32)
    expected = c * conv[..., :7].transpose(1, 2)
    read, (last,) = layer.read(layer.inputs(x), None, None)
    torch.testing.assert_close(read, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(last, (b * value)[:, -2:])
