"""What goes together, and what is used where nothing was said."""

from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.text.clusters_prefer import FIRST
from llmkit.workflows.dedup.options import (
    DedupConfig,
    DedupKind,
    DedupSources,
    check_options,
    solve_config,
    usual,
)


def test_a_threshold_solves_the_bands_unless_they_are_given() -> None:
    def solved(**given: float | None) -> tuple[float, int, int]:
        values = {"similarity": None, "bands": None, "rows": None, "hashes": 112} | given
        found = solve_config(DedupConfig(), **values)  # type: ignore[arg-type]
        return found.similarity, found.bands, found.rows

    assert solved() == (0.75, 14, 8)
    assert solved(similarity=0.8) == (0.8, 16, 7)  # 1 - (1 - .8^7)^16 = .98; 14 bands of 8: .92
    assert solved(similarity=0.8, hashes=40) == (0.8, 8, 5)
    assert solved(similarity=0.9, bands=3, rows=2) == (0.9, 3, 2)
    with pytest.raises(UsageError, match="go together"):
        solved(bands=3)
    with pytest.raises(UsageError, match="at most 1"):
        solved(similarity=1.5)
    for given in ({"hashes": 40}, {"hashes": 40, "bands": 3, "rows": 2, "similarity": 0.9}):
        with pytest.raises(UsageError, match="--hashes goes with --similarity"):
            solved(**given)


@pytest.mark.parametrize("by", ["exact", "paragraph", "line", "substring"])
@pytest.mark.parametrize("name", ["similarity", "bands", "rows"])
def test_a_threshold_of_similarity_is_refused_where_nothing_is_compared(by: DedupKind, name: str) -> None:
    values: dict[str, Any] = {"similarity": None, "bands": None, "rows": None, "hashes": 112} | {name: 1}
    with pytest.raises(UsageError, match=f"--{name} goes with --by near"):
        solve_config(DedupConfig(by=by), **values)


def test_near_prefers_the_longest_and_the_others_the_first() -> None:
    assert usual(DedupConfig()).prefer == "length:max" and not DedupConfig().keeps_first
    assert DedupConfig(by="exact").terms == (FIRST,) and DedupConfig(by="line").keeps_first
    assert not DedupConfig(by="exact", prefer="date:max").keeps_first


def test_a_name_that_says_jsonl_is_a_file_and_any_other_new_one_a_folder(tmp_path: Path) -> None:
    def is_folder(out: Path | None) -> bool:
        return DedupSources(inputs=[], out=out).is_folder

    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    names = ("new", "folder", "a.jsonl", "a.jsonl.zst", "file")
    assert [is_folder(tmp_path / name) for name in names] == [True, True, False, False, False]
    assert not is_folder(None) and not is_folder(Path("-"))


def test_pieces_have_no_index(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no clusters and no index"):
        check_options(DedupConfig(by="line"), DedupSources(inputs=[], against=tmp_path))
