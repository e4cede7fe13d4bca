"""The flags of dedup as the workflow takes them. What each changes is tested with the command."""

import pytest

from llmkit.commands.dedup.flags import Rule
from llmkit.workflows.dedup.options import DedupConfig


def test_nothing_given_is_the_default_of_every_setting() -> None:
    assert Rule().config(mode=DedupConfig.mode, field=DedupConfig.field) == DedupConfig()


def test_bands_and_rows_are_solved_for_a_similarity_unless_they_are_given() -> None:
    solved = Rule(similarity=0.5, hashes=128).config(mode="tag", field="body")
    assert (solved.similarity, solved.mode, solved.field) == (0.5, "tag", "body")
    assert solved.bands * solved.rows <= 128
    # documents of half their shingles in common share a band more often than not: 1 - (1 - s^rows)^bands
    assert 1 - (1 - 0.5**solved.rows) ** solved.bands > 0.5
    given = Rule(similarity=0.5, bands=7, rows=3).config(mode="drop", field="text")
    assert (given.bands, given.rows) == (7, 3)
    assert given.similarity == pytest.approx(0.5)
