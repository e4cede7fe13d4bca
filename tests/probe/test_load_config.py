"""Settings that would send nothing, or measure what is not there, are refused."""

from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.probe.load_config import BenchServeConfig


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"requests": 1, "rate": 0.0}, "--rate must be above 0"),
        ({"requests": 1, "long_share": 1.5}, "--long-share must be between 0 and 1"),
        ({"requests": 1, "ttft_target": 1.0, "stream": False}, "--ttft-target needs streams"),
    ],
)
def test_what_cannot_be_measured_is_said(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        BenchServeConfig(**given)
