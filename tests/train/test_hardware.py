"""What is chosen for a machine, and what is measured on it."""

from contextlib import nullcontext

import pytest
import torch

from llmkit.errors import ConfigError, MissingError
from llmkit.kernels import library
from llmkit.train import hardware

CPU = torch.device("cpu")


def test_a_device_that_is_not_there_or_not_known_is_refused() -> None:
    assert hardware.choose_device("cpu") == CPU
    with pytest.raises(ConfigError, match="no such device"):
        hardware.choose_device("gpu")
    with pytest.raises(MissingError, match="not there"):
        hardware.choose_device(f"cuda:{torch.cuda.device_count()}")


@pytest.mark.parametrize(
    ("multiplies", "width", "dtype"),
    [(True, 256, "bfloat16"), (True, 255, "float32"), (False, 1024, "float32")],
)
def test_bfloat16_on_a_cpu_needs_instructions_and_width(
    monkeypatch: pytest.MonkeyPatch, multiplies: bool, width: int, dtype: str
) -> None:
    monkeypatch.setattr(hardware, "_multiplies_bfloat16", lambda: multiplies)
    assert hardware.choose_dtype("auto", CPU, width) == dtype
    assert hardware.choose_dtype("bfloat16", CPU, width) == "bfloat16"


@pytest.mark.parametrize(("capability", "refused"), [((8, 0), True), ((8, 9), False), ((9, 0), False)])
def test_float8_needs_a_gpu_that_has_units_for_it_and_any_cpu_can_try_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], refused: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A100")
    hardware.check_float8(CPU)
    with pytest.raises(MissingError, match="--fp8: A100 has no float8") if refused else nullcontext():
        hardware.check_float8(torch.device("cuda"))


def test_threads_are_as_asked_and_one_for_a_model_too_small_to_share() -> None:
    assert hardware.choose_threads(3, 8, 1.0) == 3
    assert hardware.choose_threads(None, 8, 1e6) == 1
    assert hardware.choose_threads(None, 8, 1e10) == 8


def test_threads_of_pytorch_and_the_kernels_are_set_and_given_back() -> None:
    before, kernels_before = torch.get_num_threads(), library.threads() if library.available() else 0
    with hardware.threads_set(before + 1):
        assert torch.get_num_threads() == before + 1
        assert not library.available() or library.threads() == before + 1
    assert torch.get_num_threads() == before
    assert not library.available() or library.threads() == kernels_before


def test_the_peak_says_where_it_comes_from_and_is_no_less_than_a_matrix_product_reaches() -> None:
    peak = hardware.measure_peak(CPU, "float32")
    assert "measured" in peak.source
    assert peak.flops_per_second > 1e8


def test_the_peak_of_a_dtype_without_instructions_is_what_its_widened_numbers_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for multiplies, measured in ((False, "float32"), (True, "bfloat16")):
        monkeypatch.setattr(hardware, "_multiplies_bfloat16", lambda found=multiplies: found)
        monkeypatch.setattr(hardware, "_MATRIX", 8)
        assert hardware.measure_peak(CPU, "bfloat16").source == f"measured matmul {measured}, 8 x 8"
        assert hardware.is_emulated(CPU, "bfloat16") is not multiplies
        assert not hardware.is_emulated(CPU, "float32")


def test_memory_is_in_bytes() -> None:
    held = hardware.used_memory_bytes(CPU)
    assert 50e6 < held < 1e12  # torch alone takes more than 50 MB
    available = hardware.available_memory_bytes(CPU)
    assert available is None or 1e6 < available < 1e14
