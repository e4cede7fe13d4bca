"""Names of ways to store weights: every listed one works, others of its family too, typos are told."""

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.read_architecture import read_architecture
from llmkit.estimate.scheme_names import SCHEMES, parse_scheme
from llmkit.estimate.weight_bytes import WeightBytes, weight_bytes

LLAMA_3_8B = read_architecture(
    {
        **{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14_336, "vocab_size": 128_256},
        **{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8},
        **{"tie_word_embeddings": False, "dtype": "bfloat16"},
    }
)


def size(name: str) -> WeightBytes:
    """The weights of Llama 3 8B."""
    return weight_bytes(LLAMA_3_8B, parse_scheme(name))


@pytest.mark.parametrize("name", SCHEMES)
def test_every_listed_scheme_is_understood_and_keeps_its_name(name: str) -> None:
    assert parse_scheme(name).name == name
    found = size(name)
    assert sum(found.by_part.values()) == sum(found.formats.values()) == found.nbytes
    assert list(found.formats.values()) == sorted(found.formats.values(), reverse=True)


@pytest.mark.parametrize(
    ("text", "name"),
    [(" Q4_K_M ", "q4_k_m"), ("Q4_K", "q4_k_m"), ("q5_k", "q5_k_m"), ("W4A16-G128", "w4a16-g128")],
)
def test_names_are_read_in_capitals_and_short(text: str, name: str) -> None:
    assert size(text) == size(name)


@pytest.mark.parametrize(
    "name", ["gptq-3bit-g64", "w2a16-asym-g32", "w6a16-g128", "awq-4bit-g64", "mlx-6bit-g128"]
)
def test_other_bits_and_groups_of_a_family_are_understood(name: str) -> None:
    assert size(name).nbytes < size("int8").nbytes


def test_an_importance_matrix_changes_the_types_that_llama_quantize_guards() -> None:
    # without one, down projections of the first 4 of 32 layers are Q5_K: 5.5 bits a number and not 4.25
    saved = size("iq4_xs").nbytes - size("iq4_xs-imatrix").nbytes
    assert saved == 4 * 4096 * 14336 * (5.5 - 4.25) / 8
    assert size("q4_k_m-imatrix").nbytes == size("q4_k_m").nbytes


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("q4_k_n", "did you mean q4_k_"),
        ("gptq-4bit-128", "did you mean gptq-4bit-g128?"),
        ("w9a16", "did you mean w8a16?"),
        ("gptq-5bit-g128", "did you mean gptq-"),
        ("w4a16-g0", "did you mean w4a16-g128?"),
        ("zzz", "one of float32, bfloat16"),
    ],
)
def test_an_unknown_name_is_an_error_that_names_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="no way to store weights") as raised:
        parse_scheme(text)
    assert hint in raised.value.hint
    assert text in raised.value.problem
