"""A small model that spells, and what scores with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import Kernels
from llmkit.kernels.library import available, why_not
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions, Scorer

BY_LENGTH: dict[str, dict[str, Any]] = {
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "longrope": {
        **{"rope_type": "longrope", "factor": 4.0},
        **{"short_factor": [1.0, 1.5], "long_factor": [3.0, 7.0]},
    },
}


@pytest.fixture
def folder(spelled_model: Callable[..., Path]) -> Path:
    return spelled_model()


@pytest.fixture
def scorer(folder: Path) -> Scorer:
    return open_scorer(ModelOptions(model=folder))


@pytest.fixture(params=BY_LENGTH.values(), ids=BY_LENGTH)
def stretched(request: pytest.FixtureRequest, spelled_model: Callable[..., Path]) -> Path:
    """A model of 64 positions that were 16: beyond them angles depend on how long a text is."""
    return spelled_model("stretched", rope_scaling={**request.param, "original_max_position_embeddings": 16})


@pytest.fixture(params=["native", "torch"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    """What computes."""
    if request.param == "native" and not available():
        pytest.skip(f"the native library {why_not()}")
    found: Kernels = request.param
    return found
