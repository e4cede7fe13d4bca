"""Whether a merged model computes what its base does with the adapters beside it, unmerged.

The adapters are put in by hooks here, of their definitions alone, so that neither the merge nor the engine's
way with adapters is its own judge. Both models are in memory whole, in float32.

Shapes: O outputs, I inputs, R rank, V vocab_size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.adapters.weights import LowRank
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer
from llmkit.workflows.convert.check import TOKENS, CheckReport, check_ids, compare_logits
from llmkit.workflows.merge.adapters import Adapters, OpenAdapter
from llmkit.workflows.merge.job import MergeJob

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"


@dataclass(frozen=True)
class MergeCheck:
    """Logits of what was made and of what it was made from."""

    check: CheckReport
    quantised_difference: float | None = None
    """Largest difference to the quantised base with the adapters, where they went into the original."""


def check_merged(job: MergeJob, made: Path) -> MergeCheck:
    """Run the merged model, and its base with the adapters beside it, on the same ids.

    Args:
        job: with adapters.
        made: the merged model's folder.
    """
    assert job.adapters is not None
    after = load_model(made, dtype=torch.float32)
    gap = None
    if job.quantised is not None:
        gap = _largest_gap(with_adapters(job.quantised.path, job.adapters), after)
    before = with_adapters(job.first.path, job.adapters)
    dtype = str(job.dtype).removeprefix("torch.")
    report = compare_logits(before, after, dtype=dtype, tolerance=job.config.tolerance)
    if job.config.tolerance is None and dtype == "float32":
        # nothing is stored in fewer bits: what shows is the arithmetic itself, which rounds two products and
        # their sum on one side and one product on the other
        allowed = 2 * report.tolerance
        report = msgspec.structs.replace(
            report, tolerance=allowed, passed=report.largest_difference <= allowed
        )
    return MergeCheck(report, gap)


def with_adapters(base: Path, adapters: Adapters) -> Transformer:
    """A base in float32 that computes with adapters beside its matrices.

    Args:
        base: a model folder or a GGUF file; quantised weights become plain numbers.
        adapters: that fit it.
    """
    model = load_model(base, dtype=torch.float32)
    if adapters.unties:
        tensors = model.state_dict()
        tensors[_HEAD] = tensors[_EMBEDDING].clone()
        with torch.device("meta"):
            model = Transformer(adapters.config)
        model.load_state_dict(tensors, assign=True)
        model.eval()
    for one in adapters.adapters:
        for module, low in one.values.modules.items():
            place = model.get_submodule(module)
            place.register_forward_hook(_beside(place, low, one.scale))
    _replace_whole(model, adapters.adapters)
    return model


def _beside(place: nn.Module, low: LowRank, scale: float) -> Callable[[Any, Any, Any], Tensor]:
    """A hook that adds what an adapter does to what its module gives."""
    a, b = low.A.float(), low.B.float() * low.scale
    if isinstance(place, nn.Embedding):
        return lambda _, given, out: out + scale * F.embedding(given[0], b) @ a
    assert isinstance(place.weight, Tensor)
    if low.magnitude is None:
        return lambda _, given, out: out + scale * F.linear(F.linear(given[0], a), b)
    weight = place.weight.detach().clone()
    share = low.magnitude.float() / torch.linalg.vector_norm(weight + b @ a, dim=1)  # (O,)

    def directed(_: Any, given: Any, out: Tensor) -> Tensor:
        """DoRA (arXiv:2402.09353): rows of W + B A at their own length; less what W has given already."""
        plain = F.linear(given[0], weight)
        return out + scale * (share * (plain + F.linear(F.linear(given[0], a), b)) - plain)

    return directed


def _replace_whole(model: Transformer, adapters: Sequence[OpenAdapter]) -> None:
    """Tensors that adapters have whole, each as a step away from the base's."""
    parameters = dict(model.named_parameters())
    for name in dict.fromkeys(name for one in adapters for name in one.values.whole):
        base = parameters[name].detach().clone()
        steps = [
            (one.values.whole[name].float() - base) * one.scale
            for one in adapters
            if name in one.values.whole
        ]
        with torch.no_grad():
            parameters[name].add_(torch.stack(steps).sum(0))


def _largest_gap(first: Transformer, second: Transformer) -> float:
    config = first.config
    ids = check_ids(config.vocab_size, min(TOKENS, config.max_position_embeddings))
    with torch.inference_mode():
        return float((first(ids) - second(ids)).abs().max())
