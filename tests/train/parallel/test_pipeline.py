"""Stages of layers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from runs import Run, Texts, config_of

from llmkit.model.transformer import Transformer
from llmkit.train.loss import build_batch, loss_sum
from llmkit.train.objective import NextToken
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.ranks import MeshRanks


def staged(run: Run) -> tuple[list[str], list[str], float, float, list[str]]:
    torch.manual_seed(0)
    model = Transformer(config_of(run))
    batch = build_batch(Texts(4).rows, document_mask=True, device=torch.device("cpu"))
    whole = list(model.state_dict())
    with torch.no_grad():
        expected = float(loss_sum(model, batch))
    divided = Divided(model, MeshRanks(Degrees(pp=2), torch.device("cpu")))
    assert divided.pipeline is not None
    learnt, _ = divided.pipeline.learn(NextToken(), batch, 2, 0.5)
    divided.finish_gradients()
    assert divided.pipeline.score(NextToken(), batch) == pytest.approx(expected, rel=1e-6)
    return list(divided.model.state_dict()), whole, learnt, expected, list(divided.whole_tensors())


@pytest.mark.parametrize("tied", [True, False])
def test_each_stage_has_its_layers_and_both_tell_the_loss_of_the_last(
    on_ranks: Callable[..., Any], tied: bool
) -> None:
    first, last = on_ranks(2, staged, Run(shape={"tie_word_embeddings": tied}))
    for _, whole, learnt, expected, gathered in (first, last):
        assert learnt == pytest.approx(0.5 * expected, rel=1e-6)
        assert sorted(gathered) == sorted(whole)
    assert not set(first[0]) & set(last[0]) - {"model.embed_tokens.weight"}
    assert ("model.embed_tokens.weight" in last[0]) == tied
    assert all(name.startswith(("model.embed_tokens", "model.layers.0.")) for name in first[0])
