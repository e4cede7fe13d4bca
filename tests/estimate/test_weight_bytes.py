"""Weights by format: rows of the reference, sizes of published files, sums worked out by hand."""

import math
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture, TensorSpec
from llmkit.estimate.read_architecture import read_architecture
from llmkit.estimate.scheme_names import parse_scheme
from llmkit.estimate.weight_bytes import WeightBytes, weight_bytes

LINEARS = 6_979_321_856  # of Llama-3-8B's layers
REST = 8_030_261_248 - LINEARS
MATRICES = 32 * 7


def llama(*, layers: int, width: int, mlp: int, kv_width: int, vocab: int, heads: int) -> Architecture:
    """A Llama by hand, tensor by tensor."""

    def tensor(
        name: str, shape: tuple[int, ...], part: Any, module: str, layer: int | None = None
    ) -> TensorSpec:
        linear = len(shape) == 2 and part != "embeddings"
        return TensorSpec(name=name, shape=shape, part=part, module=module, linear=linear, layer=layer)

    shapes = {
        **{"self_attn.q_proj": (width, width), "self_attn.k_proj": (kv_width, width)},
        **{"self_attn.v_proj": (kv_width, width), "self_attn.o_proj": (width, width)},
        **{"mlp.gate_proj": (mlp, width), "mlp.up_proj": (mlp, width), "mlp.down_proj": (width, mlp)},
    }
    tensors = [tensor("model.embed_tokens.weight", (vocab, width), "embeddings", "embed_tokens")]
    for layer in range(layers):
        for name, shape in shapes.items():
            part, _, module = name.partition(".")
            part = "attention" if part == "self_attn" else part
            tensors.append(tensor(f"model.layers.{layer}.{name}.weight", shape, part, module, layer))
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors.append(tensor(f"model.layers.{layer}.{name}.weight", (width,), "norms", "norm", layer))
    tensors.append(tensor("model.norm.weight", (width,), "norms", "norm"))
    tensors.append(tensor("lm_head.weight", (vocab, width), "head", "lm_head"))
    return Architecture(
        model_type="llama",
        hidden_size=width,
        vocab_size=vocab,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads * kv_width // width,
        head_dim=width // heads,
        max_position_embeddings=8192,
        tied_head=False,
        dtype="bfloat16",
        tensors=tuple(tensors),
        caches=(),
        mlp_width=mlp,
    )


LLAMA_3_8B = llama(layers=32, width=4096, mlp=14336, kv_width=1024, vocab=128_256, heads=32)
LLAMA_2_7B = llama(layers=32, width=4096, mlp=11008, kv_width=4096, vocab=32_000, heads=32)


def size(architecture: Architecture, name: str) -> WeightBytes:
    return weight_bytes(architecture, parse_scheme(name))


@pytest.mark.parametrize(
    ("name", "nbytes", "bits"),
    [
        ("F16", 16_061_054_976, 16.0005),
        ("Q8_0", 8_532_934_656, 8.5008),
        ("Q6_K", 6_588_170_240, 6.5633),
        ("Q5_K_M", 5_725_151_232, 5.7036),
        ("Q5_K_S", 5_591_457_792, 5.5704),
        ("Q4_K_M", 4_912_898_048, 4.8944),
        ("Q4_K_S", 4_684_832_768, 4.6672),
        ("IQ4_XS", 4_476_526_592, 4.4597),
        ("Q3_K_L", 4_314_120_192, 4.2979),
        ("Q3_K_S", 3_656_663_040, 3.6429),
        ("Q2_K", 3_171_295_232, 3.1593),
    ],
)
def test_gguf_files_of_llama_3_8b_take_the_bytes_of_the_reference(
    name: str, nbytes: int, bits: float
) -> None:
    found = size(LLAMA_3_8B, name)
    assert found.nbytes == nbytes == sum(found.formats.values()) == sum(found.by_part.values())
    assert round(found.bits_per_weight, 4) == bits
    assert found.formats["F32"] == 4 * 65 * 4096  # the norms


@pytest.mark.parametrize(
    ("name", "file_bytes"),
    [
        ("q3_k_s", 2_948_304_576),
        ("q3_k_m", 3_298_004_672),
        ("q3_k_l", 3_597_110_976),
        ("q4_0", 3_825_807_040),
        ("q4_k_s", 3_856_740_032),
        ("q4_k_m", 4_081_004_224),
        ("q5_k_s", 4_651_691_712),
        ("q5_k_m", 4_783_156_928),
        ("q6_k", 5_529_194_176),
        ("q8_0", 7_161_089_728),
    ],
)
def test_published_files_of_llama_2_7b_are_these_tensors_and_one_header(name: str, file_bytes: int) -> None:
    """TheBloke/Llama-2-7B-GGUF, August 2023: all with the same tokenizer, so with headers of one length."""
    assert file_bytes - size(LLAMA_2_7B, name).nbytes == 741_056


@pytest.mark.parametrize(
    ("name", "linears"),
    [
        ("w4a16-g128", 3_598_712_832),
        ("w4a16-asym-g128", 3_625_975_808),
        ("gptq-4bit-g128", 3_625_975_808),
        ("w8a16", 6_982_074_368),
        ("w3a16-g32", 3_053_453_312),
    ],
)
def test_matrices_of_llama_3_8b_take_the_bytes_of_the_reference(name: str, linears: int) -> None:
    found = size(LLAMA_3_8B, name)
    assert found.nbytes - found.formats["index"] == linears + 2 * REST
    assert found.formats["bfloat16"] == 2 * REST


def test_w4a16_and_the_rest_take_the_bytes_of_the_reference() -> None:
    found = size(LLAMA_3_8B, "w4a16-g128")
    assert found.nbytes - 16 * MATRICES == 5_700_591_616  # a weight_shape of two int64 beside each matrix


def test_mlx_quantises_embeddings_and_head_as_well() -> None:
    found = size(LLAMA_3_8B, "mlx-4bit-g64")
    assert found.by_part["attention"] + found.by_part["mlp"] == 3_925_868_544
    norms = 65 * 4096
    assert found.nbytes == (8_030_261_248 - norms) * 9 // 16 + 2 * norms
    assert found.formats == {
        "int4": (8_030_261_248 - norms) // 2,
        "scales": (8_030_261_248 - norms) // 32,
        "zeros": (8_030_261_248 - norms) // 32,
        "bfloat16": 2 * norms,
    }


def test_gptq_keeps_the_group_of_every_input() -> None:
    # six matrices of 4096 inputs and one of 14336 in each layer, an int32 for each input
    assert size(LLAMA_3_8B, "gptq-4bit-g128").formats["index"] == 4 * 32 * (6 * 4096 + 14336)


def test_awq_takes_what_asymmetric_groups_take() -> None:
    assert size(LLAMA_3_8B, "awq-4bit-g128").nbytes == 3_625_975_808 + 2 * REST


def test_double_quantisation_takes_4127_thousandths_of_a_bit_more_than_none() -> None:
    double, plain = size(LLAMA_3_8B, "nf4"), size(LLAMA_3_8B, "nf4-plain")
    assert 8 * (double.formats["nf4"] + double.formats["scales"]) / LINEARS == pytest.approx(4.127, abs=5e-4)
    assert 8 * (plain.formats["nf4"] + plain.formats["scales"]) / LINEARS == 4.5
    assert double.formats["index"] == MATRICES * 4 * (16 + 256)


def test_fp8_blocks_have_a_float32_for_128_by_128_numbers() -> None:
    found = size(LLAMA_3_8B, "fp8-block128")
    assert found.formats["fp8"] == LINEARS
    assert found.formats["scales"] == 4 * LINEARS // 128**2


def test_bnb_int8_has_a_float32_for_each_row() -> None:
    rows = 32 * (4096 + 1024 + 1024 + 4096 + 14336 + 14336 + 4096)
    assert size(LLAMA_3_8B, "bnb-int8").nbytes == LINEARS + 4 * rows + MATRICES + 2 * REST


def test_gpt_oss_20b_in_mxfp4_is_as_large_as_its_published_index_says() -> None:
    config = {
        **{"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "head_dim": 64},
        **{"num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8},
        **{"num_local_experts": 32, "num_experts_per_tok": 4, "vocab_size": 201_088},
        **{"attention_bias": True, "tie_word_embeddings": False, "sliding_window": 128},
        **{"layer_types": ["sliding_attention", "full_attention"] * 12, "max_position_embeddings": 131_072},
    }
    # openai/gpt-oss-20b, model.safetensors.index.json: metadata.total_size
    assert size(read_architecture(config), "mxfp4").nbytes == 13_761_264_768


@pytest.mark.parametrize(
    ("name", "bits"),
    [("float32", 32), ("bfloat16", 16), ("float16", 16), ("fp8", 8), ("int8", 8), ("int4", 4)],
)
def test_a_dtype_is_the_numbers_alone(name: str, bits: int) -> None:
    found = size(LLAMA_3_8B, name)
    assert found.nbytes == 8_030_261_248 * bits // 8
    assert found.bits_per_weight == bits
    assert found.formats == {name: found.nbytes}


def test_half_a_byte_is_rounded_up() -> None:
    odd = llama(layers=1, width=2, mlp=1, kv_width=2, vocab=1, heads=1)
    assert odd.parameters == 4 * 4 + 3 * 2 + 2 * 2 + 3 * 2
    assert size(odd, "int4").nbytes == odd.parameters // 2
    odder = llama(layers=1, width=1, mlp=1, kv_width=1, vocab=1, heads=1)
    assert size(odder, "int4").nbytes == math.ceil(odder.parameters / 2)


def test_a_matrix_that_does_not_fit_is_named() -> None:
    odd = llama(layers=1, width=72, mlp=100, kv_width=72, vocab=10, heads=1)
    with pytest.raises(
        ConfigError, match=r"w4a16-g128: model.layers.0.self_attn.q_proj.weight: groups of 128"
    ):
        size(odd, "w4a16-g128")
    with pytest.raises(ConfigError, match="GPTQ cannot hold"):
        size(odd, "gptq-4bit-g128")
