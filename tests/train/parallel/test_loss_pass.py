"""A pass as one module."""

import torch
from runs import Run, Texts, config_of

from llmkit.model.transformer import Transformer
from llmkit.train.loss import build_batch, loss_sum
from llmkit.train.objective import NextToken
from llmkit.train.parallel.loss_pass import LossPass


def test_a_pass_is_the_objective_of_its_model() -> None:
    model = Transformer(config_of(Run()))
    batch = build_batch(Texts(3).rows, document_mask=True, device=torch.device("cpu"))
    found, told = LossPass(model)(NextToken(chunked=False), batch)
    assert torch.equal(found, loss_sum(model, batch))
    assert told == {}
