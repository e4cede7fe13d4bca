"""What a cache of few bits costs: keys and values rounded, one kind in one layer at a time, and all at once.

Shapes: N rows of text, T positions, D hidden, E numbers of a head's key or value, or of a latent row.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import torch
from torch import Tensor, nn

from llmkit.model.layout import Layout
from llmkit.model.transformer import Transformer
from llmkit.progress import SILENT, Progress
from llmkit.quant.kv_forms import KVForm
from llmkit.quant.trial import Trials

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

    @property
    def noise(self) -> float:
        """Of everything so far."""
        return self.added / max(self.whole, 1e-30)

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
    whole: bool = False,
    progress: Progress = SILENT,
) -> Iterator[KVNoise]:
    """Round keys and values, after their rotation, as a cache would keep them, and see what it moves.

    First layer by layer, keys and values each alone; then in all layers keys, values, and both. Of latent
    attention it is the latent rows.

    Args:
        model: in evaluation mode; it is left as it is.
        ids: (N, T) of the scored text.
        forms: to try.
        whole: score every position; else the second half of each row.
        progress: told how far it is.

    Raises:
        ConfigError: a form's blocks do not divide the model's heads, or it is for heads and not for latents.
        DataError: see `scored_positions`.
    """
    latent = model.config.latent
    width = model.config.head_dim
    parts: tuple[Part, ...] = ("keys", "values")
    if latent is not None:
        width, parts = latent.kv_lora_rank + latent.qk_rope_head_dim, ("latents",)
    sizes = {form.name: form.bytes_per_value(width, latent=latent is not None) for form in forms}
    trials = Trials(model, ids, whole=whole)
    jobs = [(part, form) for part in parts for form in forms]
    every: tuple[Part, ...] = (*parts, "both") if latent is None else parts
    layers = trials.num_layers
    total = len(jobs) * layers * (layers + 1) / 2 + len(every) * len(forms) * layers
    done = 0.0
    states = trials.embedded()
    for layer in range(layers):
        block = trials.block(layer)
        exact = _Attended(block.self_attn)
        behind = trials.through(layer, states, block)
        exact.stop()
        for part, form in jobs:
            held, attended = RoundedHeld(form, part), _Attended(block.self_attn)
            moved = trials.through(layer, states, block, held)
            attended.stop()
            kld, error = trials.divergence(trials.rest(layer + 1, moved)).mean()
            yield KVNoise(
                layer=layer,
                part=part,
                form=form.name,
                bytes_per_value=sizes[form.name],
                noise=held.noise,
                attention_noise=attended.noise(exact),
                kld=kld,
                kld_error=error,
            )
            done += layers - layer
            progress.update(done, total, layer=layer)
        states = behind
    for part in every:
        for form in forms:
            yield _everywhere(trials, part, form, sizes[form.name])
            done += layers
            progress.update(done, total)


def _everywhere(trials: Trials, part: Part, form: KVForm, nbytes: float) -> KVNoise:
    held, states = RoundedHeld(form, part), trials.embedded()
    for layer in range(trials.num_layers):
        states = trials.through(layer, states, held=held)
    kld, error = trials.divergence(states).mean()
    return KVNoise(
        layer=None,
        part=part,
        form=form.name,
        bytes_per_value=nbytes,
        noise=held.noise,
        attention_noise=None,
        kld=kld,
        kld_error=error,
    )


class _Attended:
    """What an attention module gives out, until told to stop."""

    def __init__(self, module: nn.Module) -> None:
        self._parts: list[Tensor] = []
        self._hook = module.register_forward_hook(lambda _module, _inputs, out: self._parts.append(out))

    def stop(self) -> None:
        """Look no more."""
        self._hook.remove()

    def noise(self, exact: "_Attended") -> float:
        """Mean square of the difference over that of the exact outputs."""
        own, other = torch.cat(self._parts), torch.cat(exact._parts)
        added = float((own - other).square().sum(dtype=torch.float64))
        return added / max(float(other.square().sum(dtype=torch.float64)), 1e-30)
