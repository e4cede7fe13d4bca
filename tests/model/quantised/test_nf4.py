"""NF4 against bitsandbytes, bit for bit."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from llmkit.formats.quantised.bnb_4bit import NF4
from llmkit.model.quantised.nf4 import nf4


@pytest.fixture(scope="module")
def bitsandbytes() -> ModuleType:
    return pytest.importorskip("bitsandbytes.functional")


def _weight(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(64, 128), (7, 192), (3, 96), (5, 34)])
def test_codes_and_steps_are_those_of_bitsandbytes(
    shape: tuple[int, int], dtype: torch.dtype, bitsandbytes: ModuleType
) -> None:
    weight = _weight(*shape, dtype=dtype)
    codes, state = bitsandbytes.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    ours = nf4(weight)
    assert torch.equal(ours.tensors["codes"], codes.view(-1))
    assert torch.equal(ours.tensors["steps"], state.absmax)
    if shape[1] % 64 == 0:  # bitsandbytes 0.50 on a CPU misreads steps where blocks run over ends of rows
        for kind in (torch.float32, torch.bfloat16):
            state.dtype = kind
            assert torch.equal(ours.dense(ours.tensors, kind), bitsandbytes.dequantize_4bit(codes, state))


def test_blocks_run_on_over_the_ends_of_rows() -> None:
    """Number by number, as the layout is told: code n of the matrix belongs to step n // 64."""
    weight = _weight(3, 96)
    ours = nf4(weight)
    codes, steps = ours.tensors["codes"].tolist(), ours.tensors["steps"].tolist()
    expected = [
        float(NF4[codes[n // 2] >> 4 if n % 2 == 0 else codes[n // 2] & 15]) * steps[n // 64]
        for n in range(3 * 96)
    ]
    torch.testing.assert_close(ours.dense(ours.tensors, torch.float32).flatten(), torch.tensor(expected))
    assert (ours.dense(ours.tensors, torch.float32) - weight).abs().max() < 0.16 * max(steps)


def test_a_block_of_zeros_stays_zeros() -> None:
    ours = nf4(torch.zeros(2, 64))
    assert torch.equal(ours.dense(ours.tensors, torch.float32), torch.zeros(2, 64))


def test_numbers_that_are_codes_already_come_back_exactly() -> None:
    weight = torch.from_numpy(NF4.copy()).repeat(8).view(2, 64) * 0.5
    ours = nf4(weight)
    assert torch.equal(ours.dense(ours.tensors, torch.float32), weight)
    first = [int(one) for one in ours.tensors["codes"][:8]]
    assert first == [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF]  # the first of two in the high half
