"""ggml's types: the bits a number that llama.cpp prints, and the numbers of its header file."""

import pytest

from llmkit.formats.gguf.types import GGML_TYPES, GGML_TYPES_BY_NUMBER


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        # llama-quantize's own table of bits per weight, and reference A3
        *(("Q8_0", 8.5), ("Q6_K", 6.5625), ("Q5_K", 5.5), ("Q5_1", 6.0), ("Q5_0", 5.5), ("Q4_K", 4.5)),
        *(("IQ4_NL", 4.5), ("IQ4_XS", 4.25), ("Q4_1", 5.0), ("Q4_0", 4.5), ("MXFP4", 4.25), ("Q1_0", 1.125)),
        *(("Q3_K", 3.4375), ("IQ3_S", 3.4375), ("IQ3_XXS", 3.0625), ("IQ2_S", 2.5625), ("Q2_K", 2.625)),
        *(("IQ2_XS", 2.3125), ("IQ2_XXS", 2.0625), ("IQ1_S", 1.5625), ("IQ1_M", 1.75)),
        *(("TQ1_0", 1.6875), ("TQ2_0", 2.0625), ("BF16", 16), ("F16", 16), ("F32", 32), ("NVFP4", 4.5)),
    ],
)
def test_a_number_takes_the_bits_that_llama_cpp_says(name: str, bits: float) -> None:
    kind = GGML_TYPES[name]
    assert 8 * kind.nbytes / kind.values == bits


@pytest.mark.parametrize(
    ("number", "name"),
    [
        # ggml.h's enum ggml_type
        *((0, "F32"), (1, "F16"), (2, "Q4_0"), (3, "Q4_1"), (6, "Q5_0"), (7, "Q5_1"), (8, "Q8_0")),
        *((10, "Q2_K"), (11, "Q3_K"), (12, "Q4_K"), (13, "Q5_K"), (14, "Q6_K"), (16, "IQ2_XXS")),
        *((17, "IQ2_XS"), (18, "IQ3_XXS"), (19, "IQ1_S"), (20, "IQ4_NL"), (21, "IQ3_S"), (22, "IQ2_S")),
        *((23, "IQ4_XS"), (29, "IQ1_M"), (30, "BF16"), (34, "TQ1_0"), (35, "TQ2_0"), (39, "MXFP4")),
        *((40, "NVFP4"), (41, "Q1_0"), (42, "Q2_0")),
    ],
)
def test_a_type_has_the_number_that_files_have(number: int, name: str) -> None:
    assert GGML_TYPES_BY_NUMBER[number].name == name


def test_no_two_types_share_a_name_or_a_number() -> None:
    assert len(GGML_TYPES) == len(GGML_TYPES_BY_NUMBER)


def test_a_row_is_a_whole_number_of_blocks() -> None:
    assert GGML_TYPES["Q4_K"].row_nbytes(4096) == 16 * 144
    assert GGML_TYPES["Q4_K"].row_nbytes(4096 + 32) is None
