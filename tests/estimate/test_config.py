"""What an estimate assumes, and refuses."""

import pytest

from llmkit.errors import ConfigError
from llmkit.estimate.config import EstimateConfig


def test_one_sequence_and_no_limit_are_the_defaults() -> None:
    config = EstimateConfig()
    assert (config.context, config.batch, config.memory_bytes) == (None, 1, None)


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [({"context": 0}, "context"), ({"batch": -1}, "batch"), ({"memory_bytes": 0}, "memory")],
)
def test_a_number_below_1_names_its_flag(wrong: dict[str, int], flag: str) -> None:
    with pytest.raises(ConfigError, match=f"^{flag} is not at least 1") as caught:
        EstimateConfig(**wrong)
    assert caught.value.hint == f"change --{flag}"


@pytest.mark.parametrize("name", ["context", "batch", "tensor_parallel", "shared_prefix"])
def test_a_number_beyond_reason_names_its_flag(name: str) -> None:
    flag = name.replace("_", "-")
    with pytest.raises(ConfigError, match=f"^{flag} is more than"):
        EstimateConfig(**{name: 10**30})  # type: ignore[arg-type]
