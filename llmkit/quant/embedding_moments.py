"""How errors in an embedding move what a model says, as moments that error feedback works with.

Where a looked-up row is off by e, what the model says diverges by `½ eᵀ F e`, F the mean of `g gᵀ`: g is the
gradient, by that row, of the loss of tokens drawn from the model's own distribution (Fisher information). One
pass forward keeps what goes into each layer, one pass back takes the layers in turn, so that one layer's
weights are at work at a time.

Shapes: N rows of text, T positions, D hidden, V vocabulary.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from llmkit.model.transformer import Transformer
from llmkit.quant.moments import Moments
from llmkit.quant.stream import in_float32
from llmkit.quant.workers import ALONE, Workers

_POSITIONS = 8192
"""Of text, at most."""
_KEPT_BYTES = 1 << 30
"""What may be kept of them: what goes into every layer."""
_SCORES = 1 << 23
"""Of tokens at positions, at a time."""
_DAMPING = 0.05
"""Of its mean, added to the diagonal: gradients are few beside the inputs of other matrices."""
_TOKENS = 1024
"""Of a pass."""
Logits = Callable[[Tensor], Tensor]
Item = TypeVar("Item")
Result = TypeVar("Result")


def embedding_moments(model: Transformer, ids: Tensor, logits: Logits, workers: Workers = ALONE) -> Moments:
    """Moments of the gradients by looked-up rows, in place of inputs.

    Args:
        model: the original, in evaluation mode, its embedding and last norm in float32.
        ids: (N, T) of the calibration text.
        logits: hidden states after the last norm to scores, in float32.
        workers: share out the rows.

    Returns:
        moments, of no inputs where a weight is no number.
    """
    count = ids.shape[1]
    decoder, config = model.model, model.config
    most = min(_POSITIONS, _KEPT_BYTES // (4 * config.hidden_size * (config.num_hidden_layers + 1)))
    places = torch.linspace(0, len(ids) - 1, min(len(ids), max(1, most // count))).long()
    parts = ids[places].split(max(1, _TOKENS // count))
    positions = torch.arange(count)

    @_outside_inference
    def embedded(part: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return [decoder.embed(part, positions, count)]

    @_outside_inference
    def forward(states: list[Tensor]) -> None:
        with torch.no_grad():
            states.append(decoder.layers[layer](states[-1], decoder.layout_of(layer, count)))

    @_outside_inference
    def drawn(at: tuple[int, list[Tensor]]) -> Tensor:
        number, states = at
        last, generator = states.pop(), torch.Generator().manual_seed(number)
        pulls = []
        for rows in last.flatten(0, 1).split(max(1, _SCORES // config.vocab_size)):
            entered = rows.detach().requires_grad_()
            scores = logits(decoder.norm(entered)).log_softmax(-1)  # (n, V)
            if scores.isnan().any():
                return torch.full_like(last, torch.nan)
            token = torch.multinomial(scores.detach().exp(), 1, generator=generator)
            pulls.append(torch.autograd.grad(-scores.gather(1, token).sum(), entered)[0])
        return torch.cat(pulls).view_as(last)

    @_outside_inference
    def back(at: tuple[list[Tensor], Tensor]) -> Tensor:
        states, pull = at
        entered = states.pop().detach().requires_grad_()
        left: Tensor = decoder.layers[layer](entered, decoder.layout_of(layer, count))
        return torch.autograd.grad(left, entered, pull)[0]

    kept = workers.map(embedded, parts)
    layers = range(len(decoder.layers))
    for layer in layers:
        with in_float32(model, layer):
            workers.map(forward, kept)
    pulls = workers.map(drawn, list(enumerate(kept)))
    for layer in reversed(layers):
        with in_float32(model, layer):
            pulls = workers.map(back, list(zip(kept, pulls, strict=True)))
    moments = Moments.of_width(pulls[0].shape[-1])
    for pull in pulls:
        moments.add(pull.flatten(0, 1), workers)
    if not moments.second.isfinite().all():
        return Moments.of_width(pulls[0].shape[-1])  # a weight is no number, and is named where it is rounded
    diagonal = moments.second.diagonal()
    diagonal.add_(_DAMPING * diagonal.mean())
    return moments


def _outside_inference(function: Callable[[Item], Result]) -> Callable[[Item], Result]:
    """Workers compute in inference mode, where nothing is kept for gradients."""

    def run(item: Item) -> Result:
        with torch.inference_mode(False), torch.enable_grad():
            return function(item)

    return run
