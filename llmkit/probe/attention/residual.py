"""What stands in a model's residual stream, layer by layer, at the positions that are asked for.

Shapes: T positions, N of them asked for, L layers, D hidden_size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from llmkit.errors import UsageError
from llmkit.formats.amount_text import plural
from llmkit.model.transformer import Transformer


@torch.no_grad()
def residual_stream(model: Transformer, ids: Tensor, positions: Sequence[int]) -> Tensor:
    """What each layer reads and what the last one leaves, before the last norm.

    Args:
        model: in evaluation mode.
        ids: (T,) int64.
        positions: N of the T; negative ones count from the end.

    Returns:
        (L + 1, N, D): row 0 is what the first layer reads, row l what layer l - 1 leaves.

    Raises:
        UsageError: a position that the text does not have.
    """
    at = torch.tensor(text_positions(positions, len(ids)), device=ids.device)
    rows: list[Tensor] = []
    layers = list(model.model.layers)
    with hooked([before(layers[0], lambda x: rows.append(x[0, at]))]):
        handles = [after(layer, lambda x: rows.append(x[0, at])) for layer in layers]
        with hooked(handles):
            model.hidden(ids[None])
    return torch.stack(rows)


def text_positions(positions: Sequence[int], count: int) -> list[int]:
    """Positions of a text of `count` tokens, those from its end made plain.

    Raises:
        UsageError: one is outside.
    """
    for one in positions:
        if not -count <= one < count:
            raise UsageError(
                f"there is no position {one} in a text of {plural(count, 'token')}",
                hint=f"0 to {count - 1}; -1 is the last",
            )
    return [one % count for one in positions]


def check_token(token: int, vocab_size: int) -> None:
    """Refuse an id that the vocabulary does not have.

    Raises:
        UsageError: it has not.
    """
    if not 0 <= token < vocab_size:
        raise UsageError(f"there is no token {token}", hint=f"the model's ids are 0 to {vocab_size - 1}")


def before(module: nn.Module, read: Callable[[Tensor], Any]) -> RemovableHandle:
    """Call `read` with a module's first input; a tensor that it returns goes in instead."""

    def hook(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        changed = read(inputs[0])
        return (changed, *inputs[1:]) if isinstance(changed, Tensor) else None

    return module.register_forward_pre_hook(hook)


def after(module: nn.Module, read: Callable[[Tensor], Any]) -> RemovableHandle:
    """Call `read` with what a module gives."""

    def hook(_: nn.Module, inputs: tuple[Any, ...], result: Tensor) -> None:
        read(result)

    return module.register_forward_hook(hook)


@contextmanager
def hooked(handles: Sequence[RemovableHandle]) -> Iterator[None]:
    """Take hooks away again, whatever happens."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
