"""Samples from a model in training: what full passes would choose, without a trace in the run."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from llmkit.engine.completion import complete_all
from llmkit.engine.config import SamplingConfig
from llmkit.engine.request import Request
from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.hardware import threads_set
from llmkit.workflows.run import sample as sampling
from llmkit.workflows.run.sample import sample, write_texts


def _model(**fields: object) -> Transformer:
    """Two layers over the 259 ids of `byte_tokenizer`, drawn from seed 0, in training."""
    shape = {
        **{"vocab_size": 259, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "max_position_embeddings": 24, "initializer_range": 0.4},
    }
    model = Transformer(ModelConfig(**{**shape, **fields}))  # type: ignore[arg-type]
    initialise(model, torch.Generator().manual_seed(0))
    return model.train()


@pytest.fixture
def model() -> Transformer:
    return _model()


@torch.no_grad()
def _greedy(model: Transformer, ids: list[int], tokens: int, eos: tuple[int, ...] = ()) -> list[int]:
    """The best next id of a full pass over everything so far, again and again."""
    ids = list(ids)
    start = len(ids)
    for _ in range(tokens):
        best = int(model(torch.tensor([ids]))[0, -1].argmax())
        if best in eos:
            break
        ids.append(best)
    return ids[start:]


def test_a_greedy_sample_is_what_full_passes_choose(model: Transformer, byte_tokenizer: Tokenizer) -> None:
    text = sample(model, byte_tokenizer, "the c", tokens=12, temperature=0, seed=0)
    assert text == byte_tokenizer.decode(_greedy(model, [*b"the c"], 12), skip_special=True)
    assert text == sample(model, byte_tokenizer, "the c", tokens=12, temperature=0, seed=7)


def test_an_empty_prompt_goes_on_from_the_beginning_of_a_text(
    model: Transformer, byte_tokenizer: Tokenizer
) -> None:
    text = sample(model, byte_tokenizer, "", tokens=6, temperature=0, seed=0)
    assert text == byte_tokenizer.decode(_greedy(model, [256], 6), skip_special=True)  # bos
    bare = Tokenizer(byte_tokenizer.backend)
    text = sample(model, bare, "", tokens=6, temperature=0, seed=0)
    assert text == bare.decode(_greedy(model, [0], 6), skip_special=True)


def test_a_sample_ends_with_its_text(byte_tokenizer: Tokenizer) -> None:
    plain = _model()
    ids = _greedy(plain, [*b"go"], 10)
    end = ids[3]  # what the model says fourth ends a text from now on
    model = _model(eos_token_id=end)
    before = _greedy(plain, [*b"go"], 10, eos=(end,))
    assert len(before) <= 3
    text = sample(model, byte_tokenizer, "go", tokens=10, temperature=0, seed=0)
    assert text == byte_tokenizer.decode(before, skip_special=True)


def test_the_seed_decides_the_text_and_the_temperature_how_much_of_it_is_chance(
    model: Transformer, byte_tokenizer: Tokenizer
) -> None:
    def text(seed: int, temperature: float) -> str:
        return sample(model, byte_tokenizer, "a", tokens=16, temperature=temperature, seed=seed)

    assert text(1, 1.0) == text(1, 1.0)
    assert len({text(seed, 1.0) for seed in range(8)}) > 4
    greedy = text(0, 0)
    assert {text(seed, 1e-4) for seed in range(8)} == {greedy}


def test_a_run_does_not_notice_that_it_was_sampled(model: Transformer, byte_tokenizer: Tokenizer) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    sample(model, byte_tokenizer, "a", tokens=8, temperature=1.0, seed=3)
    assert torch.equal(torch.rand(3), expected)
    assert model.training and all(part.training for part in model.modules())
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("length", [1, 20, 23, 24, 25, 100])
def test_no_prompt_is_too_long_for_the_positions_of_a_model(
    model: Transformer, byte_tokenizer: Tokenizer, length: int
) -> None:
    prompt = ("abcdefghij" * 10)[:length]
    written = sample(model, byte_tokenizer, prompt, tokens=4, temperature=0, seed=0)
    kept = prompt if length < 24 else prompt[-(24 - 4) :]
    room = min(4, 24 - len(kept))
    expected = _greedy(model, [*kept.encode()], room)
    assert written == byte_tokenizer.decode(expected, skip_special=True)


def test_passes_of_little_work_take_one_thread_and_the_runs_own_are_put_back(
    byte_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def watched(*given: Any) -> Iterator[Any]:
        seen.append(torch.get_num_threads())
        return complete_all(*given)

    monkeypatch.setattr(sampling, "complete_all", watched)
    wide = _model(hidden_size=256, intermediate_size=4096)  # 7 million weights, of 14 million operations
    request = Request(tuple(b"go"), SamplingConfig(max_tokens=2, temperature=0.0))
    with threads_set(2):
        for model, max_texts in ((_model(), 32), (wide, 1), (wide, 32)):
            write_texts(model, byte_tokenizer, [request], max_texts=max_texts)
            assert torch.get_num_threads() == 2
    assert seen == [1, 1, 2]
