"""Norms of each layer in some updates: gradient, weights, what an update changes, and what comes out.

They are taken from the passes that are learnt from: hooks stand on the layers in those updates only, and a
copy of the weights is held while the optimiser works.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from llmkit.train.parallel.ranks import ALONE, Ranks
from llmkit.train.parallel.tensors import local, total_norm


@dataclass(frozen=True)
class LayerNorms:
    """One layer, or what stands before and after the layers, in one update."""

    name: str
    """`embed_tokens`, `layers.0`, …, `norm`, `lm_head`."""
    gradient: float | None
    """Euclidean, before clipping; None where nothing of it is learnt."""
    weight: float
    """Euclidean, of its learnt parameters (of all, where none is), before the update."""
    update_ratio: float | None
    """Norm of what the update changed, over `weight`; 0 where it was left out."""
    activation_rms: float | None
    """Root of the mean square of all it put out, in every process; None where it is never called."""
    activation_max: float | None
    """The largest magnitude among these."""


@dataclass
class _Output:
    """What a layer put out so far."""

    squares: Tensor
    values: int
    most: Tensor


class NormProbe:
    """Watches a model through its updates.

    Args:
        model: in training.
        every: updates from one that is watched to the next; 0: none is.
        ranks: the processes that have the other stages of it, and the rest of every batch.
    """

    def __init__(self, model: nn.Module, every: int, ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        self._model = model
        self._every = every
        self._hooks: list[RemovableHandle] = []
        self._outputs: dict[str, _Output] = {}
        self._gradients: dict[str, float] = {}
        self._before: dict[str, list[Tensor]] = {}
        self._watches = False

    def begin(self, step: int) -> None:
        """Update `step` begins, the first being 1."""
        self._watches = self._every > 0 and step % self._every == 0
        if not self._watches:
            return
        self._outputs = {}
        for name, module in _modules(self._model):
            self._hooks.append(module.register_forward_hook(self._listener(name)))

    def forget(self) -> None:
        """What was put out so far in this update was only tried."""
        self._outputs = {}

    @torch.no_grad()
    def graded(self) -> None:
        """The gradients are there, not clipped yet."""
        if not self._watches:
            return
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        groups = parameter_groups(self._model)
        self._gradients = {}
        self._before = {}
        for name, parameters in groups.items():
            gradients = [one.grad for one in parameters if one.grad is not None]
            if gradients:
                self._gradients[name] = float(total_norm(gradients))
            self._before[name] = [one.detach().clone() if one.requires_grad else one for one in parameters]

    @torch.no_grad()
    def finish(self) -> list[dict[str, Any]] | None:
        """The update was made, or left out; None where it was not watched."""
        if not self._watches:
            return None
        groups = parameter_groups(self._model)
        outputs = self._of_all(list(groups))
        found = [self._norms(*group, outputs[group[0]]) for group in groups.items()]
        self._before, self._outputs, self._watches = {}, {}, False
        every: dict[str, LayerNorms] = {}
        for stage in self._ranks.of_stages(found):
            for one in stage:
                every.setdefault(one.name, one)  # two stages have a tied embedding
        return [asdict(one) for one in every.values()]

    def _of_all(self, names: list[str]) -> dict[str, _Output | None]:
        """What the layers of this stage put out, over all processes that share a batch."""
        nothing = _Output(torch.tensor(0.0), 0, torch.tensor(0.0))
        own = [self._outputs.get(name, nothing) for name in names]
        flat = [figure for one in own for figure in (float(one.squares), one.values, float(one.most))]
        told = self._ranks.each(flat).view(-1, len(names), 3)  # (processes, layers, figures)
        squares, values, most = told[..., 0].sum(0), told[..., 1].sum(0), told[..., 2].amax(0)
        return {
            name: _Output(squares[at], int(values[at]), most[at]) if values[at] else None
            for at, name in enumerate(names)
        }

    def _norms(self, name: str, parameters: list[nn.Parameter], output: _Output | None) -> LayerNorms:
        before = self._before.pop(name)
        weight = float(total_norm(before))
        learnt = name in self._gradients
        changed = (
            [now.detach() - then for now, then in zip(parameters, before, strict=True)] if learnt else []
        )
        return LayerNorms(
            name=name,
            gradient=self._gradients.get(name),
            weight=weight,
            update_ratio=float(total_norm(changed)) / weight if learnt and weight else None,
            activation_rms=None if output is None else float((output.squares / output.values).sqrt()),
            activation_max=None if output is None else float(output.most),
        )

    def _listener(self, name: str) -> Any:
        def hear(module: nn.Module, arguments: Any, result: Any) -> None:
            if not torch.is_grad_enabled():  # a pass that is only compared with
                return
            values = local(result[0] if isinstance(result, tuple) else result).detach().float()
            squares, most = values.square().sum(dtype=torch.float64), values.abs().amax()
            known = self._outputs.get(name)
            if known is None:
                self._outputs[name] = _Output(squares, values.numel(), most)
            else:
                known.squares += squares
                known.values += values.numel()
                known.most = torch.maximum(known.most, most)

        return hear


def parameter_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The learnt parameters by layer, in the model's order; of a layer without one, all."""
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(layer_of(name), []).append(parameter)
    return {name: [one for one in every if one.requires_grad] or every for name, every in groups.items()}


def layer_of(name: str) -> str:
    """The layer that a parameter or module belongs to: `model.layers.3.mlp.up_proj.weight` to `layers.3`."""
    words = name.removeprefix("model.").split(".")
    return ".".join(words[:2]) if words[0] == "layers" else words[0]


def _modules(model: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """The modules whose outputs are listened to: each layer as a whole, and those that are none."""
    for name, module in model.named_modules():
        if name not in ("", "model", "model.layers") and name.removeprefix("model.") == layer_of(name):
            yield layer_of(name), module
