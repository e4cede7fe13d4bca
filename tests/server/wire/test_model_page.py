"""Models page by page, as Anthropic's clients go through them."""

from typing import Any

import pytest
from starlette.datastructures import QueryParams

from llmkit.server.errors import ApiError
from llmkit.server.wire.model_page import anthropic_model, anthropic_page

CARDS = [{"id": f"m{number}", "created": 86_400 * number, "max_model_len": 9} for number in range(5)]


def page(**query: Any) -> tuple[list[str], bool, str | None, str | None]:
    told = anthropic_page(CARDS, QueryParams({name: str(one) for name, one in query.items()}))
    return [one["id"] for one in told["data"]], told["has_more"], told["first_id"], told["last_id"]


def test_a_page_goes_on_behind_a_model_or_ends_before_it() -> None:
    assert page() == (["m0", "m1", "m2", "m3", "m4"], False, "m0", "m4")
    assert page(limit=2) == (["m0", "m1"], True, "m0", "m1")
    assert page(limit=2, after_id="m1") == (["m2", "m3"], True, "m2", "m3")
    assert page(limit=2, after_id="m3") == (["m4"], False, "m4", "m4")
    assert page(limit=2, before_id="m3") == (["m1", "m2"], True, "m1", "m2")
    assert page(limit=2, before_id="m2") == (["m0", "m1"], False, "m0", "m1")
    assert page(after_id="m4") == page(lifecycle="retired") == ([], False, None, None)


def test_a_date_is_one_of_rfc_3339() -> None:
    assert anthropic_model(CARDS[1])["created_at"] == "1970-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        *(({"limit": told}, "limit") for told in ("0", "1001", "-1", "a", "9" * 5000)),
        ({"after_id": "none"}, "after_id"),
        ({"after_id": "m1", "before_id": "m3"}, "before_id"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_page_is_refused(query: dict[str, str], param: str) -> None:
    with pytest.raises(ApiError) as error:
        page(**query)
    assert (error.value.status, error.value.param) == (400, param)
