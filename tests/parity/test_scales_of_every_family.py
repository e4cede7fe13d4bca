"""Scales folded into norms and rows change no logit, whatever a family puts between them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from family_models import CASES, make_pair

from tests.quant.test_folds import fold_everything

FIRST = {family: (family, changes) for family, changes in reversed(CASES)}


@pytest.mark.parametrize(("family", "changes"), FIRST.values(), ids=FIRST)
def test_columns_scaled_and_undone_before_leave_the_model_as_it_was(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    ours = make_pair(family, changes, tmp_path).ours.double()
    ids = torch.randint(96, (2, 24), generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        before = ours(ids)
        config = ours.config
        layers = config.num_hidden_layers
        least = 2 * layers if config.lone_mlps is None else layers - len(config.state_layers)
        assert fold_everything(ours) >= least
        assert torch.allclose(ours(ids), before, atol=1e-5)
