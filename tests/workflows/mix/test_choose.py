"""From facts to a plan, and to the parts of the result."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.workflows.mix.choose import PLAN, ChooseTask, Chosen, choose_unit
from llmkit.workflows.mix.measure import FACTS, WORK, MeasureReport
from llmkit.workflows.mix.options import MixSettings, Source
from llmkit.workflows.units import Unit

SOURCES = (Source(name="a", path="a", weight=1), Source(name="b", path="b", weight=1, max_epochs=2))


def chosen(folder: Path, sizes: list[list[int]], part_bytes: int = 25, **settings: Any) -> Chosen:
    """Units of a, a and b, with documents of some sizes in two licences by turns."""
    (folder / WORK).mkdir(exist_ok=True)
    reports = []
    for number, unit in enumerate(sizes):
        rows = [(number * 100 + n, size, size, n % 2) for n, size in enumerate(unit)]
        np.array(rows, FACTS).tofile(folder / WORK / f"measure-{number}.facts")
        licences = ["MIT", f"L{number}"]
        reports.append(MeasureReport(number // 2, len(unit), licences=licences))
    names = tuple(f"measure-{number}" for number in range(len(sizes)))
    task = ChooseTask(MixSettings(sources=SOURCES, **settings), names, tuple(reports), part_bytes)
    return msgspec.convert(choose_unit(Unit("choose", msgspec.to_builtins(task)), folder)[1], Chosen)


def test_the_plan_names_every_document_that_is_taken_by_unit_and_place(tmp_path: Path) -> None:
    found = chosen(tmp_path, [[10, 10], [10], [10, 5]])
    a, b = found.sources
    assert (a.achieved, b.achieved, b.epochs, b.taken_documents) == (30, 30, 2.0, 4)
    plan = np.fromfile(tmp_path / WORK / "plan", PLAN)
    taken = sorted(tuple(row) for row in plan.tolist())
    assert taken == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (2, 0, 0), (2, 0, 1), (2, 1, 0), (2, 1, 1)]
    assert found.parts[0] == 0 and found.parts[-1] == 7
    assert np.fromfile(tmp_path / WORK / "measure-2.chosen", "<u4").tolist() == [0, 1]


def test_places_count_only_what_is_taken(tmp_path: Path) -> None:
    found = chosen(tmp_path, [[10] * 9, [10], [10, 10]], total=40, by="documents")
    plan = np.fromfile(tmp_path / WORK / "plan", PLAN)
    for number in range(3):
        kept = np.fromfile(tmp_path / WORK / f"measure-{number}.chosen", "<u4")
        places = plan["place"][plan["unit"] == number]
        assert sorted(set(places.tolist())) == list(range(len(kept)))
    assert found.sources[0].taken_documents == 2 and found.sources[1].taken_documents == 2


def test_licences_of_several_units_are_one_table(tmp_path: Path) -> None:
    found = chosen(tmp_path, [[10, 7], [10], [30, 24]], on_exhaust="drop")
    assert found.sources[0].licences == {"L0": [1, 7], "MIT": [2, 20]}
    assert found.sources[1].licences == {"L2": [2, 48], "MIT": [2, 60]}


def test_parts_begin_where_the_text_before_them_is_enough(tmp_path: Path) -> None:
    whole = chosen(tmp_path, [[10, 10], [10], [10, 5]], part_bytes=1000)
    assert whole.parts == (0, 7)
    each = chosen(tmp_path, [[10, 10], [10], [10, 20]], part_bytes=10, total=40)
    assert each.parts[0] == 0 and each.parts[-1] == sum(one.taken_documents for one in each.sources)
    nothing = chosen(tmp_path, [[10, 10], [10], [10, 20]], total=1)
    assert nothing.parts == (0, 0)


def test_a_source_of_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"source b \(b\): nothing to give \(found 2 documents of 0 bytes"):
        chosen(tmp_path, [[1], [1], [0, 0]])
