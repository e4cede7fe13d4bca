"""Answers that the model in training writes itself, scored, as the batches of GRPO.

How answers are written and who scores them is handed in.

Shapes: P prompts of a step, G answers of each, B = P G rows, T seq_len.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.train.grpo import GrpoBatch, group_advantages
from llmkit.train.loss import Batch, build_batch
from llmkit.train.objective import BatchSource
from llmkit.train.order import RowOrder
from llmkit.train.pair_rows import Tokens, build_rows


@dataclass(frozen=True)
class Prompt:
    """What is to be answered."""

    ids: list[int]
    record: dict[str, Any]
    """What the scorer is shown; the answer is added to it as `completion`."""


@dataclass(frozen=True)
class Completion:
    """An answer."""

    ids: list[int]
    """At least one; with the end token where it was written."""
    text: str


Rollout = Callable[[list[Prompt], int, int], list[list[Completion]]]
"""(prompts, group size, seed) to a group of answers for each prompt."""
Score = Callable[[list[dict[str, Any]]], list[float]]
"""Records to a reward each."""
Logps = Callable[[Batch], Tensor]
"""(B, T) log p of each target of a batch by the model in training, 0 where there is no loss."""
_STATS = "stats."
"""Begins the names of figures in a checkpoint."""


class RolloutSource(BatchSource):
    """The batches of GRPO: prompts in a seeded order, answered and scored when their step comes.

    Args:
        prompts: all there are.
        rollout: writes answers, with the weights as they are.
        score: rewards them.
        seed: of the order, and of the answers, a different one each time.
        prompts_per_step: P.
        group_size: G, at least 2.
        device: where batches go.
        iterations: updates from the same answers.
        logps: for `iterations` above 1.

    Raises:
        UsageError: groups of one, or fewer prompts than a step takes.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        rollout: Rollout,
        score: Score,
        *,
        seed: int,
        prompts_per_step: int,
        group_size: int,
        device: torch.device,
        iterations: int = 1,
        logps: Logps | None = None,
    ) -> None:
        if group_size < 2:
            raise UsageError(
                f"groups of {group_size}: an answer is compared with others to its prompt", hint="8 is usual"
            )
        if not prompts:
            raise UsageError("no prompts to answer", hint="see which records were left out, and why")
        self._prompts, self._rollout, self._score = prompts, rollout, score
        self._seed, self._count, self._group_size = seed, prompts_per_step, group_size
        self._device = device
        self._iterations, self._logps = iterations, logps
        self._order = RowOrder(len(prompts), seed)
        self._held: tuple[int, GrpoBatch] | None = None
        self._stats: dict[str, float] = {}

    def batch(self, step: int) -> GrpoBatch:
        """The batch of update `step`, the first being 0."""
        number = step // self._iterations
        if self._held is None or self._held[0] != number:
            self._held = (number, self._write(number))
        return self._held[1]

    def stats(self) -> dict[str, float]:
        """Mean `reward`, the groups' mean `reward_std`, mean `completion_tokens`, and the share
        `groups_without_signal` whose answers all scored alike."""
        return dict(self._stats)

    def state_tensors(self) -> dict[str, Tensor]:
        """Answers still to be learnt from and their figures, for a checkpoint; nothing where each is learnt
        from once."""
        if self._held is None or self._iterations == 1:
            return {}
        number, batch = self._held
        tensors = {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
        stats = {
            f"{_STATS}{name}": torch.tensor(one, dtype=torch.float64) for name, one in self._stats.items()
        }
        return {**tensors, **stats, "rollout": torch.tensor(number)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        if "rollout" not in tensors:
            return
        stats = {name: value.item() for name, value in tensors.items() if name.startswith(_STATS)}
        self._stats = {name.removeprefix(_STATS): one for name, one in stats.items()}
        others = tensors.keys() - stats.keys() - {"rollout"}
        fields = {name: tensors[name].to(self._device) for name in others}
        segments = fields.pop("segments", None)
        batch = GrpoBatch(**fields, segments=segments, count=int((fields["targets"] >= 0).sum()))
        self._held = (int(tensors["rollout"]), batch)

    def _write(self, number: int) -> GrpoBatch:
        chosen = self._order.take(number * self._count, self._count).tolist()
        prompts = [self._prompts[one] for one in chosen]
        groups = self._rollout(prompts, self._group_size, _seed_of(self._seed, number))
        if [len(group) for group in groups] != [self._group_size] * len(prompts):
            raise ValueError(f"not {len(prompts)} groups of {self._group_size} answers")
        records = [
            {**prompt.record, "completion": answer.text}
            for prompt, group in zip(prompts, groups, strict=True)
            for answer in group
        ]
        rewards = torch.tensor(self._score(records), dtype=torch.float64).view(len(prompts), -1)
        self._stats = _figures(rewards, groups)
        advantages = group_advantages(rewards).flatten().float()
        batch = build_grpo_batch(prompts, groups, advantages, self._device)
        if self._iterations > 1:
            if self._logps is None:
                raise ValueError("several updates from the same answers need their log-probabilities")
            batch = replace(batch, old_logp=self._logps(batch))
        return batch


def build_grpo_batch(
    prompts: Sequence[Prompt],
    groups: Sequence[Sequence[Completion]],
    advantages: Tensor,
    device: torch.device,
) -> GrpoBatch:
    """A row for each answer: its prompt, then itself, which is learnt.

    Args:
        prompts: P.
        groups: G answers for each.
        advantages: (P G,), in that order.
        device: where the batch goes.

    Raises:
        ValueError: an answer without ids, or a prompt without.
    """
    rows = []
    for prompt, group in zip(prompts, groups, strict=True):
        for answer in group:
            if not prompt.ids or not answer.ids:
                raise ValueError("a prompt or an answer without ids")
            learnt = [False] * len(prompt.ids) + [True] * len(answer.ids)
            rows.append([(0, Tokens(prompt.ids + answer.ids, learnt))])
    batch = build_batch(build_rows(rows), document_mask=True, device=device)
    spread = advantages.to(device).unsqueeze(1).expand(batch.targets.shape)
    return GrpoBatch(**vars(batch), advantages=spread.contiguous())


def _figures(rewards: Tensor, groups: Sequence[Sequence[Completion]]) -> dict[str, float]:
    lengths = [len(answer.ids) for group in groups for answer in group]
    return {
        "reward": rewards.mean().item(),
        "reward_std": rewards.std(1).mean().item(),
        "completion_tokens": sum(lengths) / len(lengths),
        "groups_without_signal": float((rewards == rewards[:, :1]).all(1).double().mean().item()),
    }


def _seed_of(seed: int, number: int) -> int:
    """A seed for each rollout, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big") >> 1
