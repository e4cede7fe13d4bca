"""Pipeline parallelism: each process has some of the layers, and parts of a batch follow each other through.

The schedule is 1F1B (1806.03377) of torch.distributed.pipelining. Where the head is the embedding, both ends
have it: their gradients are added, and both learn the same.

Shapes: B rows of a part, T seq_len, D hidden_size, V vocab_size.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from llmkit.model.positions import span_positions
from llmkit.model.tied_head import TiedHead
from llmkit.model.transformer import Transformer
from llmkit.train.balance import Balancer
from llmkit.train.loss import Batch
from llmkit.train.objective import NextToken
from llmkit.train.parallel.own_part import layers_of, parts_of_batch
from llmkit.train.parallel.ranks import MeshRanks
from llmkit.train.parallel.stage_routing import StageRouting, told_back
from llmkit.train.parallel.tensors import local, whole


class Stage(nn.Module):
    """The part of a model that one process has: ids or hidden states to hidden states or logits.

    Args:
        model: all of it; what belongs to other stages goes.
        stage: which, from 0.
        stages: how many.
        pieces: that matrices are cut into: so many processes have the stream between them.
    """

    def __init__(self, model: Transformer, stage: int, stages: int, *, pieces: int = 1) -> None:
        super().__init__()
        self._pieces = pieces
        decoder = model.model
        self.layers = layers_of(stage, stages, len(decoder.layers))
        self.is_first, self.is_last = stage == 0, stage == stages - 1
        self.is_tied = isinstance(model.lm_head, TiedHead)
        self.routing: StageRouting | None = None
        """Where losses of routers are learnt from."""
        for index in range(len(decoder.layers)):
            if index not in self.layers:
                decoder.layers[index] = nn.Identity()
        if not (self.is_first or (self.is_last and self.is_tied)):
            decoder.embed_tokens = nn.Identity()  # type: ignore[assignment]
        if not self.is_first:
            decoder.embed_positions = None
        if not self.is_last:
            decoder.norm, model.lm_head = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        self.model = model

    def forward(
        self,
        given: Tensor,
        counts: Tensor | None = None,
        *,
        segments: Tensor | None = None,
        real: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(B, T) ids at the first stage, else (B, T, D), to that, or to (B, T, V) at the last.

        Of (B, T, D) and (B, T, V) each of several pieces has its part.

        Args:
            given: ids, or what the stage before made of them.
            counts: of its routers, and those before: see `StageRouting`. What is returned has them too.
            segments: (B, T), see `Transformer.forward`; of whole rows where they are cut.
            real: (B, T), see `Batch`.
        """
        decoder = self.model.model
        spans = decoder.spans(given.shape[1] * (1 if self.is_first else self._pieces))
        positions = span_positions(spans, given.device, segments)
        x = decoder.embed(given, positions, max(at.end for at in spans)) if self.is_first else given
        tape = None if self.routing is None else self.routing.tape(real)
        x = decoder.through(x, self.layers, positions, spans, segments, tape)
        if self.routing is not None and tape is not None:
            counts = self.routing.counts(tape, self.routing.no_counts(x) if counts is None else counts)
        if not self.is_last:
            return x if counts is None else (x, counts)
        return self.model.logits(decoder.norm(x if counts is None else told_back(x, counts)))


class Pipeline:
    """A stage among the others.

    Args:
        stage: of this process.
        ranks: all processes.
    """

    def __init__(self, stage: Stage, ranks: MeshRanks) -> None:
        self._stage = stage
        self._ranks = ranks
        self.group = ranks.group("pp")
        self._schedules: dict[Any, Any] = {}
        self._objective = NextToken()
        self._scale = 1.0
        self._told: list[dict[str, float]] = []
        """Of the parts of a batch."""
        self.tried: Callable[[], None] | None = None
        """Called where a new schedule, which tries a part first, begins with what is learnt from."""

    def learn(
        self,
        objective: NextToken,
        batch: Batch,
        part_rows: int,
        scale: float,
        balancer: Balancer | None = None,
    ) -> tuple[float, dict[str, float]]:
        """Forward and backward of a batch in parts of at most `part_rows`, as many as stages if it can be.

        Args:
            objective: what is learnt.
            batch: all of it.
            part_rows: of the part that goes through a stage at once.
            scale: of the loss.
            balancer: of a model with experts; it is told of them.

        Returns:
            The loss, summed over the targets and times `scale`, and what else the objective tells, summed.
        """
        parts = parts_of_batch(len(batch.ids), part_rows, self.group.size())
        self._objective, self._scale = objective, scale
        self._told = []
        experts = self._stage.model.config.experts
        if balancer is not None and experts is not None:
            self._stage.routing = StageRouting(balancer, experts.num_experts, self._ranks)
        loss = self._run(batch, parts, learns=True)
        if self._stage.routing is not None:
            self._stage.routing.settle(parts)
            self._stage.routing = None
        told = self._told[-parts:]  # a new schedule tries the loss beforehand
        loss, *sums = self._of_last([loss, *(sum(one[name] for one in told) for name in objective.told)])
        return loss, dict(zip(objective.told, sums, strict=True))

    def score(self, objective: NextToken, batch: Batch) -> float:
        """The loss of a batch, summed over its targets."""
        self._objective, self._scale = objective, 1.0
        return self._of_last([self._run(batch, 1, learns=False)])[0]

    def share_tied(self) -> None:
        """Add up the gradients of the embedding that is the head too."""
        if not (self._stage.is_tied and (self._stage.is_first or self._stage.is_last)):
            return
        weight = self._stage.model.model.embed_tokens.weight
        assert weight.grad is not None
        own = local(weight.grad).contiguous()
        other = torch.empty_like(own)
        end = self.group.size() - 1 if self._stage.is_first else 0
        peer = dist.get_global_rank(self.group, end)
        ops = [dist.P2POp(dist.isend, own, peer), dist.P2POp(dist.irecv, other, peer)]
        for work in dist.batch_isend_irecv(ops if self._stage.is_first else ops[::-1]):
            work.wait()
        local(weight.grad).add_(other)

    def is_counted(self, parameter: nn.Parameter) -> bool:
        """Whether a parameter counts here in the gradient's norm: a tied embedding at the first stage."""
        embedding = self._stage.model.model.embed_tokens
        return self._stage.is_first or parameter is not getattr(embedding, "weight", None)

    def gathered(self, tensors: dict[str, Tensor], keep: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """The whole tensors of all stages, by name, in the order of the stages, each as `keep` keeps it."""
        shapes: list[Any] = [None] * self.group.size()
        own = {name: (tuple(one.shape), one.dtype) for name, one in tensors.items()}
        dist.all_gather_object(shapes, own, group=self.group)
        found: dict[str, Tensor] = {}
        for stage, theirs in enumerate(shapes):
            source = dist.get_global_rank(self.group, stage)
            for name, (shape, dtype) in theirs.items():
                if name not in found:
                    tensor = torch.empty(shape, dtype=dtype, device=self._ranks.device)
                    if stage == self._ranks.stage:
                        tensor = whole(tensors[name]).contiguous()
                    dist.broadcast(tensor, source, group=self.group)
                    found[name] = keep(tensor)
        return found

    def _run(self, batch: Batch, parts: int, *, learns: bool) -> float:
        schedule = self._schedule(tuple(batch.ids.shape), parts, learns=learns)
        given = (batch.ids,) if self._stage.is_first else ()
        beside = {"segments": batch.segments, "real": batch.real}
        told = {name: one for name, one in beside.items() if one is not None}
        losses: list[Tensor] = []
        last = {"target": batch.targets, "losses": losses} if self._stage.is_last else {}
        run = schedule.step if learns else schedule.eval
        run(*given, return_outputs=False, **last, **told)
        return sum(loss.item() for loss in losses)

    def _of_last(self, values: list[float]) -> list[float]:
        """What the last stage has, the others having noughts."""
        told = torch.tensor(values, dtype=torch.float64, device=self._ranks.device)
        dist.all_reduce(told, group=self.group)
        return told.tolist()

    def _schedule(self, shape: tuple[int, ...], parts: int, *, learns: bool) -> Any:
        """Made anew for each shape: buffers between the stages have one."""
        key = (shape, parts, learns)
        if key not in self._schedules:
            stage = PipelineStage(
                self._stage, self._ranks.stage, self.group.size(), self._ranks.device, group=self.group
            )
            kind = Schedule1F1B if learns else ScheduleGPipe
            self._schedules[key] = kind(stage, parts, loss_fn=self._loss, scale_grads=False)
            if learns and self.tried is not None:
                self._tell_tried(self.tried)
        return self._schedules[key]

    def _tell_tried(self, tried: Callable[[], None]) -> None:
        """Call it where the second pass from now on begins."""
        passes = count()

        def begins(*_: Any) -> None:
            if next(passes) == 1:
                hook.remove()
                tried()

        hook = self._stage.register_forward_pre_hook(begins)

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        loss, told = self._objective.of_logits(logits, targets, self._stage.model.logit_parts)
        self._told.append(told)
        return loss * self._scale
