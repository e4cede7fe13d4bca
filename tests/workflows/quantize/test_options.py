from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import UsageError
from llmkit.estimate.gguf_mix import BASE_TYPES
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.grids import EXAMPLES
from llmkit.quant.plan_gguf import PLAIN_TYPES
from llmkit.workflows.quantize.options import TYPE_NAMES, QuantizeConfig, type_of_bits


def test_the_types_that_the_manual_names_are_all_that_can_be_written() -> None:
    can_be_filled = {name for name, base in BASE_TYPES.items() if base in (*GGML_GRIDS, *PLAIN_TYPES)}
    assert sorted(TYPE_NAMES) == sorted({*can_be_filled, *EXAMPLES})


TEXT = (Path("t.txt"),)


@pytest.mark.parametrize(
    ("settings", "out", "wanted"),
    [
        ({}, "q.gguf", ("gguf", "Q4_K_M")),
        ({}, "q", ("compressed-tensors", "int4-g128")),
        ({"bits": 6}, "q.gguf", ("gguf", "Q6_K")),
        ({"container": "mlx", "bits": 3}, "q", ("mlx", "mlx-3bit-g64")),
        ({"bits": 6, "group": 64}, "q", ("compressed-tensors", "int6-g64")),
        ({"container": "mlx", "group": 32}, "q", ("mlx", "mlx-4bit-g32")),
        ({"container": "awq", "group": 64}, "q", ("awq", "int4-g64-asym")),
        ({"container": "gguf", "type": "Q3_K_S"}, "q", ("gguf", "Q3_K_S")),
    ],
)
def test_container_and_type_come_from_what_was_given_and_the_name_of_the_output(
    settings: dict[str, Any], out: str, wanted: tuple[str, str]
) -> None:
    config = QuantizeConfig(**settings)
    assert (config.container_of(Path(out)), config.type_of(Path(out))) == wanted


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"bits": 4, "type": "Q4_0"}, "two types"),
        ({"group": 64, "type": "int4-g128"}, "names its own group"),
        ({"budget_bpw": 4.0, "fit_bytes": 5, "calibration": TEXT}, "two budgets"),
        ({"budget_bpw": 4.0}, "spent by what text shows"),
        ({"max_kl": 0.1}, "need text to score"),
        ({"calibration": TEXT, "calibration_tokens": 0}, "no token of it"),
        ({"calibration": TEXT, "imatrix": Path("i.dat")}, "two ways to weigh"),
        ({"scale": True}, "goes by what matrices read"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        QuantizeConfig(**settings)


def test_bits_that_a_container_does_not_have_are_refused_with_those_it_has() -> None:
    with pytest.raises(UsageError, match="gguf has no type of 0 bits"):
        QuantizeConfig(bits=0).type_of(Path("q.gguf"))
    with pytest.raises(UsageError, match="awq has no type of 3 bits") as error:
        type_of_bits("awq", 3)
    assert error.value.hint.startswith("4, or name one")


def test_a_gguf_file_has_groups_of_its_own() -> None:
    with pytest.raises(UsageError, match="--group: the types of a GGUF file"):
        QuantizeConfig(bits=4, group=64).type_of(Path("q.gguf"))
