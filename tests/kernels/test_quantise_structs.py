"""What native/quantise.h declares, as Python has it."""

from pathlib import Path

from llmkit.kernels import quantise_structs
from tests.kernels.header import check_fields


def test_every_field_stands_where_the_header_has_it(tmp_path: Path) -> None:
    check_fields(quantise_structs, "quantise.h", tmp_path)
