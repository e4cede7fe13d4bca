"""The defaults that flags show are those that workflows run with."""

from llmkit.probe.evaluate.config import DiffConfig, KlConfig, PplConfig, ScoreConfig, TokensConfig


def test_every_evaluation_can_be_run_as_it_comes() -> None:
    assert PplConfig().like == "transformers" and PplConfig().field == KlConfig().field == "text"
    assert ScoreConfig().match == "exact" and not ScoreConfig().ignore_case
    assert DiffConfig().alpha == 0.05 and DiffConfig().metric is None
    assert TokensConfig().generate == 0 and TokensConfig().threshold is None
