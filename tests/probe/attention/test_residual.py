"""The residual stream against transformers' hidden states."""

from pathlib import Path

import pytest
import torch
from family_models import make_pair

from llmkit.errors import UsageError
from llmkit.probe.attention.residual import before, hooked, residual_stream

IDS = torch.tensor([5, 9, 5, 9, 11, 3, 5])


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_rows_are_the_hidden_states_of_transformers_before_the_last_norm(family: str, tmp_path: Path) -> None:
    pair = make_pair(family, {}, tmp_path)
    rows = residual_stream(pair.ours, IDS, [2, -1])
    with torch.no_grad():
        theirs = pair.theirs(IDS[None], output_hidden_states=True).hidden_states
    for row, other in zip(rows[:-1], theirs[:-1], strict=True):
        torch.testing.assert_close(row, other[0, [2, -1]], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pair.ours.model.norm(rows[-1]), theirs[-1][0, [2, -1]], atol=1e-4, rtol=1e-4)


def test_a_position_outside_is_refused_and_hooks_are_gone_afterwards(tmp_path: Path) -> None:
    ours = make_pair("llama", {}, tmp_path).ours
    with pytest.raises(UsageError, match="no position 7 in a text of 7"):
        residual_stream(ours, IDS, [7])
    residual_stream(ours, IDS, [0])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in ours.modules())


def test_what_a_hook_returns_goes_in_instead_and_only_while_it_is_there() -> None:
    linear = torch.nn.Linear(2, 2)
    x = torch.ones(1, 2)
    with hooked([before(linear, lambda given: given * 0)]):
        inside = linear(x)
    assert torch.equal(inside[0], linear.bias) and not torch.equal(linear(x), inside)
