"""The table of families against the classes of transformers that it describes."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from llmkit.model.config import ModelConfig
from llmkit.model.families.dense import DENSE
from llmkit.model.families.hybrid import HYBRID
from llmkit.model.families.layer_norm import LAYER_NORM
from llmkit.model.families.sparse import SPARSE
from llmkit.model.families.table import FAMILIES

Minimal = Callable[[str], dict[str, Any]]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_class_named_is_the_one_that_transformers_takes(family: str, transformers: ModuleType) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    assert MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[family] == FAMILIES[family].architecture


@pytest.mark.parametrize("family", FAMILIES)
def test_a_key_that_is_absent_means_what_it_means_to_transformers(
    family: str, transformers: ModuleType, minimal: Minimal
) -> None:
    given = minimal(family)
    theirs = transformers.CONFIG_MAPPING[family](**given).to_dict()
    ours, full = ModelConfig.from_hf(given), ModelConfig.from_hf({"model_type": family, **theirs})
    differ = {
        name: (one, getattr(full, name)) for name, one in vars(ours).items() if one != getattr(full, name)
    }
    differ.pop("initializer_range", None)  # StarCoder2 has another; it is for fresh weights
    assert differ == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_key_of_the_class_is_unknown_here_even_when_it_is_set(
    family: str, transformers: ModuleType, minimal: Minimal
) -> None:
    theirs = transformers.CONFIG_MAPPING[family](**minimal(family)).to_dict()
    off = {
        name: value for name, value in theirs.items() if value is not None and name != "quantization_config"
    }
    ModelConfig.from_hf({"model_type": family, **off})


def test_a_family_is_in_one_table_alone() -> None:
    assert len(FAMILIES) == len(DENSE) + len(LAYER_NORM) + len(SPARSE) + len(HYBRID)
    assert list(FAMILIES) == [*DENSE, *LAYER_NORM, *SPARSE, *HYBRID]
