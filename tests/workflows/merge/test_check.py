"""The judge of merges: adapters beside their modules, by hooks, compute what their definitions say."""

from pathlib import Path

import torch

from llmkit.model.adapters.weights import AdapterWeights, LowRank
from llmkit.model.load import load_model
from llmkit.workflows.merge.adapters import Adapters, OpenAdapter
from llmkit.workflows.merge.check import with_adapters
from tests.workflows.merging import write_models

Q, E, N = "model.layers.0.self_attn.q_proj", "model.embed_tokens", "model.norm.weight"


def _drawn(*shape: int) -> torch.Tensor:
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_hooks_compute_what_weights_with_the_change_do(tmp_path: Path) -> None:
    model = write_models(tmp_path, "base")[0]
    low = LowRank(A=_drawn(3, 32), B=_drawn(32, 3), scale=0.5)
    lengths = LowRank(A=_drawn(2, 32), B=_drawn(32, 2), scale=2.0, magnitude=1 + _drawn(32).abs())
    rows = LowRank(A=_drawn(4, 32), B=_drawn(48, 4), scale=1.5)
    first = AdapterWeights(modules={Q: low, E: rows}, whole={N: torch.full((32,), 3.0)})
    second = AdapterWeights(modules={Q: lengths})
    opened = (OpenAdapter(tmp_path, 0.7, first), OpenAdapter(tmp_path, -0.4, second))
    found = with_adapters(tmp_path / "base", Adapters(opened, model.config, unties=False))

    expected = load_model(tmp_path / "base")
    with torch.no_grad():
        weight = expected.get_submodule(Q).weight
        turned = weight + 2.0 * lengths.B @ lengths.A
        turned = turned / turned.norm(dim=1, keepdim=True) * lengths.magnitude[:, None]  # type: ignore[index]
        weight.copy_(weight + 0.7 * 0.5 * low.B @ low.A - 0.4 * (turned - weight))  # type: ignore[operator]
        expected.model.embed_tokens.weight.add_(0.7 * 1.5 * rows.B @ rows.A)
        expected.model.norm.weight.lerp_(torch.full((32,), 3.0), 0.7)  # type: ignore[operator]
        ids = torch.arange(40).view(2, 20)
        assert torch.allclose(found(ids), expected(ids), atol=1e-4)
        assert not torch.allclose(found(ids), model(ids), atol=1e-2)
