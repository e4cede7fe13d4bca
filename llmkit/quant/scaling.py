"""Columns scaled by what they read before they are rounded, so that large inputs meet small errors: AWQ.

For each set of matrices that read the same numbers (`folds.py`) the scale is a power of the mean magnitude of
each (2306.00978, equation 4 and 5): the power whose rounding, to the nearest, loses least of the outputs over
the text seen. It is kept where rounding in earnest, with feedback of errors or without, loses less with it
than without any.

Shapes: R rows, C columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.quant.feedback import output_energy
from llmkit.quant.folds import Fold, folds_of, part_of
from llmkit.quant.grid import Grid
from llmkit.quant.moments import Moments
from llmkit.quant.plan import kind_of, layer_of
from llmkit.quant.rounding import RoundedMatrix, Rounder

ALPHAS = tuple(step / 10 for step in range(1, 10))
"""Powers that are tried beside 0."""
_ROWS = 256
"""Of all matrices together, in a trial of a power: each row tells of all columns."""


@dataclass(frozen=True)
class Scaled:
    """What has become of a layer."""

    matrices: dict[str, RoundedMatrix]
    """Those that read what can be scaled, rounded: final."""
    alphas: dict[str, float]
    """The power of each set, by the name of its first matrix; 0: left as it was."""


def scale_layer(
    layer: nn.Module,
    config: ModelConfig,
    prefix: str,
    grids: Mapping[str, Grid],
    moments: Mapping[str, Moments],
    rounder: Rounder,
    dtype: torch.dtype,
) -> Scaled:
    """Choose scales, put them into a layer, and round what they are for.

    Args:
        layer: in float32; its matrices and norms become the scaled ones, unrounded.
        config: of the model.
        prefix: of the layer's parameters in `state_dict()`.
        grids: of each matrix to be rounded, by its whole name.
        moments: of the inputs, by whole name.
        rounder: rounds one matrix.
        dtype: that norms are stored in.
    """
    done = Scaled({}, {})
    for fold in folds_of(layer, config):
        parts = _parts(layer, fold, prefix, grids)
        seen = {name: moments[name] for name in parts if name in moments and moments[name].count}
        if not seen:
            continue
        of = {name: grids[name.partition("[")[0]] for name in parts}
        plain = {name: rounder(name, part, of[name], moments.get(name)) for name, part in parts.items()}
        alpha, scale = _best(layer, fold, parts, of, seen, prefix, grids, dtype)
        if alpha:
            scaled = {
                name: rounder(
                    name, part * scale, of[name], seen[name].divided(scale) if name in seen else None
                )
                for name, part in parts.items()
            }
            if _noise(scaled, seen) < _noise(plain, seen):
                fold.apply(layer, scale)
                plain = scaled
            else:
                alpha = 0.0
        done.matrices.update(plain)
        done.alphas[next(iter(parts))] = alpha
    return done


def unscaled(model: Transformer, grids: Mapping[str, Grid]) -> list[str]:
    """The kinds of matrices that nothing before takes the inverse of a scale for.

    Args:
        model: on any device.
        grids: of those to be rounded, by name.
    """
    found: set[str] = set()
    for number, layer in enumerate(model.model.layers):
        readers = {name.partition("[")[0] for fold in folds_of(layer, model.config) for name in fold.readers}
        prefix = f"model.layers.{number}."
        found |= {
            kind_of(name) for name in grids if name.startswith(prefix) and name[len(prefix) :] not in readers
        }
    return sorted(found | {kind_of(name) for name in grids if layer_of(name) is None})


def _parts(layer: nn.Module, fold: Fold, prefix: str, grids: Mapping[str, Grid]) -> dict[str, Tensor]:
    """The matrices on grids that read a fold's numbers, by whole name."""
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    found: dict[str, Tensor] = {}
    for name in fold.readers:
        part = part_of(parameters, name)
        if f"{prefix}{name.partition('[')[0]}" not in grids:
            continue
        if part.dim() == 3:
            found |= {f"{prefix}{name}[{index}]": one for index, one in enumerate(part)}
        else:
            found[f"{prefix}{name}"] = part
    return found


def _best(
    layer: nn.Module,
    fold: Fold,
    parts: Mapping[str, Tensor],
    of: Mapping[str, Grid],
    seen: Mapping[str, Moments],
    prefix: str,
    grids: Mapping[str, Grid],
    dtype: torch.dtype,
) -> tuple[float, Tensor]:
    """The power that loses least, and its scale, (C,)."""
    different = {id(one): one for one in seen.values()}.values()
    magnitude = torch.stack([one.absolute for one in different]).sum(0)
    magnitude = fold.shared(magnitude / sum(one.count for one in different))
    stays_plain = any(f"{prefix}{name.partition('[')[0]}" not in grids for name in fold.readers)
    rows = max(1, _ROWS // len(seen))
    some = {name: parts[name][:: max(1, len(parts[name]) // rows)] for name in seen}
    whole = {name: float(output_energy(part, seen[name].second)) for name, part in some.items()}

    def loss(scale: Tensor) -> float:
        lost = 0.0
        for name, part in some.items():
            scaled, importance = part * scale, seen[name].squares / scale.square()
            lattice = of[name].fit(scaled, importance).lattice
            change = lattice.values(lattice.round(scaled)) / scale - part
            lost += float(output_energy(change, seen[name].second)) / max(whole[name], 1e-30)
        return lost

    best = (loss(torch.ones_like(magnitude)), 0.0, torch.ones_like(magnitude))
    for alpha in ALPHAS:
        scale = _levelled(magnitude**alpha)
        if stays_plain:  # a router, say: powers of two change no bit of its numbers
            scale = torch.exp2(scale.log2().round())
        scale = fold.settled(layer, scale, dtype)
        found = loss(scale)
        if found < best[0]:
            best = found, alpha, scale
    return best[1:]


def _levelled(scale: Tensor) -> Tensor:
    """About 1, and none 0."""
    scale = scale.clamp_min(1e-4 * float(scale.max())).clamp_min(1e-30)
    return scale / (scale.max() * scale.min()).sqrt()


def _noise(rounded: Mapping[str, RoundedMatrix], seen: Mapping[str, Moments]) -> float:
    return sum(rounded[name].output_noise or 0.0 for name in seen)
