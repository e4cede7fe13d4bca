"""Whole models with layers of state: rows of documents, parts of a text, and many texts in one pass."""

import torch

from llmkit.model.transformer import Transformer
from tests.model.kv_cache import KVCache


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(0, 40, shape, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_a_text_read_in_parts_has_the_scores_of_the_whole(model: Transformer) -> None:
    text, cache = ids(2, 90), KVCache(model.double().config, 2, 90, torch.float64)
    parts = [model(part, cache=cache) for part in text.split([1, 3, 70, 1, 1, 14], dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(text), rtol=1e-6, atol=1e-6)
    assert cache.length == 90


@torch.no_grad()
def test_a_document_has_the_scores_that_it_has_alone(model: Transformer) -> None:
    text, lengths = ids(2, 100), [7, 64, 1, 28]
    numbers = torch.arange(4).repeat_interleave(torch.tensor(lengths))
    row = model.double()(text, segments=numbers.expand(2, -1))
    alone = torch.cat([model(part) for part in text.split(lengths, dim=1)], 1)
    torch.testing.assert_close(row, alone, rtol=1e-6, atol=1e-6)


def test_every_weight_learns(model: Transformer) -> None:
    model(ids(1, 70)).square().mean().backward()
    without = [name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()]
    assert not without


def test_layers_compute_in_bfloat16_and_their_sums_stay_in_float32(model: Transformer) -> None:
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        rounded = model(ids(1, 80)).float()
        exact = torch.nn.Module.float(model)(ids(1, 80))
    assert (rounded - exact).abs().max() < 0.2 * exact.abs().max()
    sums = [one for layer in KVCache(model.config, 1, 8, torch.bfloat16).layers for one in _sums(layer)]
    assert all(one.dtype == torch.float32 for one in sums)
    assert bool(sums) == (model.config.short_conv is None)


def _sums(layer: object) -> list[torch.Tensor]:
    state = getattr(layer, "state", layer)
    return [one for one in getattr(state, "_tensors", ()) if one.dim() == 4 and hasattr(state, "rows")]
