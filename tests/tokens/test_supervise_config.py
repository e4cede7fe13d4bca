"""Settings that make no sense are refused."""

import pytest

from llmkit.errors import UsageError
from llmkit.tokens.supervise_config import SuperviseConfig


def test_settings_without_sense_are_refused() -> None:
    assert SuperviseConfig(max_tokens=2, valid_fraction=0.99).long == "cut"
    with pytest.raises(UsageError, match="--max-tokens 1"):
        SuperviseConfig(max_tokens=1)
    for fraction in (1.0, -0.1):
        with pytest.raises(UsageError, match="--valid-fraction"):
            SuperviseConfig(valid_fraction=fraction)
