"""Tokenizers opened from every form give the ids of the libraries that the forms belong to."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.formats.streams import open_input
from llmkit.tokens.chat import render_chat
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.ordinary import ordinary_backend
from llmkit.tokens.tokenizer import Tokenizer

TEXTS = [
    "Hello, world! It's 2026: we'll see 12345 things.",
    "  spaces   and\n\nnewlines\t\ttabs  \n ",
    "Ünïcödé — 日本語のテキスト 🤖🏳️‍🌈 مرحبا",
    "def f(x):\n    return x**2  # squares\n",
    "",
    "DON'T SHOUT i'Ve",
    "<s>between</s> special<|endoftext|>tokens",
]
PLACES = {
    "r50k_base": "tokenizers/tiktoken/r50k_base.tiktoken",
    "cl100k_base": "tokenizers/tiktoken/cl100k_base.tiktoken",
    "gpt2": "tokenizers/gpt2",
    "llama2": "tokenizers/llama2",
    "llama2-sentencepiece": "tokenizers/llama2/tokenizer.model",
    "sentencepiece-unigram-1k": "tokenizers/sentencepiece-unigram-1k",
    "phi-3-mini": "tokenizers/phi-3-mini",
    "qwen2": "tokenizers/qwen2",
    "t5-small": "tokenizers/t5-small",
    "stories260K": "models/stories260K/tokenizer.model",
}


@functools.cache
def _open(path: Path) -> Tokenizer:
    return load_tokenizer(path)


_ordinary_backend = functools.cache(ordinary_backend)  # of a unigram model it is a copy: a tenth of a second


def _ordinary(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(_ordinary_backend(tokenizer).encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("name", PLACES)
def test_recorded_ids_are_met(shared_data: Path, name: str) -> None:
    tokenizer = _open(shared_data / PLACES[name])
    golden = shared_data / "tokenizers" / "parity" / "golden.jsonl"
    rows = [json.loads(line) for line in golden.read_text("utf-8").splitlines()]
    cases = [row for row in rows if row["tokenizer"] == name]
    assert len(cases) > 30
    for row in cases:
        if (name, row["case"]) == ("sentencepiece-unigram-1k", "special-looking"):
            continue  # `tokenizers` has control pieces among a unigram model's pieces, and finds <s> in text
        assert _ordinary(tokenizer, row["text"]) == row["ids"], row["case"]


@pytest.mark.parametrize(
    ("name", "parity"),
    [
        ("gpt2", "gpt-2"),
        ("llama2", "llama-spm"),
        ("llama2-sentencepiece", "llama-spm"),
        ("phi-3-mini", "phi-3"),
        ("qwen2", "qwen2"),
    ],
)
def test_ids_equal_llama_cpps(shared_data: Path, name: str, parity: str) -> None:
    folder = shared_data / "tokenizers" / "parity"
    cases = (folder / f"{parity}.gguf.inp").read_text("utf-8").split("\n__ggml_vocab_test__\n")
    expected = (folder / f"{parity}.gguf.out").read_text("utf-8").splitlines()
    tokenizer = _open(shared_data / PLACES[name])
    assert len(cases) >= len(expected) > 30
    for case, ids in zip(cases, expected, strict=False):
        assert _ordinary(tokenizer, case) == [int(word) for word in ids.split()], case


@pytest.mark.parametrize(
    "file", ["text/gutenberg/en-alice.txt.zst", "text/multilingual/genesis-german.txt.zst"]
)
def test_a_book_has_the_recorded_number_of_tokens(shared_data: Path, file: str) -> None:
    with open_input(shared_data / file) as stream:
        text = stream.read().decode()
    counts = json.loads((shared_data / "tokenizers" / "parity" / "token-counts.json").read_text())[file]
    for name in sorted(counts.keys() & PLACES.keys()):
        assert len(_ordinary(_open(shared_data / PLACES[name]), text)) == counts[name], name


@pytest.mark.parametrize("name", ["r50k_base", "cl100k_base"])
def test_a_rank_table_gives_tiktokens_ids_on_real_text(shared_data: Path, name: str) -> None:
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    path = shared_data / PLACES[name]
    words = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
    if name == "cl100k_base":
        words = (
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
            r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
        )
    ranks = load_tiktoken_bpe(str(path))
    theirs = tiktoken.Encoding(name, pat_str=words, mergeable_ranks=ranks, special_tokens={})
    ours = _open(path)
    for file in ("tinyshakespeare.txt.zst", "ja-wagahai.txt.zst", "gutenberg/fi-kalevala.txt.zst"):
        with open_input(shared_data / "text" / file) as stream:
            text = stream.read(150_000).decode(errors="ignore")
        ids = _ordinary(ours, text)
        assert ids == theirs.encode_ordinary(text)
        assert b"".join(map(ours.token_bytes, ids)) == text.encode()


@pytest.mark.parametrize("name", ["llama2-sentencepiece", "stories260K", "sentencepiece-unigram-1k"])
def test_a_sentencepiece_model_gives_sentencepieces_ids_on_real_text(shared_data: Path, name: str) -> None:
    import sentencepiece

    ours = _open(shared_data / PLACES[name])
    path = shared_data / PLACES[name]
    theirs = sentencepiece.SentencePieceProcessor(
        model_file=str(path / "tokenizer.model" if path.is_dir() else path)
    )
    for file in ("tinyshakespeare.txt.zst", "ja-wagahai.txt.zst", "gutenberg/de-verwandlung.txt.zst"):
        with open_input(shared_data / "text" / file) as stream:
            text = stream.read(60_000).decode(errors="ignore")
        assert _ordinary(ours, text) == theirs.encode(text)
    text = "Once upon a time, there was a 小さい bear.\n"
    if name != "sentencepiece-unigram-1k":  # it has no bytes to fall back to
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text))


@pytest.mark.parametrize("folder", ["gpt2", "llama2", "phi-3-mini", "t5-small"])
def test_a_folder_gives_transformers_ids(shared_data: Path, folder: str) -> None:
    from transformers import PreTrainedTokenizerFast

    # not AutoTokenizer: of Llama's file it takes the vocabulary only, and reads leading spaces in a way of
    # its own, which neither SentencePiece nor llama.cpp shares
    path = shared_data / "tokenizers" / folder
    ours, theirs = _open(path), PreTrainedTokenizerFast.from_pretrained(path)
    for text in TEXTS:
        assert ours.encode(text, special_tokens=True) == theirs(text).input_ids, text
        assert ours.encode(text) == theirs(text, add_special_tokens=False).input_ids, text
    assert ours.vocab_size == max(theirs.get_vocab().values()) + 1
    assert (ours.bos_id, ours.eos_id) == (theirs.bos_token_id, theirs.eos_token_id)


@pytest.mark.parametrize("name", ["gpt2", "llama2-sentencepiece", "qwen2", "cl100k_base", "t5-small"])
def test_what_is_saved_opens_in_transformers_with_the_same_ids(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    from transformers import AutoTokenizer

    ours = _open(shared_data / PLACES[name])
    ours.save(tmp_path)
    again, theirs = load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert again.sha256 == ours.sha256
    for text in TEXTS:
        assert theirs(text).input_ids == ours.encode(text, special_tokens=True), text
        assert again.encode(text) == ours.encode(text), text
    assert theirs.eos_token_id == again.eos_id == ours.eos_id
    assert again.chat_template == theirs.chat_template == ours.chat_template


def test_gpt2s_older_form_is_the_same_tokenizer(shared_data: Path, tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(shared_data / "tokenizers" / "gpt2" / name, tmp_path)
    for path in (tmp_path, tmp_path / "vocab.json", tmp_path / "merges.txt"):
        older = load_tokenizer(path)
        assert [older.encode(text) for text in TEXTS] == [
            _open(shared_data / PLACES["gpt2"]).encode(text) for text in TEXTS
        ]
        assert older.eos_id == 50_256


def test_qwens_special_tokens_are_where_its_config_says(shared_data: Path) -> None:
    tokenizer = _open(shared_data / PLACES["qwen2"])
    assert tokenizer.encode("<|im_start|>user") == [151_644, 872]
    assert tokenizer.token_bytes(151_645) == b"<|im_end|>"
    assert tokenizer.pad_id == tokenizer.id_of("<|endoftext|>") == 151_643


@pytest.fixture
def folder(byte_level_dir: Path, tmp_path: Path) -> Path:
    """A copy of a small byte-level tokenizer, to change."""
    return Path(shutil.copytree(byte_level_dir, tmp_path / "tok"))


def _set(folder: Path, **changes: Any) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_special_tokens_may_be_text_or_objects(folder: Path) -> None:
    _set(folder, bos_token={"content": "<|im_start|>", "lstrip": False}, pad_token=None)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.token_text(tokenizer.bos_id or 0) == "<|im_start|>"
    assert tokenizer.token_text(tokenizer.eos_id or 0) == "<|endoftext|>"
    assert tokenizer.pad_id is None


def test_the_template_in_its_own_file_wins(folder: Path) -> None:
    _set(folder, chat_template=[{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}])
    assert load_tokenizer(folder).chat_template == "d"
    (folder / "chat_template.jinja").write_bytes(b"own\r\n")
    assert load_tokenizer(folder / "tokenizer.json").chat_template == "own\r\n"


def test_a_token_that_only_the_config_has_is_added_as_transformers_does(folder: Path) -> None:
    from transformers import AutoTokenizer

    size = load_tokenizer(folder).vocab_size
    more = {"content": "<tool>", "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    _set(folder, added_tokens_decoder={str(size): more}, pad_token="<pad>")
    tokenizer = load_tokenizer(folder)
    assert tokenizer.id_of("<tool>") == size
    assert tokenizer.pad_id == size + 1 == AutoTokenizer.from_pretrained(folder).pad_token_id
    assert tokenizer.encode("a<tool>") == AutoTokenizer.from_pretrained(folder)("a<tool>").input_ids


def test_a_config_of_another_tokenizer_is_refused(folder: Path) -> None:
    _set(folder, added_tokens_decoder={"5": {"content": "<|im_end|>"}})
    with pytest.raises(DataError, match=r"<\|im_end\|> has id 5, but 2 in tokenizer.json"):
        load_tokenizer(folder)


def test_truncation_and_padding_left_in_a_file_are_off(folder: Path) -> None:
    backend = load_tokenizer(folder).backend
    backend.enable_truncation(2)
    backend.enable_padding(length=50)
    backend.save(str(folder / "tokenizer.json"))
    assert 2 < len(load_tokenizer(folder).encode("a long enough text")) < 50


def test_damaged_files_are_refused_by_name(shared_data: Path, folder: Path, tmp_path: Path) -> None:
    bad = shared_data / "tokenizers" / "broken" / "llama2-bad-merges.tokenizer.json.zst"
    with pytest.raises(DataError, match=r"llama2-bad-merges.*refuses this tokenizer") as caught:
        load_tokenizer(bad)
    assert len(caught.value.problem) < 400
    whole = (shared_data / PLACES["llama2-sentencepiece"]).read_bytes()
    for cut in (0, 1, 1001, len(whole) // 2):
        (tmp_path / "tokenizer.model").write_bytes(whole[:cut])
        with pytest.raises(DataError, match="not a SentencePiece model"):
            load_tokenizer(tmp_path / "tokenizer.model")
    (tmp_path / "cl100k_base.tiktoken").write_text("IQ== 0\nnot-a-line\n")
    with pytest.raises(DataError, match=r"cl100k_base.tiktoken:2: not a token"):
        load_tokenizer(tmp_path / "cl100k_base.tiktoken")
    (folder / "tokenizer_config.json").write_text("[1]")
    with pytest.raises(DataError, match="not a JSON object"):
        load_tokenizer(folder)


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such tokenizer"):
        load_tokenizer(tmp_path / "none")
    with pytest.raises(MissingError, match=r"no tokenizer in this folder \(found: nothing\)"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(MissingError, match=r"merges.txt: no such file"):
        load_tokenizer(tmp_path)


def test_a_class_that_cuts_text_in_another_way_is_not_guessed(shared_data: Path, tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(shared_data / "tokenizers" / "gpt2" / name, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')
    with pytest.raises(ConfigError, match="how CLIPTokenizer cuts text"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("in_files", [False, True])
def test_a_template_called_tool_use_is_taken_with_tools_as_transformers_does(
    folder: Path, tmp_path: Path, in_files: bool
) -> None:
    from transformers import AutoTokenizer

    plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    named = {"default": plain, "rag": "documents", "tool_use": "TOOLS {{ tools | tojson }}\n" + plain}
    if in_files:
        _set(folder, chat_template="older")
        (folder / "additional_chat_templates").mkdir()
        for name, text in named.items():
            file = "chat_template" if name == "default" else f"additional_chat_templates/{name}"
            (folder / f"{file}.jinja").write_text(text)
    else:
        _set(folder, chat_template=[{"name": name, "template": text} for name, text in named.items()])
    ours = load_tokenizer(folder)
    assert ours.chat_template == plain
    ours.save(tmp_path / "saved")
    messages = [{"role": "user", "content": "hello"}]
    for place in (folder, tmp_path / "saved"):
        again, theirs = load_tokenizer(place), AutoTokenizer.from_pretrained(place)
        assert theirs.chat_template == named == {"default": again.chat_template, **again.named_templates}
        for tools in (None, [{"type": "function", "function": {"name": "f", "parameters": {}}}]):
            expected = theirs.apply_chat_template(messages, tools=tools, tokenize=False)
            assert render_chat(again, messages, tools=tools) == expected
            assert ("TOOLS" in expected) == (tools is not None)
    older = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())["chat_template"]
    assert {one["name"]: one["template"] for one in older} == named


def test_a_template_whose_name_is_a_path_is_refused(folder: Path) -> None:
    _set(folder, chat_template=[{"name": "default", "template": "d"}, {"name": "../x", "template": "x"}])
    with pytest.raises(DataError, match=r"'\.\./x'"):
        load_tokenizer(folder)
