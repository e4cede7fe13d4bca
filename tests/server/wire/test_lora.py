"""Adapters by their numbers, without a server."""

import msgspec
import pytest

from llmkit.server.errors import ApiError
from llmkit.server.wire.lora import LoraScale, check_scales, lora_list, name_with, named_scales

NAMES = ("poet", "cook", "monk")


def scales(*told: tuple[int, float]) -> list[LoraScale]:
    return [LoraScale(id=number, scale=scale) for number, scale in told]


def test_a_list_is_by_name_in_its_own_order_and_a_scale_of_0_says_nothing() -> None:
    assert list(named_scales(NAMES, scales((2, 0.5), (0, -1.0), (1, 0.0))).items()) == [
        *(("poet", -1.0), ("monk", 0.5))
    ]


@pytest.mark.parametrize(
    "told",
    [
        scales((0, 1.0), (0, 1.0)),
        scales((0, 1001.0)),
        scales((0, float("inf"))),
        scales(*((i, 1) for i in range(17))),
    ],
    ids=["twice", "large", "infinite", "many"],
)
def test_what_no_model_could_follow_is_refused(told: list[LoraScale]) -> None:
    with pytest.raises(ApiError) as error:
        check_scales(told)
    assert (error.value.status, error.value.param) == (400, "lora")


@pytest.mark.parametrize(("names", "number"), [(NAMES, 3), (NAMES, -1), ((), 0)])
def test_a_number_that_is_none_is_refused(names: tuple[str, ...], number: int) -> None:
    with pytest.raises(ApiError, match=f"there is no adapter {number} here"):
        named_scales(names, scales((number, 1.0)))


def test_the_list_has_what_a_caller_may_use_under_its_own_number_and_may_be_sent_back() -> None:
    told = lora_list(NAMES, {"monk": 0.5}, {"poet", "monk"})
    assert [(one.id, one.path, one.scale) for one in told] == [(0, "poet", 0.0), (2, "monk", 0.5)]
    again = msgspec.json.decode(msgspec.json.encode(told), type=list[LoraScale])
    assert named_scales(NAMES, again) == {"monk": 0.5}


def test_an_answer_is_counted_under_each_adapter_that_has_part_in_it_and_no_scale() -> None:
    named = [
        name_with("m", named_scales(NAMES, scales(*told)))
        for told in ([], [(1, 0.5)], [(2, 3), (0, 1), (1, 0)])
    ]
    assert named == ["m", "m:cook", "m:poet+monk"]
