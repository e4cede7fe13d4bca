"""A model opened for an evaluation: to compute, or to say what that would take."""

from llmkit.workflows.eval.plan import PlanningScorer
from llmkit.workflows.eval.scorer import ModelOptions, Scorer
from llmkit.workflows.model_job import open_model_job


def open_scorer(options: ModelOptions, *, longest: int | None = None) -> Scorer:
    """Read everything but the weights.

    Args:
        options: which model, and how it runs.
        longest: tokens of the longest text, where that is known: the cache is made for it.

    Raises:
        UsageError, ConfigError, DataError, MissingError: see `open_model_job`.
    """
    kind = PlanningScorer if options.plans else Scorer
    return kind(open_model_job(options), longest)
