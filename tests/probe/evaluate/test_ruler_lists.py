"""RULER's tracking and counting: the answers are what a count of the prompt finds."""

import random
import re
from collections import Counter

import pytest

from llmkit.probe.evaluate.ruler_lists import LEAST_PIECES, LISTS


def test_the_variables_of_a_chain_are_all_that_lead_to_the_value() -> None:
    for count in (1, 3, 30):
        hidden = LISTS["vt"](random.Random(count), 4096)(count)
        asked = hidden.prompt.rpartition("assigned the value ")[2].split()[0]
        text = hidden.prompt.rpartition("Memorize and track")[2]
        known = {name for name, value in re.findall(r"VAR (\w+) = (\d+)", text) if value == asked}
        for name, other in re.findall(r"VAR (\w+) = VAR (\w+)", text):
            known |= {name} if other in known else set()
        assert known == set(hidden.answers) and len(known) == 5
        assert f"above, 5 variables are assgined the value {asked}" in hidden.prefix
        assert hidden.prompt.count("Memorize and track") == 2  # an example stands before it


@pytest.mark.parametrize(("length", "often", "seldom"), [(2048, 6, 1), (8192, 30, 3)])
def test_the_ten_common_words_are_the_most_common(length: int, often: int, seldom: int) -> None:
    hidden = LISTS["cwe"](random.Random(1), length)(40)
    listed = hidden.prompt.rpartition("appear most often.\n")[2].partition("\nQuestion")[0]
    counts = Counter(re.findall(r"\d+\. (\S+)", listed))
    assert {word for word, _ in counts.most_common(10)} == set(hidden.answers)
    assert set(counts.values()) == {often, seldom}
    assert len(counts) == 40


def test_the_three_frequent_words_are_the_most_frequent_after_the_dots() -> None:
    for count in (LEAST_PIECES["fwe"], 300):
        hidden = LISTS["fwe"](random.Random(2), 4096)(count)
        words = hidden.prompt.partition("coded words. ")[2].partition("\nQuestion")[0].split()
        counts = Counter(words)
        # Zipf: the k-th is n · k^-2 / ζ(2), and ζ(2) is the sum of k^-2
        zeta = sum(k**-2 for k in range(1, 1_000_000))
        assert counts["..."] == int(count / zeta)
        for rank, word in enumerate(hidden.answers, 2):
            assert counts[word] == int(count * rank**-2 / zeta) > 0
        assert (
            max(counts[word] for word in counts if word not in ("...", *hidden.answers[:2]))
            == counts[hidden.answers[2]]
        )


@pytest.mark.parametrize("name", list(LISTS))
def test_a_seed_makes_the_same_bytes_and_more_hay_more_text(name: str) -> None:
    build, again = (LISTS[name](random.Random(7), 4096) for _ in range(2))
    assert build(60) == again(60)
    assert len(build(61).prompt) >= len(build(60).prompt)
