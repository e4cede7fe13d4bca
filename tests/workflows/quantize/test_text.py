from pathlib import Path

import pytest
from torch import Tensor

from llmkit.errors import DataError
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.quantize.text import choose_rows

TEXT = (Path(__file__).parents[3] / "LICENSE").read_text()


@pytest.fixture
def tokenizer(byte_level_dir: Path) -> Tokenizer:
    return load_tokenizer(byte_level_dir)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def chosen(text: Path, tokenizer: Tokenizer, counts: list[int], seed: int = 0) -> list[Tensor]:
    return choose_rows([text], tokenizer, seq_len=16, counts=counts, seed=seed, vocab_size=1000)


def test_rows_of_two_kinds_have_none_in_common_and_stand_as_in_the_text(
    text: Path, tokenizer: Tokenizer
) -> None:
    whole = [tokenizer.bos_id, *tokenizer.encode(TEXT)]
    places = {tuple(whole[begin : begin + 16]): begin for begin in range(0, len(whole) - 15, 16)}
    one, other = chosen(text, tokenizer, [20, 10])
    found = [[places[tuple(row)] for row in rows.tolist()] for rows in (one, other)]
    assert (len(found[0]), len(found[1])) == (20, 10)
    assert not set(found[0]) & set(found[1])
    assert found[0] == sorted(found[0]) and max(found[0]) > 3 * 20 * 16  # from all over


def test_a_seed_decides_which(text: Path, tokenizer: Tokenizer) -> None:
    first, again, other = (chosen(text, tokenizer, [5], seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_a_short_text_is_shared_out_and_one_shorter_than_a_row_each_is_refused(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    short = tmp_path / "short.txt"
    short.write_text(TEXT[:400])
    one, other = chosen(short, tokenizer, [1000, 500])
    assert len(one) + len(other) == (len(tokenizer.encode(TEXT[:400])) + 1) // 16
    assert len(one) >= len(other) >= 1
    short.write_text("too few")
    with pytest.raises(DataError, match=r"short\.txt: 0 tokens in whole rows of 16"):
        chosen(short, tokenizer, [4, 4])


def test_ids_that_the_model_does_not_have_are_refused(text: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="the model has 100"):
        choose_rows([text], tokenizer, seq_len=16, counts=[9], seed=0, vocab_size=100)
