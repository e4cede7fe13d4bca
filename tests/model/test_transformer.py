"""The network: transformers' logits for every family, the recorded loss and text of trained models, and the
same logits whichever way a text is fed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

from llmkit.errors import UsageError
from llmkit.formats.streams import open_input
from llmkit.model.config import ModelConfig
from llmkit.model.load import load_model
from llmkit.model.save import save_model
from llmkit.model.tied_head import TiedHead
from llmkit.model.transformer import Transformer
from tests.model.kv_cache import KVCache

LINEAR = {"rope_type": "linear", "factor": 4.0}
LLAMA3 = {
    **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "original_max_position_embeddings": 16,
}
BIASES = {"attention_bias": True, "output_bias": True}
CASES: dict[str, dict[str, Any]] = {
    "llama": {"family": "llama"},
    "llama-tied": {"family": "llama", "tie_word_embeddings": True},
    "llama-biases": {"family": "llama", **BIASES, "mlp_bias": True, "tie_word_embeddings": True},
    "llama-attention-biases": {"family": "llama", **BIASES},
    "llama-mlp-biases": {"family": "llama", "mlp_bias": True},
    "llama-grouped": {"family": "llama", "num_key_value_heads": 2},
    "llama-multi-query": {"family": "llama", "num_key_value_heads": 1},
    "llama-wide-heads": {"family": "llama", "num_key_value_heads": 2, "head_dim": 12},
    "llama-narrow-heads": {"family": "llama", "head_dim": 6},
    "llama-theta": {"family": "llama", "rope_theta": 500_000.0, "norm_eps": 1e-3},
    "llama-linear": {"family": "llama", "rope_scaling": LINEAR},
    "llama-llama3": {"family": "llama", "rope_scaling": LLAMA3, "num_key_value_heads": 2},
    "llama-gelu": {"family": "llama", "hidden_act": "gelu"},
    "mistral": {"family": "mistral", "num_key_value_heads": 2, "head_dim": 16},
    "qwen2": {"family": "qwen2", "num_key_value_heads": 2},
    "qwen2-tied": {"family": "qwen2", "num_key_value_heads": 1, "tie_word_embeddings": True},
    "qwen3": {"family": "qwen3", "num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen3-biases": {"family": "qwen3", "head_dim": 16, **BIASES},
    "qwen3-linear": {"family": "qwen3", "rope_scaling": LINEAR, "rope_theta": 1e6},
    "gpt2": {"family": "gpt2", "tie_word_embeddings": True},
    "gpt2-untied-relu": {"family": "gpt2", "hidden_act": "relu"},
    "gpt2-gelu": {"family": "gpt2", "hidden_act": "gelu", "intermediate_size": 128},
    "gpt2-sinusoidal": {"family": "gpt2", "position": "sinusoidal", "tie_word_embeddings": True},
}
TRAINED = ("stories260K", "stories-292K-early", "char-gpt-shakespeare", "induction-2l1h")
WAYS = ("llama-grouped", "llama-llama3", "qwen3", "gpt2", "gpt2-sinusoidal")
"""Cases with every kind of positions, and with groups: for what holds of any of them."""


@pytest.fixture
def case_of(
    make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> Callable[[str], Transformer]:
    return lambda name: make_model(make_config(**CASES[name]))


def _ids(length: int, rows: int = 2, seed: int = 3) -> torch.Tensor:
    return torch.randint(0, 80, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", CASES)
def test_transformers_has_our_logits_and_we_have_those_of_what_it_saves(
    name: str,
    tmp_path: Path,
    case_of: Callable[[str], Transformer],
    open_theirs: Callable[..., Any],
    logit_gap: Callable[..., float],
) -> None:
    ours = case_of(name)
    save_model(ours, tmp_path)
    theirs = open_theirs(tmp_path)
    assert logit_gap(ours, theirs, length=40) <= 1e-4
    theirs.save_pretrained(tmp_path / "theirs")
    assert logit_gap(load_model(tmp_path / "theirs"), theirs, length=40) <= 1e-4


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("chunks", [(20,), (1,) * 20, (7, 1, 1, 5, 6), (1, 18, 1)])
@torch.no_grad()
def test_a_text_fed_in_parts_has_the_logits_of_one_pass(
    name: str, chunks: tuple[int, ...], case_of: Callable[[str], Transformer]
) -> None:
    model, ids = case_of(name), _ids(20)
    cache = KVCache(model.config, batch=2, capacity=20)
    parts = [model(part, cache=cache) for part in ids.split(list(chunks), dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), rtol=1e-4, atol=1e-5)
    assert cache.length == 20


@pytest.mark.parametrize("name", WAYS)
@torch.no_grad()
def test_documents_packed_in_a_row_have_the_logits_that_each_has_alone(
    name: str, case_of: Callable[[str], Transformer]
) -> None:
    model, ids = case_of(name), _ids(21)
    lengths = [(4, 9, 8), (12, 1, 8)]
    segments = torch.tensor([[number for number, n in enumerate(row) for _ in range(n)] for row in lengths])
    packed = model(ids, segments=segments)
    for row, parts in enumerate(lengths):
        alone = [model(document[None])[0] for document in ids[row].split(list(parts))]
        torch.testing.assert_close(packed[row], torch.cat(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WAYS)
@torch.no_grad()
def test_a_token_hears_nothing_of_another_document_or_of_what_comes_later(
    name: str, case_of: Callable[[str], Transformer]
) -> None:
    model, ids = case_of(name), _ids(15, rows=1)
    segments = torch.tensor([[0] * 6 + [1] * 4 + [2] * 5])
    before = model(ids, segments=segments)
    changed = ids.clone()
    changed[0, 6:10] = (changed[0, 6:10] + 1) % 80
    after = model(changed, segments=segments)
    same = (before == after).all(dim=2)[0]
    assert same.tolist() == [True] * 6 + [False] * 4 + [True] * 5
    changed = ids.clone()
    changed[0, 12] = (changed[0, 12] + 1) % 80
    same = (model(ids) == model(changed)).all(dim=2)[0]
    assert same.tolist() == [True] * 12 + [False] * 3


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
@torch.no_grad()
def test_in_a_packed_row_angles_are_of_the_document_and_not_of_the_row(
    kind: str, make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> None:
    scaling = {"rope_type": kind, "factor": 4.0, "original_max_position_embeddings": 8}
    factors = {"short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0]}
    fields = {"rope_scaling": scaling | (factors if kind == "longrope" else {})}
    model = make_model(make_config("llama", head_dim=8, max_position_embeddings=32, **fields))
    assert model.model.rope is not None and model.model.rope.depends_on_length
    lengths = [8, 12, 3, 9]  # two of them beyond the original context
    ids = _ids(32, 1)
    segments = torch.tensor([[number for number, length in enumerate(lengths) for _ in range(length)]])
    alone = torch.cat([model(one) for one in ids.split(lengths, dim=1)], dim=1)
    torch.testing.assert_close(model(ids, segments=segments), alone, rtol=1e-5, atol=1e-5)
    assert (model(ids)[:, 8:] - alone[:, 8:]).abs().max() > 1e-2  # a row of one document has other angles


def test_a_cache_and_segments_exclude_each_other(case_of: Callable[[str], Transformer]) -> None:
    model = case_of("llama")
    cache = KVCache(model.config, batch=1, capacity=4)
    with pytest.raises(UsageError, match="exclude each other"):
        model(_ids(4, 1), cache=cache, segments=torch.zeros(1, 4, dtype=torch.long))


@torch.no_grad()
def test_a_table_of_positions_ends_and_rotary_positions_do_not(case_of: Callable[[str], Transformer]) -> None:
    for name in ("gpt2", "gpt2-sinusoidal"):
        model = case_of(name)
        cache = KVCache(model.config, batch=1, capacity=99)
        model(_ids(64, 1), cache=cache)
        with pytest.raises(UsageError, match="65 positions asked of a model that has 64"):
            model(_ids(1, 1), cache=cache)
        assert cache.length == 64
    assert case_of("llama")(_ids(70, 1)).shape == (1, 70, 80)


@torch.no_grad()
def test_the_head_reads_the_hidden_states_and_a_tied_one_is_the_embedding(
    case_of: Callable[[str], Transformer],
) -> None:
    ids = _ids(5)
    for name, tied in (("llama", False), ("llama-tied", True)):
        model = case_of(name)
        embedding = model.model.embed_tokens.weight
        assert isinstance(model.lm_head, TiedHead) == tied == (model.lm_head.weight is embedding)
        torch.testing.assert_close(model(ids), model.hidden(ids) @ model.lm_head.weight.T)
        names = [name for name, _ in model.named_parameters()]
        assert ("lm_head.weight" in names) == (not tied)
        assert len(names) == len(set(names))


def test_a_tied_embedding_learns_from_both_its_uses(case_of: Callable[[str], Transformer]) -> None:
    model, ids = case_of("llama-tied"), torch.tensor([[3, 7]])
    model(ids).logsumexp(-1).sum().backward()
    grad = model.model.embed_tokens.weight.grad
    assert grad is not None
    assert (grad.abs().sum(dim=1) > 0).all()  # as a head, of every word; as an embedding, of 3 and 7 only


@pytest.mark.parametrize("name", TRAINED)
@torch.no_grad()
def test_a_trained_model_goes_on_as_it_was_recorded_to(shared_data: Path, name: str) -> None:
    folder = shared_data / "models" / name
    model, recorded = load_model(folder), json.loads((folder / "reference.json").read_text())
    assert sum(one.numel() for one in model.parameters()) == recorded["parameters"]
    context = model.config.max_position_embeddings
    for case in recorded["greedy"]:
        ids = list(case["prompt_ids"])
        scores = model(torch.tensor([ids]))[0, -1].log_softmax(-1)
        best = scores.topk(5)
        assert best.indices.tolist() == [token for token, _ in case["next_token_top5"]]
        assert best.values.tolist() == pytest.approx(
            [score for _, score in case["next_token_top5"]], abs=2e-5
        )
        assert -(scores.exp() * scores).sum().item() == pytest.approx(
            case["next_token_entropy_nats"], abs=1e-5
        )
        for _ in case["greedy_ids"]:
            ids.append(model(torch.tensor([ids[-context:]]))[0, -1].argmax().item())
        assert ids == case["prompt_ids"] + case["greedy_ids"]


@pytest.mark.parametrize("name", TRAINED[:2])
def test_a_trained_story_model_has_the_recorded_loss(shared_data: Path, name: str) -> None:
    folder = shared_data / "models" / name
    model, tokenizer = load_model(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    stories = _text(shared_data, "tinystories-1000.jsonl.zst").splitlines()[:200]
    plays = _text(shared_data, "tinyshakespeare.txt.zst")
    texts = (
        [json.loads(line)["text"] for line in stories],
        [plays[start : start + 500] for start in range(0, 50 * 500, 500)],
    )
    recorded = json.loads((folder / "reference.json").read_text())["nll"]
    for part, case in zip(texts, recorded, strict=True):
        rows = [tokenizer.encode(text).ids[: model.config.max_position_embeddings] for text in part]
        assert {row[0] for row in rows} == {1}  # <s>
        assert sum(len(row) - 1 for row in rows) == case["tokens"]
        losses = torch.cat([_losses(model, row) for row in rows])
        assert losses.mean().item() == pytest.approx(case["nats_per_token"], abs=2e-6)
        assert losses.mean().exp().item() == pytest.approx(case["perplexity"], rel=1e-5)


def test_a_trained_character_model_has_the_recorded_loss(shared_data: Path) -> None:
    folder = shared_data / "models" / "char-gpt-shakespeare"
    model, tokenizer = load_model(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    plays = _text(shared_data, "tinyshakespeare.txt.zst")
    ids = tokenizer.encode(plays[int(0.9 * len(plays)) :][: 2000 * 48 + 1]).ids
    with torch.no_grad():
        logits = model(torch.tensor(ids[:-1]).view(2000, 48))
    loss = F.cross_entropy(logits.flatten(0, 1), torch.tensor(ids[1:]))
    recorded = json.loads((folder / "reference.json").read_text())["nll"][0]
    assert loss.item() == pytest.approx(recorded["nats_per_token"], abs=2e-6)


def test_a_trained_induction_model_has_the_recorded_loss_at_every_position(shared_data: Path) -> None:
    folder = shared_data / "models" / "induction-2l1h"
    model, tokenizer = load_model(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    lines = (folder / "sample.txt").read_text().splitlines()[:400]
    losses = torch.stack([_losses(model, tokenizer.encode("." + line).ids) for line in lines]).mean(dim=0)
    recorded = json.loads((folder / "reference.json").read_text())["loss_by_position"]
    assert losses.tolist() == pytest.approx(recorded, abs=6e-5)  # four digits are recorded


def _text(shared_data: Path, name: str) -> str:
    with open_input(shared_data / "text" / name) as stream:
        return stream.read().decode()


@torch.no_grad()
def _losses(model: Transformer, ids: list[int]) -> torch.Tensor:
    return F.cross_entropy(model(torch.tensor([ids]))[0, :-1], torch.tensor(ids[1:]), reduction="none")
