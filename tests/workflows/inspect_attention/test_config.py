"""Words on the command line as layers, heads, ranges and ids; and what does nothing together."""

from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.workflows.inspect_attention.config import (
    InspectFiles,
    InspectText,
    InspectViews,
    check_views,
    parse_heads,
    parse_ids,
    parse_layers,
    parse_range,
)

TEXT, FILES = InspectText(given="text"), InspectFiles()


def test_words_become_what_they_say() -> None:
    assert parse_layers("4,0-2, 2") == (0, 1, 2, 4)
    assert parse_heads("3.7,1.0,3.7") == ((3, 7), (1, 0))
    assert parse_range("10:20", "--rows") == (10, 20)
    assert parse_range("-8:", "--rows") == (-8, None) and parse_range(":5", "--rows") == (None, 5)
    assert parse_ids("1, 17 4") == (1, 17, 4)


def test_other_words_are_refused_with_one_that_works() -> None:
    for parse in (
        lambda: parse_layers("2-1"),
        lambda: parse_layers("all"),
        lambda: parse_heads("1"),
        lambda: parse_heads("1.0;2.0", "--ablate"),
        lambda: parse_range("5", "--cols"),
        lambda: parse_ids("the"),
        lambda: parse_ids(""),
    ):
        with pytest.raises(UsageError, match="--") as error:
            parse()  # type: ignore[no-untyped-call]
        assert error.value.hint.startswith("--")


@pytest.mark.parametrize(
    ("views", "text", "files", "says"),
    [
        ({"worked": True}, {}, {}, "one head"),
        ({"worked": True, "heads": ((0, 0), (0, 1))}, {}, {}, "one head"),
        ({"answer": "x"}, {}, {}, "--answer does nothing"),
        ({"ablate_by": "mean", "lens": True}, {}, {}, "--ablate-by mean does nothing without --ablate"),
        ({}, {}, {"top_k": 3}, "--top-k does nothing without --edges"),
        ({}, {"record": "1"}, {}, "--record is of a jsonl file"),
        ({}, {"given": __file__, "is_words": True, "record": "1"}, {}, "--record is of a jsonl file"),
        ({}, {"given": None, "tokens": (1, 2), "field": "q"}, {}, "--field is of a jsonl file"),
        ({"rows": (0, 5)}, {}, {}, "crop nothing"),
        ({"cols": (0, 5), "lens": True}, {}, {}, "crop nothing"),
        ({"before_softmax": True, "lens": True}, {}, {}, "shows nothing"),
        ({"before_softmax": True, "lens": True, "query": "1"}, {}, {}, "shows nothing"),
        ({}, {"probe": "induction"}, {}, "a text of its own"),
        ({}, {"probe": "induction", "given": None, "max_tokens": 5}, {}, "cut the probe"),
        ({}, {"probe_tokens": 5}, {}, "without --probe"),
        ({}, {"tokens": (1, 2)}, {}, "two texts"),
        ({}, {}, {"svg": Path("a"), "png": Path("./a")}, "one name"),
    ],
)
def test_what_does_nothing_together_is_refused(
    views: dict[str, Any], text: dict[str, Any], files: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        check_views(InspectViews(**views), InspectText(**({"given": "text"} | text)), InspectFiles(**files))


def test_what_goes_together_is_let_through() -> None:
    check_views(InspectViews(map=True, rows=(0, 5), before_softmax=True), TEXT, FILES)
    check_views(InspectViews(query="-1", before_softmax=True), TEXT, FILES)
    check_views(InspectViews(ablate="all", ablate_by="mean"), TEXT, InspectFiles(edges=Path("a"), top_k=3))
    check_views(InspectViews(), InspectText(given=__file__, record="1", field="q"), FILES)
    check_views(InspectViews(lens=True, answer="x", query="3"), TEXT, InspectFiles(html=Path("a")))


def test_a_query_is_a_view_of_its_own_only_where_nothing_else_asks_about_a_place() -> None:
    assert InspectViews().only_table and not InspectViews(query="1").only_table
    assert InspectViews(query="1", map=True).shows_query
    assert not InspectViews(query="1", lens=True).shows_query and not InspectViews().shows_query
