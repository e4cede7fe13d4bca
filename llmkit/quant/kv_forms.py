"""What keys and values become in a cache of few bits: rounded as they arrive, without a search.

int8-token is the engine's int8 cache, fp8-token vLLM's; the others are what `llama-server --cache-type-k` and
`-v` make of them: quantize_row_*_ref of ggml-quants.c. Bytes are those of `kv-estimate --kv-dtype`.

Shapes: (..., E), E numbers of a head at one position; (..., E / 32, 32) in blocks.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from llmkit.errors import ConfigError, nearest
from llmkit.estimate.cache_dtypes import cache_format
from llmkit.model.config import ModelConfig

_FP8_MOST = 448.0
"""The largest number of float8_e4m3fn."""


@dataclass(frozen=True)
class KVForm:
    """A way to keep keys and values."""

    name: str
    """As `kv-estimate --kv-dtype` has it."""
    round: Callable[[Tensor], Tensor]
    """(..., E) float32 to what is read back."""

    def bytes_per_value(self, width: int, *, latent: bool = False) -> float:
        """Scales counted.

        Args:
            width: E.
            latent: whether the vector is that of latent attention.

        Raises:
            ConfigError: blocks do not divide it, or the form is for heads alone.
        """
        return cache_format(self.name).vector_bytes(width, latent=latent) / width


def cached_vector(config: ModelConfig) -> tuple[int, bool]:
    """Numbers of the vector that a cache keeps, and whether it is that of latent attention."""
    if (latent := config.latent) is None:
        return config.head_dim, False
    return latent.kv_lora_rank + latent.qk_rope_head_dim, True


def kv_forms_for(config: ModelConfig, names: Sequence[str]) -> list[KVForm]:
    """Those of some forms in which a model's cache can be kept.

    Raises:
        ConfigError: in none; or there is no form of a name.
    """
    width, is_latent = cached_vector(config)
    found = []
    for form in map(kv_form, names):
        with contextlib.suppress(ConfigError):
            form.bytes_per_value(width, latent=is_latent)
            found.append(form)
    if not found:
        vector = "latents" if is_latent else "heads"
        raise ConfigError(
            f"{' and '.join(names)}: none of them holds this model's {vector}, of {width} numbers",
            hint="its cache stays in bfloat16: leave out what measures others",
        )
    return found


def kv_form(name: str) -> KVForm:
    """A form by its name.

    Raises:
        ConfigError: there is none.
    """
    if name not in KV_FORMS:
        close = nearest(name, KV_FORMS)
        raise ConfigError(
            f"no way to round a cache to {name!r} (known: {', '.join(KV_FORMS)})",
            hint=f"did you mean {close}?" if close else "choose one of these",
        )
    return KV_FORMS[name]


def _int8(x: Tensor) -> Tensor:
    most = x.abs().amax(-1, keepdim=True)
    inverse = torch.where(most == 0, 0, 127 / most)
    return (x * inverse).round() * (most / 127)


def _fp8(x: Tensor) -> Tensor:
    scale = (x.abs().amax(-1, keepdim=True) / _FP8_MOST).clamp_min(1e-30)
    return (x / scale).to(torch.float8_e4m3fn).float() * scale


def _from_zero(x: Tensor, half: int) -> Tensor:
    """Codes from -half to half - 1, the lowest for the number furthest from 0: Q4_0, Q5_0."""
    blocks = x.unflatten(-1, (-1, 32))
    most = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    step = most / -half
    codes = (blocks * _inverse(step) + (half + 0.5)).trunc().clamp_max(2 * half - 1) - half
    return (codes * step.half().float()).flatten(-2)


def _from_least(x: Tensor, top: int) -> Tensor:
    """Codes from 0 to top above the least number: Q4_1, Q5_1."""
    blocks = x.unflatten(-1, (-1, 32))
    least = blocks.amin(-1, keepdim=True)
    step = (blocks.amax(-1, keepdim=True) - least) / top
    codes = ((blocks - least) * _inverse(step) + 0.5).trunc().clamp_max(top)
    return (codes * step.half().float() + least.half().float()).flatten(-2)


def _q8_0(x: Tensor) -> Tensor:
    blocks = x.unflatten(-1, (-1, 32))
    step = blocks.abs().amax(-1, keepdim=True) / 127
    scaled = blocks * _inverse(step)
    codes = (scaled.abs() + 0.5).floor() * scaled.sign()  # halves away from 0, as in C
    return (codes * step.half().float()).flatten(-2)


def _inverse(step: Tensor) -> Tensor:
    return torch.where(step == 0, 0, 1 / step)


KV_FORMS = {
    form.name: form
    for form in (
        *(KVForm("int8-token", _int8), KVForm("fp8-token", _fp8), KVForm("q8_0", _q8_0)),
        *(KVForm("q5_1", partial(_from_least, top=31)), KVForm("q5_0", partial(_from_zero, half=16))),
        *(KVForm("q4_1", partial(_from_least, top=15)), KVForm("q4_0", partial(_from_zero, half=8))),
    )
}
"""By name."""
