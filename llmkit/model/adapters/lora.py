"""Modules of a model with a trainable change beside their frozen weights.

Shapes: r rank, in and out of the matrix W (out, in), D width of an embedding.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmkit.model.adapters.weights import LowRank
from llmkit.model.quantised.linear import QuantisedLinear
from llmkit.model.tied_head import TiedHead

Matrix = nn.Linear | QuantisedLinear | TiedHead


class Adapted(nn.Module):
    """A module with a change that can be switched off."""

    base: nn.Module
    """As it was, frozen."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.enabled = True


class LowRankChange(Adapted):
    """What matrices and embeddings have in common: the factors, in float32 whatever the base is in."""

    base: Matrix | nn.Embedding

    def __init__(
        self,
        base: Matrix | nn.Embedding,
        values: LowRank,
        *,
        dropout: float = 0.0,
        use_rslora: bool = False,
    ) -> None:
        """
        Args:
            base: the module to change.
            values: a Parameter among them is taken as it is, and may be another module's too.
            dropout: of what A reads, while learning.
            use_rslora: how the scale was found, to be told when the adapter is written.
        """
        super().__init__(base)
        self.lora_A, self.lora_B = _parameter(values.A), _parameter(values.B)
        self.lora_magnitude = None if values.magnitude is None else _parameter(values.magnitude)
        self.scale = values.scale
        self.dropout = dropout
        self.use_rslora = use_rslora
        self.register_buffer("_squares", None, persistent=False)
        self._squares: Tensor | None
        if self.lora_magnitude is not None:
            self._squares = dense_weight(base).float().square().sum(1)  # (out,)

    @property
    def weight(self) -> Tensor:
        """Of the base."""
        return dense_weight(self.base)

    @property
    def values(self) -> LowRank:
        """The change as it is now."""
        magnitude = None if self.lora_magnitude is None else self.lora_magnitude.detach()
        return LowRank(self.lora_A.detach(), self.lora_B.detach(), self.scale, magnitude)

    def lengthening(self) -> Tensor:
        """What DoRA multiplies each row of W + scale * B A with: (out,). No gradient goes through the lengths
        that it divides by (2402.09353, section 4.3).

        |w + s b A|^2 = |w|^2 + 2 s b . (A w) + s^2 b (A A^T) b: W itself is needed for one thin product only.
        """
        assert self.lora_magnitude is not None and self._squares is not None
        with torch.no_grad(), torch.autocast(self.lora_A.device.type, enabled=False):
            A, B = self.lora_A, self.lora_B
            crossed = product(self.base, A.to(_kept_in(self.base))).float().t()  # (out, r)
            squares = self._squares + self.scale * (B * (2 * crossed + self.scale * (B @ (A @ A.t())))).sum(1)
            lengths = squares.sqrt()
        return self.lora_magnitude / lengths

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class LoraLinear(LowRankChange):
    """x W^T + scale * (x A^T) B^T, and for DoRA each output times its row's lengthening.

    With DoRA, dropout is of the low-rank part alone: peft drops what W reads too, at the price of a second
    product with W.
    """

    base: Matrix

    @property
    def bias(self) -> Tensor | None:
        """Of the base."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in). Returns (..., out)."""
        if not self.enabled:
            return self.base(x)
        x_wide = x if torch.is_autocast_enabled(x.device.type) else x.to(self.lora_A.dtype)
        inner = F.linear(self._dropped(x_wide), self.lora_A) * self.scale  # (..., r)
        if self.lora_magnitude is None:
            y = self.base(x)
            return y + F.linear(inner, self.lora_B).to(y.dtype)
        y = product(self.base, x)
        y = (y + F.linear(inner, self.lora_B).to(y.dtype)) * self.lengthening().to(y.dtype)
        return y if self.base.bias is None else y + self.base.bias


class LoraEmbedding(LowRankChange):
    """Row i of W + scale * B A for id i; of these there is no DoRA."""

    base: nn.Embedding

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (...) int64. Returns (..., D)."""
        x = self.base(ids)
        if not self.enabled:
            return x
        return x + (F.embedding(ids, self.lora_B) * self.scale @ self.lora_A).to(x.dtype)


class Retrained(Adapted):
    """A module that is trained whole (PEFT's modules_to_save), and the base's beside it."""

    def __init__(self, base: nn.Module, own: nn.Module | None = None) -> None:
        """
        Args:
            base: the module to change.
            own: to train in its place; None: a copy.
        """
        super().__init__(base)
        self.own = copy.deepcopy(base).requires_grad_() if own is None else own

    @property
    def weight(self) -> Tensor:
        """Of what is used now."""
        weight = (self.own if self.enabled else self.base).weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def bias(self) -> Tensor | None:
        """Of what is used now."""
        bias: Tensor | None = getattr(self.own if self.enabled else self.base, "bias", None)
        return bias

    def forward(self, x: Tensor) -> Tensor:
        """As the module that it stands for."""
        y: Tensor = (self.own if self.enabled else self.base)(x)
        return y


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """The base alone while the block runs: what preference losses hold a model against.

    Args:
        model: with or without adapters.
    """
    adapted = [module for module in model.modules() if isinstance(module, Adapted)]
    before = [module.enabled for module in adapted]
    for module in adapted:
        module.enabled = False
    try:
        yield
    finally:
        for module, enabled in zip(adapted, before, strict=True):
            module.enabled = enabled


def adapter_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """All that learns, by name: what a checkpoint of an adapter keeps. Shared factors are there once."""
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


def product(base: Matrix | nn.Embedding, x: Tensor) -> Tensor:
    """x W^T without the bias."""
    return base.product(x) if isinstance(base, QuantisedLinear) else F.linear(x, base.weight)


def dense_weight(base: Matrix | nn.Embedding) -> Tensor:
    """W: (out, in), out of codes where the base has those."""
    return base.dense() if isinstance(base, QuantisedLinear) else base.weight


def _kept_in(base: Matrix | nn.Embedding) -> torch.dtype:
    return base.dtype if isinstance(base, QuantisedLinear) else base.weight.dtype


def _parameter(values: Tensor) -> nn.Parameter:
    """In float32, in memory of its own: the same object where it is a parameter already."""
    return values if isinstance(values, nn.Parameter) else nn.Parameter(values.detach().float().clone())
