"""Experts in a range of layers, read as they are written."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.families.ranges import ErnieExperts, Lfm2Experts
from llmkit.model.keys import Keys

MakeKeys = Callable[..., Keys]
FOUND: dict[str, Any] = {"num_hidden_layers": 5, "model_type": "there"}


def test_lfm2s_first_layers_are_dense(keys: MakeKeys) -> None:
    experts = Lfm2Experts().read(keys(num_experts=8, num_dense_layers=1, use_expert_bias=False), FOUND)[
        "experts"
    ]
    assert (experts.layers, experts.scoring, experts.selection_bias) == ((1, 2, 3, 4), "sigmoid", False)
    assert (experts.num_experts_per_tok, experts.intermediate_size) == (4, 1792)
    written = Lfm2Experts().write({**FOUND, "experts": experts})
    assert Lfm2Experts().read(keys(**written), FOUND) == {"experts": experts}


def test_ernies_layers_have_a_step_and_an_end(keys: MakeKeys) -> None:
    given = {"moe_layer_start_index": 1, "moe_layer_end_index": 3, "moe_layer_interval": 2}
    experts = ErnieExperts().read(keys(**given), FOUND)["experts"]
    assert experts.layers == (1, 3)
    written = ErnieExperts().write({**FOUND, "experts": experts})
    assert ErnieExperts().read(keys(**written), FOUND) == {"experts": experts}


def test_a_model_without_experts_is_not_written() -> None:
    with pytest.raises(ConfigError, match="experts"):
        Lfm2Experts().write({**FOUND, "experts": None})
