"""The device that speed and cost are asked of: from a table or measured, what of it is reached, its price."""

from pathlib import Path
from statistics import median

from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.config import EstimateConfig
from llmkit.estimate.cost import find_price, load_prices
from llmkit.estimate.devices import Device, devices, find_device, load_devices
from llmkit.machine import available_memory_bytes
from llmkit.workflows.bench.report import read_report

MEMORY_FRACTION = 0.9
"""Of a device's memory that weights and cache may fill, as vLLM's gpu_memory_utilization has it."""
_MEASUREMENTS = 3


def choose_device(key: str, table: Path | None) -> Device:
    """A device of llmkit's table, or of a file of the same form over it.

    Raises:
        ConfigError: there is none of this name, or the file has a wrong field.
        MissingError, DataError: no such file, or no TOML.
    """
    return find_device(key, devices() if table is None else load_devices(table))


def choose_price(device: Device, price: float | None, table: Path | None) -> float | None:
    """An hour of a device: as given, or from a table of prices.

    Raises:
        ConfigError: the table has no such device.
        MissingError, DataError: no such file, or no TOML.
    """
    if price is not None or table is None:
        return price
    return find_price(device.key, load_prices(table))


def priced_devices(prices: Path, table: Path | None) -> list[tuple[Device, float]]:
    """The devices that a table of prices names, each with the price of an hour.

    Raises:
        ConfigError: it names a device that there is not, or none.
        MissingError, DataError: no such file, or no TOML.
    """
    found = [(choose_device(key, table), price) for key, price in load_prices(prices).items()]
    if not found:
        raise ConfigError(f"{prices}: no prices", hint="a line for each device: h100 = 2.5")
    return found


def memory_of(device: Device, settings: EstimateConfig) -> EstimateConfig:
    """Settings with the part of a device's memory that may be filled, where they name none."""
    if settings.memory_bytes is not None or device.memory_bytes is None:
        return settings
    return replace(settings, memory_bytes=int(device.memory_bytes * MEMORY_FRACTION))


def calibrated(path: Path) -> tuple[float, float]:
    """MFU and MBU as `llmkit bench` measured them: the medians of llmkit's rows; 1.0 of what no row tells.

    A row tells of what bound it, the larger of its two: decoding reaches little of the arithmetic because it
    waits for memory, which says nothing of a prompt.

    Raises:
        MissingError, DataError: no such report, or not one.
        ConfigError: none of its rows has either.
    """
    rows = [row for row in read_report(path).rows if not row.is_peer]
    mfus = [row.mfu for row in rows if row.mfu is not None and row.mfu > (row.mbu or 0)]
    mbus = [row.mbu for row in rows if row.mbu is not None and row.mbu >= (row.mfu or 0)]
    if not mfus and not mbus:
        raise ConfigError(
            f"{path}: no row says MFU or MBU",
            hint="llmkit bench decode MODEL --format json > RUN.json",
        )
    return min(1.0, median(mfus or [1.0])), min(1.0, median(mbus or [1.0]))


def this_machine() -> Device:
    """The computer that this runs on: memory that is left, bandwidth and arithmetic measured now.

    Imports torch, which measures.
    """
    import torch

    from llmkit.probe.machine_speed import SpeedProbe

    count, probe = torch.get_num_threads(), SpeedProbe()
    for _ in range(_MEASUREMENTS):
        probe.measure([(count, "float32"), (count, "bfloat16")])
    full, half = probe.best(count, "float32"), probe.best(count, "bfloat16")
    return Device(
        key="this-machine",
        name="this machine",
        memory_bytes=available_memory_bytes(),
        bandwidth=round(full.bytes_per_second),
        flops={"bf16": half.flops_per_second, "fp32": full.flops_per_second},
        source=f"measured with {count} threads: {full.bytes_source}; {full.flops_source}",
    )
