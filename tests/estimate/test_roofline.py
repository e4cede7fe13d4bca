"""The roofline: rows worked out for Llama-3-8B, and where each bound binds."""

import pytest
from msgspec.structs import replace

from llmkit.errors import ConfigError
from llmkit.estimate.architecture import Architecture, LayerCache
from llmkit.estimate.architecture_flops import decode_flops
from llmkit.estimate.cache_settings import CacheSettings
from llmkit.estimate.devices import Device, devices
from llmkit.estimate.roofline import RooflineSettings, batch_at_rate, roofline
from llmkit.estimate.step_bytes import weight_bytes_read
from tests.estimate.cached import LLAMA_3_8B_LAYER as FULL
from tests.estimate.cached import with_caches

H100 = devices()["h100"]
AT_8192 = RooflineSettings(prompt_tokens=8192)


def test_the_model_of_these_rows_is_llama_3_8b(llama_3_8b: Architecture) -> None:
    assert (llama_3_8b.parameters, llama_3_8b.matmul_parameters) == (8_030_261_248, 7_504_658_432)


def test_parts_stored_in_their_own_ways_are_held_and_read_so(llama_3_8b: Architecture) -> None:
    numbers = llama_3_8b.by_part
    part_bytes = {part: 2.0 * count for part, count in numbers.items()}
    part_bytes |= {"attention": numbers["attention"] / 2, "mlp": numbers["mlp"] / 2}  # 4 bits
    read = weight_bytes_read(llama_3_8b, batch=1, part_bytes=part_bytes)
    matrices, head = 6_979_321_856, 128_256 * 4096
    bound = roofline(llama_3_8b, H100, replace(AT_8192, part_bytes=part_bytes))
    assert (bound.weight_bytes, bound.weight_bytes_read) == (matrices // 2 + 2 * (2 * head + 65 * 4096), read)
    assert bound.sessions == (72 * 10**9 - bound.weight_bytes) // bound.kv_bytes
    assert bound.step_seconds == (read + bound.kv_bytes_read) / 3350e9
    with pytest.raises(ConfigError, match="part_bytes has nothing for attention"):
        roofline(llama_3_8b, H100, replace(AT_8192, part_bytes={"embeddings": 1}))


@pytest.mark.parametrize(
    ("key", "milliseconds", "tokens_per_second", "ttft"),
    [
        ("h100", "4.801", "208.3", "142.1"),
        ("h200", "3.351", "298.4", "142.1"),
        ("a100-80", "7.888", "126.8", "450.5"),
        ("l4", "53.61", "18.7", "1161.6"),
        ("rtx4090", "15.96", "62.7", "850.8"),
        ("rtx5090", "8.975", "111.4", "670.9"),
        ("mi300x", "3.035", "329.5", "107.5"),
    ],
)
def test_llama_3_8b_at_8192_is_as_fast_as_worked_out(
    llama_3_8b: Architecture, key: str, milliseconds: str, tokens_per_second: str, ttft: str
) -> None:
    bound = roofline(llama_3_8b, devices()[key], AT_8192)

    def digits(value: float, like: str) -> str:
        return f"{value:.{len(like.partition('.')[2])}f}"

    assert bound.ttft_seconds is not None
    assert digits(bound.step_seconds * 1000, milliseconds) == milliseconds
    assert digits(bound.tokens_per_second, tokens_per_second) == tokens_per_second
    assert digits(bound.ttft_seconds * 1000, ttft) == ttft
    assert (bound.prefill_bound, bound.decode_bound) == ("compute", "bandwidth")


def test_an_h100_holds_52_sessions_of_8192_and_51_make_2449_tokens_a_second(llama_3_8b: Architecture) -> None:
    bound = roofline(llama_3_8b, H100, replace(AT_8192, batch=51))
    assert bound.sessions == 52
    assert bound.kv_bytes == 8192 * 131_072
    assert f"{bound.step_seconds * 1000:.2f}" == "20.83"
    assert f"{bound.tokens_per_second:.0f}" == "2449"


def test_a_large_batch_of_short_texts_computes_longer_than_it_reads(llama_3_8b: Architecture) -> None:
    bound = roofline(llama_3_8b, H100, RooflineSettings(prompt_tokens=1, batch=1000))
    assert bound.decode_bound == "compute"
    assert bound.step_seconds == pytest.approx(bound.decode_flops / 989e12)


def test_a_short_prompt_waits_for_the_weights(llama_3_8b: Architecture) -> None:
    bound = roofline(llama_3_8b, H100, RooflineSettings(prompt_tokens=8))
    assert bound.prefill_bound == "bandwidth"
    assert bound.ttft_seconds == pytest.approx(weight_bytes_read(llama_3_8b, batch=8) / 3350e9)


def test_half_the_bandwidth_and_arithmetic_take_twice_the_time(llama_3_8b: Architecture) -> None:
    best, half = (
        roofline(llama_3_8b, H100, AT_8192),
        roofline(llama_3_8b, H100, replace(AT_8192, mfu=0.5, mbu=0.5)),
    )
    assert half.step_seconds == pytest.approx(2 * best.step_seconds)
    assert half.ttft_seconds == pytest.approx(2 * (best.ttft_seconds or 0))


def test_eight_devices_are_eight_times_as_fast_and_hold_the_weights_once(llama_3_8b: Architecture) -> None:
    one, eight = roofline(llama_3_8b, H100, AT_8192), roofline(llama_3_8b, H100, replace(AT_8192, gpus=8))
    assert eight.step_seconds == pytest.approx(one.step_seconds / 8)
    assert eight.kv_bytes == one.kv_bytes
    assert eight.sessions == (8 * 72 * 10**9 - 2 * llama_3_8b.parameters) // one.kv_bytes


def test_devices_beyond_the_heads_hold_and_read_copies(llama_3_8b: Architecture) -> None:
    one, sixteen = roofline(llama_3_8b, H100, AT_8192), roofline(llama_3_8b, H100, replace(AT_8192, gpus=16))
    assert (sixteen.kv_bytes, sixteen.kv_bytes_read) == (2 * one.kv_bytes, 2 * one.kv_bytes_read)


def test_the_cache_may_be_stored_in_fewer_bits(llama_3_8b: Architecture) -> None:
    half = roofline(llama_3_8b, H100, replace(AT_8192, cache=CacheSettings(kv_dtype="fp8")))
    assert half.kv_bytes == half.kv_bytes_read == 8192 * 65_536


def test_a_layer_that_shares_a_cache_reads_it_and_holds_none(llama_3_8b: Architecture) -> None:
    shared = replace(FULL, kind="shared")
    bound = roofline(with_caches(llama_3_8b, FULL, shared), H100, AT_8192)
    assert (bound.kv_bytes, bound.kv_bytes_read) == (8192 * 4096, 2 * 8192 * 4096)
    assert bound.decode_flops == decode_flops(with_caches(llama_3_8b, FULL, FULL), 8192)


def test_a_window_is_all_that_a_layer_reads_even_where_nothing_is_evicted(llama_3_8b: Architecture) -> None:
    sliding = replace(FULL, kind="sliding", window=512)
    kept = replace(AT_8192, cache=CacheSettings(window_is_full=True))
    bound = roofline(with_caches(llama_3_8b, sliding), H100, kept)
    assert (bound.kv_bytes, bound.kv_bytes_read) == (8192 * 4096, 512 * 4096)


def test_a_state_is_read_and_written(llama_3_8b: Architecture) -> None:
    state = LayerCache(kind="state", recurrent=1000, conv=10)
    bound = roofline(with_caches(llama_3_8b, state), H100, AT_8192)
    assert (bound.kv_bytes, bound.kv_bytes_read) == (4 * 1000 + 2 * 10, 2 * (4 * 1000 + 2 * 10))


def test_weights_of_half_a_byte_are_read_in_a_quarter_of_the_time(llama_3_8b: Architecture) -> None:
    bound = roofline(llama_3_8b, H100, replace(AT_8192, weight_bytes_per_value=0.5))
    assert bound.weight_bytes == llama_3_8b.parameters // 2
    assert bound.weight_bytes_read == 15_009_857_536 // 4


def test_weights_that_the_caller_counted_are_held_and_read_as_before(llama_3_8b: Architecture) -> None:
    bound = roofline(llama_3_8b, H100, replace(AT_8192, weight_bytes=4 * 10**9))
    assert (bound.weight_bytes, bound.weight_bytes_read) == (4 * 10**9, 15_009_857_536)
    assert bound.sessions == 68 * 10**9 // bound.kv_bytes


def test_without_a_rate_of_computing_reading_is_all_that_is_known(llama_3_8b: Architecture) -> None:
    bound = roofline(llama_3_8b, devices()["ddr5-5600-2ch"], AT_8192)
    assert bound.ttft_seconds is bound.prompt_tokens_per_second is bound.compute_dtype is None
    assert bound.step_seconds == (15_009_857_536 + 8192 * 131_072) / 89.6e9
    assert bound.sessions is None


def test_memory_that_the_table_does_not_know_can_be_told(llama_3_8b: Architecture) -> None:
    told = roofline(llama_3_8b, devices()["m2-max"], replace(AT_8192, memory_bytes=96 * 10**9))
    assert told.sessions == (int(86.4e9) - 2 * llama_3_8b.parameters) // (8192 * 131_072)
    assert told.compute_dtype == "fp32"


def test_the_batch_at_a_rate_is_the_last_that_keeps_it(llama_3_8b: Architecture) -> None:
    batch = batch_at_rate(llama_3_8b, H100, AT_8192, 48.0)
    each = [roofline(llama_3_8b, H100, replace(AT_8192, batch=size)) for size in (batch, batch + 1)]
    assert each[0].step_seconds <= 1 / 48 < each[1].step_seconds
    assert batch_at_rate(llama_3_8b, H100, AT_8192, 1000.0) == 0
    with pytest.raises(ConfigError, match="tokens_per_second"):
        batch_at_rate(llama_3_8b, H100, AT_8192, 0.0)


def test_a_batch_that_nothing_bounds_is_an_error(llama_3_8b: Architecture) -> None:
    with pytest.raises(ConfigError, match="no batch is too large"):
        batch_at_rate(replace(llama_3_8b, caches=()), devices()["ddr5-5600-2ch"], AT_8192, 1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt_tokens", 0),
        ("context", 0),
        ("batch", 0),
        ("gpus", 0),
        ("mfu", 0.0),
        ("mbu", 1.5),
        ("weight_bytes_per_value", 0.0),
    ],
)
def test_a_number_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is not "):
        RooflineSettings(**{"prompt_tokens": 1, name: value})


def test_an_unknown_rate_is_an_error(llama_3_8b: Architecture) -> None:
    slow = Device(key="x", name="x", memory_bytes=None, bandwidth=1, flops={"fp32": 1.0}, source="")
    with pytest.raises(ConfigError, match="x has no rate for fp8"):
        roofline(llama_3_8b, slow, replace(AT_8192, compute_dtype="fp8"))
