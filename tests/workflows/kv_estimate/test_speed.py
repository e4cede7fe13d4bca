"""Speed and cost on a device: the reference's rows and a fleet worked by hand."""

from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError, UsageError
from llmkit.estimate.config import EstimateConfig
from llmkit.workflows.kv_estimate.device import choose_device
from llmkit.workflows.kv_estimate.models import ModelSources, read_models
from llmkit.workflows.kv_estimate.report import KVEstimate
from llmkit.workflows.kv_estimate.speed import SpeedRequest, estimate_speeds

LLAMA_3_8B = {
    **{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8},
    **{"hidden_size": 4096, "intermediate_size": 14_336, "vocab_size": 128_256},
}


def _speed(device: str = "h100", settings: EstimateConfig | None = None, **request: Any) -> KVEstimate:
    (one,) = estimate_speeds(
        read_models(ModelSources(overrides=LLAMA_3_8B)),
        settings or EstimateConfig(context=8192),
        [SpeedRequest(device=choose_device(device, None), **request)],
    )
    return one


@pytest.mark.parametrize(
    ("device", "milliseconds", "rate", "first"),
    [
        ("h100", "4.801", "208.3", "142.1"),
        ("a100-80", "7.888", "126.8", "450.5"),
        ("l4", "53.61", "18.7", "1162"),
    ],
)
def test_a_device_at_its_best_is_the_references_row(
    device: str, milliseconds: str, rate: str, first: str
) -> None:
    speed = _speed(device).speed
    assert speed is not None and speed.ttft_seconds is not None
    assert f"{1000 * speed.step_seconds:.4g}" == milliseconds
    assert f"{speed.tokens_per_second:.1f}" == rate
    assert f"{1000 * speed.ttft_seconds:.4g}" == first
    assert (speed.prefill_bound, speed.decode_bound, speed.efficiency_source) == (
        "compute",
        "bandwidth",
        "bound",
    )


def test_nine_tenths_of_the_device_hold_52_sessions_and_51_cost_28_cents_a_million() -> None:
    one = _speed(settings=EstimateConfig(context=8192, batch=51), price_per_hour=2.5)
    assert one.memory_bytes == 72_000_000_000 and one.fits and one.largest_batch == 52
    assert one.speed is not None and one.cost is not None
    assert one.speed.sessions == 52
    assert f"{one.cost.output_price_per_million_tokens:.3f}" == "0.284"
    assert one.cost.prompt_price_per_million_tokens == pytest.approx(2.5e6 / 3600 / 57_644, rel=1e-3)


def test_half_the_bandwidth_takes_twice_the_time() -> None:
    full, half = _speed().speed, _speed(mbu=0.5, efficiency_source="given").speed
    assert full is not None and half is not None
    assert half.step_seconds == pytest.approx(2 * full.step_seconds)
    assert half.ttft_seconds == full.ttft_seconds


def test_quantised_weights_are_read_in_their_own_bytes() -> None:
    plain, narrow = _speed().speed, _speed(settings=EstimateConfig(context=8192, dtype="w4a16-g128")).speed
    assert plain is not None and narrow is not None
    shapes = 7 * 32 * 16  # two int64 beside each matrix
    read = 3_598_712_832 + shapes + 2 * 4096 * (128_256 + 65 + 1)  # linears, head, norms, one row
    assert narrow.weight_bytes_read == read < plain.weight_bytes_read


def test_a_fleet_holds_all_sessions_of_the_busiest_hour() -> None:
    one = _speed(users=1000, tokens_per_second_per_user=20.0, concurrency=0.5, price_per_hour=2.0)
    fleet = one.fleet
    assert fleet is not None
    assert (fleet.sessions_per_replica, fleet.replicas, fleet.gpus) == (52, 10, 10)  # 500 / 52
    assert fleet.price_per_month == 10 * 2.0 * 730
    with pytest.raises(UsageError, match="both users and"):
        _speed(users=10)
    with pytest.raises(ConfigError, match="has not 100000 tokens a second"):
        _speed(users=10, tokens_per_second_per_user=1e5)


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        *(({"utilisation": 2.0}, "--utilisation"), ({"mfu": 0.0}, "--mfu"), ({"mbu": -1.0}, "--mbu")),
        *(({"price_per_hour": float("inf")}, "--price-per-hour"), ({"prompt_tokens": 0}, "--prompt")),
        ({"users": 3, "tokens_per_second_per_user": float("nan")}, "--rate"),
    ],
)
def test_a_number_out_of_range_names_its_flag(wrong: dict[str, Any], flag: str) -> None:
    with pytest.raises(ConfigError, match=f"^{flag} is not above 0"):
        _speed(**wrong)


def test_a_prompt_is_part_of_the_context() -> None:
    with pytest.raises(ConfigError, match="prompt of 8,193 tokens is longer than the context of 8,192"):
        _speed(prompt_tokens=8193)


def test_a_float32_model_is_computed_in_float32_where_the_rate_is_known(tmp_path: Path) -> None:
    table = tmp_path / "devices.toml"
    table.write_text("[both]\nbandwidth_gb_s = 10\ntflops = { bf16 = 4, fp32 = 1 }\n")
    request = SpeedRequest(device=choose_device("both", table))
    rates = []
    for dtype in ("float32", "bfloat16"):
        models = read_models(ModelSources(overrides=LLAMA_3_8B))
        (one,) = estimate_speeds(models, EstimateConfig(context=128, dtype=dtype), [request])
        assert one.speed is not None
        rates.append((one.speed.compute_dtype, one.speed.flops_per_second))
    assert rates == [("fp32", 1e12), ("bf16", 4e12)]
