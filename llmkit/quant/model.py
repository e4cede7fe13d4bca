"""A whole model put on grids, layer by layer: each sees texts as the layers before it, rounded, left them.

One layer's weights are in memory as numbers at a time, once as they were and once as they become; of the
others there are their files and their codes.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmkit.errors import DataError
from llmkit.model.transformer import TiedHead, Transformer
from llmkit.quant.grid import Grid
from llmkit.quant.moments import Moments
from llmkit.quant.rounding import RoundedMatrix, round_matrix
from llmkit.quant.stream import Stream
from llmkit.quant.workers import ALONE, Workers

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
_ALONE = {EMBEDDING: "embedding", HEAD: "head"}
"""What their parts are called."""
Rounder = Callable[[str, Tensor, Grid, Moments | None], RoundedMatrix]
"""How one matrix is rounded: its name, itself, its grid, and the moments of its inputs."""
Known = Callable[[str], Mapping[str, RoundedMatrix] | None]
"""The matrices of a part that are rounded already; None: it is still to be done."""


@dataclass(frozen=True)
class Rounded:
    """What has become of some matrices of a model."""

    layer: int | None
    """None: the embedding or the head."""
    matrices: Mapping[str, RoundedMatrix]
    """By their names in `state_dict()`; of stacked experts by `name[e]`."""

    @property
    def part(self) -> str:
        """What `known` is asked for."""
        if self.layer is not None:
            return f"layer-{self.layer}"
        return _ALONE[next(iter(self.matrices))]


def _as_it_is(name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
    return round_matrix(weight, grid, moments)


class Quantiser:
    """One run over a model. Afterwards the model is the rounded one, with its layers given up."""

    def __init__(
        self,
        model: Transformer,
        grids: Mapping[str, Grid],
        *,
        calibration: Tensor | None = None,
        scored: Tensor | None = None,
        rounder: Rounder = _as_it_is,
        workers: Workers = ALONE,
        known: Known = lambda part: None,
    ) -> None:
        """
        Args:
            model: in evaluation mode; its layers are used up.
            grids: of each matrix to be rounded, by its name in `state_dict()`; a stack of experts has one.
            calibration: (N, T) ids of the text that errors are weighed by; None: every column counts alike.
            scored: (N, T) ids of other text, which goes through both models.
            rounder: rounds one matrix.
            workers: share out passes and sums; the rounder has its own.
            known: what is rounded already, by part: "embedding", "layer-3", "head".
        """
        self._model = model
        self._grids = grids
        self._calibration = calibration
        self._scored = scored
        self._rounder = rounder
        self._workers = workers
        self._known = known
        self.reference: Stream | None = None
        """The scored text in the original model; behind the last layer once `run` is through."""
        self.rounded: Stream | None = None
        """The same text in the rounded model."""
        self.reference_head: Callable[[Tensor], Tensor] | None = None
        """Hidden states to logits, as the original model has it."""

    def run(self) -> Iterator[Rounded]:
        """Round everything; each part is given out as it is done.

        Raises:
            DataError: see `round_matrix`; the name of the matrix stands before the problem.
        """
        model, decoder = self._model, self._model.model
        kept_head = copy.deepcopy(model.lm_head).float() if isinstance(model.lm_head, nn.Linear) else None
        decoder.embed_tokens = copy.deepcopy(decoder.embed_tokens).float()
        decoder.norm = decoder.norm.float()
        original = decoder.embed_tokens.weight.detach()
        if self._scored is not None:
            self.reference = Stream(model, self._scored, self._workers)
            self.reference_head = _head(model, original if kept_head is None else kept_head)
        if EMBEDDING in self._grids:
            tied = isinstance(model.lm_head, TiedHead)
            rounded = self._alone(EMBEDDING, original, self._tied_moments if tied else None)
            decoder.embed_tokens = nn.Embedding.from_pretrained(rounded.values())
            if isinstance(model.lm_head, TiedHead):
                model.lm_head = _tied_like(model.lm_head, decoder.embed_tokens, model)
            yield Rounded(None, {EMBEDDING: rounded})
        calibration = None if self._calibration is None else Stream(model, self._calibration, self._workers)
        self.rounded = None if self._scored is None else Stream(model, self._scored, self._workers)
        for layer in range(model.config.num_hidden_layers):
            yield self._layer(layer, calibration)
        if kept_head is not None and HEAD in self._grids:
            yield self._head_alone(kept_head, calibration)
        elif kept_head is not None:
            model.lm_head = kept_head

    def _layer(self, layer: int, calibration: Stream | None) -> Rounded:
        layers = self._model.model.layers
        block = copy.deepcopy(layers[layer]).float()
        layers[layer] = block
        if self.reference is not None:
            self.reference.advance(layer)
        prefix = f"model.layers.{layer}."
        weights = {
            f"{prefix}{name}": parameter.detach()
            for name, parameter in block.named_parameters()
            if f"{prefix}{name}" in self._grids
        }
        parts = {
            f"{name}[{index}]" if weight.dim() == 3 else name: part
            for name, weight in weights.items()
            for index, part in enumerate(weight.unbind() if weight.dim() == 3 else (weight,))
        }
        done = self._known(f"layer-{layer}")
        if done is None:
            moments = {} if calibration is None else calibration.moments(layer, weights)
            done = {
                name: self._round(name, part, self._grids[name.partition("[")[0]], moments.get(name))
                for name, part in parts.items()
            }
        for name, part in parts.items():  # all at once: none sees another one's error within the layer
            part.copy_(done[name].values())
        for stream in (calibration, self.rounded):
            if stream is not None:
                stream.advance(layer)
        layers[layer] = nn.Identity()
        return Rounded(layer, done)

    def _head_alone(self, head: nn.Linear, calibration: Stream | None) -> Rounded:
        moments = None if calibration is None else calibration.head_moments
        rounded = self._alone(HEAD, head.weight.detach(), moments)
        self._model.lm_head = copy.deepcopy(head)
        self._model.lm_head.weight.data = rounded.values()
        return Rounded(None, {HEAD: rounded})

    def _alone(
        self, name: str, weight: Tensor, moments: Callable[[], Moments | None] | None
    ) -> RoundedMatrix:
        """The embedding or the head; its moments are worked out where it is not known."""
        known = self._known(_ALONE[name])
        if known is not None:
            return known[name]
        return self._round(name, weight, self._grids[name], None if moments is None else moments())

    def _round(self, name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
        try:
            return self._rounder(name, weight, grid, moments)
        except DataError as error:
            raise DataError(f"{name}: {error.problem}", hint=error.hint) from None

    @torch.inference_mode()
    def _tied_moments(self) -> Moments | None:
        """What the head of a model reads whose embedding it is: known only from a pass of the original."""
        if self._calibration is None:
            return None
        stream = Stream(self._model, self._calibration, self._workers)
        layers = self._model.model.layers
        for layer in range(len(layers)):
            kept = layers[layer]
            layers[layer] = copy.deepcopy(kept).float()
            stream.advance(layer)
            layers[layer] = kept
        return stream.head_moments()


def _tied_like(head: TiedHead, embedding: nn.Embedding, model: Transformer) -> TiedHead:
    fresh = TiedHead(embedding, model.config)
    fresh.bias = None if head.bias is None else nn.Parameter(head.bias.detach().float())
    return fresh


def _head(model: Transformer, kept: Tensor | nn.Linear) -> Callable[[Tensor], Tensor]:
    """`Transformer.logits` with a head of its own."""
    if isinstance(kept, nn.Linear):
        head: TiedHead | nn.Linear = kept
    else:
        assert isinstance(model.lm_head, TiedHead)
        head = _tied_like(model.lm_head, nn.Embedding.from_pretrained(kept), model)
    owner = Transformer.__new__(Transformer)
    nn.Module.__init__(owner)
    owner.config, owner.lm_head = model.config, head
    return owner.logits
