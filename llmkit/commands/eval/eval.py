"""llmkit eval: how good a model is, token by token and task by task, with gates for CI."""

from collections.abc import Callable

from llmkit.commands.base import Group, build_group
from llmkit.commands.eval.diff import diff
from llmkit.commands.eval.gen import gen
from llmkit.commands.eval.kl import kl
from llmkit.commands.eval.mc import mc
from llmkit.commands.eval.needle import needle
from llmkit.commands.eval.ppl import ppl
from llmkit.commands.eval.score import score
from llmkit.commands.eval.tokens import tokens


def group() -> Group:
    """The subcommands of `llmkit eval`."""
    evaluations: dict[str, Callable[..., None]] = {
        "tokens": tokens,
        "ppl": ppl,
        "kl": kl,
        "mc": mc,
        "gen": gen,
        "needle": needle,
        "score": score,
        "diff": diff,
    }
    return build_group("eval", "How good a model is: scores, perplexity, answers, gates.", evaluations)
