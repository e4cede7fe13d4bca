"""Accelerators and computers: memory, bandwidth and arithmetic at their best, from a table to extend."""

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import ConfigError, DataError, nearest
from llmkit.formats.streams import open_input

FLOPS_DTYPES = ("fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4")
_FIELDS = ("name", "memory_gb", "bandwidth_gb_s", "tflops", "source", "note")
_GIGA, _TERA = 10**9, 10**12


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device, as its specification has it."""

    key: str
    """What it is called on a command line."""
    name: str
    memory_bytes: int | None
    """None where it is not the device's own, as with a processor."""
    bandwidth: int
    """Bytes that it reads from its memory in a second."""
    flops: Mapping[str, float]
    """Operations a second of dense matrix products, by dtype; empty where unknown."""
    source: str
    note: str = ""

    def peak(self, dtype: str | None = None) -> tuple[str, float] | None:
        """The dtype it computes in and its operations a second; None where the table has no rate at all.

        Args:
            dtype: one of `FLOPS_DTYPES`; None: the first that the device has of bf16, fp16 and fp32.

        Raises:
            ConfigError: the device has rates, but none for this dtype.
        """
        if not self.flops:
            return None
        wanted = [dtype] if dtype else ["bf16", "fp16", "fp32"]
        for one in wanted:
            if one in self.flops:
                return one, self.flops[one]
        raise ConfigError(
            f"{self.key} has no rate for {' or '.join(wanted)} (known: {', '.join(self.flops)})",
            hint=f"use one of these, or give tflops.{wanted[0]} of [{self.key}] in a table of devices",
        )


def devices() -> dict[str, Device]:
    """The devices that llmkit knows, by key."""
    return {key: _device(key, row, "devices.toml") for key, row in _shipped().items()}


def load_devices(path: Path) -> dict[str, Device]:
    """The devices that llmkit knows, with a file of the same form over them, field by field.

    Raises:
        MissingError: there is no such file.
        DataError: it is no TOML.
        ConfigError: a field is unknown, missing or not of its kind.
    """
    rows: dict[str, Any] = dict(_shipped())
    for key, row in read_toml(path).items():
        if not isinstance(row, dict):
            raise ConfigError(
                f"{path}: {key} is not a device (found {row!r})",
                hint=f"write a heading [{key}] and bandwidth_gb_s = NUMBER below it",
            )
        rows[key] = {**rows.get(key, {}), **row}
    return {key: _device(key, row, str(path)) for key, row in rows.items()}


def find_device(key: str, table: Mapping[str, Device]) -> Device:
    """A device by its key, in capitals or not.

    Raises:
        ConfigError: the table has none of this key.
    """
    lowered = {known.lower(): device for known, device in table.items()}
    if device := lowered.get(key.lower()):
        return device
    raise ConfigError(f"no device named {key!r}", hint=_guess(key, table, "devices"))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file; `-` is stdin.

    Raises:
        MissingError: there is no such file.
        DataError: it is no TOML.
    """
    with open_input(path) as stream:
        content = stream.read()
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not TOML: {error}", hint="key = value, strings in quotes") from None


def positive_number(value: object, field: str, source: str) -> float:
    """A number above 0, as a table has it.

    Raises:
        ConfigError: it is none; names the field.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ConfigError(
            f"{source}: {field} is not a number above 0 (found {value!r})", hint=f"change {field}"
        )
    return value


def _shipped() -> dict[str, Any]:
    return tomllib.loads(files("llmkit.estimate").joinpath("devices.toml").read_text(encoding="utf-8"))


def _device(key: str, row: Mapping[str, Any], source: str) -> Device:
    for field in row:
        if field not in _FIELDS:
            raise ConfigError(
                f"{source}: {key} has an unknown field {field!r}", hint=_guess(field, _FIELDS, "fields")
            )
    for field in ("name", "source", "note"):
        if not isinstance(row.get(field, ""), str):
            raise ConfigError(
                f"{source}: {key}.{field} is not text (found {row[field]!r})", hint="put it in quotes"
            )
    if "bandwidth_gb_s" not in row:
        raise ConfigError(
            f"{source}: {key} has no bandwidth_gb_s (found: {', '.join(row) or 'nothing'})",
            hint=f"add bandwidth_gb_s = NUMBER below [{key}]: gigabytes a second",
        )
    memory = row.get("memory_gb")
    if memory is not None:
        memory = round(positive_number(memory, f"{key}.memory_gb", source) * _GIGA)
    return Device(
        key=key,
        name=row.get("name", key),
        memory_bytes=memory,
        bandwidth=round(positive_number(row["bandwidth_gb_s"], f"{key}.bandwidth_gb_s", source) * _GIGA),
        flops=_flops(key, row.get("tflops", {}), source),
        source=row.get("source", source),
        note=row.get("note", ""),
    )


def _flops(key: str, rates: object, source: str) -> dict[str, float]:
    if not isinstance(rates, dict):
        raise ConfigError(
            f"{source}: {key}.tflops is not a table of dtypes (found {rates!r})",
            hint="tflops = { bf16 = NUMBER }",
        )
    for dtype in rates:
        if dtype not in FLOPS_DTYPES:
            raise ConfigError(
                f"{source}: {key}.tflops has an unknown dtype {dtype!r}",
                hint=_guess(dtype, FLOPS_DTYPES, "dtypes"),
            )
    return {
        dtype: positive_number(rate, f"{key}.tflops.{dtype}", source) * _TERA for dtype, rate in rates.items()
    }


def _guess(word: str, known: Iterable[str], what: str) -> str:
    guess = nearest(word.lower(), known)
    return f"did you mean {guess}?" if guess else f"{what}: {', '.join(known)}"
