"""What an evaluation would take: all is read, checked and encoded; no weight is read, nothing is computed."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import msgspec

from llmkit.engine.request import Request
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.eval.scorer import Scorer

SCHEMA = "llmkit.eval-plan/1"


class EvalPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a model would read and write, and the memory that it needs."""

    schema: str = SCHEMA
    model: str
    reference: str | None
    """The other, where two are compared."""
    parameters: int
    dtype: str
    device: str
    kernels: str
    """What computes: native or torch."""
    threads: int
    context: int
    texts: int
    prompt_tokens: int
    """That are read, of all texts; those that several have in common are counted again."""
    longest_tokens: int
    """Of one text, what is written included."""
    written_tokens: int
    """At most."""
    texts_at_once: int
    weight_bytes: int
    kv_bytes: int
    memory_bytes: int
    """Of both models."""
    memory_available_bytes: int | None
    notes: tuple[str, ...]


class Planned(Exception):  # noqa: N818 (it is what was asked for)
    """Raised where an evaluation would begin to compute."""

    def __init__(self, plan: EvalPlan) -> None:
        super().__init__(plan)
        self.plan = plan


class PlanningScorer(Scorer):
    """A Scorer that computes nothing: the first that it is asked for is a Planned."""

    def complete(self, requests: Iterable[Request], tokenizer: Tokenizer | None = None) -> Iterator[NoReturn]:
        """Read all requests and raise what they come to."""
        asked = list(requests)
        written = [0 if one.scores_prompt == "only" else one.room(self.job.model) for one in asked]
        raise self.planned((len(one.prompt) for one in asked), written)

    def planned(
        self, lengths: Iterable[int], written: Iterable[int] | None = None, *, beside: Scorer | None = None
    ) -> Planned:
        """A plan for texts.

        Args:
            lengths: tokens of each that are read.
            written: of each, at most; None: nothing is.
            beside: another model that reads the same.
        """
        from llmkit.estimate.architecture_of import architecture_of
        from llmkit.workflows.generate.device import device_memory_bytes

        read = list(lengths)
        drawn = [0] * len(read) if written is None else list(written)
        own = self.placement()
        other = None if beside is None else beside.placement()
        more_weights, more_cache = (0, 0) if other is None else (other.weight_bytes, other.kv_bytes)
        return Planned(
            EvalPlan(
                model=self.name,
                reference=None if beside is None else beside.name,
                parameters=architecture_of(self.job.model).parameters,
                dtype=own.dtype,
                device=own.device,
                kernels=own.kernels,
                threads=own.threads,
                context=self.context,
                texts=len(read),
                prompt_tokens=sum(read),
                longest_tokens=max((one + more for one, more in zip(read, drawn, strict=True)), default=0),
                written_tokens=sum(drawn),
                texts_at_once=own.texts if beside is None else 1,
                weight_bytes=own.weight_bytes + more_weights,
                kv_bytes=own.kv_bytes + more_cache,
                memory_bytes=own.memory_bytes + more_weights + more_cache,
                memory_available_bytes=device_memory_bytes(own.device),
                notes=tuple(self.notes),
            )
        )


def plan_eval(evaluate: Callable[[], Any]) -> EvalPlan:
    """The plan of an evaluation whose ModelOptions have `plans`; raises what that does before it computes."""
    try:
        evaluate()
    except Planned as found:
        return found.plan
    raise AssertionError("an evaluation that computes nothing")
