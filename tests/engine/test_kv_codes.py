"""int8 keys and values: how far from the numbers, the same on both ways, and no other text from them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llmkit.engine.block_store import CODES_ESTIMATED_AS
from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.kv_codes import decode, encode
from llmkit.engine.module_weights import pack_model
from llmkit.engine.native.parts import runs_natively
from llmkit.engine.request import Drawn, Request
from llmkit.engine.store import KVStore, PagedCache, PagedSpan
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.cache import contiguous_cache_bytes
from llmkit.kernels.library import available, why_not
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer
from tests.kernels.native.calls import keep
from tests.written_texts import write

Make = Callable[..., Transformer]
needs_kernels = pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
INT8 = EngineConfig(positions=400, block_tokens=4, kv_dtype="int8")


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_the_error_is_half_a_scale_at_most_and_on_average_what_int8_per_head_gives() -> None:
    x = normal(4000, 128) * 3
    codes, scales = encode(x)
    found = decode(codes, scales, torch.float32)
    assert ((found - x).abs() <= scales[:, None] * 0.50001).all()
    assert codes.abs().amax(-1).eq(127).all()
    # the share of the energy of Gaussian numbers that an int8 for each token and head of 128 loses
    assert ((found - x) ** 2).sum() / (x**2).sum() == pytest.approx(4.2e-5, rel=0.05)


def test_zeros_stay_zeros_and_what_is_not_finite_is_nowhere_hidden() -> None:
    x = torch.ones(4, 6)
    x[0], x[1, 2], x[2, 5], x[3] = 0, torch.nan, torch.inf, 1e-38
    found = decode(*encode(x), torch.float32)
    assert found[0].eq(0).all() and found[3].eq(0).all()
    assert found[1:3].isnan().all()


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernels_keep_the_same_codes_to_the_bit(dtype: torch.dtype) -> None:
    x = (normal(40, 3, 72) * 10 ** normal(40, 3, 1)).to(dtype).float()
    x[0, 0], x[1, 0, 0] = 0, torch.nan
    codes, scales = np.empty((40, 3, 72), np.int8), np.empty((40, 3), np.float32)
    keep(x.numpy(), codes, np.arange(40, dtype=np.int32), scales)
    expected = [one.numpy() for one in encode(x.to(dtype))]
    assert np.array_equal(codes, expected[0])
    assert np.array_equal(scales, expected[1], equal_nan=True)


def requests(vocab_size: int, shared: int = 0) -> list[Request]:
    generator = torch.Generator().manual_seed(1)
    sampling = SamplingConfig(max_tokens=8, temperature=0.0, ignore_eos=True, logprobs=2)
    start = torch.randint(vocab_size, (shared,), generator=generator).tolist()
    lengths = torch.randint(1, 30 - shared, (6,), generator=generator).tolist()
    return [
        Request((*start, *torch.randint(vocab_size, (length,), generator=generator).tolist()), sampling)
        for length in lengths
    ]


def ids(texts: list[list[Drawn]]) -> list[list[int]]:
    return [[one.id for one in text] for text in texts]


def first_scores(texts: list[list[Drawn]]) -> list[float]:
    return [text[0].score.logprob for text in texts if text[0].score is not None]


def test_scores_are_near_those_of_float32_keys_and_values_and_not_the_same(stories: Transformer) -> None:
    asked = requests(stories.config.vocab_size)
    exact = first_scores(write(Engine(stories, replace(INT8, kv_dtype=None)), asked))
    found = first_scores(write(Engine(stories, INT8), asked))
    distance = max(abs(one - other) for one, other in zip(found, exact, strict=True))
    assert 0 < distance < 0.03


@pytest.mark.parametrize(
    ("name", "bound"),  # the heads of the first have 8 numbers, of the others 16 and 64
    [("stories260K", 0.03), ("char-gpt-shakespeare", 0.002), ("induction-2l1h", 0.002)],
)
@torch.inference_mode()
def test_a_model_is_no_more_surprised_by_its_own_text_than_by_so_many_nats_a_token(
    name: str, bound: float, shared_data: Path
) -> None:
    model = load_model(shared_data / "models" / name)
    length = min(200, model.config.max_position_embeddings)
    sampling = SamplingConfig(max_tokens=length - 1, temperature=1.0, ignore_eos=True, seed=3)
    ids = torch.tensor([[1, *(one.id for one in Engine(model).run(Request((1,), sampling)))]])

    def surprise(dtype: torch.dtype) -> float:
        span = PagedSpan(0, length, length, 0, (np.arange(length, dtype=np.int32),))
        scores = model(ids, cache=PagedCache(KVStore(model.config, length, 1, dtype), [span]))[0]
        return torch.nn.functional.cross_entropy(scores[:-1], ids[0, 1:]).item()

    assert surprise(torch.int8) == pytest.approx(surprise(torch.float32), abs=bound)


@needs_kernels
@pytest.mark.parametrize("kv_dtype", ["float32", "bfloat16", "int8"])
def test_the_kernels_have_the_scores_of_the_modules(stories: Transformer, kv_dtype: str) -> None:
    assert runs_natively("float32", "cpu")
    config, asked = replace(INT8, kv_dtype=kv_dtype), requests(stories.config.vocab_size)
    expected = write(Engine(stories, config), asked)
    found = write(Engine(pack_model(stories), config), asked)
    assert ids(found) == ids(expected)
    # a key that rounds up here and down there is a step of its scale apart, and no more
    bound = 1e-4 if kv_dtype == "float32" else 2e-2
    assert first_scores(found) == pytest.approx(first_scores(expected), abs=bound)


@pytest.mark.parametrize("kernels", [False, pytest.param(True, marks=needs_kernels)])
def test_chunks_shared_beginnings_and_restarts_change_no_text(stories: Transformer, kernels: bool) -> None:
    asked = requests(stories.config.vocab_size, shared=9)
    computes = pack_model(stories) if kernels else stories
    alone = [write(Engine(computes, replace(INT8, reuse=False)), [one])[0] for one in asked]
    settings: dict[str, dict[str, Any]] = {
        "chunks of 7": {"pass_tokens": 7},
        "all at once": {},
        "little room": {"positions": 64},
        "offloaded": {"positions": 64, "offload_bytes": 1 << 20},
    }
    for name, fields in settings.items():
        engine = Engine(computes, replace(INT8, **fields))
        found = write(engine, asked)
        assert ids(found) == ids(alone), name
        if kernels:
            assert found == alone, name  # to the bit
        assert engine.counts.restarts > 0 or name not in ("little room", "offloaded")


def test_a_plain_dtype_other_than_the_model_s_is_kept_too(make_model: Make) -> None:
    model = make_model(num_key_value_heads=2)
    asked = requests(40)
    exact = first_scores(write(Engine(model, replace(INT8, kv_dtype=None)), asked))
    found = first_scores(write(Engine(model, replace(INT8, kv_dtype="bfloat16")), asked))
    assert found != exact and found == pytest.approx(exact, abs=0.2)


@pytest.mark.parametrize(("dtype", "name"), [("int8", CODES_ESTIMATED_AS), ("bfloat16", "bfloat16")])
def test_the_cache_takes_what_is_estimated(make_model: Make, dtype: str, name: str) -> None:
    model = make_model(num_key_value_heads=2)
    engine = Engine(model, replace(INT8, positions=80, kv_dtype=dtype))
    assert engine.store.nbytes == contiguous_cache_bytes(architecture_of(model.config), name, context=80)
