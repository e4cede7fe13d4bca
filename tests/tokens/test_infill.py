"""A gap is asked for as each family's card writes it, whatever the texts beside it look like."""

import numpy as np
import pytest
import tokenizers
from tokenizers import AddedToken, decoders, pre_tokenizers, processors

from llmkit.errors import DataError
from llmkit.tokens.infill import InfillForm, infill_form_of
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer

QWEN = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|file_sep|>")


def of_marks(*marks: str, bos: str | None = None) -> Tokenizer:
    """Every byte, and these special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE({one: number for number, one in enumerate(alphabet)}, [])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(mark, special=True) for mark in (*marks, *([bos] if bos else []))])
    if bos is not None:
        pair = (bos, backend.token_to_id(bos))
        backend.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[pair])
    return Tokenizer(backend, {}, None)


@pytest.mark.parametrize(
    ("marks", "prompt"),
    [
        (QWEN, "<|fim_prefix|>BEFORE<|fim_suffix|>AFTER<|fim_middle|>"),
        (
            ("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"),
            "<fim_prefix>BEFORE<fim_suffix>AFTER<fim_middle>",
        ),
        (
            ("<fim-prefix>", "<fim-middle>", "<fim-suffix>", "<fim-pad>"),
            "<fim-prefix>BEFORE<fim-suffix>AFTER<fim-middle>",
        ),
        (
            ("<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"),
            "<｜fim▁begin｜>BEFORE<｜fim▁hole｜>AFTER<｜fim▁end｜>",
        ),
        (
            ("<|code_prefix|>", "<|code_middle|>", "<|code_suffix|>"),
            "<|code_prefix|>BEFORE<|code_suffix|>AFTER<|code_middle|>",
        ),
        (
            ("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"),
            "<[fim-suffix]>AFTER<[fim-prefix]>BEFORE<[fim-middle]>",
        ),
        (("▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>"), "▁<PRE>BEFORE▁<SUF>AFTER▁<MID>"),
        (("[PREFIX]", "[MIDDLE]", "[SUFFIX]"), "[SUFFIX]AFTER[PREFIX]BEFORE"),
    ],
)
@pytest.mark.parametrize("bos", [None, "<s>"])
def test_a_gap_is_asked_for_as_the_family_writes_it(
    marks: tuple[str, ...], prompt: str, bos: str | None
) -> None:
    tokenizer = of_marks(*marks, bos=bos)
    before, after = "def f(x):\n    return ", "\n\nprint(f(1))\n"
    text = prompt.replace("BEFORE", before).replace("AFTER", after)
    assert PromptEncoder(tokenizer).encode_gap(before, after) == tokenizer.encode(text, special_tokens=True)


def test_marks_that_are_written_in_a_text_are_text() -> None:
    tokenizer = of_marks(*QWEN)
    ids = PromptEncoder(tokenizer).encode_gap("<|fim_middle|>", "<|fim_prefix|>")
    assert [one for one in ids if one in tokenizer.special_ids.values()] == [
        tokenizer.id_of(mark) for mark in QWEN[:3]
    ]
    assert tokenizer.decode(ids, skip_special=True) == "<|fim_middle|><|fim_prefix|>"


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        (
            (*QWEN, "<|repo_name|>"),
            "<|repo_name|>myproject\n<|file_sep|>a.py\nimport x\n<|file_sep|>b.py\ny<|file_sep|>filename\n",
        ),
        (QWEN, "<|file_sep|>a.py\nimport x\n<|file_sep|>b.py\ny<|file_sep|>filename\n"),
        (QWEN[:3], "\n\n--- snippet ---\n\nimport x\n\n\n--- snippet ---\n\ny"),
    ],
)
def test_other_files_are_told_first_as_llama_cpps_server_tells_them(
    marks: tuple[str, ...], told: str
) -> None:
    tokenizer = of_marks(*marks, bos="<s>")
    files = [("a.py", "import x\n"), ("b.py", "y")]
    text = told + "<|fim_prefix|>BEFORE<|fim_suffix|>AFTER<|fim_middle|>"
    found = PromptEncoder(tokenizer).encode_gap("BEFORE", "AFTER", files)
    assert found == tokenizer.encode(text, special_tokens=True)


def test_either_side_may_be_empty() -> None:
    tokenizer = of_marks(*QWEN)
    prefix, suffix, middle = (tokenizer.id_of(mark) for mark in QWEN[:3])
    assert PromptEncoder(tokenizer).encode_gap("", "") == [prefix, suffix, middle]


def test_no_space_is_put_before_what_follows_a_gap_where_sentencepiece_puts_one_before_a_text() -> None:
    marks, pieces = ("▁<PRE>", "▁<SUF>", "▁<MID>"), ["▁", "a", "b", "☺"]
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({one: at for at, one in enumerate(pieces)}, []))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    backend.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    encoder = PromptEncoder(Tokenizer(backend, {}, None))
    for before, after, told in (
        ("a", "b", "▁<PRE> ▁ a ▁<SUF> b ▁<MID>"),
        ("", " b", "▁<PRE> ▁<SUF> ▁ b ▁<MID>"),
    ):
        assert [backend.id_to_token(one) for one in encoder.encode_gap(before, after)] == told.split(" ")


def test_another_file_or_another_gap_ends_the_text() -> None:
    tokenizer = of_marks(*QWEN, "<|endoftext|>")
    form = infill_form_of(tokenizer)
    assert form is not None and form.ends == {tokenizer.id_of(mark) for mark in QWEN}


def test_marks_of_another_look_are_found_where_the_config_names_them() -> None:
    tokenizer = of_marks("<A>", "<B>", "<C>", *QWEN)
    tokenizer.config |= {"prefix_token": "<A>", "suffix_token": {"content": "<B>"}, "middle_token": "<C>"}
    ids = PromptEncoder(tokenizer).encode_gap("x", "y")
    assert tokenizer.decode(ids) == "<A>x<B>y<C>"


def test_a_config_that_names_one_mark_of_three_does_not_hide_those_that_are_there() -> None:
    tokenizer = of_marks(*QWEN)
    tokenizer.config |= {"prefix_token": "<|file_sep|>"}
    assert tokenizer.decode(PromptEncoder(tokenizer).encode_gap("x", "y")).startswith("<|fim_prefix|>x")


def test_a_model_that_is_not_told_of_gaps_is_asked_for_none() -> None:
    tokenizer = of_marks("<|fim_prefix|>", "<|fim_suffix|>")
    assert infill_form_of(tokenizer) is None
    with pytest.raises(DataError, match="no tokens that mark a gap"):
        PromptEncoder(tokenizer).encode_gap("a", "b")


def test_what_is_learnt_has_the_layouts_of_the_papers() -> None:
    before, middle, after = (np.array(ids, np.uint32) for ids in ([1, 2], [3], [4, 5]))
    form = InfillForm(90, 91, 92, frozenset())
    assert form.whole(before, middle, after, spm=False).tolist() == [90, 1, 2, 91, 4, 5, 92, 3]
    assert form.whole(before, middle, after, spm=True).tolist() == [90, 91, 4, 5, 92, 1, 2, 3]
    for spm in (False, True):
        alone = InfillForm(90, 91, None, frozenset(), after_first=True)  # Codestral
        assert alone.whole(before, middle, after, spm=spm).tolist() == [91, 4, 5, 90, 1, 2, 3]
