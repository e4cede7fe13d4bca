"""Flags of inspect-attention as the workflow takes them. What each changes is tested with the command."""

import pytest

from llmkit.commands.inspect_attention_flags import Files, Text, Views
from llmkit.errors import UsageError
from llmkit.workflows.inspect_attention.config import InspectFiles, InspectText, InspectViews


def test_nothing_given_is_stdin_the_table_of_heads_and_no_file() -> None:
    assert Text().config() == InspectText(given="-")
    assert Views().config() == InspectViews()
    assert InspectFiles(**vars(Files())) == InspectFiles()


def test_ids_and_a_probe_are_texts_and_stdin_is_left_alone() -> None:
    assert Text(tokens="1,17").config() == InspectText(tokens=(1, 17))
    assert Text(probe="induction").config() == InspectText(probe="induction")


def test_heads_are_taken_out_by_name_or_all_of_them() -> None:
    assert Views(ablate="1.0,3.7").config().ablate == ((1, 0), (3, 7))
    assert Views(ablate="all").config().ablate == "all"
    with pytest.raises(UsageError, match="--ablate"):
        Views(ablate="one").config()
