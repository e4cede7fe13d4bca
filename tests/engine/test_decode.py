"""The decoding loop beside transformers' generate, one full pass, and the greedy ids that were published."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmkit.engine import decode
from llmkit.engine.config import SamplingConfig
from llmkit.engine.decode import Engine
from llmkit.engine.request import Drawn, Request
from llmkit.errors import DataError, UsageError
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer

Make = Callable[..., Transformer]
GREEDY = {"temperature": 0.0, "ignore_eos": True}


def _ids(drawn: list[Drawn]) -> list[int]:
    return [token.id for token in drawn]


def _run(engine: Engine, prompt: list[int], **settings: object) -> list[Drawn]:
    return list(engine.run(Request(tuple(prompt), SamplingConfig(**settings))))  # type: ignore[arg-type]


def test_greedy_ids_are_those_that_transformers_published(trained: Path) -> None:
    reference = json.loads((trained / "reference.json").read_text())
    model = load_model(trained)
    for one in reference["greedy"]:
        room = model.config.max_position_embeddings - len(one["prompt_ids"])
        expected = one["greedy_ids"][:room]
        drawn = _run(Engine(model), one["prompt_ids"], max_tokens=len(one["greedy_ids"]), **GREEDY)
        assert _ids(drawn) == expected


@pytest.mark.parametrize("name", ["stories260K", "char-gpt-shakespeare"])
def test_ids_are_those_of_transformers_generate_with_penalties_and_an_end(
    name: str, shared_data: Path
) -> None:
    from transformers import AutoModelForCausalLM, GenerationConfig

    folder = shared_data / "models" / name
    theirs, engine = AutoModelForCausalLM.from_pretrained(folder), Engine(load_model(folder), stop_ids=[13])
    prompt = [1, 40, 12]
    for penalty in (1.0, 1.3):
        settings = GenerationConfig(
            max_new_tokens=40,
            do_sample=False,
            repetition_penalty=penalty,
            eos_token_id=[2, 13],
            pad_token_id=0,
        )
        expected = theirs.generate(torch.tensor([prompt]), generation_config=settings)[0, len(prompt) :]
        drawn = _run(engine, prompt, max_tokens=40, temperature=0.0, repetition_penalty=penalty)
        assert _ids(drawn) == expected.tolist()
        assert drawn[-1].finish == ("stop" if drawn[-1].id in (2, 13) else "length")


def test_each_token_is_drawn_from_the_scores_of_one_full_pass(stories: Transformer) -> None:
    prompt = [1, 403, 407, 261, 378]
    drawn = _run(Engine(stories), prompt, max_tokens=60, logprobs=5, temperature=1.0, seed=4)
    with torch.inference_mode():
        logprobs = stories(torch.tensor([[*prompt, *_ids(drawn)]]))[0].log_softmax(1)
    for place, token in enumerate(drawn, len(prompt) - 1):
        assert token.score is not None and token.score.id == token.id
        assert token.score.logprob == pytest.approx(float(logprobs[place, token.id]), abs=2e-4)
        best = logprobs[place].topk(5)
        assert [one.logprob for one in token.top] == pytest.approx(best.values.tolist(), abs=2e-4)
        assert token.top[0].id == best.indices[0]


def test_logprobs_are_the_models_own_in_transformers_whatever_the_sampling(shared_data: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = shared_data / "models" / "stories260K"
    prompt = [1, 403, 407]
    settings = {"temperature": 0.3, "top_k": 2, "repetition_penalty": 1.5, "logprobs": 3}
    drawn = _run(Engine(load_model(folder)), prompt, max_tokens=20, **settings)
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        logits = theirs(torch.tensor([[*prompt, *_ids(drawn)]])).logits[0]
    for place, token in enumerate(drawn, len(prompt) - 1):
        expected = logits[place].log_softmax(0)
        for one in (token.score, *token.top):
            assert one is not None and one.logprob == pytest.approx(float(expected[one.id]), abs=2e-4)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_prompt_read_in_parts_is_read_as_a_whole(
    size: int, stories: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = torch.randint(3, 512, (150,), generator=torch.Generator().manual_seed(0)).tolist()
    with torch.inference_mode():
        expected = stories(torch.tensor([prompt]))[0, -1].log_softmax(0)
    monkeypatch.setattr(decode, "PREFILL_TOKENS", size)
    (token,) = _run(Engine(stories), prompt, max_tokens=1, logprobs=512)
    found = torch.tensor([one.logprob for one in sorted(token.top, key=lambda one: one.id)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_text_does_not_depend_on_what_the_engine_wrote_before(stories: Transformer) -> None:
    requests = [([1, 403], 30), ([1, 403, 407], 10), ([1], 50), ([1, 403, 407], 12), ([1, 403, 407], 10)]

    def write(engine: Engine, number: int) -> list[int]:
        prompt, length = requests[number]
        return _ids(_run(engine, prompt, max_tokens=length, seed=number, temperature=1.0))

    alone = [write(Engine(stories), number) for number in range(5)]
    engine = Engine(stories)
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 2, 0, 0, 3]):
        assert [write(engine, number) for number in order] == [alone[number] for number in order]


def test_a_prompt_that_comes_again_is_not_read_again(
    stories: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    hidden = stories.hidden
    monkeypatch.setattr(
        stories, "hidden", lambda ids, **rest: reads.append(ids.shape[1]) or hidden(ids, **rest)
    )
    engine = Engine(stories)
    for seed in range(3):
        _run(engine, [1, 403, 407], max_tokens=5, seed=seed)
    assert reads == [3]


def test_a_text_left_half_way_does_not_harm_the_next(stories: Transformer) -> None:
    engine = Engine(stories)
    begun = engine.run(Request((1, 403, 407), SamplingConfig(max_tokens=20, seed=1)))
    next(begun), next(begun)
    expected = _ids(_run(Engine(stories), [1, 403, 407], max_tokens=20, seed=2))
    assert _ids(_run(engine, [1, 403, 407], max_tokens=20, seed=2)) == expected


def test_a_text_ends_with_its_context_and_the_last_place_is_used(make_model: Make) -> None:
    model = make_model(max_position_embeddings=12)
    drawn = _run(Engine(model), [1, 2, 3], max_tokens=100, **GREEDY)
    assert len(drawn) == 9
    assert [token.finish for token in drawn] == [None] * 8 + ["length"]


def test_a_text_ends_with_every_id_that_ends_texts_unless_told_to_go_on(make_model: Make) -> None:
    free = _ids(_run(Engine(make_model()), [1, 2], max_tokens=8, **GREEDY))
    by_config = Engine(make_model(eos_token_id=free[1]))
    assert _ids(_run(by_config, [1, 2], max_tokens=8, temperature=0.0)) == free[: free.index(free[1]) + 1]
    by_engine = Engine(make_model(), stop_ids=[free[0]])
    (only,) = _run(by_engine, [1, 2], max_tokens=8, temperature=0.0)
    assert only.finish == "stop" and not only.is_text
    request = Request((1, 2), SamplingConfig(max_tokens=8, temperature=0.0), frozenset([free[0]]))
    assert _ids(list(Engine(make_model()).run(request))) == free[:1]
    assert _ids(_run(by_config, [1, 2], max_tokens=8, **GREEDY)) == free


def test_what_the_model_cannot_do_is_refused_when_the_text_begins(make_model: Make) -> None:
    engine = Engine(make_model(max_position_embeddings=8))
    with pytest.raises(UsageError, match="context of 8"):
        _run(engine, list(range(8)))
    with pytest.raises(DataError, match="token id 40"):
        _run(engine, [40])


def test_training_goes_on_after_a_text_was_written(make_model: Make) -> None:
    model = make_model()  # its table of rotations is made by the engine first
    _run(Engine(model), [1, 2, 3], max_tokens=5)
    loss = model.train()(torch.tensor([[1, 2, 3, 4]])).logsumexp(-1).sum()
    loss.backward()
    assert math.isfinite(float(model.model.embed_tokens.weight.grad.sum()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_cache_is_as_large_as_the_longest_text_without_its_last_token(
    dtype: torch.dtype, make_model: Make
) -> None:
    from llmkit.estimate.kv import kv_cache_bytes

    model = make_model(num_key_value_heads=2).to(dtype)
    engine = Engine(model)
    for length in (5, 20, 10):
        _run(engine, [1, 2, 3], max_tokens=length, **GREEDY)
    expected = kv_cache_bytes(model.config, batch=1, context=22, bytes_per_value=dtype.itemsize)
    assert engine.cache_bytes == expected
