"""How much all the input is, by its beginning."""

import random
from pathlib import Path

import pytest
import zstandard

from llmkit.workflows.input_sample import SAMPLE_BYTES, InputSample


def test_input_that_is_all_in_the_sample_is_not_scaled() -> None:
    sample = InputSample()
    assert all(sample.takes(b"x" * 1000) for _ in range(1000))
    assert sample.scale([Path("a.jsonl")], 5 * 10**6) == 1.0


def test_the_rest_is_scaled_up_from_the_first_megabyte() -> None:
    sample = InputSample()
    taken = 0
    while sample.takes(b"x" * 1000):
        taken += 1000
    assert SAMPLE_BYTES <= taken < SAMPLE_BYTES + 1000
    assert sample.scale([Path("a.jsonl")], 10 * taken) == 10.0
    assert sample.scale([Path("a.jsonl")], taken // 2) == 1.0


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.jsonl.gz"])
def test_of_a_compressed_file_the_sample_counts_as_compressed(name: str) -> None:
    rng = random.Random(0)
    sample, lines = InputSample(), []
    while sample.takes(line := bytes(rng.choices(b"abcdefgh", k=1000))):
        lines.append(line)
    size = len(zstandard.ZstdCompressor(level=3).compress(b"".join(lines)))
    assert sample.scale([Path("b.txt"), Path(name)], 3 * size) == 3.0
