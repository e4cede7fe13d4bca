"""Codebooks against the gguf package's, and what is known of each."""

import numpy as np
import pytest

from llmkit.formats.gguf.iq_codebooks import codebook


@pytest.mark.parametrize(
    ("name", "of", "values"),
    [
        ("IQ1", "IQ1_S", {-1, 0, 1}),
        ("IQ2_XXS", "IQ2_XXS", {8, 25, 43}),
        ("IQ2_XS", "IQ2_XS", {8, 25, 43}),
        ("IQ2_S", "IQ2_S", {8, 25, 43}),
        ("IQ3_XXS", "IQ3_XXS", {4, 12, 20, 28, 36, 44, 52, 62}),
        ("IQ3_S", "IQ3_S", {1, 3, 5, 7, 9, 11, 13, 15}),
    ],
)
def test_a_codebook_is_the_gguf_packages_and_has_no_entry_twice(name: str, of: str, values: set[int]) -> None:
    quants = pytest.importorskip("gguf").quants
    theirs = getattr(quants, of)
    theirs.init_grid()
    ours = codebook(name)
    assert np.array_equal(ours, theirs.grid[0, 0])
    assert set(ours.flat) == values and len(np.unique(ours, axis=0)) == len(ours)


def test_entries_are_as_many_as_indices_have_numbers() -> None:
    found = {name: codebook(name).shape for name in ("IQ1", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S")}
    assert found == {
        **{"IQ1": (2048, 8), "IQ2_XXS": (256, 8), "IQ2_XS": (512, 8), "IQ2_S": (1024, 8)},
        **{"IQ3_XXS": (256, 4), "IQ3_S": (512, 4)},
    }
