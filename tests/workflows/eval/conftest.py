"""A small model that spells, and what scores with it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions, Scorer


@pytest.fixture
def folder(spelled_model: Callable[..., Path]) -> Path:
    return spelled_model()


@pytest.fixture
def scorer(folder: Path) -> Scorer:
    return open_scorer(ModelOptions(model=folder))
