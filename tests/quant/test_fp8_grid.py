"""float8 rows, against torch's own rounding to float8."""

import torch

from llmkit.formats.bytewise import E4M3_BYTES
from llmkit.quant.fp8_grid import Fp8Grid


def test_rows_are_rounded_as_torch_rounds_and_no_worse_than_the_plain_scale() -> None:
    weight = torch.randn(16, 384, generator=torch.Generator().manual_seed(0))
    fitted = Fp8Grid(torch.float32).fit(weight)
    scale = fitted.stored["scale"]
    assert scale.shape == (16, 1) and (scale > 0).all()
    codes = fitted.lattice.round(weight)
    bytes_ = torch.from_numpy(E4M3_BYTES)[codes.int()]
    values = bytes_.view(torch.float8_e4m3fn).float() * scale
    assert torch.equal(values, fitted.lattice.values(codes))
    theirs = (weight / scale).clamp(-448, 448).to(torch.float8_e4m3fn).float() * scale
    assert (values - weight).abs().sum() <= (theirs - weight).abs().sum() * (1 + 1e-6)
    plain = weight.abs().amax(1, keepdim=True) / 448
    naive = (weight / plain).to(torch.float8_e4m3fn).float() * plain
    assert (values - weight).square().sum() <= (naive - weight).square().sum()


def test_a_row_of_zeros_stays_zero() -> None:
    weight = torch.zeros(2, 64)
    weight[1] = 1.5
    lattice = Fp8Grid().fit(weight).lattice
    values = lattice.values(lattice.round(weight))
    assert (values[0] == 0).all() and (values[1] - 1.5).abs().max() < 0.006
