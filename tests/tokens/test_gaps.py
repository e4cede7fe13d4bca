"""Cutting documents in three: nothing lost, drawn evenly, told as a prompt is, or left whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

from llmkit.errors import ConfigError, DataError, UsageError
from llmkit.formats.documents import Document
from llmkit.formats.token_documents import TokenDocument
from llmkit.tokens.config import PackConfig
from llmkit.tokens.encode import EncodeOptions
from llmkit.tokens.gaps import GapDocument, GapMaker
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from tests.tokens.test_infill import QWEN, of_marks

TEXTS = [f"def f{n}(x):\n    # zażółć ☃ {n}\n    return x * {n}\n" * (1 + n % 3) for n in range(40)]


def marked(*marks: str) -> Tokenizer:
    """Every byte, these marks, bos and eos."""
    plain = of_marks(*marks, "<s>", "</s>")
    return Tokenizer(plain.backend, {"bos_token": "<s>", "eos_token": "</s>"}, None)


def maker(tokenizer: Tokenizer, *, fits: Callable[[Any], bool] = lambda one: True, **config: Any) -> GapMaker:
    return GapMaker(tokenizer, PackConfig(**({"fim": 1.0} | config)), fits)


def told(
    tokenizer: Tokenizer, texts: list[str] = TEXTS, first: int = 0, **config: Any
) -> list[TokenDocument]:
    documents = [(first + n, Document(str(n), text, "", 0)) for n, text in enumerate(texts)]
    return list(maker(tokenizer, **config).encode(documents, EncodeOptions(threads=1)))


def parts_of(tokenizer: Tokenizer, document: TokenDocument) -> tuple[str, str, str]:
    """What stands before the gap, in it and after it, read from the ids by the papers' two layouts."""
    assert isinstance(document, GapDocument)
    backend, ids = tokenizer.backend, document.tokens.tolist()
    prefix, suffix, middle = (backend.token_to_id(mark) for mark in QWEN[:3])
    assert ids.pop() == tokenizer.eos_id and ids[0] == prefix
    second, third = ids.index(suffix), ids.index(middle)
    parts = ids[1:second], ids[second + 1 : third], ids[third + 1 :]
    one, after, last = (backend.decode(part, skip_special_tokens=False) for part in parts)
    if document.form == "psm":
        return one, last, after
    assert one == ""  # the second variant of SPM: prefix and middle are one
    return last, "", after


def test_a_document_comes_back_from_its_three_parts() -> None:
    tokenizer = marked(*QWEN)
    found = told(tokenizer)
    assert {one.form for one in found if isinstance(one, GapDocument)} == {"psm", "spm"}
    assert ["".join(parts_of(tokenizer, one)) for one in found] == TEXTS


def test_no_character_is_cut_in_two() -> None:
    tokenizer = marked(*QWEN)
    for text, one in zip(["☃" * 9] * 30, told(tokenizer, ["☃" * 9] * 30), strict=True):
        assert "".join(parts_of(tokenizer, one)) == text


def test_what_is_learnt_is_the_prompt_that_asks_for_a_gap_and_what_belongs_there() -> None:
    tokenizer = marked(*QWEN)
    encoder = PromptEncoder(tokenizer)
    for one in told(tokenizer, fim_spm=0.0):
        before, middle, after = parts_of(tokenizer, one)
        assert one.tokens.tolist() == [
            *encoder.encode_gap(before, after),
            *tokenizer.encode(middle),
            tokenizer.eos_id,
        ]


@pytest.mark.parametrize(("share", "forms"), [(0.0, {"psm"}), (1.0, {"spm"})])
def test_the_share_of_each_form_is_as_asked(share: float, forms: set[str]) -> None:
    found = told(marked(*QWEN), fim_spm=share)
    assert {one.form for one in found if isinstance(one, GapDocument)} == forms


def test_as_many_are_cut_as_asked_and_cuts_fall_evenly() -> None:
    made = maker(marked(*QWEN), fim=0.3)
    drawn = [gap for n in range(20_000) if (gap := made.draw(n, 10)) is not None]
    assert abs(len(drawn) / 20_000 - 0.3) < 0.015  # five deviations
    assert abs(sum(gap.spm for gap in drawn) / len(drawn) - 0.5) < 0.035
    counts = np.bincount([gap.begin for gap in drawn], minlength=11)
    expected = np.array([2 * (10 - place) + 1 for place in range(11)]) / 121 * len(drawn)  # the lesser of two
    assert ((counts - expected) ** 2 / expected).sum() < 35  # chi squared of 10 degrees: 1 in 8,000


def test_a_document_is_cut_the_same_wherever_reading_began_and_by_another_seed_otherwise() -> None:
    tokenizer = marked(*QWEN)
    whole = [one.tokens.tolist() for one in told(tokenizer, fim=0.5)]
    assert [one.tokens.tolist() for one in told(tokenizer, TEXTS[15:], first=15, fim=0.5)] == whole[15:]
    assert [one.tokens.tolist() for one in told(tokenizer, fim=0.5, seed=1)] != whole


def test_what_no_row_holds_and_what_is_empty_stay_whole() -> None:
    tokenizer = marked(*QWEN)
    found = told(tokenizer, [*TEXTS, ""], fits=lambda one: len(one.tokens) <= 60)
    assert {isinstance(one, GapDocument) for one in found} == {True, False}
    for text, one in zip([*TEXTS, ""], found, strict=True):
        is_cut = bool(text) and len(tokenizer.encode(text)) + 4 <= 60
        assert isinstance(one, GapDocument) == is_cut
        if not is_cut:
            assert one.tokens.tolist() == tokenizer.encode(text)


def test_chats_stay_whole() -> None:
    made = maker(marked(*QWEN))
    options = EncodeOptions(special=lambda document: document.id == "chat", threads=1)
    documents = [(0, Document("chat", "abc", "", 0)), (1, Document("text", "abc", "", 0))]
    found = list(made.encode(documents, options))
    assert [isinstance(one, GapDocument) for one in found] == [False, True]


def test_ids_are_cut_between_their_markers_and_masked_ones_stay_whole() -> None:
    tokenizer = marked(*QWEN)
    bos, eos, prefix = (tokenizer.id_of(one) for one in ("<s>", "</s>", QWEN[0]))
    ids = [bos, *range(60, 90), eos]
    document = TokenDocument("a", np.array(ids, np.uint32))
    found = maker(tokenizer, fim_spm=0.0).cut_tokens(3, document).tokens.tolist()
    assert found[:2] == [bos, prefix] and found[-1] == eos
    assert sorted(one for one in found if 60 <= one < 90) == ids[1:-1]
    masked = TokenDocument("a", document.tokens, [(2, 4)])
    assert maker(tokenizer).cut_tokens(3, masked) is masked
    for few in ([], [bos], [bos, eos]):
        bare = TokenDocument("a", np.array(few, np.uint32))
        assert maker(tokenizer).cut_tokens(3, bare) is bare


def test_a_family_that_is_always_told_the_suffix_first_has_one_form() -> None:
    tokenizer = marked("[PREFIX]", "[MIDDLE]", "[SUFFIX]")
    for text, one in zip(TEXTS[:5], told(tokenizer, TEXTS[:5]), strict=True):
        content = tokenizer.decode(one.tokens.tolist())
        after, _, rest = content.removeprefix("[SUFFIX]").removesuffix("</s>").partition("[PREFIX]")
        assert rest + after == text
    with pytest.raises(UsageError, match="always told first what follows"):
        maker(tokenizer, fim_spm=0.5)


def test_a_text_in_a_gap_of_code_llama_ends_with_its_own_mark() -> None:
    tokenizer = marked("▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>")
    assert all(one.tokens[-1] == tokenizer.id_of("▁<EOT>") for one in told(tokenizer))


def test_sentencepiece_puts_no_space_into_the_middle_of_a_text(shared_data: Path) -> None:
    backend = tokenizers.Tokenizer.from_file(str(shared_data / "tokenizers" / "llama2" / "tokenizer.json"))
    backend.add_special_tokens(list(QWEN[:3]))
    tokenizer = Tokenizer(backend, {"eos_token": "</s>"}, None)
    prefix, suffix, middle = (backend.token_to_id(mark) for mark in QWEN[:3])
    words = ["hello world of words"] * 40
    for one in told(tokenizer, words, fim_spm=0.0):
        ids = one.tokens.tolist()[:-1]
        cuts = ids.index(prefix), ids.index(suffix), ids.index(middle)
        parts = [ids[begin + 1 : end] for begin, end in zip(cuts, (*cuts[1:], None), strict=True)]
        pieces = ["".join(map(backend.id_to_token, part)).replace("▁", " ") for part in parts]
        assert (pieces[0] + pieces[2] + pieces[1]).removeprefix(" ") == words[0]


def test_a_tokenizer_without_marks_or_without_an_end_is_refused(byte_level_dir: Path) -> None:
    with pytest.raises(DataError, match="no tokens that mark a gap"):
        maker(load_tokenizer(byte_level_dir))
    with pytest.raises(ConfigError, match="no eos token"):
        maker(of_marks(*QWEN))
