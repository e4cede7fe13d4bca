"""Tokenizers read from GGUF keys give the ids of the files they were made from; damage is told by its key."""

from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError, DataError
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.values import Typed
from llmkit.tokens.gguf.read import gguf_tokenizer
from llmkit.tokens.gguf.vocabulary import gguf_stop_ids
from llmkit.tokens.gguf.write import gguf_tokenizer_metadata
from llmkit.tokens.infill import infill_form_of
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.ordinary import ordinary_backend
from llmkit.tokens.pieces import byte_characters

TEXTS = ["Hello, world! It's 2026.", "  a  b\n\n\tc ", "Ünïcödé — 日本語 🤖", "<s>x</s> y<unk>", ""]


def byte_level_keys(**changed: Any) -> dict[str, Any]:
    """Bytes, `he`, and two special tokens; keys without `tokenizer.ggml.`."""
    tokens = [*byte_characters(), "he", "<|end|>", "<tool>", "[PAD259]"]
    keys = {
        **{"model": "gpt2", "pre": "gpt-2", "tokens": tokens, "merges": ["h e"]},
        **{"token_type": [1] * 257 + [3, 4, 5], "eos_token_id": 257},
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (keys | changed).items() if value is not None}


def test_a_published_vocabulary_gives_the_ids_of_its_folder(shared_data: Path) -> None:
    file = shared_data / "tokenizers" / "gguf" / "ggml-vocab-llama-spm.gguf"
    metadata = read_gguf_header(file, keep_arrays=True).metadata
    ours, folder = gguf_tokenizer(metadata, file.name), load_tokenizer(shared_data / "tokenizers" / "llama2")
    for text in TEXTS:
        assert ours.encode(text, special_tokens=True) == folder.encode(text, special_tokens=True)
        assert ours.decode(ours.encode(text)) == folder.decode(folder.encode(text))
    assert (ours.bos_id, ours.eos_id, ours.vocab_size) == (1, 2, 32_000)
    assert gguf_stop_ids(metadata, file.name) == (2,)


def test_a_published_vocabulary_meets_the_recorded_ids(shared_data: Path) -> None:
    file = shared_data / "tokenizers" / "gguf" / "ggml-vocab-llama-spm.gguf"
    ours = ordinary_backend(gguf_tokenizer(read_gguf_header(file, keep_arrays=True).metadata, file.name))
    parity = shared_data / "tokenizers" / "parity" / "llama-spm.gguf"
    cases = Path(f"{parity}.inp").read_text("utf-8").split("\n__ggml_vocab_test__\n")
    expected = Path(f"{parity}.out").read_text("utf-8").splitlines()
    assert len(expected) > 30
    for case, line in zip(cases, expected, strict=False):
        assert ours.encode(case, add_special_tokens=False).ids == [int(word) for word in line.split()]


def test_control_tokens_are_special_user_defined_ones_are_not_and_unused_ones_are_none() -> None:
    ours = gguf_tokenizer(byte_level_keys(), "a.gguf")
    h, e = byte_characters().index("h"), byte_characters().index("e")
    assert (h, e) == (104, 101)
    assert ours.encode("hehe<|end|><tool>") == [256, 256, 257, 258]
    assert ordinary_backend(ours).encode("<tool>").ids == [258]
    assert 257 not in ordinary_backend(ours).encode("<|end|>").ids
    assert ours.decode([256, 257, 258], skip_special=True) == "he<tool>"
    assert ours.token_text(259) == ""
    assert ours.encode("[PAD259]") == [ord(one) for one in "[PAD259]"]


def test_bos_and_eos_go_around_a_text_as_the_file_says() -> None:
    keys = byte_level_keys(add_bos_token=True, add_eos_token=True, bos_token_id=258)
    assert gguf_tokenizer(keys, "a.gguf").encode("h", special_tokens=True) == [258, 104, 257]
    keys = byte_level_keys(
        pre="llama-bpe", bos_token_id=258
    )  # its models begin with bos if the file says nothing
    assert gguf_tokenizer(keys, "a.gguf").encode("h", special_tokens=True) == [258, 104]
    assert gguf_tokenizer(byte_level_keys(), "a.gguf").encode("h", special_tokens=True) == [104]


def test_a_bos_that_is_wanted_and_not_named_is_an_error() -> None:
    with pytest.raises(
        DataError, match=r"add_bos_token is true, but there is no tokenizer.ggml.bos_token_id"
    ):
        gguf_tokenizer(byte_level_keys(add_bos_token=True), "a.gguf")


def test_the_chat_template_comes_along() -> None:
    keys = byte_level_keys() | {"tokenizer.chat_template": "{{ messages[0].content }}"}
    assert gguf_tokenizer(keys, "a.gguf").chat_template == "{{ messages[0].content }}"


def test_what_ends_a_turn_stops_a_text() -> None:
    assert gguf_stop_ids(byte_level_keys(eos_token_id=0), "a.gguf") == (0, 257)  # <|end|> looks like it
    assert gguf_stop_ids(byte_level_keys(eot_token_id=258, eos_token_id=0), "a.gguf") == (0, 258, 257)
    unread = byte_level_keys(eos_token_id=0, pre="of-tomorrow")  # nor does it matter how text is cut
    assert gguf_stop_ids(unread, "a.gguf") == (0, 257)


def test_phi_3s_tokens_take_the_white_space_after_them() -> None:
    keys = byte_level_keys()
    assert gguf_tokenizer(keys, "a.gguf").encode("<|end|>\nh") == [257, 10, 104]
    assert gguf_tokenizer(keys | {"general.name": "My Phi-3"}, "a.gguf").encode("<|end|>\nh") == [257, 104]


def test_a_token_that_is_there_twice_is_refused() -> None:
    keys = byte_level_keys()
    keys["tokenizer.ggml.tokens"][258] = "he"
    with pytest.raises(DataError, match=r"a.gguf: tokenizer.ggml.tokens has 'he' twice \(ids 256 and 258\)"):
        gguf_tokenizer(keys, "a.gguf")


def test_merges_of_another_model_are_refused() -> None:
    with pytest.raises(DataError, match=r"a.gguf: the tokenizers library refuses this tokenizer"):
        gguf_tokenizer(byte_level_keys(merges=["h h"]), "a.gguf")


def test_an_unknown_cut_is_named() -> None:
    with pytest.raises(ConfigError, match=r"a.gguf: tokenizer.ggml.pre is 'kimi-k2', a way of cutting text"):
        gguf_tokenizer(byte_level_keys(pre="kimi-k2"), "a.gguf")


def test_named_templates_are_read() -> None:
    keys = byte_level_keys() | {
        "tokenizer.chat_template": "plain",
        "tokenizer.chat_template.tool_use": "tools",
    }
    ours = gguf_tokenizer(keys, "a.gguf")
    assert (ours.chat_template, ours.named_templates) == ("plain", {"tool_use": "tools"})


def test_the_marks_of_a_gap_are_those_that_the_keys_name_and_are_written_again() -> None:
    marks = {"fim_pre_token_id": 258, "fim_suf_token_id": 257, "fim_mid_token_id": 256}
    ours = gguf_tokenizer(byte_level_keys(**marks), "a.gguf")
    form = infill_form_of(ours)
    assert form is not None and form.ids([1], [2]) == [258, 1, 257, 2, 256]
    written = gguf_tokenizer_metadata(ours)
    assert {key: written[f"tokenizer.ggml.{key}"] for key in marks} == {
        key: Typed("u32", index) for key, index in marks.items()
    }
