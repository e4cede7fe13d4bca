"""The divergence from the base, against the sum over the vocabulary written out."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer
from llmkit.train.divergence import kl_to_base
from llmkit.train.objective import frozen_reference

SIZES: dict[str, Any] = {
    **{"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1},
    **{"num_attention_heads": 2, "max_position_embeddings": 16, "initializer_range": 0.4},
}


def _model(seed: int) -> Transformer:
    model = Transformer(ModelConfig(**SIZES))
    initialise(model, torch.Generator().manual_seed(seed))
    return model


@pytest.mark.parametrize("batch_rows", [2, 5])
def test_it_is_the_mean_over_learnt_tokens_of_the_models_kl_to_the_base(
    make_rows: Callable[..., Any], batch_rows: int
) -> None:
    model, base, rows = _model(0), _model(1), make_rows(5, documents=1)
    rows.rows.loss[:, :4] = False
    total, count = 0.0, 0
    with torch.no_grad():
        for row in range(5):
            ids = torch.from_numpy(rows.rows.tokens[row : row + 1].astype(np.int64))
            p, q = (one(ids[:, :-1]).double().log_softmax(-1)[0] for one in (model, base))
            for place in np.flatnonzero(rows.rows.loss[row, 1:]).tolist():
                total += sum(
                    float(p[place, v].exp() * (p[place, v] - q[place, v])) for v in range(SIZES["vocab_size"])
                )
                count += 1
    settings: dict[str, Any] = {"batch_rows": batch_rows, "document_mask": True, "autocast": nullcontext}
    found = kl_to_base(model.train(), frozen_reference(base), rows, **settings)
    assert found == pytest.approx(total / count, rel=1e-5)
    assert model.training and found > 0.01
    assert kl_to_base(model, frozen_reference(_model(0)), rows, **settings) == pytest.approx(0.0, abs=1e-7)


def test_only_the_first_rows_count_where_there_is_a_limit(make_rows: Callable[..., Any]) -> None:
    model, base, rows = _model(0), _model(1), make_rows(6, documents=1)
    settings: dict[str, Any] = {"batch_rows": 2, "document_mask": True, "autocast": nullcontext}
    part = kl_to_base(model, frozen_reference(base), rows, limit=3, **settings)
    assert part != pytest.approx(kl_to_base(model, frozen_reference(base), rows, **settings), rel=1e-4)
