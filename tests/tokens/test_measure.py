"""What a vocabulary makes of text, against encoding the text itself."""

from pathlib import Path

import pytest

from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.measure import measure_parts, measure_words
from llmkit.tokens.reservoir import Part
from llmkit.tokens.train import Trained, train_tokenizer

LICENSE = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
TEXT = LICENSE + "  grüße, 東京 🙂\n\n" * 3


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def trained(request: pytest.FixtureRequest) -> Trained:
    return train_tokenizer(iter([TEXT]), TrainTokenizerConfig(type=request.param, vocab_size=700))


def test_all_words_together_are_the_text(trained: Trained) -> None:
    ids = trained.tokenizer.encode(TEXT)
    measure = measure_words(trained.tokenizer, trained.words)
    assert (measure.tokens, measure.bytes) == (len(ids), len(TEXT.encode()))
    assert measure.used == set(ids)


def test_parts_are_counted_by_their_source(trained: Trained) -> None:
    texts = {"a": ["the License", " grants"], "b": ["東京"]}
    parts = [Part(text.encode(), source) for source, several in texts.items() for text in several]
    measured = measure_parts(trained.tokenizer, parts)
    for source, several in texts.items():
        assert measured[source].tokens == sum(len(trained.tokenizer.encode(text)) for text in several)
        assert measured[source].bytes == sum(len(text.encode()) for text in several)


def test_what_looks_like_a_special_token_is_measured_as_text(trained: Trained) -> None:
    (tally,) = measure_parts(trained.tokenizer, [Part(b"<|endoftext|>", "a")]).values()
    assert tally.tokens > 1
