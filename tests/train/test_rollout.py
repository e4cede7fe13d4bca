"""Answers and their rewards as batches, with a writer and a judge that can be foretold."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from llmkit.errors import UsageError
from llmkit.model.transformer import Transformer
from llmkit.train.config import Recipe
from llmkit.train.cross_entropy import IGNORED
from llmkit.train.grpo import Grpo
from llmkit.train.rollout import Completion, Prompt, RolloutSource, build_grpo_batch
from llmkit.train.trainer import Trainer

CPU = torch.device("cpu")
PROMPTS = [Prompt([one, one + 1], {"prompt": f"p{one}", "answer": one}) for one in range(5)]


class Writer:
    """Answers prompt p's nth time with n + 1 ids 10 + n."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[int], int]] = []

    def __call__(self, prompts: list[Prompt], group_size: int, seed: int) -> list[list[Completion]]:
        self.calls.append(([prompt.record["answer"] for prompt in prompts], seed))
        return [[Completion([10 + n] * (n + 1), f"n{n}") for n in range(group_size)] for _ in prompts]


@pytest.fixture
def make_source() -> Callable[..., tuple[RolloutSource, Writer, list[dict[str, Any]]]]:
    def make(**settings: Any) -> tuple[RolloutSource, Writer, list[dict[str, Any]]]:
        writer, seen = Writer(), []

        def score(records: list[dict[str, Any]]) -> list[float]:
            seen.extend(records)
            return [float(record["completion"] == "n2") if record["answer"] else 1.0 for record in records]

        fixed: dict[str, Any] = {"seed": 4, "prompts_per_step": 2, "group_size": 3, "device": CPU}
        return RolloutSource(PROMPTS, writer, score, **fixed | settings), writer, seen

    return make


def test_a_batch_is_an_answer_a_row_with_its_advantage(
    make_source: Callable[..., tuple[RolloutSource, Writer, list[dict[str, Any]]]],
) -> None:
    source, writer, seen = make_source(prompts_per_step=5)
    batch = source.batch(0)
    assert seen[1] == {
        "prompt": f"p{writer.calls[0][0][0]}",
        "answer": writer.calls[0][0][0],
        "completion": "n1",
    }
    assert batch.ids.shape == (15, 4)
    assert batch.count == 5 * (1 + 2 + 3)
    assert batch.advantages is not None
    high, low = 2 / 3 / (3**-0.5 + 1e-4), -1 / 3 / (3**-0.5 + 1e-4)  # rewards 0, 0, 1: deviation 1 / sqrt 3
    for row, record in enumerate(seen):
        expected = 0.0 if not record["answer"] else high if record["completion"] == "n2" else low
        assert batch.advantages[row].tolist() == pytest.approx([expected] * 4, abs=1e-6)
        n = row % 3
        assert [one for one in batch.targets[row].tolist() if one != IGNORED] == [10 + n] * (n + 1)
        assert batch.ids[row, :2].tolist() == [record["answer"], record["answer"] + 1]
    stats = source.stats()
    assert stats["reward"] == pytest.approx((4 / 3 + 1) / 5)
    assert stats["completion_tokens"] == 2
    assert stats["groups_without_signal"] == pytest.approx(1 / 5)
    assert stats["reward_std"] == pytest.approx(4 / 5 * 3**-0.5)


def test_prompts_come_in_the_order_of_the_seed_and_answers_with_seeds_of_their_own(
    make_source: Callable[..., tuple[RolloutSource, Writer, list[dict[str, Any]]]],
) -> None:
    source, writer, _ = make_source()
    for step in range(5):
        source.batch(step)
    order = [one for prompts, _ in writer.calls for one in prompts]
    assert sorted(order[:5]) == sorted(order[5:]) == list(range(5))
    assert len({seed for _, seed in writer.calls}) == 5
    again, second, _ = make_source()
    again.batch(3)
    assert second.calls == [writer.calls[3]]
    assert source.state_tensors() == {}


def test_answers_can_be_learnt_from_twice_and_across_a_checkpoint(
    make_source: Callable[..., tuple[RolloutSource, Writer, list[dict[str, Any]]]],
) -> None:
    settings = {"iterations": 2, "logps": lambda batch: torch.full(batch.targets.shape, -1.0)}
    source, writer, _ = make_source(**settings)
    first = source.batch(2)
    assert source.batch(3) is first
    assert first.old_logp is not None
    assert (first.old_logp == -1).all()
    restored, second, _ = make_source(**settings)
    restored.restore(source.state_tensors())
    again = restored.batch(3)
    assert restored.stats() == source.stats() != {}
    assert len(writer.calls) == 1
    assert second.calls == []
    for name, value in vars(first).items():
        other = getattr(again, name)
        assert torch.equal(other, value) if isinstance(value, torch.Tensor) else other == value
    restored.batch(4)
    assert len(second.calls) == 1


def test_the_targets_are_the_answer_alone() -> None:
    groups = [[Completion([7, 8], ""), Completion([9], "")]]
    batch = build_grpo_batch([Prompt([1, 2, 3], {})], groups, torch.zeros(2), CPU)
    assert batch.targets.tolist()[0] == [IGNORED, IGNORED, 7, 8]
    assert batch.targets.tolist()[1][2] == 9


@pytest.mark.parametrize(("prompt", "answer"), [([], [1]), ([1], [])])
def test_what_makes_no_row_is_refused(prompt: list[int], answer: list[int]) -> None:
    with pytest.raises(ValueError, match="without ids"):
        build_grpo_batch([Prompt(prompt, {})], [[Completion(answer, "")]], torch.zeros(1), CPU)


def test_a_source_that_cannot_compare_is_refused(
    make_source: Callable[..., tuple[RolloutSource, Writer, list[dict[str, Any]]]],
) -> None:
    with pytest.raises(UsageError, match="groups of 1"):
        make_source(group_size=1)
    with pytest.raises(UsageError, match="no prompts"):
        RolloutSource([], Writer(), lambda _: [], seed=0, prompts_per_step=1, group_size=2, device=CPU)
    source, _, _ = make_source(iterations=2)
    with pytest.raises(ValueError, match="log-probabilities"):
        source.batch(0)


def test_a_trainer_learns_the_same_in_micro_batches(
    make_source: Callable[..., tuple[RolloutSource, Writer, list[dict[str, Any]]]],
    make_recipe: Callable[..., Recipe],
    make_rows: Callable[..., Any],
    tiny_model: Transformer,
) -> None:
    weights = []
    for rows in (1, 100):
        model = Transformer(tiny_model.config)
        model.load_state_dict(tiny_model.state_dict())
        source = make_source()[0]
        trainer = Trainer(
            model,
            make_rows(),
            make_recipe(lr=0.01),
            micro_batch_rows=rows,
            objective=Grpo(beta=0),
            source=source,
        )
        results = [trainer.train_step() for _ in range(3)]
        trainer.close()
        assert results[0].stats["ratio"] == 1
        assert results[2].stats["reward"] == source.stats()["reward"]
        weights.append(torch.cat([one.detach().flatten() for one in model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-5)
