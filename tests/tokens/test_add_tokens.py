"""More special tokens."""

import json
from pathlib import Path

import pytest
import tokenizers

from llmkit.errors import UsageError
from llmkit.tokens.add_tokens import add_tokens
from llmkit.tokens.config import TrainTokenizerConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.train import train_tokenizer

TEXT = "one call and its end, one more call"


@pytest.fixture(scope="module")
def plain() -> Tokenizer:
    return train_tokenizer(iter([TEXT] * 3), TrainTokenizerConfig(vocab_size=280)).tokenizer


def test_new_tokens_come_last_and_are_one_id_each(plain: Tokenizer) -> None:
    grown = add_tokens(plain, ["<|call|>", "<|ends|>"])
    assert grown.vocab_size == plain.vocab_size + 2
    assert grown.encode("<|call|>one<|ends|>") == [
        plain.vocab_size, *plain.encode("one"), plain.vocab_size + 1,
    ]  # fmt: skip
    assert grown.encode(TEXT) == plain.encode(TEXT)
    assert grown.sha256 != plain.sha256 and plain.id_of("<|call|>") is None


def test_transformers_and_tokenizers_read_them_back(plain: Tokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    listed = Tokenizer(plain.backend, {**plain.config, "added_tokens_decoder": {}}, plain.chat_template)
    add_tokens(listed, ["<|call|>"]).save(tmp_path)
    expected = [plain.vocab_size, *plain.encode("and")]
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert backend.encode("<|call|>and", add_special_tokens=False).ids == expected
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.encode("<|call|>and", add_special_tokens=False) == expected
    assert load_tokenizer(tmp_path).encode("<|call|>and") == expected
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["added_tokens_decoder"][str(plain.vocab_size)]["content"] == "<|call|>"


@pytest.mark.parametrize("texts", [["<|im_end|>"], ["<|new|>", "<|new|>"], [""]])
def test_what_is_a_token_already_is_refused(plain: Tokenizer, texts: list[str]) -> None:
    with pytest.raises(UsageError, match="--add-token"):
        add_tokens(plain, texts)
