"""What training takes: the arithmetic by hand, and a training whose memory is known."""

import subprocess
import sys

import pytest

from llmkit.tokens.growth import Growth
from llmkit.tokens.training_cost import (
    BASE_BYTES,
    measure_symbols,
    training_memory_bytes,
    training_seconds,
)

GROWTH = Growth(text_bytes=1_000, symbols=500, power=1.0)


def test_memory_is_a_base_and_so_much_for_each_symbol_and_what_is_held() -> None:
    assert training_memory_bytes("bpe", GROWTH, 2_000, 0) == BASE_BYTES + 160 * 1000
    assert training_memory_bytes("bpe", GROWTH, 2_000, 77) == BASE_BYTES + 160 * 1000 + 77
    assert training_memory_bytes("unigram", GROWTH, 1_000, 0) == BASE_BYTES + 500 * 500


def test_time_is_counting_on_all_cores_and_then_learning() -> None:
    assert training_seconds("bpe", GROWTH, 5_000_000, 2) == pytest.approx(1 + 4e-6 * 2_500_000)
    assert training_seconds("bpe", GROWTH, 5_000_000, 1) == pytest.approx(2 + 4e-6 * 2_500_000)


def test_bpe_is_made_of_bytes_and_unigram_of_characters() -> None:
    assert measure_symbols("bpe", ["äöü"]).symbols == 6
    assert measure_symbols("unigram", ["äöü"]).symbols == 3


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_the_prediction_is_no_less_than_training_takes_and_not_twice_as_much(kind: str) -> None:
    # 20,000 different words of six letters and a space: 140,000 symbols
    script = f"""
import random
from llmkit.machine import peak_memory_bytes
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.parts import cut_parts
from llmkit.tokens.train import train_tokenizer
from llmkit.tokens.training_cost import measure_symbols, training_memory_bytes
chance = random.Random(0)
text = "".join(" " + "".join(chance.choices("abcdefghijklmnop", k=6)) for _ in range(20_000))
parts = list(cut_parts([text]))
train_tokenizer(iter(parts), TrainTokenizerConfig(type="{kind}", vocab_size=2000))
peak = peak_memory_bytes()
growth = measure_symbols("{kind}", parts)
print(training_memory_bytes("{kind}", growth, len(text), 0) / peak)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 0.9 < float(done.stdout) < 2
