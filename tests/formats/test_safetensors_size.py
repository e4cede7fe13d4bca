"""The size told is that of the file the library writes."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from llmkit.formats.safetensors_size import TensorShape, safetensors_nbytes

WORDS = {
    **{torch.bfloat16: "BF16", torch.float32: "F32", torch.float16: "F16", torch.int32: "I32"},
    **{torch.uint32: "U32", torch.int64: "I64", torch.uint8: "U8", torch.float8_e4m3fn: "F8_E4M3"},
    torch.int8: "I8",
}


def test_a_file_of_several_dtypes_is_counted_to_the_byte(tmp_path: Path) -> None:
    # 90 bytes of each dtype's numbers or so: another order would give places of other lengths in the header
    tensors = {f"tensor.{place}": torch.zeros(1 + 40 * place, dtype=one) for place, one in enumerate(WORDS)}
    tensors |= {"scalar": torch.zeros(()), "empty": torch.zeros(0, 3), "matrix": torch.zeros(3, 5)}
    save_file(tensors, tmp_path / "a", metadata={"format": "pt"})
    told = [TensorShape(name, WORDS[one.dtype], tuple(one.shape)) for name, one in tensors.items()]
    assert safetensors_nbytes(told) == (tmp_path / "a").stat().st_size


def test_every_order_of_dtypes_of_one_width_is_the_librarys(tmp_path: Path) -> None:
    for number, (first, second) in enumerate(
        ((torch.int32, torch.uint32), (torch.bfloat16, torch.float16), (torch.int8, torch.float8_e4m3fn))
    ):
        tensors = {"a": torch.zeros(3, dtype=first), "b": torch.zeros(99999, dtype=second)}
        path = tmp_path / str(number)
        save_file(tensors, path, metadata={"format": "pt"})
        told = [TensorShape(name, WORDS[one.dtype], tuple(one.shape)) for name, one in tensors.items()]
        assert safetensors_nbytes(told) == path.stat().st_size
