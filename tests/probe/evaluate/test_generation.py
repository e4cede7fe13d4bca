"""pass@k by going through all choices of k samples."""

from itertools import combinations

import pytest

from llmkit.errors import UsageError
from llmkit.probe.evaluate.generation import check_ks, pass_at_k


def test_pass_at_k_is_the_share_of_choices_of_k_samples_that_have_a_right_one() -> None:
    for n in range(1, 8):
        for right in range(n + 1):
            samples = [True] * right + [False] * (n - right)
            for k in range(1, n + 1):
                choices = list(combinations(samples, k))
                assert pass_at_k(n, right, k) == pytest.approx(
                    sum(map(any, choices)) / len(choices), abs=1e-12
                )


@pytest.mark.parametrize(("n", "right", "k"), [(3, 4, 1), (3, 1, 4), (3, 1, 0)])
def test_what_cannot_be_estimated_is_refused(n: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match="of 3 right"):
        pass_at_k(n, right, k)
    with pytest.raises(UsageError, match="--pass-at 4"):
        check_ks([1, 4], 3)
