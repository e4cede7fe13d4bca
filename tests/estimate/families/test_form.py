"""What a form changes in a decoder of hidden size 8, vocabulary 50 and two layers."""

from typing import Any

import pytest
from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture
from llmkit.estimate.families.form import Form, read_form
from llmkit.estimate.families.sizes import Defaults
from llmkit.model.keys import Keys

FILE = {
    **{"model_type": "llama", "vocab_size": 50, "hidden_size": 8, "intermediate_size": 12},
    **{"num_hidden_layers": 2, "num_attention_heads": 2},
}
PLAIN = Form(defaults=Defaults(max_positions=64))
LAYER = 4 * 8 * 8 + 3 * 8 * 12  # attention and MLP


def read(form: Form = PLAIN, prefix: str = "", **change: Any) -> Architecture:
    return read_form(form, Keys({**FILE, **change}, "config.json"), prefix)


def test_a_plain_form_has_two_norms_a_layer_a_last_norm_and_a_head() -> None:
    found = read()
    assert found.by_part == {
        **{"embeddings": 400, "attention": 2 * 256, "mlp": 2 * 288, "norms": 5 * 8, "head": 400},
    }
    assert found.parameters == 2 * 400 + 2 * LAYER + 40
    assert (found.mlp_width, found.max_position_embeddings, len(found.caches)) == (12, 64, 2)


@pytest.mark.parametrize(
    ("form", "change", "norms"),
    [
        (replace(PLAIN, norms=()), {}, 8),
        (replace(PLAIN, norms=(), last_norm=None), {}, 0),  # OLMo
        (replace(PLAIN, norm_bias=True), {}, 80),
        (replace(PLAIN, no_second_norm="parallel"), {}, 40),
        (replace(PLAIN, no_second_norm="parallel"), {"parallel": True}, 24),  # StableLM
        (replace(PLAIN, norms=("a", "b", "c", "d")), {}, 72),  # Gemma 2
    ],
)
def test_a_form_has_the_norms_that_it_names(form: Form, change: dict[str, Any], norms: int) -> None:
    assert read(form, **change).by_part.get("norms", 0) == norms


def test_a_tied_head_is_no_tensor_and_its_bias_is_one() -> None:
    tied = replace(PLAIN, defaults=Defaults(max_positions=64, tied=True), head_bias=True)
    assert read(tied).by_part["head"] == 50
    assert read(tied).tied_head
    assert read(tied, tie_word_embeddings=False).by_part["head"] == 400 + 50


def test_a_prefix_stands_before_every_name() -> None:
    names = {tensor.name for tensor in read(prefix="language_model.").tensors}
    assert {name.removeprefix("language_model.") for name in names} == {t.name for t in read().tensors}
    assert "language_model.model.layers.1.post_attention_layernorm.weight" in names
    assert "language_model.lm_head.weight" in names


def test_keys_that_a_form_has_without_using_them_are_understood() -> None:
    named, unnamed = (Keys({**FILE, "qk_norm_kind": "l2"}, "config.json") for _ in range(2))
    read_form(replace(PLAIN, other_keys=("qk_norm_kind",)), named, "")
    named.refuse_unknown("llama")
    read_form(PLAIN, unnamed, "")
    with pytest.raises(ConfigError, match="qk_norm_kind"):
        unnamed.refuse_unknown("llama")
