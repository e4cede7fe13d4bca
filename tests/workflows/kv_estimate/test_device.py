"""Devices and prices from tables, and a bench that calibrates."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmkit.errors import ConfigError, MissingError
from llmkit.estimate.config import EstimateConfig
from llmkit.probe.environment import read_environment
from llmkit.workflows.kv_estimate.device import calibrated, choose_device, choose_price, memory_of


def test_devices_and_prices_come_from_tables(tmp_path: Path) -> None:
    table = tmp_path / "devices.toml"
    table.write_text('[mine]\nname = "Mine"\nmemory_gb = 1\nbandwidth_gb_s = 10\n')
    device = choose_device("mine", table)
    assert device.bandwidth == 10_000_000_000
    prices = tmp_path / "prices.toml"
    prices.write_text("mine = 0.5\n")
    assert choose_price(device, None, prices) == 0.5
    assert (choose_price(device, 3.0, prices), choose_price(device, None, None)) == (3.0, None)
    with pytest.raises(ConfigError, match="no device named 'h1000'"):
        choose_device("h1000", None)
    given = EstimateConfig(memory_bytes=5)
    assert memory_of(device, given) is given
    assert memory_of(device, EstimateConfig()).memory_bytes == 900_000_000


def test_a_bench_calibrates_by_the_medians_of_its_own_rows(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        calibrated(tmp_path / "none.json")
    row = {
        **{"name": "a", "tokens_per_second": 1.0, "bytes_per_second": None, "median_seconds": 1.0},
        **{"spread": 0.0, "cpu_seconds": 1.0, "ratio": None, "cpu_ratio": None},
    }
    environment = msgspec.to_builtins(read_environment())
    report = {"bench": "decode", "work": {}, "environment": environment, "noisy": None, "rows": []}
    path = tmp_path / "run.json"

    def write(*rows: dict[str, Any]) -> None:
        path.write_text(json.dumps({**report, "rows": [{**row, **one} for one in rows]}))

    write({"mbu": 0.4}, {"mbu": 0.6}, {"mbu": 0.5}, {"mbu": 0.9, "engine": "transformers"})
    assert calibrated(path) == (1.0, 0.5)
    write({"mfu": 0.3})
    assert calibrated(path) == (0.3, 1.0)
    write({"mfu": 0.02, "mbu": 0.7}, {"mfu": 0.04, "mbu": 0.6}, {"mfu": 0.03, "mbu": 0.8})
    assert calibrated(path) == (1.0, 0.7)  # decoding waits for memory: its MFU is not what a prompt reaches
    write({"mfu": 0.02, "mbu": 0.7}, {"mfu": 0.5, "mbu": 0.1})
    assert calibrated(path) == (0.5, 0.7)
    write({})
    with pytest.raises(ConfigError, match="no row says MFU or MBU"):
        calibrated(path)
