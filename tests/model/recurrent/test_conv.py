"""The causal convolution, against PyTorch's own."""

import torch
from torch.nn import functional as F

from llmkit.model.recurrent.conv import CausalConv


def made(*, bias: bool = True) -> CausalConv:
    torch.manual_seed(0)
    conv = CausalConv(6, 4, bias=bias)
    if conv.bias is not None:
        torch.nn.init.normal_(conv.bias)
    return conv


@torch.no_grad()
def test_it_is_pytorchs_convolution_of_each_channel() -> None:
    x = torch.randn(2, 9, 6)
    for conv in (made(), made(bias=False)):
        expected = F.conv1d(x.transpose(1, 2), conv.weight, conv.bias, padding=3, groups=6)[..., :9]
        torch.testing.assert_close(conv(x)[0], expected.transpose(1, 2), rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_parts_of_any_length_give_what_the_whole_gives() -> None:
    conv, x = made(), torch.randn(2, 11, 6)
    parts, last = [], None
    for part in x.split([1, 2, 5, 1, 1, 1], dim=1):
        y, last = conv(part, last)
        parts.append(y)
    whole, end = conv(x)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-6, atol=1e-6)
    assert last is not None and torch.equal(last, end) and torch.equal(end, x[:, -3:])


@torch.no_grad()
def test_a_document_sees_nothing_of_the_one_before() -> None:
    conv, x = made(), torch.randn(1, 9, 6)
    segments = torch.tensor([[0, 0, 0, 1, 2, 2, 2, 2, 2]])
    alone = [conv(part)[0] for part in x.split([3, 1, 5], dim=1)]
    torch.testing.assert_close(conv(x, None, segments)[0], torch.cat(alone, 1), rtol=1e-6, atol=1e-6)
