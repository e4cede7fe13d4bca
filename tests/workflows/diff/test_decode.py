"""Stored values as numbers, against torch's own reading of every dtype."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from llmkit.errors import DataError
from llmkit.formats.model_folder import TensorInfo, read_header
from llmkit.workflows.diff import decode as diff_decode
from llmkit.workflows.diff.decode import TABLES, can_decode, decode, distance, read_bytes, read_codes

DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "F8_E8M0": torch.float8_e8m0fnu},
    **{"I8": torch.int8, "U8": torch.uint8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64},
    **{"BOOL": torch.bool, "C64": torch.complex64, "U16": torch.uint16, "U32": torch.uint32},
}


def stored(path: Path, tensor: torch.Tensor) -> TensorInfo:
    save_file({"t": tensor}, path)
    return read_header(path).tensors["t"]


@pytest.mark.parametrize("word", DTYPES)
def test_every_dtype_is_read_as_torch_reads_it(tmp_path: Path, word: str) -> None:
    random = torch.Generator().manual_seed(1)
    content = torch.randint(0, 256, (300, 16), dtype=torch.uint8, generator=random)
    if word == "BOOL":
        content &= 1
    tensor = content.view(DTYPES[word])
    info = stored(tmp_path / "t.safetensors", tensor)
    assert info.dtype == word and can_decode(word)
    found = np.concatenate([decode(codes, word) for codes in read_codes(info)])
    wanted = tensor.reshape(-1).to(torch.complex128 if word == "C64" else torch.float64).numpy()
    with np.errstate(invalid="ignore"):  # NaN of one width to another
        np.testing.assert_array_equal(found.astype(wanted.dtype), wanted)


@pytest.mark.parametrize(
    ("word", "dtype"),
    [
        ("F8_E4M3", torch.float8_e4m3fn),
        ("F8_E5M2", torch.float8_e5m2),
        ("F8_E8M0", torch.float8_e8m0fnu),
    ],
)
def test_all_256_codes_of_eight_bit_floats_are_torchs(word: str, dtype: torch.dtype) -> None:
    codes = torch.arange(256, dtype=torch.uint8)
    np.testing.assert_array_equal(TABLES[word], codes.view(dtype).to(torch.float64).numpy())


def test_four_bit_floats_are_those_of_the_microscaling_standard_low_half_first(tmp_path: Path) -> None:
    magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert TABLES["F4"].tolist() == magnitudes + [-one for one in magnitudes]
    file = tmp_path / "four"
    file.write_bytes(bytes([0x21, 0xF7]))
    info = TensorInfo("t", "F4", (4,), 2, file)
    (codes,) = read_codes(info)
    assert decode(codes, "F4").tolist() == [0.5, 1.0, 6.0, -6.0]


def test_six_bit_floats_are_not_decoded() -> None:
    assert not can_decode("F6_E2M3") and not can_decode("F6_E3M2")


def test_blocks_join_to_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff_decode, "BLOCK_VALUES", 7)
    tensor = torch.arange(100, dtype=torch.float32)
    info = stored(tmp_path / "t.safetensors", tensor)
    blocks = list(read_codes(info))
    assert len(blocks) == 15
    assert np.concatenate(blocks).view("<f4").tolist() == tensor.tolist()
    assert b"".join(read_bytes(info)) == tensor.numpy().tobytes()


def test_a_file_that_became_shorter_is_bad_data(tmp_path: Path) -> None:
    info = stored(tmp_path / "t.safetensors", torch.zeros(100))
    info.file.write_bytes(info.file.read_bytes()[:-4])
    with pytest.raises(DataError, match="ends within t"):
        list(read_codes(info))
    with pytest.raises(DataError, match="ends within t"):
        list(read_bytes(info))


def test_distances_of_64_bit_integers_are_exact_where_float64_is_not() -> None:
    big = 2**62
    a, b = np.array([big + 1, -big, 5], "<i8"), np.array([big, big, 7], "<i8")
    assert float(big + 1) - float(big) == 0
    assert distance(a, b).tolist() == [1.0, 2.0**63, 2.0]
    unsigned = np.array([2**64 - 1], "<u8")
    assert distance(unsigned, np.array([2**64 - 2], "<u8")).tolist() == [1.0]
    assert distance(unsigned, np.array([0.5])).tolist() == [2.0**64]
