"""Of a class with layers of state, a model that has none is read, and any other is refused by name."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.families.hybrid import SharedMlpAlone
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]
FOUND = {"num_hidden_layers": 2, "intermediate_size": 7}
GRANITE: dict[str, Any] = {
    **{"layer_types": ["attention"] * 2, "num_local_experts": 0, "position_embedding_type": "rope"},
    "shared_intermediate_size": 48,
}


def test_the_mlp_is_the_shared_one(keys: MakeKeys) -> None:
    found = SharedMlpAlone().read(keys(**GRANITE), FOUND)
    assert found == {"intermediate_size": 48}
    written = SharedMlpAlone().write({**FOUND, **found})
    assert SharedMlpAlone().read(keys(**written), FOUND) == found


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layer_types", ["mamba", "attention"]),
        ("layer_types", None),
        ("num_local_experts", 64),
        ("num_local_experts", None),
        ("position_embedding_type", "nope"),
    ],
)
def test_layers_of_state_experts_and_no_positions_are_refused_by_the_key(
    key: str, value: Any, keys: MakeKeys
) -> None:
    given = {name: one for name, one in {**GRANITE, key: value}.items() if one is not None}
    with pytest.raises(ConfigError, match=key):
        SharedMlpAlone().read(keys(**given), FOUND)
