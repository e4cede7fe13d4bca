"""Prompts as rows, of which nothing is learnt."""

import numpy as np

from llmkit.train.rollout import Prompt
from llmkit.workflows.finetune.data import PromptRows


def test_prompts_are_read_in_the_order_asked_for_and_teach_nothing() -> None:
    rows = PromptRows([Prompt([1, 2, 3], {}), Prompt([4], {}), Prompt([5, 6], {})])
    assert len(rows) == 3
    read = rows.read(np.array([2, 0]))
    assert read.tokens.tolist() == [[5, 6, 0], [1, 2, 3]]
    assert read.segments.tolist() == [[0, 0, -1], [0, 0, 0]]
    assert not read.loss.any()
