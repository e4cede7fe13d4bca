"""The choices of `llmkit diff`."""

from llmkit.workflows.diff.options import PARTS, DiffConfig


def test_without_tolerances_a_comparison_is_bit_for_bit() -> None:
    assert DiffConfig().bit_for_bit
    assert not DiffConfig(atol=1e-9).bit_for_bit and not DiffConfig(rtol=1e-9).bit_for_bit


def test_nothing_is_narrowed_by_default() -> None:
    config = DiffConfig()
    assert (config.only, config.patterns, config.texts) == ((), (), ()) and not config.headers
    assert len(set(PARTS)) == len(PARTS)
