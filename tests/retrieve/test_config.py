"""Settings with which nothing can be cut, or scored, are refused."""

from math import inf, nan

import pytest

from llmkit.errors import ConfigError
from llmkit.retrieve.config import Bm25Config, IndexConfig


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 5), (10, -1)])
def test_sizes_that_cut_nothing_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ConfigError):
        IndexConfig(chunk=size, overlap=overlap)


@pytest.mark.parametrize(
    "given", [{"k1": -1.0}, {"k1": nan}, {"k1": inf}, {"b": 1.5}, {"b": -0.1}, {"b": nan}]
)
def test_parameters_out_of_range_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Bm25Config(**given)
