"""What show says of tokenizers, compared with the tokenizers library and tiktoken."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from llmkit.errors import DataError
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.show.tokenizer import list_pieces, show_tokenizer


def test_gpt2_is_told_as_it_is(shared_data: Path) -> None:
    report = show_tokenizer(shared_data / "tokenizers" / "gpt2")
    assert (report.model, report.vocab_size, report.merges) == ("BPE", 50257, 50000)
    assert (report.bytes_as, report.pre_tokenizer, report.normalizer) == ("byte-level", "gpt2", [])
    assert [(one.id, one.piece, one.roles) for one in report.special_tokens] == [
        (50256, "<|endoftext|>", ["bos", "eos"])
    ]
    assert len(bytes.fromhex(report.longest[0].hex)) == 128


def test_other_kinds_are_told_by_their_parts(shared_data: Path) -> None:
    folder = shared_data / "tokenizers"
    llama = show_tokenizer(folder / "llama2")
    assert (llama.model, llama.bytes_as, llama.vocab_size) == ("BPE", "byte fallback", 32000)
    assert llama.normalizer == ["Prepend", "Replace"]
    t5 = show_tokenizer(folder / "t5-small")
    assert (t5.model, t5.merges, t5.normalizer) == ("Unigram", None, ["Precompiled"])
    assert show_tokenizer(folder / "tiktoken" / "cl100k_base.tiktoken").pre_tokenizer == "gpt4"
    assert show_tokenizer(folder / "qwen2").pre_tokenizer == "qwen2"


def test_the_dump_is_the_vocabulary(shared_data: Path) -> None:
    path = shared_data / "tokenizers" / "gpt2"
    backend = Tokenizer.from_file(str(path / "tokenizer.json"))
    pieces = list(list_pieces(load_tokenizer(path)))
    assert {one.piece: one.id for one in pieces} == backend.get_vocab(with_added_tokens=True)
    assert [one.id for one in pieces] == sorted(one.id for one in pieces)


def test_bytes_of_the_dump_are_tiktokens(shared_data: Path) -> None:
    import base64

    path = shared_data / "tokenizers" / "tiktoken" / "r50k_base.tiktoken"
    ranks = {
        int(rank): base64.b64decode(token)
        for token, rank in (line.split() for line in path.read_text().splitlines())
    }
    pieces = {one.id: bytes.fromhex(one.hex) for one in list_pieces(load_tokenizer(path)) if not one.special}
    assert pieces == ranks


def test_a_damaged_tokenizer_is_bad_data(tmp_path: Path, shared_data: Path) -> None:
    whole = (shared_data / "models" / "stories260K" / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        show_tokenizer(tmp_path)
