from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.formats.provenance import Invocation
from llmkit.progress import SILENT
from llmkit.workflows.quantize.budget import sensitivity_rows, trial_effort, within_budget
from llmkit.workflows.quantize.job import QuantizeJob, open_quantize
from llmkit.workflows.quantize.options import QuantizeConfig
from llmkit.workflows.quantize.quantize import quantize


@pytest.fixture
def job(tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path) -> Callable[..., QuantizeJob]:
    folder = tiny_model(vocab_size=600, hidden_size=64, intermediate_size=64, num_hidden_layers=1)
    for file in byte_level_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over it all. " * 200)

    def build(with_text: bool = True, **settings: object) -> QuantizeJob:
        text = {"calibration": (tmp_path / "text.txt",), "calibration_tokens": 512, "seq_len": 16}
        config = QuantizeConfig(
            **(
                {"container": "compressed-tensors", "type": "int4-g32"}
                | (text if with_text else {})
                | settings
            )
        )  # type: ignore[arg-type]
        return open_quantize(folder, None, config, force=False, invocation=Invocation("quantize", {}, ()))

    return build


def test_every_unit_is_tried_on_every_grid_that_divides_its_rows(job: Callable[..., QuantizeJob]) -> None:
    rows = list(sensitivity_rows(job(), SILENT))
    units = {row.name for row in rows}
    assert units == {unit.name for unit in job().plan.open_units}
    grids = {row.grid for row in rows}
    assert grids == {"int3-g32", "int4-g32", "int5-g32", "int6-g32"}  # no row has 128 columns
    assert len(rows) == len(units) * len(grids)


def test_rows_that_fill_no_superblock_are_tried_on_smaller_blocks(job: Callable[..., QuantizeJob]) -> None:
    rows = list(sensitivity_rows(job(container="gguf", type="Q4_K_M"), SILENT))
    assert {row.grid for row in rows} == {"IQ4_NL", "Q5_0", "Q8_0"}


def test_a_size_below_the_smallest_is_refused_before_any_trial_and_the_hint_is_the_smallest_file(
    job: Callable[..., QuantizeJob], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("llmkit.workflows.quantize.budget._tried", lambda *given: pytest.fail("tried"))
        with pytest.raises(UsageError, match=r"takes [\d,]+ bytes .*\(asked 1,000\)") as error:
            within_budget(job(container="gguf", type="Q4_K_M", fit_bytes=1000), SILENT)
    least = int(error.value.hint.split()[1])
    assert error.value.hint == f"--fit {least} or more" and f"{least:,}" in error.value.problem
    with pytest.raises(UsageError, match="smallest"):
        within_budget(job(container="gguf", type="Q4_K_M", fit_bytes=least - 1), SILENT)
    out = tmp_path / "small.gguf"
    quantize(replace(job(container="gguf", type="Q4_K_M", fit_bytes=least), out=out))
    assert out.stat().st_size == least


def test_bits_below_the_smallest_are_refused_before_any_trial_and_the_hint_is_enough(
    job: Callable[..., QuantizeJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("llmkit.workflows.quantize.budget._tried", lambda *given: pytest.fail("tried"))
        with pytest.raises(UsageError, match=r"bits a weight .*\(asked 0.5\)") as error:
            within_budget(job(budget_bpw=0.5), SILENT)
    least = float(error.value.hint.removeprefix("--budget-bpw ").removesuffix(" or more"))
    plan = within_budget(job(budget_bpw=least), SILENT).plan
    assert {unit.stored_as for unit in plan.open_units} == {"int3-g32"}
    assert least - 0.01 <= plan.bits_per_weight <= least


def test_a_container_with_one_grid_for_all_has_no_budget(job: Callable[..., QuantizeJob]) -> None:
    asked = job(container="awq", type="int4-g32-asym", budget_bpw=20.0)
    with pytest.raises(UsageError, match="awq files have one grid"):
        within_budget(asked, SILENT)


def test_a_large_model_is_tried_on_fewer_grids_and_then_over_fewer_tokens(
    job: Callable[..., QuantizeJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job(score_tokens=512)
    work = [(unit, one.plan.grids_for(unit, [unit.grid])) for unit in one.plan.open_units if unit.grid]
    work = [(unit, grids * 6) for unit, grids in work]
    behind = sum(unit.parameters for unit in one.plan.units if unit.kind != "norm")
    rows = 32
    each = len(work) * behind * rows * 16  # one layer: every trial is of the whole model
    found = {}
    for limit in (6 * each, 6 * each - 1, each - 1, each // 5):
        monkeypatch.setattr("llmkit.workflows.quantize.budget.MOST_MULTIPLICATIONS", limit)
        found[limit] = trial_effort(one, work)
    assert [(effort.every_grid, effort.rows) for effort in found.values()] == [
        *((True, rows), (False, rows), (False, rows // 2), (False, rows // 8)),
    ]
    assert "middle type over 256 tokens" in found[each - 1].told


def test_others_than_the_middle_grid_are_told_from_their_noise(
    job: Callable[..., QuantizeJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.workflows.quantize.budget.MOST_MULTIPLICATIONS", 1)
    rows = list(sensitivity_rows(job(), SILENT))
    assert {row.grid for row in rows if row.measured} == {"int5-g32"}
    bought = within_budget(job(budget_bpw=30.0), SILENT)
    assert not bought.effort.every_grid and bought.effort.rows == 1


def test_sensitivity_without_text_is_refused(job: Callable[..., QuantizeJob]) -> None:
    with pytest.raises(UsageError, match="measured over text"):
        list(sensitivity_rows(job(with_text=False), SILENT))
