"""A pass over pages: the scores of `Runner`, for every part a model may have, replayed or not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from adapters_by_hand import adapter, merged

from llmkit.engine import torch_machinery
from llmkit.engine.adapters.prepare import prepare_adapter
from llmkit.engine.config import SamplingConfig
from llmkit.engine.cuda import runner as runner_module
from llmkit.engine.cuda.attention import GatheredAttention, PagedAttention
from llmkit.engine.cuda.kernel_attention import KernelAttention
from llmkit.engine.cuda.plan import PagePlan
from llmkit.engine.cuda.runner import CudaRunner
from llmkit.engine.drafts import PromptLookup
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Request
from llmkit.engine.runner import Runner
from llmkit.engine.scheduler import Work
from llmkit.engine.store import KVStore
from llmkit.errors import UsageError
from llmkit.model.config_parts import ExpertsConfig, LatentConfig
from llmkit.model.transformer import Transformer

Make = Callable[..., Any]
PAGE, BLOCKS = 4, 24
PLAN = PagePlan("gathered")
WINDOWS: dict[str, Any] = {"model_type": "mistral", "sliding_window": 5, "sliding_layers": (0, 1, 2)}
GEMMA2: dict[str, Any] = {
    **{"model_type": "gemma2", "norm_plus_one": True, "norm_placement": "both", "tie_word_embeddings": True},
    **{"sliding_window": 5, "sliding_layers": (0, 2), "attn_logit_softcapping": 2.0},
    **{"final_logit_softcapping": 3.0, "embedding_scale": 4.0, "attention_scale": 0.4},
    **{"hidden_act": "gelu_pytorch_tanh", "num_key_value_heads": 2},
}
EXPERTS = ExpertsConfig(num_experts=4, num_experts_per_tok=2, intermediate_size=8, layers=(1, 2))
LATENT: dict[str, Any] = {
    **{"model_type": "deepseek_v2", "rope_interleaved": True, "rotary_dim": 4, "head_dim": 9},
    "latent": LatentConfig(
        kv_lora_rank=6, q_lora_rank=5, qk_nope_head_dim=5, qk_rope_head_dim=4, v_head_dim=3
    ),
    "attention_scale": 1 / 3,
    "experts": EXPERTS,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "llama, one key head": {"num_key_value_heads": 1},
    "mistral with windows": WINDOWS,
    "gemma2": GEMMA2,
    "smollm3, a layer without rotation": {"model_type": "smollm3", "no_rope_layers": (1,)},
    "gpt2": {
        **{"model_type": "gpt2", "position": "learned", "norm": "layer", "gated_mlp": False},
        **{"hidden_act": "gelu_new", "attention_bias": True, "output_bias": True, "mlp_bias": True},
        "tie_word_embeddings": True,
    },
}


def _store(model: Transformer, blocks: int = BLOCKS) -> KVStore:
    store = KVStore(model.config, blocks, PAGE)
    for tensor in (tensor for layer in store.layers for tensor in layer):
        tensor.fill_(float("nan"))  # what was never written must change nothing
    return store


def _paged(model: Transformer, attention: PagedAttention | None = None, recorder: Any = None) -> CudaRunner:
    return CudaRunner(
        model, _store(model, BLOCKS + 1), PLAN, max_texts=4, attention=attention, recorder=recorder
    )


def _passes(make_text: Make) -> list[list[Work]]:
    """Prompts in parts, guesses, steps of all texts, one that ends, and one that starts again elsewhere."""
    a = make_text([*range(1, 8)], [4, 2, 9], (11, 12), number=0)
    b = make_text([*range(20, 31)], [0, 1, 3, 5], number=1)
    c = make_text([5, 6], [7, 8], number=2)
    passes = [
        [Work(a, 0, 5, 0), Work(b, 0, 3, 0), Work(c, 0, 1, 0)],
        [Work(b, 3, 8, 0), Work(a, 5, 4, 2), Work(c, 1, 1, 0)],
    ]
    steps = [(a, 7), (b, 11), (c, 2)]
    for _ in range(3):
        for text, start in steps:
            assert len(text.tokens) == start
            text.tokens.append((start * 7 + text.number) % 40)
        passes.append([Work(text, start, 1, 0) for text, start in steps])
        steps = [(text, start + 1) for text, start in steps]
        if len(steps) == 3:
            steps.pop(0)
    return passes


def _compare(
    model: Transformer, paged: CudaRunner, make_text: Make, passes: int | None = None, **close: float
) -> None:
    store = KVStore(model.config, BLOCKS, PAGE)
    slow = Runner(model, store)
    for works in _passes(make_text)[:passes]:
        # each work was made for the tokens that its text had then
        known = [work.text.tokens for work in works]
        for work in works:
            if not work.num_drafts and work.count == 1 and work.start > 1:
                work.text.tokens = work.text.tokens[: work.start + 1]
        expected, found = slow.run(works), paged.run(works)
        for work, tokens in zip(works, known, strict=True):
            work.text.tokens = tokens
        assert [one is None for one in found] == [one is None for one in expected]
        for ours, other in zip(found, expected, strict=True):
            if ours is not None and other is not None:
                assert ours.dtype == np.float32
                torch.testing.assert_close(ours, other, **close)


@pytest.mark.parametrize("fields", FAMILIES.values(), ids=FAMILIES)
def test_scores_are_those_of_the_slow_twin(make_model: Make, make_text: Make, fields: dict[str, Any]) -> None:
    model = make_model(**fields)
    _compare(model, _paged(model), make_text, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fields", FAMILIES.values(), ids=FAMILIES)
def test_scores_are_the_same_replayed_from_recordings(
    make_model: Make, make_text: Make, tape_recorder: Any, fields: dict[str, Any]
) -> None:
    model = make_model(**fields)
    _compare(model, _paged(model, recorder=tape_recorder), make_text, rtol=1e-4, atol=1e-4)
    assert tape_recorder.replays == 3 and tape_recorder.recordings == 2  # three texts, then two, twice


def test_texts_with_adapters_have_the_scores_of_merged_models(
    make_model: Make, make_text: Make, tape_recorder: Any
) -> None:
    model = make_model(num_key_value_heads=2)
    models = [model, *(merged(model, adapter(model, seed, dora=seed == 2)) for seed in (1, 2))]
    made = [None, *(prepare_adapter(model, "x", adapter(model, seed, dora=seed == 2)) for seed in (1, 2))]
    paged = _paged(model, recorder=tape_recorder)
    slow = [Runner(one, KVStore(model.config, BLOCKS, PAGE)) for one in models]
    for one in made[1:]:
        assert one is not None
        paged.add_adapter(one)
    for works in _passes(make_text)[:2]:
        known = [work.text.tokens for work in works]
        for work in works:
            work.text.tokens = work.text.tokens[: work.start + work.count - work.num_drafts]
            work.text.adapter = made[work.text.number]
        found = paged.run(works)
        for work in works:
            work.text.adapter = None
        for work, ours in zip(works, found, strict=True):
            (theirs,) = slow[work.text.number].run([work])
            assert ours is not None and theirs is not None
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
        for work, tokens in zip(works, known, strict=True):
            work.text.tokens = tokens


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("name", FAMILIES)
def test_scores_are_the_same_by_kernels(make_model: Make, make_text: Make, name: str) -> None:
    model = make_model(**FAMILIES[name])
    # parts of prompts and one step: Triton's interpreter takes a third of a second for each
    _compare(model, _paged(model, KernelAttention()), make_text, passes=3, rtol=1e-4, atol=1e-4)


def test_a_model_keeps_its_own_attention(make_model: Make, make_text: Make) -> None:
    model = make_model()
    names, ids = [*model.state_dict()], torch.arange(9)[None]
    before = model(ids)
    _paged(model).run([Work(make_text([1, 2, 3], [0]), 0, 3, 0)])
    assert [*model.state_dict()] == names
    assert torch.equal(model(ids), before)


def test_a_recording_is_used_for_other_texts_in_other_memory(
    make_model: Make, make_text: Make, tape_recorder: Any
) -> None:
    model = make_model()
    paged = _paged(model, recorder=tape_recorder)
    for number, table in enumerate(([3, 1], [20, 5], [8, 7], [2, 9], [11, 10], [3, 1])):
        text = make_text([number, 3, number + 5, 1, 2, 9 + number], table, number=number)
        paged.run([Work(text, 0, 5, 0)])
        (found,) = paged.run([Work(text, 5, 1, 0)])
        with torch.inference_mode():
            expected = model(torch.tensor([text.tokens]))[0, -1:]
        assert found is not None
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)
    assert tape_recorder.recordings == 1 and tape_recorder.replays == 6


def test_scores_stay_when_the_next_pass_overwrites_the_recordings(
    make_model: Make, make_text: Make, tape_recorder: Any
) -> None:
    paged = _paged(make_model(), recorder=tape_recorder)
    (first,) = paged.run([Work(make_text([1], [0]), 0, 1, 0)])
    assert first is not None
    kept = first.copy()
    paged.run([Work(make_text([2], [1], number=1), 0, 1, 0)])
    assert np.array_equal(first, kept)


def test_padding_writes_to_the_last_block_and_nowhere_else(
    make_model: Make, make_text: Make, tape_recorder: Any
) -> None:
    model = make_model()
    store = _store(model, BLOCKS + 1)
    paged = CudaRunner(model, store, PLAN, max_texts=4, recorder=tape_recorder)
    paged.run([Work(make_text([number], [number], number=number), 0, 1, 0) for number in range(3)])
    for tensor in (tensor for layer in store.layers for tensor in layer):
        written = tensor.isfinite().flatten(1).all(1).nonzero()[:, 0].tolist()
        assert written == [0, PAGE, 2 * PAGE, BLOCKS * PAGE]


def test_a_token_that_is_not_the_last_known_is_computed_and_not_scored(
    make_model: Make, make_text: Make, tape_recorder: Any
) -> None:
    text = make_text([1, 2, 3], [0])
    assert _paged(make_model(), recorder=tape_recorder).run([Work(text, 0, 1, 0)]) == [None]
    assert _paged(make_model()).run([Work(text, 0, 1, 0)]) == [None]


def test_positions_beyond_a_table_of_positions_are_refused(make_model: Make, make_text: Make) -> None:
    model = make_model(**FAMILIES["gpt2"])
    with pytest.raises(UsageError, match="49 positions asked of a model that has 48"):
        _paged(model).run([Work(make_text([1] * 49, [*range(13)]), 0, 49, 0)])


def test_a_cache_of_whole_numbers_is_refused(make_model: Make) -> None:
    model = make_model()
    store = KVStore(model.config, BLOCKS, PAGE)
    store.layers = [tuple(tensor.to(torch.int8) for tensor in layer) for layer in store.layers]
    with pytest.raises(UsageError, match="found a cache of int8"):
        CudaRunner(model, store, PLAN, max_texts=4)


def test_a_model_without_pages_is_refused(make_model: Make) -> None:
    model = make_model(**LATENT)
    with pytest.raises(UsageError, match="latent attention"):
        CudaRunner(model, KVStore(model.config, BLOCKS, PAGE), PLAN, max_texts=4)


def test_what_was_chosen_is_told(make_model: Make) -> None:
    told = _paged(make_model(), GatheredAttention()).describe()
    assert told == "cpu: gathered attention over pages of 4 tokens, no CUDA graphs"


def _texts(model: Transformer, config: EngineConfig, *, guess: bool) -> tuple[Engine, list[list[int]]]:
    """Greedy text after each of several prompts that have much in common, all at once."""
    engine = Engine(model, config, proposer=PromptLookup() if guess else None)
    sampling = SamplingConfig(max_tokens=9, temperature=0.0, ignore_eos=True)
    prompts = [[1, 2, 3, 4, 5, 6, 7, 8, 9][: 2 + number] * (1 + number % 3) for number in range(7)]
    numbers = [engine.submit(Request(tuple(prompt), sampling)) for prompt in prompts]
    drawn: dict[int, list[int]] = {number: [] for number in numbers}
    while not engine.is_idle:
        for event in engine.step():
            assert event.error is None and event.drawn is not None
            drawn[event.number].append(event.drawn.id)
    return engine, [drawn[number] for number in numbers]


@pytest.mark.parametrize("fields", [FAMILIES["llama"], GEMMA2], ids=["llama", "gemma2"])
@pytest.mark.parametrize("guess", [False, True], ids=["", "guessing"])
@pytest.mark.parametrize(("pass_tokens", "positions"), [(512, 200), (7, 200), (64, 40)])
def test_an_engine_writes_the_same_text(
    make_model: Make,
    monkeypatch: pytest.MonkeyPatch,
    tape_recorder: Any,
    fields: dict[str, Any],
    guess: bool,
    pass_tokens: int,
    positions: int,
) -> None:
    model = make_model(**fields)
    config = EngineConfig(positions=positions, block_tokens=PAGE, max_texts=5, pass_tokens=pass_tokens)
    _, expected = _texts(model, config, guess=guess)
    plan = PagePlan("gathered", graphs=True)
    monkeypatch.setattr(torch_machinery, "plan_pages", lambda *rest: plan)
    monkeypatch.setattr(runner_module, "CudaRecorder", lambda device: tape_recorder)
    engine, found = _texts(model, config, guess=guess)
    assert found == expected
    assert tape_recorder.replays > 2 and engine.pages is plan
    assert (engine.counts.restarts > 0) == (positions == 40)
    assert engine.pool.num_free == engine.pool.num_blocks == positions // PAGE
