"""How much each unit of a model matters: the KL divergence that rounding it alone causes, grid by grid.

Measured, not guessed: the scored text goes through the layers from the rounded matrix on, and through the
head. Nearly all the time goes there, so that texts are short: errors of a mean over a thousand positions are
a few percent, which is less than what tells sensitive units from others.

Shapes: R rows, C columns.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import torch
from torch import Tensor, nn

from llmkit.model.tied_head import TiedHead
from llmkit.model.transformer import Transformer
from llmkit.progress import SILENT, Progress
from llmkit.quant.divergence import Divergence
from llmkit.quant.feedback import output_energy
from llmkit.quant.grid import Grid
from llmkit.quant.model import EMBEDDING, HEAD
from llmkit.quant.moments import Moments
from llmkit.quant.plan import PlanUnit
from llmkit.quant.rounding import RoundedMatrix, Rounder, round_matrix
from llmkit.quant.trial import Trials
from llmkit.quant.workers import ALONE, Workers

Work = Sequence[tuple[PlanUnit, Sequence[Grid]]]
"""Units, each with the grids to try."""


class Sensitivity(msgspec.Struct, frozen=True, kw_only=True):
    """A unit on a grid, everything else as it was."""

    name: str
    names: tuple[str, ...]
    layer: int | None
    kind: str
    parameters: int
    grid: str
    bits: float
    """Of a weight, steps and bases counted."""
    kld: float
    """Mean KL divergence from the original, in nats."""
    kld_error: float
    noise: float
    """Mean square of what was added over the mean square of the weights."""
    output_noise: float | None
    """The same of the unit's outputs; None where nothing is known of its inputs."""
    measured: bool
    """Whether `kld` is of a pass of its own, not in proportion to the output noise of another grid."""


def to_the_nearest(name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
    """A `Rounder` that looks at each weight alone, with columns weighed by their inputs: fast."""
    return round_matrix(weight, grid, moments, feedback=False)


def sensitivities(
    model: Transformer,
    work: Work,
    ids: Tensor,
    *,
    calibration: Tensor | None = None,
    rounder: Rounder = to_the_nearest,
    every_grid: bool = True,
    workers: Workers = ALONE,
    progress: Progress = SILENT,
) -> Iterator[Sensitivity]:
    """Try every unit on each of its grids, in the order of the model.

    Args:
        model: in evaluation mode; it is left as it is. Weights in 16 bits are taken as they are needed.
        work: what to try: matrices of layers, the embedding, the head.
        ids: (N, T) of the text that is scored.
        calibration: (N', T') of the text that inputs are seen in; None: the scored one.
        rounder: how a matrix is rounded.
        every_grid: measure on each grid; else on the middle one, and tell the others in proportion to their
            output noise (of a small change, divergence is a square as noise is).
        workers: share out passes.
        progress: told how long it will take.

    Raises:
        DataError: see `round_matrix` and `scored_positions`.
    """
    trials = Trials(model, ids, workers=workers)
    counts = {unit.name: len(grids) if every_grid else min(1, len(grids)) for unit, grids in work}
    total = sum(counts[unit.name] * _seconds(trials, unit) for unit, _ in work)
    progress.note(
        f"{sum(counts.values())} trials over {trials.positions} scored positions: about {_duration(total)}"
    )
    done = 0.0
    for unit, grids, matrices, changed in _in_order(trials, work, calibration):
        measured = set(range(len(grids)))
        if not every_grid:
            by_bits = sorted(measured, key=lambda at: grids[at].bits_per_weight)
            measured = {by_bits[len(by_bits) // 2]} if by_bits else set()
        tried: list[_Tried] = []
        for at, grid in enumerate(grids):
            values, noise, output_noise = matrices.rounded(grid, rounder)
            divergence = None
            if at in measured:
                divergence = changed(values).mean()
                done += _seconds(trials, unit)
                progress.update(done, total, unit=unit.name)
            tried.append(_Tried(grid, noise, output_noise, divergence))
        yield from _rows(unit, tried)


@dataclass(frozen=True)
class _Tried:
    """A unit on a grid."""

    grid: Grid
    noise: float
    output_noise: float | None
    divergence: tuple[float, float] | None
    """Mean and its error, where it was measured."""


def _rows(unit: PlanUnit, tried: Sequence[_Tried]) -> Iterator[Sensitivity]:
    known = next((one for one in tried if one.divergence is not None), None)
    for one in tried:
        assert known is not None and known.divergence is not None
        share = 1.0
        if one.divergence is None:
            share = (one.output_noise or one.noise) / max(known.output_noise or known.noise, 1e-30)
        kld, error = one.divergence or known.divergence
        yield Sensitivity(
            name=unit.name,
            names=unit.names,
            layer=unit.layer,
            kind=unit.kind,
            parameters=unit.parameters,
            grid=one.grid.name,
            bits=one.grid.bits_per_weight,
            kld=kld * share,
            kld_error=error * share,
            noise=one.noise,
            output_noise=one.output_noise,
            measured=one.divergence is not None,
        )


class _Matrices:
    """The matrices of a unit, and what goes into them."""

    def __init__(self, weights: Mapping[str, Tensor], moments: Mapping[str, Moments]) -> None:
        self._weights = weights
        self._moments = moments

    @torch.no_grad()
    def rounded(self, grid: Grid, rounder: Rounder) -> tuple[dict[str, Tensor], float, float | None]:
        """Rounded values by name, the noise in them, and that in what comes out."""
        values: dict[str, Tensor] = {}
        added = whole = added_out = whole_out = 0.0
        for name, weight in self._weights.items():
            parts = {name: weight}
            if weight.dim() == 3:
                parts = {f"{name}[{index}]": part for index, part in enumerate(weight.unbind())}
            done = []
            for part_name, part in parts.items():
                moments = self._moments.get(part_name)
                rounded = rounder(part_name, part, grid, moments)
                done.append(rounded.values())
                square = float(part.square().sum(dtype=torch.float64))
                added, whole = added + rounded.noise * square, whole + square
                if moments is not None and rounded.output_noise is not None:
                    square = float(output_energy(part, moments.second))
                    added_out, whole_out = added_out + rounded.output_noise * square, whole_out + square
            values[name] = torch.stack(done) if weight.dim() == 3 else done[0]
        return values, added / max(whole, 1e-30), added_out / whole_out if whole_out else None


Changed = Callable[[Mapping[str, Tensor]], Divergence]
"""What putting other values in place of a unit's does."""


def _in_order(
    trials: Trials, work: Work, calibration: Tensor | None
) -> Iterator[tuple[PlanUnit, Sequence[Grid], _Matrices, Changed]]:
    """Units as the text meets them, each with its matrices and a way to change them."""
    at_head = Moments.of_width(trials.hidden.shape[1])
    at_head.add(trials.hidden)
    is_tied = isinstance(trials.model.lm_head, TiedHead)
    states = trials.embedded()
    for unit, grids in work:
        if EMBEDDING in unit.names:
            weight = trials.model.model.embed_tokens.weight.detach().float()
            matrices = _Matrices({EMBEDDING: weight}, {EMBEDDING: at_head} if is_tied else {})
            yield unit, grids, matrices, partial(_with_embedding, trials, is_tied)
    seen = None if calibration is None else trials.embedded(ids=calibration)
    for layer in range(trials.num_layers):
        here = [(unit, grids) for unit, grids in work if unit.layer == layer]
        block = trials.block(layer)
        weights = _weights(block, layer, here)
        every = {name: weight for each in weights for name, weight in each.items()}
        if seen is None:
            behind, moments = trials.watched(layer, states, block, every)
        else:
            behind = trials.through(layer, states, block)
            seen, moments = trials.watched(layer, seen, block, every)
        for (unit, grids), each in zip(here, weights, strict=True):
            kept = {name: weight.clone() for name, weight in each.items()}
            change = partial(_with_matrices, trials, layer, states, block, each)
            yield unit, grids, _Matrices(kept, moments), change
            for name, weight in each.items():
                weight.copy_(kept[name])
        states = behind
    for unit, grids in work:
        if HEAD in unit.names:
            matrices = _Matrices({HEAD: trials.head_weight}, {HEAD: at_head})
            yield unit, grids, matrices, partial(_with_head, trials, states)


def _weights(block: nn.Module, layer: int, here: Work) -> list[dict[str, Tensor]]:
    """The weights of each unit, as the block holds them."""
    parameters = dict(block.named_parameters())
    prefix = f"model.layers.{layer}."
    return [{name: parameters[name.removeprefix(prefix)].detach() for name in unit.names} for unit, _ in here]


def _with_embedding(trials: Trials, is_tied: bool, values: Mapping[str, Tensor]) -> Divergence:
    weight = values[EMBEDDING]
    return trials.divergence(trials.rest(0, trials.embedded(weight)), weight if is_tied else None)


def _with_head(trials: Trials, states: Tensor, values: Mapping[str, Tensor]) -> Divergence:
    return trials.divergence(states, values[HEAD])


@torch.no_grad()
def _with_matrices(
    trials: Trials,
    layer: int,
    states: Tensor,
    block: nn.Module,
    weights: Mapping[str, Tensor],
    values: Mapping[str, Tensor],
) -> Divergence:
    for name, weight in weights.items():
        weight.copy_(values[name])
    return trials.divergence(trials.rest(layer + 1, trials.through(layer, states, block)))


def _seconds(trials: Trials, unit: PlanUnit) -> float:
    """What one trial of a unit may take."""
    layers = trials.num_layers - (unit.layer or 0)
    if unit.layer is None and HEAD in unit.names:
        layers = 0
    return layers * trials.layer_seconds + trials.head_seconds


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
