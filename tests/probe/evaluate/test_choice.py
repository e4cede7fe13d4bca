"""What is chosen, beside lm-evaluation-harness's lines written out."""

import random

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.probe.evaluate.choice import Likelihood, choose


def test_choices_are_those_of_the_harness() -> None:
    # lm_eval/api/task.py: np.argmax(lls), np.argmax(lls / completion_len), np.argmax(lls / byte_length)
    generator = random.Random(0)
    for _ in range(200):
        texts = ["".join(generator.choices("abé€", k=generator.randint(1, 9))) for _ in range(4)]
        lls = np.array([-generator.random() * 10 for _ in texts])
        verdict = choose([Likelihood(one, 1, False) for one in lls], texts)
        assert verdict.acc == np.argmax(lls)
        assert verdict.acc_norm == np.argmax(lls / np.array([float(len(one)) for one in texts]))
        assert verdict.acc_bytes == np.argmax(lls / np.array([float(len(one.encode())) for one in texts]))


def test_of_equal_choices_the_first_counts() -> None:
    same = [Likelihood(-1.0, 1, False)] * 3
    assert choose(same, ["a", "b", "c"]).acc == 0


def test_an_empty_choice_is_refused() -> None:
    with pytest.raises(DataError, match="empty"):
        choose([Likelihood(-1.0, 1, False)] * 2, ["a", ""])
