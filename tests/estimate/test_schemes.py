"""Which tensors take a scheme's format, and which stay in 16 bits."""

import re

import pytest
from msgspec.structs import replace

from llmkit.estimate.matrix_formats import Mlx, Packed
from llmkit.estimate.read_architecture import read_architecture
from llmkit.estimate.schemes import GgufFile, Quantised, Rule, Scope
from llmkit.estimate.stored import Scheme

SIZES = {
    **{"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 4, "vocab_size": 1000, "tie_word_embeddings": False},
}
MIXTRAL = read_architecture(
    {**SIZES, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2, "dtype": "bfloat16"}
)
W4 = Packed(4, 128)


def parts_in(scheme: Scheme, name: str, model_type: str = "mixtral") -> set[str]:
    """Parts of the model with bytes of one format."""
    return {s.part for s in scheme.stored(replace(MIXTRAL, model_type=model_type)) if s.format == name}


@pytest.mark.parametrize(
    ("scope", "parts"),
    [
        ("experts", {"experts"}),
        ("layers", {"experts", "attention"}),
        ("linears", {"experts", "attention", "router", "head"}),
        ("mlx", {"experts", "attention", "router", "head", "embeddings"}),
    ],
)
def test_a_scope_is_these_parts(scope: Scope, parts: set[str]) -> None:
    scheme = Quantised(name="x", format=W4, scope=scope)
    assert parts_in(scheme, "int4") == parts
    assert parts_in(scheme, "bfloat16") == {*MIXTRAL.by_part} - parts


def test_the_head_may_be_in_scope_of_layers() -> None:
    assert "head" in parts_in(Quantised(name="x", format=W4, head=True), "int4")


def test_the_first_rule_that_matches_decides_and_out_of_scope_nothing_does() -> None:
    rules = (
        Rule(re.compile(r".*layers\.0\..*"), None),
        Rule(re.compile(r".*self_attn.*"), Packed(8, None)),
        Rule(re.compile("lm_head"), Packed(8, None)),
    )
    scheme = Quantised(name="x", format=W4, rules=rules)
    assert parts_in(scheme, "int8") == {"attention"}
    attention = [s for s in scheme.stored(MIXTRAL) if s.part == "attention" and s.format != "index"]
    assert sum(s.nbytes for s in attention if s.format == "int8") == 4 * 256 * 256  # of layer 1
    assert sum(s.nbytes for s in attention if s.format == "bfloat16") == 2 * 4 * 256 * 256


@pytest.mark.parametrize(
    ("model_type", "formats"),
    [("mixtral", {"int4"}), ("qwen3_moe", {"int8"}), ("gpt_oss", {"int8"}), ("deepseek_v3", {"bfloat16"})],
)
def test_mlx_stores_the_router_as_its_class_for_the_family_does(model_type: str, formats: set[str]) -> None:
    scheme = Quantised(name="x", format=Mlx(4, 64), scope="mlx")
    found = scheme.stored(replace(MIXTRAL, model_type=model_type))
    assert {s.format for s in found if s.part == "router"} - {"scales", "zeros"} == formats


@pytest.mark.parametrize(
    ("dtype", "kept"), [("float16", "float16"), ("bfloat16", "bfloat16"), ("float32", "bfloat16")]
)
def test_what_is_kept_is_in_16_bits(dtype: str, kept: str) -> None:
    stored = Quantised(name="x", format=W4).stored(replace(MIXTRAL, dtype=dtype))
    norms = [s for s in stored if s.part == "norms"]
    assert {s.format for s in norms} == {kept}
    assert sum(s.nbytes for s in norms) == 2 * 5 * 256


def test_a_gguf_file_has_the_parts_of_the_model() -> None:
    stored = list(GgufFile("q4_k_m", "Q4_K_M").stored(MIXTRAL))
    assert {s.part for s in stored} == set(MIXTRAL.by_part)
    assert {s.format for s in stored if s.part in ("norms", "router")} == {"F32"}
