"""A model in training: one update at a time, and everything that a checkpoint keeps of it."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.arithmetic import arithmetic
from llmkit.train.balance import Balancer, ExpertUse
from llmkit.train.chance import seed_update
from llmkit.train.config import PretrainConfig, Recipe, SpikeReaction
from llmkit.train.data import RowSource
from llmkit.train.guard import MOST_LEFT_OUT, Guard, Spike, Verdict, bad_update
from llmkit.train.loss import Batch
from llmkit.train.norms import NormProbe
from llmkit.train.objective import BatchSource, NextToken, Objective
from llmkit.train.optimizer import build_optimizer, load_optimizer_tensors, optimizer_tensors
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.tensors import local
from llmkit.train.row_batches import RowBatches
from llmkit.train.schedule import learning_rate
from llmkit.train.z_loss import next_token

_SOURCE = "source."
"""Begins the names of tensors that a batch source keeps."""


@dataclass(frozen=True)
class StepResult:
    """What one update did."""

    step: int
    """Updates done, this one included."""
    loss: float
    """Mean over the targets, in nats; or over the units of another objective."""
    grad_norm: float
    """Before clipping."""
    lr: float
    tokens: int
    """Targets of this update that carried loss."""
    skipped: Verdict | None = None
    experts: ExpertUse | None = None
    """None where the model has none."""
    stats: dict[str, float] = field(default_factory=dict)
    """What else the objective tells: means over its units."""
    worked: int | None = None
    """Tokens that were read, where speed is counted in these: of some, few are learnt. None: `tokens`."""
    loader_seconds: float | None = field(default=None, compare=False)
    """Waited for the batch."""
    norms: list[dict[str, Any]] | None = None
    """LayerNorms, in an update that was watched."""


class Trainer:
    """Model, optimiser, data order and guard. `step` counts updates done or skipped.

    Args:
        model: float32 weights, on its device; those that want no gradient stay as they are. Or a model that
            is divided over the processes of a run: then every process makes a trainer and takes each step.
        rows: what to learn from.
        recipe: what decides the weights.
        micro_batch_rows: rows of one forward pass.
        on_nonfinite: a loss or gradient that is not finite ends the run, or only its update is left out;
            one more than MOST_LEFT_OUT in a row end it too.
        on_spike: the same for one far above the last ones; `ignore` learns from it, `rewind` raises Spike.
        objective: what to make smaller; None: the loss of the next token.
        source: makes the batch of each update; None: `rows`, in their order.
        rate: the learning rate of an update, the first being 0.
        norms_every: updates from one whose layers are watched (norms.py) to the next; 0: none is.
    """

    def __init__(
        self,
        model: Transformer | Divided,
        rows: RowSource,
        recipe: Recipe,
        *,
        micro_batch_rows: int,
        on_nonfinite: Literal["stop", "skip"] = PretrainConfig.on_nonfinite,
        on_spike: SpikeReaction = PretrainConfig.on_spike,
        objective: Objective | None = None,
        source: BatchSource | None = None,
        rate: Callable[[Recipe, int], float] = learning_rate,
        norms_every: int = 0,
    ) -> None:
        self.divided = model if isinstance(model, Divided) else Divided(model)
        self.model = self.divided.model.train()
        self.ranks = self.divided.ranks
        self.recipe = recipe
        self.objective = objective or next_token(recipe)
        self._counts_all = objective is not None
        self.optimizer = build_optimizer(self.model, recipe)
        self.guard = Guard()
        self.step = self.tokens = self.skipped = self.rewinds = 0
        self.left_out = 0
        """Updates in a row, up to the last, that were left out because they were not finite."""
        self.device = next(self.model.parameters()).device
        self._micro_batch_rows = micro_batch_rows
        self._rate = rate
        self._norms = NormProbe(self.model, norms_every, self.ranks)
        if norms_every and self.divided.pipeline is not None:
            self.divided.pipeline.tried = self._norms.forget
        self._reactions: dict[Verdict, SpikeReaction] = {"nonfinite": on_nonfinite, "spike": on_spike}
        experts = self.model.config.sparse
        self._balancer = None if experts is None else Balancer(recipe, experts, self.ranks)
        self._source = source or RowBatches(rows, recipe, self.device, self.ranks.share, self.ranks.cut)

    def train_step(self) -> StepResult:
        """Learn from the next batch.

        Raises:
            BadUpdateError: the loss or the gradient is not finite, or is a spike, and the run is to stop
                then. All that a checkpoint keeps is as it was before the batch.
            Spike: it is one, and the run is to go back. All is as it was then too.
        """
        began = time.perf_counter()
        batch = self._source.batch(self.step)
        waited = time.perf_counter() - began
        self._norms.begin(self.step + 1)
        seed_update(self.recipe.seed, self.step, self.ranks.share.index)
        totals = self._totals(batch)
        learnt = self._accumulate(batch, totals)
        gradients = self.divided.finish_gradients()
        self._norms.graded()
        total = self.divided.norm()
        loss, stats = self._told(learnt, totals)  # here a GPU is waited for, once an update
        norm = float(total)
        self._clip(gradients, norm)
        lr = self._rate(self.recipe, self.step)
        before = self.guard.state()
        verdict = self.guard.judge(loss, norm)
        skip = self._react(verdict, loss, norm, before)
        if not skip:
            self.optimizer.lr = lr
            self.optimizer.step()
            if self._balancer is not None:
                self._balancer.update_bias()
        norms = self._norms.finish()
        self.optimizer.zero_grad()
        self.step += 1
        self.tokens += totals.count
        self.skipped += skip
        self.left_out = self.left_out + 1 if verdict == "nonfinite" else 0
        skipped = verdict if skip else None
        experts = None if self._balancer is None else self._balancer.use()
        worked = totals.real if self._counts_all else None
        told = (skipped, experts, stats, worked, waited, norms)
        return StepResult(self.step, loss, norm, lr, totals.count, *told)

    def autocast(self) -> AbstractContextManager[Any]:
        """The arithmetic of the forward pass."""
        return arithmetic(self.device, self.recipe.dtype)

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything beside the weights that is a tensor, whole. Every process has to call this."""
        own = {f"{_SOURCE}{name}": tensor for name, tensor in self._source.state_tensors().items()}
        return {**self.divided.gathered(optimizer_tensors(self.optimizer, self.model)), **own}

    def state(self) -> dict[str, Any]:
        """Everything beside the weights that is not: for JSON."""
        return {
            "step": self.step,
            "tokens": self.tokens,
            "skipped": self.skipped,
            "left_out": self.left_out,
            "row_cursor": self.recipe.cursor(self.step) + self.passed_rows,
            "passed_rows": self.passed_rows,
            "rewinds": self.rewinds,
            "learning_rate": self._rate(self.recipe, self.step),
            "guard": self.guard.state(),
        }

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint, whose weights the model already has."""
        load_optimizer_tensors(self.optimizer, self.model, tensors)
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(_SOURCE)}
        self._source.restore({name.removeprefix(_SOURCE): tensor for name, tensor in own.items()})
        self.step, self.tokens, self.skipped = state["step"], state["tokens"], state["skipped"]
        self.left_out = state.get("left_out", 0)
        self.passed_rows, self.rewinds = state.get("passed_rows", 0), state.get("rewinds", 0)
        self.guard.restore(state["guard"])

    @property
    def passed_rows(self) -> int:
        """Rows that the order has and no update learns from: the run went back from a spike, past them."""
        return self._source.passed_rows

    @passed_rows.setter
    def passed_rows(self, rows: int) -> None:
        """The next batch begins so many rows later than its step says."""
        self._source.passed_rows = rows

    def close(self) -> None:
        """Let the reading thread go."""
        self._source.close()

    def _totals(self, batch: Batch) -> "_Totals":
        """Of a batch, over the processes that share it."""
        own = (self.objective.units(batch), batch.count, batch.num_real)
        return _Totals(*(int(total) for total in self.ranks.sum(own)))

    def _accumulate(self, batch: Batch, totals: "_Totals") -> "_Learnt":
        """Forward and backward over the parts of a batch; the loss is over all its units, not per part.

        Losses of routers are learnt from and are no part of what is returned.
        """
        with self.autocast():
            objective = self.objective.for_batch(self.model, batch, self._micro_batch_rows)
        scale = 1.0 / max(1, totals.units)
        if self._balancer is not None:
            self._balancer.begin(totals.real)
        learnt = _Learnt(objective)
        if self.divided.pipeline is None:
            self._learn_parts(learnt, batch, scale)
        else:
            assert isinstance(objective, NextToken)
            with self.autocast():
                told = self.divided.pipeline.learn(
                    objective, batch, self._micro_batch_rows, scale, self._balancer
                )
            learnt.losses.append(told[0])
            learnt.sums.update(told[1])
        if self._balancer is not None:
            self._balancer.settle()
        return learnt

    def _told(self, learnt: "_Learnt", totals: "_Totals") -> tuple[float, dict[str, float]]:
        """The loss of an update and figures about it, over all processes."""
        loss_sum = sum(float(one) for one in learnt.losses)
        total, *rest = self.ranks.sum([loss_sum, *learnt.sums.values()])
        told = learnt.objective.report(dict(zip(learnt.sums, rest, strict=True)), totals.units)
        return total, told | self._source.stats()

    def _learn_parts(self, learnt: "_Learnt", batch: Batch, scale: float) -> None:
        """Part after part; the loss times `scale`, and what else the objective tells, summed over them."""
        objective, sums = learnt.objective, learnt.sums
        parts = batch.split(self._micro_batch_rows)
        for number, part in enumerate(parts, 1):
            tape = None if self._balancer is None else RoutingTape(self.divided.counted(part))
            with self.autocast():
                summed, told = self.divided.loss_pass(objective, part, tape)
                loss = summed * scale
            for name, value in told.items():
                sums[name] = sums.get(name, 0.0) + value
            whole = loss
            if self._balancer is not None and tape is not None:
                whole = loss + self._balancer.add(tape)
            if number == len(parts):
                self.divided.expect_last()
            whole.backward()
            learnt.losses.append(loss.detach())  # no number yet: a GPU is not waited for between parts

    def _clip(self, gradients: list[Tensor], norm: float) -> None:
        """Scale the gradient down to recipe.clip where its norm is above."""
        if 0 < self.recipe.clip < norm < math.inf:
            torch._foreach_mul_([local(one) for one in gradients], self.recipe.clip / (norm + 1e-6))

    def _react(self, verdict: Verdict | None, loss: float, norm: float, before: dict[str, Any]) -> bool:
        """Whether to leave this update out; `before` is what the guard remembered."""
        reaction = self._reactions[verdict] if verdict else "ignore"
        too_many = self.left_out if verdict == "nonfinite" and self.left_out >= MOST_LEFT_OUT else 0
        if verdict and (reaction in ("stop", "rewind") or too_many):
            self._norms.finish()
            self.optimizer.zero_grad()
            self.guard.restore(before)
            if reaction == "rewind":
                raise Spike(self.step + 1, loss, norm)
            found = (loss, norm, self.guard.limits())
            raise bad_update(verdict, self.step + 1, *found, lr=self.recipe.lr, left_out=too_many)
        return reaction == "skip"


@dataclass(frozen=True)
class _Learnt:
    """Of the parts of a batch."""

    objective: Objective
    losses: list[Tensor | float] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    """What else the objective told, summed."""


@dataclass(frozen=True)
class _Totals:
    """Of a batch."""

    units: int
    """What its loss is over."""
    count: int
    """Targets that carry loss."""
    real: int
    """Ids that are no padding."""
