"""Numbers outside their bounds are refused by their names, and those that are not set are not."""

import math

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.bounds import require_at_least, require_part, require_positive


def test_a_number_that_is_not_set_is_not_too_small() -> None:
    require_at_least("block_size", None, 1)
    require_at_least("block_size", 1, 1)
    require_positive("rank", None)
    with pytest.raises(ConfigError, match=r"^block_size is not at least 1 \(found 0\)") as caught:
        require_at_least("block_size", 0, 1)
    assert caught.value.hint == "change block_size"


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_what_is_not_above_0_is_neither_positive_nor_a_part(value: float) -> None:
    for require in (require_positive, require_part):
        require("mfu", 1.0)
        with pytest.raises(ConfigError, match=r"^mfu is not above 0"):
            require("mfu", value)


def test_no_part_is_more_than_the_whole() -> None:
    with pytest.raises(ConfigError, match=r"^mbu is not above 0 and at most 1 \(found 1\.5\)"):
        require_part("mbu", 1.5)
