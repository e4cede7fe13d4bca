"""The flags of tokenize: one result, one place that texts come from, and the defaults of the config."""

from pathlib import Path

import pytest

from llmkit.commands.tokenize.flags import Result, Texts, Tokens
from llmkit.errors import UsageError
from llmkit.tokens.config import TokenizeConfig


def test_nothing_given_counts_what_stdin_has() -> None:
    assert Result().mode == "count"
    assert TokenizeConfig(**vars(Tokens())) == TokenizeConfig()


def test_raw_is_a_result_unless_it_is_what_decode_reads() -> None:
    assert Result(raw="u4").mode == "raw"
    assert Result(raw="u4", decode=True).mode == "decode"


def test_of_two_results_both_are_named() -> None:
    with pytest.raises(UsageError, match="--ids and --truncate are two different results"):
        _ = Result(ids=True, truncate=5).mode


def test_texts_come_from_files_from_lists_of_files_or_from_the_line() -> None:
    assert Texts(inputs=[Path("a")]).files(decode=False) == [Path("a")]
    assert Texts(text="a").files(decode=False) == []
    assert Texts(files_from=Path("a"), inputs=[Path("b")]).files(decode=True) == [Path("b")]
    for texts in (Texts(text="a", inputs=[Path("b")]), Texts(text="a", files0_from=Path("b"))):
        with pytest.raises(UsageError, match="files are another"):
            texts.files(decode=False)
    with pytest.raises(UsageError, match="files are another"):
        Texts(text="1 2").files(decode=True)
