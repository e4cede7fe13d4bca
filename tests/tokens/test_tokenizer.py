"""The tokenizer's own promises; its ids are compared with other libraries in test_load.py."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models

from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer, token_content


@pytest.fixture(scope="module")
def tokenizer(byte_level_dir: Path) -> Tokenizer:
    return load_tokenizer(byte_level_dir)


def test_bytes_of_the_tokens_are_the_bytes_of_the_text(tokenizer: Tokenizer) -> None:
    text = "Licence — Ünï\r\n\t日本 🤖 \x00\x7f"
    ids = tokenizer.encode(text)
    assert b"".join(tokenizer.token_bytes(one) for one in ids) == text.encode()
    assert tokenizer.decode(np.array(ids)) == text


def test_special_tokens_stand_for_their_own_text(tokenizer: Tokenizer) -> None:
    end = tokenizer.eos_id
    assert end is not None and tokenizer.token_bytes(end) == b"<|endoftext|>"
    assert tokenizer.decode([end]) == "<|endoftext|>"
    assert tokenizer.decode([end], skip_special=True) == ""


def test_an_id_that_no_token_has_is_nothing(tokenizer: Tokenizer) -> None:
    beyond = tokenizer.vocab_size + 5
    assert tokenizer.token_bytes(beyond) == b"" and tokenizer.token_text(beyond) == ""
    assert tokenizer.decode([beyond]) == ""


def test_vocab_size_counts_gaps(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 9}, unk_token="a"))
    assert Tokenizer(backend).vocab_size == 10
    assert Tokenizer(tokenizers.Tokenizer(tokenizers.models.BPE())).vocab_size == 0


def test_the_digest_is_of_the_file_that_save_writes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    content = (tmp_path / "tokenizer.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == tokenizer.sha256
    made = Tokenizer(tokenizer.backend)
    made.save(tmp_path / "made")
    content = (tmp_path / "made" / "tokenizer.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == made.sha256


def test_a_saved_template_stands_in_both_places(tokenizer: Tokenizer, tmp_path: Path) -> None:
    Tokenizer(tokenizer.backend, {"eos_token": "<|endoftext|>"}, "a\r\nb\n").save(tmp_path)
    assert (tmp_path / "chat_template.jinja").read_bytes() == b"a\r\nb\n"
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["chat_template"] == "a\r\nb\n"


def test_special_tokens_of_a_config_are_text_or_objects() -> None:
    assert token_content("<s>") == token_content({"content": "<s>"}) == "<s>"
    assert token_content(None) is None and token_content({}) is None


def test_byte_lengths_are_those_of_the_text_and_none_for_special_tokens(tokenizer: Tokenizer) -> None:
    text = "Licence — 日本 🤖"
    assert tokenizer.byte_lengths[tokenizer.encode(text)].sum() == len(text.encode())
    assert tokenizer.byte_lengths[tokenizer.eos_id] == 0
    assert len(tokenizer.byte_lengths) == tokenizer.vocab_size


@pytest.mark.parametrize("prepended", [False, True])
def test_added_tokens_are_the_bytes_that_the_library_decodes(prepended: bool) -> None:
    # as in Gemma's files: runs of spaces are in the vocabulary, and added beside it
    vocabulary = {"<unk>": 0, "x": 1, "▁▁": 2, "▁": 3, "▁▁▁▁": 4, "<0x41>": 5, "<0xE6>": 6}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, [("▁", "▁"), ("▁▁", "▁▁")], byte_fallback=True))
    steps = [decoders.Metaspace() if prepended else decoders.Replace("▁", " "), decoders.ByteFallback()]
    backend.decoder = decoders.Sequence([*steps, decoders.Fuse()])
    backend.add_tokens(
        [tokenizers.AddedToken(one, normalized=False) for one in ("▁▁", "▁▁▁▁", "<0x41>", "é")]
    )
    backend.add_special_tokens(["<end>"])
    tokenizer = Tokenizer(backend)
    for name in ("▁▁", "▁▁▁▁", "<0x41>", "é", "▁", "x"):
        middle = backend.token_to_id(name)
        ids = [1, middle, 1]
        content = b"".join(map(tokenizer.token_bytes, ids))
        assert content.decode() == backend.decode(ids)
        assert tokenizer.byte_lengths[ids].sum() == len(content)
    assert tokenizer.byte_lengths[backend.token_to_id("<end>")] == 0


def test_added_tokens_of_a_byte_level_vocabulary_are_their_own_text(tokenizer: Tokenizer) -> None:
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.add_tokens(["<think>", "▁▁"])
    made = Tokenizer(backend)
    assert [made.token_bytes(made.encode(one)[0]) for one in ("<think>", "▁▁")] == [b"<think>", "▁▁".encode()]


def test_templates_by_name_begin_with_the_usual_one(tokenizer: Tokenizer) -> None:
    assert tokenizer.with_template("{{ x }}").templates == {"default": "{{ x }}"}
    plain = Tokenizer(tokenizer.backend, named_templates={"tool_use": "T"})
    assert (plain.templates, plain.chat_template) == ({"tool_use": "T"}, None)
    both = Tokenizer(tokenizer.backend, chat_template="D", named_templates={"tool_use": "T"})
    assert [*both.templates.items()] == [("default", "D"), ("tool_use", "T")]


def test_a_template_for_tools_is_all_that_a_tokenizer_with_it_has(tokenizer: Tokenizer) -> None:
    made = Tokenizer(tokenizer.backend, None, "plain", named_templates={"tool_use": "tools", "rag": "rag"})
    assert (made.for_tools.chat_template, made.for_tools.named_templates) == ("tools", {})
    assert made.for_tools.for_tools.chat_template == "tools" and made.chat_template == "plain"
    assert made.with_template("other").for_tools.chat_template == "other"
    assert tokenizer.for_tools is tokenizer
