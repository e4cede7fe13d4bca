"""The lines of an explanation: their arithmetic, done again from the text, and their sum."""

import math
import re

import pytest

from llmkit.estimate.architecture import LayerCache
from llmkit.estimate.cache import cache_bytes
from llmkit.estimate.cache_settings import CacheSettings
from llmkit.estimate.explain import layers_formula
from tests.estimate.cached import model_of

FULL = LayerCache(kind="full", kv_heads=4, key_dim=256, value_dim=256)
SLIDING = LayerCache(kind="sliding", kv_heads=4, key_dim=256, value_dim=256, window=4096)
CHUNKED = LayerCache(kind="chunked", kv_heads=2, key_dim=64, value_dim=64, window=1000)
UNEQUAL = LayerCache(kind="full", kv_heads=3, key_dim=192, value_dim=128)
LATENT = LayerCache(kind="latent", latent=576)
STATE = LayerCache(kind="state", recurrent=524_288, conv=24_576)
CROSS = LayerCache(kind="cross", kv_heads=8, key_dim=64, value_dim=64, window=1500)
SHARED = LayerCache(kind="shared")


def worked_out(numbers: str) -> int:
    """The value of a line's arithmetic, units left out."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", numbers)
    text = re.sub(r"\b(?!min\b|ceil\b|x\b)[a-zA-Z]+", "", text).replace(" x ", " * ")
    assert re.fullmatch(r"(?:min|ceil|[0-9+*/(), -])+", text), text
    value = eval(text, {"__builtins__": {}, "min": min, "ceil": math.ceil})
    assert value == int(value)
    return int(value)


@pytest.mark.parametrize(
    "settings",
    [
        CacheSettings(),
        CacheSettings(kv_dtype="q8_0", tensor_parallel=3),
        CacheSettings(kv_dtype="mlx-4bit-g64", state_dtype="bfloat16"),
        CacheSettings(block_size=16, shared_prefix=1000),
        CacheSettings(block_size=16, shared_prefix=5000, max_batched_tokens=2048, encoder_tokens=77),
        CacheSettings(window_is_full=True, shared_prefix=3, kv_dtype="float32"),
    ],
)
def test_lines_say_what_they_take_and_add_up(settings: CacheSettings) -> None:
    kept = [SLIDING, FULL, CHUNKED, UNEQUAL, SLIDING, LATENT, STATE, CROSS, STATE, SHARED]
    for context in (1, 37, 900, 5000, 32_768):
        for batch in (1, 2, 7):
            lines = layers_formula(model_of(kept), settings, context, batch)
            assert [worked_out(line.numbers) for line in lines] == [line.nbytes for line in lines]
            total = cache_bytes(model_of(kept), settings, context=context, batch=batch).total
            assert sum(line.nbytes for line in lines) == total
            assert all(line.source for line in lines)


@pytest.mark.parametrize(
    ("cache", "dtype"),
    [(FULL, "int8-token"), (UNEQUAL, "fp8-token"), (FULL, "nvfp4"), (LATENT, "fp8_ds_mla"), (FULL, "int4")],
)
def test_scales_are_in_the_lines(cache: LayerCache, dtype: str) -> None:
    settings = CacheSettings(kv_dtype=dtype)
    (line,) = layers_formula(model_of([cache] * 5), settings, 1000, 3)
    total = cache_bytes(model_of([cache] * 5), settings, context=1000, batch=3).total
    assert worked_out(line.numbers) == line.nbytes == total


def test_gemma_2_2b_is_explained_in_two_lines() -> None:
    sliding, full = layers_formula(model_of([SLIDING, FULL] * 13), CacheSettings(), 32_768, 1)
    assert sliding.what == "13 layers of sliding attention"
    assert sliding.formula == "layers x 2 x kv_heads x head_dim x 2 B x min(context, window)"
    assert sliding.numbers == "13 layers x 2 x 4 heads x 256 x 2 B x min(32,768, 4,096) tokens"
    assert full.numbers == "13 layers x 2 x 4 heads x 256 x 2 B x 32,768 tokens"
    assert (sliding.nbytes, full.nbytes) == (218_103_808, 1_744_830_464)
    assert "arXiv:2310.06825" in sliding.source


def test_a_shared_prefix_has_a_line_of_its_own() -> None:
    settings = CacheSettings(shared_prefix=1000, block_size=16)
    once, rest = layers_formula(model_of([FULL]), settings, 1500, 4)
    assert once.what == "1 layer of full attention: the shared prefix, once"
    assert once.numbers == "1 layer x 2 x 4 heads x 256 x 2 B x 992 tokens"
    assert rest.what == "1 layer of full attention: the rest of each sequence"
    assert rest.formula.endswith("(ceil(context / block_size) x block_size - shared) x batch")
    assert rest.numbers.endswith("(ceil(1,500 / 16) x 16 - 992) tokens x 4 sequences")


def test_states_and_layers_that_keep_nothing_are_said() -> None:
    recurrent, conv, shared = layers_formula(model_of([STATE, STATE, SHARED]), CacheSettings(), 9, 1)
    assert recurrent.what == "2 layers with a state: recurrent, float32"
    assert recurrent.numbers == "2 layers x 524,288 x 4 B"
    assert (conv.formula, conv.nbytes) == ("layers x conv x 2 B", 2 * 24_576 * 2)
    assert (shared.what, shared.nbytes) == ("1 layer without a cache: another layer's is read", 0)
