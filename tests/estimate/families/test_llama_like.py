"""What tells one family from another: each against its neighbour, with the same sizes."""

from typing import Any

import pytest

from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.form import read_form
from llmkit.estimate.families.llama_like import FORMS
from llmkit.model.keys import Keys

FILE = {
    **{"vocab_size": 50, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 4},
    **{"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4},
}


def read(family: str, **change: Any) -> Architecture:
    return read_form(FORMS[family], Keys({**FILE, **change}, "config.json"), "")


def more_than_llama(family: str, **change: Any) -> int:
    """Parameters that a family has beyond Llama's, heads and embeddings apart."""
    plain, found = read("llama"), read(family, **change)
    apart = [a.parameters - a.by_part["embeddings"] - a.by_part.get("head", 0) for a in (found, plain)]
    return apart[0] - apart[1]


@pytest.mark.parametrize(
    ("family", "change", "more"),
    [
        ("mistral", {}, 0),
        ("granite", {}, 0),
        ("smollm3", {}, 0),
        ("phi3", {}, 0),  # fused matrices hold the same numbers
        ("qwen2", {}, 4 * (8 + 4 + 4)),  # biases of q, k, v
        ("qwen3", {}, 4 * (4 + 4)),  # a norm of head_dim for q and k
        ("llama", {"attention_bias": True}, 4 * (8 + 4 + 4 + 8)),
        ("olmo", {}, -9 * 8),  # norms without weights
        ("olmo2", {}, 4 * (8 + 4)),  # a norm of the whole width of q and of k
        ("gemma2", {}, 4 * 2 * 8),  # four norms a layer in place of two
        ("gemma3_text", {}, 4 * (2 * 8 + 4 + 4)),
        ("cohere", {}, -4 * 8),  # one norm a layer
        ("starcoder2", {"use_bias": False}, 9 * 8 - 4 * 8 * 12),  # LayerNorms have biases; no gate matrix
        ("stablelm", {"use_parallel_residual": True}, 9 * 8 - 4 * 2 * 8),
    ],
)
def test_a_family_has_so_many_parameters_more_than_llama(
    family: str, change: dict[str, Any], more: int
) -> None:
    assert more_than_llama(family, **change) == more


def test_families_that_tie_their_head_unless_told_otherwise() -> None:
    tied = [name for name, form in FORMS.items() if form.defaults.tied]
    assert tied == [
        "gemma",
        "gemma2",
        "gemma3_text",
        "smollm3",
        "cohere",
        "cohere2",
        "starcoder2",
        "ernie4_5",
    ]
    assert "head" not in read("gemma").by_part
    assert read("gemma", tie_word_embeddings=False).by_part["head"] == 400


@pytest.mark.parametrize(
    ("family", "kinds"),
    [
        ("llama", "ffff"),
        ("mistral", "ssss"),
        ("qwen2", "ffff"),
        ("gemma2", "sfsf"),
        ("gemma3_text", "ssss"),  # the sixth would be full
        ("cohere2", "sssf"),
        ("olmo3", "sssf"),
        ("starcoder2", "ffff"),
    ],
)
def test_a_family_has_its_own_windows(family: str, kinds: str) -> None:
    assert "".join(cache.kind[0] for cache in read(family).caches) == kinds


def test_phi_has_biases_on_everything_even_on_its_head() -> None:
    found = read("phi")
    layer = 8 + 4 + 4 + 8 + 12 + 8  # q, k, v, output, up, down
    assert sum(t.numel for t in found.tensors if t.module == "bias") == 4 * layer + 50
    assert found.by_part["norms"] == (4 + 1) * 2 * 8  # one a layer, and the last, each with its bias


def test_tinyllama_has_its_published_parameters() -> None:
    sizes = {"vocab_size": 32_000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22}
    found = read("llama", **sizes, num_attention_heads=32, num_key_value_heads=4, head_dim=None)
    assert found.parameters == 1_100_048_384
