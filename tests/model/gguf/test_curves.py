"""xIELU's numbers as keys of a file: layer by layer both ways, and refused where some are missing."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.formats.gguf.values import Typed
from llmkit.model.gguf.curves import curve_metadata, is_of_curve, read_curves

VALUES = {
    f"model.layers.{layer}.mlp.act_fn.{name}": layer + place / 8
    for layer in range(11)
    for place, name in enumerate(("alpha_p", "alpha_n", "beta", "eps"))
}


def test_every_key_has_the_numbers_of_the_layers_in_their_order() -> None:
    metadata = curve_metadata(VALUES)
    assert metadata["xielu.alpha_n"] == Typed("f32", [layer + 1 / 8 for layer in range(11)])
    assert [*metadata] == ["xielu.alpha_p", "xielu.alpha_n", "xielu.beta", "xielu.eps"]
    plain = {key: value.value for key, value in metadata.items() if isinstance(value, Typed)}
    assert read_curves(plain, 11, "there") == VALUES
    assert curve_metadata({}) == {} and all(map(is_of_curve, VALUES))


@pytest.mark.parametrize("wrong", [None, [0.5], [0.5, "half"], 0.5])
def test_a_key_without_a_number_for_each_layer_is_named(wrong: Any) -> None:
    whole = {f"xielu.{name}": [0.5, 0.25] for name in ("alpha_p", "alpha_n", "beta", "eps")}
    assert len(read_curves(whole, 2, "there")) == 8
    with pytest.raises(ConfigError, match=r"there: xielu\.beta is not a list of 2 numbers"):
        read_curves({**whole, "xielu.beta": wrong}, 2, "there")
