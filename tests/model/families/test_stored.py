"""The tables name modules that a model has, and no file name twice."""

import pytest

from llmkit.model.families.stored import Stored, renamed
from llmkit.model.families.table import FAMILIES


def test_one_module_under_another_name_is_stored_as_it_is() -> None:
    assert renamed("a", "b") == Stored(("a",), ("b",), "same")
    assert renamed("a", "b", "turned").how == "turned"


@pytest.mark.parametrize("family", FAMILIES)
def test_no_module_of_ours_or_of_the_file_is_told_twice(family: str) -> None:
    ours = [name for one in FAMILIES[family].stored for name in one.ours]
    theirs = [name for one in FAMILIES[family].stored for name in one.theirs]
    assert len(ours) == len(set(ours))
    if family != "granitemoehybrid":  # whose shared MLP stands alone or beside experts
        assert len(theirs) == len(set(theirs))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layers_number_and_an_experts_stand_where_the_layout_puts_them(family: str) -> None:
    for one in FAMILIES[family].stored:
        assert {name.count("*") for name in one.ours} == {name.count("*") for name in one.theirs}
        assert {name.count("#") for name in one.theirs} == {int(one.how == "experts")}
        joined = one.how in ("joined", "joined_turned", "joined_by_head")
        assert (len(one.ours) > 1) == joined
        assert len(one.theirs) == 1 or one.how == "experts"
