"""llmkit eval: how good a model is, token by token and task by task, with gates for CI."""

from collections.abc import Callable

from llmkit.commands.base import Group, build_group
from llmkit.commands.eval_diff import diff
from llmkit.commands.eval_gen import gen
from llmkit.commands.eval_kl import kl
from llmkit.commands.eval_mc import mc
from llmkit.commands.eval_needle import needle
from llmkit.commands.eval_ppl import ppl
from llmkit.commands.eval_score import score
from llmkit.commands.eval_tokens import tokens


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
