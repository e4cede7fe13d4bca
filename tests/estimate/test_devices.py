"""The table of devices: what it says, and how a file of one's own goes over it."""

from pathlib import Path

import pytest

from llmkit.errors import ConfigError, DataError, MissingError
from llmkit.estimate.devices import FLOPS_DTYPES, devices, find_device, load_devices


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "devices.toml"


def test_an_h100_is_what_its_specification_says() -> None:
    h100 = devices()["h100"]
    assert (h100.memory_bytes, h100.bandwidth) == (80_000_000_000, 3_350_000_000_000)
    assert h100.flops == {"bf16": 989e12, "fp8": 1979e12}


def test_the_fourteen_accelerators_twelve_apples_and_two_processors_are_there() -> None:
    assert list(devices()) == [
        *(
            "h100",
            "h200",
            "a100-80",
            "a100-40",
            "l4",
            "l40",
            "l40s",
            "t4",
            "a10",
            "rtx3090",
            "rtx4090",
            "rtx5090",
            "mi300x",
            "b300",
        ),
        *("m1", "m1-pro", "m1-max", "m1-ultra", "m2", "m2-pro", "m2-max", "m2-ultra"),
        *("m3", "m3-pro", "m3-max", "m4", "ddr5-5600-2ch", "ddr5-4800-12ch"),
    ]


def test_every_device_says_where_its_numbers_are_from_and_none_is_sparse() -> None:
    for device in devices().values():
        assert device.source, device.key
        assert set(device.flops) <= set(FLOPS_DTYPES)
        if {"bf16", "fp8"} <= set(device.flops):  # twice, not four times: both dense
            assert device.flops["fp8"] == pytest.approx(2 * device.flops["bf16"], rel=0.005), device.key


@pytest.mark.parametrize(
    ("key", "channels", "transfers"), [("ddr5-5600-2ch", 2, 5600), ("ddr5-4800-12ch", 12, 4800)]
)
def test_a_processor_reads_8_bytes_a_channel_and_transfer(key: str, channels: int, transfers: int) -> None:
    device = devices()[key]
    assert device.bandwidth == channels * 8 * transfers * 10**6
    assert device.memory_bytes is None and device.peak() is None


def test_a_rate_is_asked_for_by_dtype_or_is_the_first_of_three() -> None:
    assert devices()["h100"].peak() == ("bf16", 989e12)
    assert devices()["h100"].peak("fp8") == ("fp8", 1979e12)
    assert devices()["m1"].peak() == ("fp32", 2.6e12)
    with pytest.raises(ConfigError, match=r"^a100-80 has no rate for fp8 \(known: bf16, int8\)$"):
        devices()["a100-80"].peak("fp8")


@pytest.mark.parametrize(
    ("typed", "meant"), [("h1000", "h100"), ("rtx-4090", "rtx4090"), ("M1_MAX", "m1-max")]
)
def test_a_typo_is_told_the_nearest_name(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"^no device named '{typed}'$") as caught:
        find_device(typed, devices())
    assert caught.value.hint == f"did you mean {meant}?"


def test_a_name_like_no_other_is_told_them_all() -> None:
    with pytest.raises(ConfigError) as caught:
        find_device("abacus", devices())
    assert caught.value.hint.startswith("devices: h100, h200, ")


def test_capitals_do_not_matter() -> None:
    assert find_device("H100", devices()).key == "h100"


def test_a_file_changes_the_fields_it_names_and_adds_devices(table: Path) -> None:
    table.write_text(
        "[h100]\nbandwidth_gb_s = 3000.5\n"
        '[Mine]\nname = "My box"\nbandwidth_gb_s = 50\ntflops = {fp32 = 1.5}\n'
    )
    loaded, shipped = load_devices(table), devices()
    assert loaded["h100"].bandwidth == 3_000_500_000_000
    assert (loaded["h100"].flops, loaded["h100"].memory_bytes) == (shipped["h100"].flops, 80 * 10**9)
    mine = find_device("mine", loaded)
    assert (mine.name, mine.bandwidth, mine.memory_bytes, mine.flops) == (
        "My box",
        50 * 10**9,
        None,
        {"fp32": 1.5e12},
    )
    assert mine.source == str(table)
    assert {key: loaded[key] for key in shipped if key != "h100"} == {
        key: shipped[key] for key in shipped if key != "h100"
    }


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("[x]\nmemory_gb = 8", "x has no bandwidth_gb_s (found: memory_gb)", "add bandwidth_gb_s"),
        ("[x]\nbandwith_gb_s = 8", "x has an unknown field 'bandwith_gb_s'", "did you mean bandwidth_gb_s?"),
        ("[x]\nbandwidth_gb_s = 'fast'", "x.bandwidth_gb_s is not a number above 0 (found 'fast')", "change"),
        ("[x]\nbandwidth_gb_s = true", "x.bandwidth_gb_s is not a number above 0 (found True)", "change"),
        ("[h100]\nmemory_gb = 0", "h100.memory_gb is not a number above 0 (found 0)", "change"),
        ("[h100]\nmemory_gb = inf", "h100.memory_gb is not a number above 0 (found inf)", "change"),
        ("[h100]\ntflops = 989", "h100.tflops is not a table of dtypes (found 989)", "tflops = {"),
        ("[h100.tflops]\nbf61 = 989", "h100.tflops has an unknown dtype 'bf61'", "did you mean bf16?"),
        ("[h100.tflops]\nbf16 = -1", "h100.tflops.bf16 is not a number above 0 (found -1)", "change"),
        ("[h100]\nname = 3", "h100.name is not text (found 3)", "quotes"),
        ("h100 = 3", "h100 is not a device (found 3)", "write a heading [h100]"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(table: Path, text: str, problem: str, hint: str) -> None:
    table.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_devices(table)
    assert caught.value.problem == f"{table}: {problem}"
    assert hint in caught.value.hint


def test_a_file_that_is_no_toml_or_not_there_says_so(table: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        load_devices(table)
    table.write_text("[h100")
    with pytest.raises(DataError, match="not TOML"):
        load_devices(table)
