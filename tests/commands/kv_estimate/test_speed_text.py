"""Speed as text: what binds, what is assumed, and what is not known is said."""

from pathlib import Path
from typing import Any

from llmkit.commands.kv_estimate.speed_text import speed_lines
from llmkit.estimate.config import EstimateConfig
from llmkit.workflows.kv_estimate.device import choose_device
from llmkit.workflows.kv_estimate.kv_estimate import estimate_models
from llmkit.workflows.kv_estimate.models import ModelSources, read_models
from llmkit.workflows.kv_estimate.speed import SpeedRequest, estimate_speeds

MODEL = ModelSources(presets=("llama-2-7b",))


def _text(
    device: str, table: Path | None = None, settings: EstimateConfig | None = None, **request: Any
) -> str:
    asked = SpeedRequest(device=choose_device(device, table), **request)
    (one,) = estimate_speeds(read_models(MODEL), settings or EstimateConfig(), [asked])
    lines = speed_lines(one, 80)
    assert max(map(len, lines)) <= 80
    return " ".join(" ".join(lines).split())


def test_without_a_device_there_is_nothing_to_say() -> None:
    assert speed_lines(estimate_models(MODEL, EstimateConfig())[0], 80) == []


def test_a_bound_is_called_one_and_figures_that_were_given_are_not() -> None:
    assert "MFU 100%, MBU 100%, a bound that nothing exceeds" in _text("h100")
    given = _text("h100", mfu=0.5, mbu=0.7, efficiency_source="given")
    assert "MFU 50%, MBU 70%, as given" in given
    assert "as llmkit bench measured" in _text("h100", mbu=0.7, efficiency_source="calibrated")


def test_a_device_without_arithmetic_has_no_first_token(tmp_path: Path) -> None:
    table = tmp_path / "devices.toml"
    table.write_text("[mine]\nbandwidth_gb_s = 10\n")
    text = _text("mine", table)
    assert "first token not known" in text and "sessions" not in text


def test_several_devices_cost_and_fleet_are_counted() -> None:
    settings = EstimateConfig(tensor_parallel=2)
    text = _text("h100", None, settings, price_per_hour=2.0, users=500, tokens_per_second_per_user=10.0)
    assert "2 x H100 SXM" in text and "for a million output tokens" in text
    assert "devices, each decodes" in text and "a month" in text
