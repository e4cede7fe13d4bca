"""The flags of merge as the workflow takes them. What each changes is tested with the command."""

from llmkit.commands.merge.flags import Algebra, Extraction, Written
from llmkit.workflows.merge.options import MergeConfig

JOB = {"models": ("a", "b"), "method": "linear"}


def test_nothing_given_is_the_default_of_every_setting() -> None:
    given = {**Algebra().settings(), **vars(Extraction()), **Written().settings(), **JOB}
    assert MergeConfig(**given) == MergeConfig(models=("a", "b"), method="linear")


def test_what_is_said_twice_is_for_each_model_and_no_tokenizer_means_none() -> None:
    algebra = Algebra(method="ties", weight=[1.0, 0.5], density=[0.25]).settings()
    assert (algebra["weights"], algebra["densities"]) == ((1.0, 0.5), (0.25,))
    assert Written(no_tokenizer=True).settings()["carry_tokenizer"] is False
