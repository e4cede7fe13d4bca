"""What a cache of few bits costs: keys and values rounded, one kind in one layer at a time, and all at once.

Shapes: N rows of text, T positions, D hidden, E numbers of a head's key or value, or of a latent row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Literal

import msgspec
import torch
from torch import Tensor, nn

from llmkit.errors import ConfigError
from llmkit.model.layout import Layout
from llmkit.model.transformer import Transformer
from llmkit.progress import SILENT, Progress
from llmkit.quant.kv_forms import KVForm, cached_vector
from llmkit.quant.trial import Trials
from llmkit.quant.workers import ALONE, Workers

Part = Literal["keys", "values", "both", "latents"]


class KVNoise(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the cache in a form, everything else exact."""

    layer: int | None
    """None: in all layers at once."""
    part: Part
    form: str
    bytes_per_value: float
    """Scales counted."""
    noise: float
    """Mean square of what rounding added over the mean square of what was rounded."""
    attention_noise: float | None
    """The same of what the layer's attention adds to the stream; None for all layers at once."""
    kld: float
    """Mean KL divergence from the exact cache, in nats."""
    kld_error: float


class RoundedHeld:
    """A layer's cache (`HeldLayer`) of whole rows of text, that gives keys and values back rounded."""

    def __init__(self, form: KVForm, part: Part) -> None:
        self._round = form.round
        self._part = part
        self.added = 0.0
        """Sum of squares of what rounding added so far."""
        self.whole = 0.0
        """Sum of squares of what was rounded."""

    def extend(
        self, new: Sequence[Tensor], layout: Layout
    ) -> Iterator[tuple[slice, list[Tensor], Tensor | None]]:
        """See `HeldLayer`."""
        parts = ("latents",) if len(new) == 1 else ("keys", "values")
        yield (
            slice(None),
            [
                self._rounded(tensor) if self._part in (part, "both") else tensor
                for part, tensor in zip(parts, new, strict=True)
            ],
            layout.mask,
        )

    def _rounded(self, tensor: Tensor) -> Tensor:
        rounded = self._round(tensor.float())
        self.added += float((rounded - tensor).square().sum(dtype=torch.float64))
        self.whole += float(tensor.square().sum(dtype=torch.float64))
        return rounded.to(tensor.dtype)


def kv_noise(
    model: Transformer,
    ids: Tensor,
    forms: Sequence[KVForm],
    *,
    workers: Workers = ALONE,
    progress: Progress = SILENT,
) -> Iterator[KVNoise]:
    """Round keys and values, after their rotation, as a cache would keep them, and see what it moves.

    First layer by layer, keys and values each alone; then in all layers keys, values, and both. Of latent
    attention it is the latent rows.

    Args:
        model: in evaluation mode; it is left as it is.
        ids: (N, T) of the scored text.
        forms: to try.
        workers: share out passes.
        progress: told how far it is.

    Raises:
        ConfigError: a form's blocks do not divide the model's heads, or it is for heads and not for latents.
        DataError: see `scored_positions`.
    """
    if model.config.state_layers or model.config.lone_mlps:
        raise ConfigError(
            f"{model.config.model_type} has layers that keep a state, whose cache is not measured here",
            hint="leave out what measures the cache",
        )
    if model.config.full_heads is not None:
        raise ConfigError(
            f"{model.config.model_type} has heads of two sizes, whose cache is not measured here",
            hint="leave out what measures the cache",
        )
    width, is_latent = cached_vector(model.config)
    parts: tuple[Part, ...] = ("latents",) if is_latent else ("keys", "values")
    sizes = {form.name: form.bytes_per_value(width, latent=is_latent) for form in forms}
    trials = Trials(model, ids, workers=workers)
    jobs = [(part, form) for part in parts for form in forms]
    every: tuple[Part, ...] = parts if is_latent else (*parts, "both")
    layers = trials.num_layers
    total = len(jobs) * layers * (layers + 1) / 2 + len(every) * len(forms) * layers
    done = 0.0
    states = trials.embedded()
    for layer in range(layers):
        block = trials.block(layer)
        exact = _pass(trials, layer, states, block)
        for part, form in jobs:
            moved = _pass(trials, layer, states, block, form, part)
            kld, error = trials.divergence(trials.rest(layer + 1, moved.states)).mean()
            yield KVNoise(
                layer=layer,
                part=part,
                form=form.name,
                bytes_per_value=sizes[form.name],
                noise=moved.added / max(moved.whole, 1e-30),
                attention_noise=moved.attention_noise(exact),
                kld=kld,
                kld_error=error,
            )
            done += layers - layer
            progress.update(done, total, layer=layer)
        states = exact.states
    for part in every:
        for form in forms:
            yield _everywhere(trials, part, form, sizes[form.name])
            done += layers
            progress.update(done, total)


def _everywhere(trials: Trials, part: Part, form: KVForm, nbytes: float) -> KVNoise:
    states, added, whole = trials.embedded(), 0.0, 0.0
    for layer in range(trials.num_layers):
        passed = _pass(trials, layer, states, trials.in_float32(layer), form, part)
        states, added, whole = passed.states, added + passed.added, whole + passed.whole
    kld, error = trials.divergence(states).mean()
    return KVNoise(
        layer=None,
        part=part,
        form=form.name,
        bytes_per_value=nbytes,
        noise=added / max(whole, 1e-30),
        attention_noise=None,
        kld=kld,
        kld_error=error,
    )


@dataclass(frozen=True)
class _Passed:
    """A text through a layer."""

    states: Tensor
    """(N, T, D) behind it."""
    attended: Tensor
    """(N, T, D) what its attention gave out."""
    added: float
    """Sum of squares of what rounding added."""
    whole: float
    """Sum of squares of what was rounded."""

    def attention_noise(self, exact: "_Passed") -> float:
        """Mean square of the difference over that of the exact outputs."""
        added = float((self.attended - exact.attended).square().sum(dtype=torch.float64))
        return added / max(float(exact.attended.square().sum(dtype=torch.float64)), 1e-30)


def _pass(
    trials: Trials,
    layer: int,
    states: Tensor,
    block: nn.Module,
    form: KVForm | None = None,
    part: Part = "both",
) -> _Passed:
    """States through a layer, with keys and values through a form."""
    outputs: dict[int, Tensor] = {}  # of each thread, the last
    hook = block.get_submodule("self_attn").register_forward_hook(
        lambda _module, _inputs, out: outputs.__setitem__(get_ident(), out)
    )

    def run(rows: Tensor, layout: Layout) -> tuple[Tensor, Tensor, RoundedHeld | None]:
        held = None if form is None else RoundedHeld(form, part)
        return block(rows, layout, held), outputs.pop(get_ident()), held

    try:
        passed = trials.passes(layer, states, run)
    finally:
        hook.remove()
    helds = [held for _, _, held in passed if held is not None]
    return _Passed(
        torch.cat([out for out, _, _ in passed]),
        torch.cat([attended for _, attended, _ in passed]),
        sum(held.added for held in helds),
        sum(held.whole for held in helds),
    )
