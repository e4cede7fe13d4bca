"""A model in training: one update at a time, and everything that a checkpoint keeps of it."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from llmkit.errors import LlmkitError
from llmkit.model.routing import RoutingTape
from llmkit.model.transformer import Transformer
from llmkit.train.balance import Balancer, ExpertUse
from llmkit.train.config import PretrainConfig, Reaction, Recipe
from llmkit.train.data import BatchReader, RowSource
from llmkit.train.guard import Guard
from llmkit.train.loss import Batch, build_batch
from llmkit.train.objective import BatchSource, NextToken, Objective
from llmkit.train.optimizer import build_optimizer, load_optimizer_tensors, optimizer_tensors
from llmkit.train.order import RowOrder
from llmkit.train.schedule import learning_rate

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
    skipped: Literal["nonfinite", "spike"] | None = None
    experts: ExpertUse | None = None
    """None where the model has none."""
    stats: dict[str, float] = field(default_factory=dict)
    """What else the objective tells: means over its units."""
    worked: int | None = None
    """Tokens that were read, where speed is counted in these: of some, few are learnt. None: `tokens`."""


class Trainer:
    """Model, optimiser, data order and guard. `step` counts updates done or skipped.

    Args:
        model: float32 weights, on its device; those that want no gradient stay as they are.
        rows: what to learn from.
        recipe: what decides the weights.
        micro_batch_rows: rows of one forward pass.
        on_nonfinite: a loss or gradient that is not finite ends the run, or only its update is left out.
        on_spike: the same for one far above the last ones; `ignore` learns from it.
        compile_model: compile the forward pass; the first step then takes long.
        objective: what to make smaller; None: the loss of the next token.
        source: makes the batch of each update; None: `rows`, in their order.
        rate: the learning rate of an update, the first being 0.
    """

    def __init__(
        self,
        model: Transformer,
        rows: RowSource,
        recipe: Recipe,
        *,
        micro_batch_rows: int,
        on_nonfinite: Literal["stop", "skip"] = PretrainConfig.on_nonfinite,
        on_spike: Reaction = PretrainConfig.on_spike,
        compile_model: bool = False,
        objective: Objective | None = None,
        source: BatchSource | None = None,
        rate: Callable[[Recipe, int], float] = learning_rate,
    ) -> None:
        self.model = model.train()
        self.recipe = recipe
        self.objective = objective or NextToken(chunked=False)
        self._counts_all = objective is not None
        self.optimizer = build_optimizer(model, recipe)
        self.guard = Guard()
        self.step = 0
        self.tokens = 0
        self.skipped = 0
        self.device = next(model.parameters()).device
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._micro_batch_rows = micro_batch_rows
        self._rate = rate
        self._reactions: dict[str, Reaction] = {"nonfinite": on_nonfinite, "spike": on_spike}
        self._balancer = Balancer(recipe) if model.config.experts is not None else None
        self._source = source or _Rows(rows, recipe, self.device)
        if compile_model:
            model.compile()

    def train_step(self) -> StepResult:
        """Learn from the next batch.

        Raises:
            LlmkitError: the loss or the gradient is not finite, or is a spike, and the run is to stop then.
                The weights are those before the batch.
        """
        batch = self._source.batch(self.step)
        loss, stats = self._accumulate(batch)
        norm = self._clip()
        lr = self._rate(self.recipe, self.step)
        verdict = self.guard.judge(loss, norm)
        skip = self._react(verdict, loss, norm)
        if not skip:
            self.optimizer.lr = lr
            self.optimizer.step()
            if self._balancer is not None:
                self._balancer.update_bias()
        self.optimizer.zero_grad()
        self.step += 1
        self.tokens += batch.count
        self.skipped += skip
        skipped = verdict if skip else None
        experts = None if self._balancer is None else self._balancer.use()
        told = (skipped, experts, stats, self._worked(batch))
        return StepResult(self.step, loss, norm, lr, batch.count, *told)  # type: ignore[arg-type]

    def autocast(self) -> AbstractContextManager[Any]:
        """The arithmetic of the forward pass."""
        if self.recipe.dtype == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything beside the weights that is a tensor."""
        own = {f"{_SOURCE}{name}": tensor for name, tensor in self._source.state_tensors().items()}
        return {**optimizer_tensors(self.optimizer, self.model), **own}

    def state(self) -> dict[str, Any]:
        """Everything beside the weights that is not: for JSON."""
        return {
            "step": self.step,
            "tokens": self.tokens,
            "skipped": self.skipped,
            "row_cursor": self.step * self.recipe.batch_rows,
            "learning_rate": self._rate(self.recipe, self.step),
            "guard": self.guard.state(),
        }

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint, whose weights the model already has."""
        load_optimizer_tensors(self.optimizer, self.model, tensors)
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(_SOURCE)}
        self._source.restore({name.removeprefix(_SOURCE): tensor for name, tensor in own.items()})
        self.step, self.tokens, self.skipped = state["step"], state["tokens"], state["skipped"]
        self.guard.restore(state["guard"])

    def close(self) -> None:
        """Let the reading thread go."""
        self._source.close()

    def _accumulate(self, batch: Batch) -> tuple[float, dict[str, float]]:
        """Forward and backward over the parts of a batch; the loss is over all its units, not per part.

        Losses of routers are learnt from and are no part of what is returned.
        """
        total = 0.0
        sums: dict[str, float] = {}
        units = self.objective.units(batch)
        with self.autocast():
            objective = self.objective.for_batch(self.model, batch, self._micro_batch_rows)
        scale = 1.0 / max(1, units)
        if self._balancer is not None:
            self._balancer.begin()
        for part in batch.split(self._micro_batch_rows):
            tape = None if self._balancer is None else RoutingTape(part.real)
            with self.autocast():
                summed, told = objective.loss_sum(self.model, part, tape)
                loss = summed * scale
            for name, value in told.items():
                sums[name] = sums.get(name, 0.0) + value
            learnt = loss
            if self._balancer is not None and tape is not None:
                learnt = loss + self._balancer.add(tape, part, batch)
            learnt.backward()
            total += loss.item()
        return total, objective.report(sums, units) | self._source.stats()

    def _worked(self, batch: Batch) -> int | None:
        return batch.num_real if self._counts_all else None

    def _clip(self) -> float:
        """The norm of the whole gradient, which is scaled down to recipe.clip where it is above."""
        grads = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(grads, foreach=True))
        if 0 < self.recipe.clip < norm < math.inf:
            torch._foreach_mul_(grads, self.recipe.clip / (norm + 1e-6))
        return norm

    def _react(self, verdict: str | None, loss: float, norm: float) -> bool:
        """Whether to leave this update out."""
        reaction = self._reactions[verdict] if verdict else "ignore"
        if reaction == "stop":
            loss_limit, norm_limit = self.guard.limits()
            limit = f"; usual: loss below {loss_limit:.4g}, norm below {norm_limit:.4g}" if loss_limit else ""
            what = "is not finite" if verdict == "nonfinite" else "is a spike"
            raise LlmkitError(
                f"step {self.step + 1}: the loss or its gradient {what} "
                f"(found loss {loss:.4g}, gradient norm {norm:.4g}{limit})",
                hint=f"pass over such batches with --on-{verdict} skip, or start again with --lr "
                f"{self.recipe.lr / 2:.3g} or a longer --warmup-steps",
            )
        return reaction == "skip"


class _Rows(BatchSource):
    """Batches of rows in the order of the seed, read ahead."""

    def __init__(self, rows: RowSource, recipe: Recipe, device: torch.device) -> None:
        self._reader = BatchReader(rows, RowOrder(len(rows), recipe.seed), recipe.batch_rows)
        self._document_mask = recipe.document_mask
        self._device = device

    def batch(self, step: int) -> Batch:
        """That of update `step`, the first being 0."""
        return build_batch(self._reader.read(step), document_mask=self._document_mask, device=self._device)

    def close(self) -> None:
        """Let the reading thread go."""
        self._reader.close()
