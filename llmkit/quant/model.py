"""A whole model put on grids, layer by layer: each sees texts as the layers before it, rounded, left them.

One layer's weights are in memory as numbers at a time, once as they were and once as they become; of the
others there are their files and their codes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from llmkit.errors import at_place
from llmkit.model.finite import check_finite
from llmkit.model.tied_head import TiedHead
from llmkit.model.transformer import Transformer
from llmkit.quant.embedding_moments import embedding_moments
from llmkit.quant.grid import Grid
from llmkit.quant.heads import own_logits, tied_like
from llmkit.quant.moments import Moments, single_matrices
from llmkit.quant.plain_numbers import as_stored
from llmkit.quant.rounding import RoundedMatrix, Rounder, round_matrix
from llmkit.quant.scaling import scale_layer
from llmkit.quant.stream import Stream, float32_copy, in_float32, with_float32_ends
from llmkit.quant.workers import ALONE, Workers

EMBEDDING = "model.embed_tokens.weight"
OWN_EMBEDDINGS = "model.own_inputs.embed_tokens.weight"
HEAD = "lm_head.weight"
_ALONE = {EMBEDDING: "embedding", OWN_EMBEDDINGS: "own-embeddings", HEAD: "head"}
"""What their parts are called."""
_WIDER = "choose a type with a wider range for it: --tensor, --embeddings, --head or --type"


@dataclass(frozen=True)
class Rounded:
    """What has become of some matrices of a model."""

    layer: int | None
    """None: an embedding or the head."""
    matrices: Mapping[str, RoundedMatrix]
    """By their names in `state_dict()`; of stacked experts by `name[e]`."""
    plain: Mapping[str, Tensor] = field(default_factory=dict)
    """Other tensors that are not what they were, in float32: they hold the inverses of scales."""
    alphas: Mapping[str, float] = field(default_factory=dict)
    """See `Scaled.alphas`; empty where nothing was to be scaled."""

    @property
    def part(self) -> str:
        """What `known` is asked for."""
        if self.layer is not None:
            return f"layer-{self.layer}"
        return _ALONE[next(iter(self.matrices))]


Known = Callable[[str], Rounded | None]
"""A part that is rounded already; None: it is still to be done."""


def _as_it_is(name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
    return round_matrix(weight, grid, moments)


class Quantiser:
    """One run over a model. Afterwards it is the rounded one, less its layers and what no head shares."""

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
        given: Mapping[str, Moments] | None = None,
        scale_dtype: torch.dtype | None = None,
        catches_up: bool = True,
        dtypes: Mapping[str, torch.dtype] | None = None,
        orders: Mapping[str, Tensor] | None = None,
    ) -> None:
        """
        Args:
            model: in evaluation mode; its layers are used up, and memory mapped from files is given back.
            grids: of each matrix to be rounded, by its name in `state_dict()`; a stack of experts has one.
            calibration: (N, T) ids of the text that errors are weighed by; None: every column counts alike.
            scored: (N, T) ids of other text, which goes through both models.
            rounder: rounds one matrix.
            workers: share out passes and sums; the rounder has its own.
            known: what is rounded already, by part: "embedding", "own-embeddings", "layer-3", "head".
            given: moments of the inputs of matrices, by name, where there is no calibration text.
            scale_dtype: columns are scaled first (`scaling.py`), and norms are stored in this; None: they
                are not.
            catches_up: the rounder makes use of what inputs have lost; the calibration text goes through the
                original model too.
            dtypes: of tensors without a grid, as they are written: texts see what is left of them there.
            orders: of matrices that are rounded with their columns in another order: `RoundedMatrix.order`.
        """
        self._model = model
        self._grids = grids
        self._calibration = calibration
        self._scored = scored
        self._rounder = rounder
        self._workers = workers
        self._known = known
        self._given = given or {}
        self._scale_dtype = scale_dtype
        self._catches_up = catches_up
        self._dtypes = dtypes or {}
        self._orders = orders or {}
        self._original: Stream | None = None
        self.reference: Stream | None = None
        """The scored text in the original model; behind the last layer once `run` is through."""
        self.rounded: Stream | None = None
        """The same text in the rounded model."""
        self.reference_head: Callable[[Tensor], Tensor] | None = None
        """Hidden states to logits, as the original model has it; once `run` is through."""

    def run(self) -> Iterator[Rounded]:
        """Round everything; each part is given out as it is done.

        Raises:
            DataError: see `round_matrix`; the name of the matrix stands before the problem.
        """
        model, decoder = self._model, self._model.model
        own_head = model.lm_head if isinstance(model.lm_head, nn.Linear) else None
        with_float32_ends(model)
        for name, tensor in (
            *((EMBEDDING, decoder.embed_tokens.weight), ("model.norm.weight", decoder.norm.weight)),
            *(((HEAD, own_head.weight),) if own_head is not None else ()),
        ):
            if name not in self._grids:
                check_finite(name, tensor.detach(), self._dtypes.get(name), hint=_WIDER)
        if self._scored is not None:
            self.reference = Stream(model, self._scored, self._workers)
        if self._calibration is not None and self._catches_up:
            self._original = Stream(model, self._calibration, self._workers)
        if EMBEDDING in self._grids:
            yield self._embedding(own_head)
        else:
            embedding = decoder.embed_tokens.weight.detach()
            self._replace_embedding(as_stored(embedding, self._dtypes.get(EMBEDDING)))
        calibration = None if self._calibration is None else Stream(model, self._calibration, self._workers)
        self.rounded = None if self._scored is None else Stream(model, self._scored, self._workers)
        if own_head is not None and EMBEDDING in self._grids:  # nobody looks anything up in it from here on
            decoder.embed_tokens = nn.Embedding.from_pretrained(torch.empty(0, model.config.hidden_size))
        if decoder.own_inputs is not None and OWN_EMBEDDINGS in self._grids:
            table = decoder.own_inputs.embed_tokens.weight.detach()
            yield Rounded(None, {OWN_EMBEDDINGS: self._alone(OWN_EMBEDDINGS, table, None)})
        for layer in range(model.config.num_hidden_layers):
            yield self._layer(layer, calibration)
        if own_head is not None:
            model.lm_head = own_head = float32_copy(own_head)
            self.reference_head = own_logits(model, own_head)
            if HEAD in self._grids:
                yield self._head_alone(own_head, calibration)
            else:
                self._replace_head(as_stored(own_head.weight.detach(), self._dtypes.get(HEAD)))

    def _embedding(self, own_head: nn.Linear | None) -> Rounded:
        """The embedding; where there is no head of its own, that too."""
        original = self._model.model.embed_tokens.weight.detach()
        moments = partial(self._embedding_moments, original if own_head is None else own_head)
        rounded = self._alone(EMBEDDING, original, None if self._calibration is None else moments)
        self._replace_embedding(rounded.values())
        return Rounded(None, {EMBEDDING: rounded})

    def _replace_embedding(self, values: Tensor) -> None:
        """What is looked up from here on; where the head is the same matrix, it multiplies with that."""
        model, decoder = self._model, self._model.model
        original = decoder.embed_tokens.weight.detach()
        decoder.embed_tokens = nn.Embedding.from_pretrained(values)
        if isinstance(model.lm_head, TiedHead):
            self.reference_head = own_logits(model, original)
            model.lm_head = tied_like(model.lm_head, decoder.embed_tokens, model)

    def _layer(self, layer: int, calibration: Stream | None) -> Rounded:
        layers = self._model.model.layers
        block = float32_copy(layers[layer])
        layers[layer] = block
        if self.reference is not None:
            self.reference.advance(layer)
        weights = {
            f"{_prefix(layer)}{name}": parameter.detach()
            for name, parameter in block.named_parameters()
            if f"{_prefix(layer)}{name}" in self._grids
        }
        plain = {
            f"{_prefix(layer)}{name}": parameter.detach()
            for name, parameter in block.named_parameters()
            if f"{_prefix(layer)}{name}" not in weights
        }
        for name, tensor in plain.items():
            check_finite(name, tensor, self._dtypes.get(name), hint=_WIDER)
        done, moments = self._known(f"layer-{layer}"), self._given
        if done is None and calibration is not None:
            moments = calibration.moments(layer, weights, original=self._original)
        if self._original is not None:
            self._original.advance(layer)  # before anything is scaled
        if done is None:
            done = self._rounded_layer(layer, block, weights, moments)
        for name, part in single_matrices(weights).items():  # all at once: none sees another one's error
            part.copy_(done.matrices[name].values())
        for name, tensor in done.plain.items():
            plain[name].copy_(tensor)
        for name, tensor in plain.items():
            tensor.copy_(as_stored(tensor, self._dtypes.get(name)))
        for stream in (calibration, self.rounded):
            if stream is not None:
                stream.advance(layer)
        layers[layer] = nn.Identity()
        return done

    @torch.no_grad()
    def _rounded_layer(
        self, layer: int, block: nn.Module, weights: Mapping[str, Tensor], moments: Mapping[str, Moments]
    ) -> Rounded:
        """A layer's matrices rounded; where they are scaled, the block is the scaled one then."""
        prefix, plain, alphas = _prefix(layer), {}, {}
        done: dict[str, RoundedMatrix] = {}
        if self._scale_dtype is not None:
            others = {
                f"{prefix}{name}": (parameter, parameter.detach().clone())
                for name, parameter in block.named_parameters()
                if f"{prefix}{name}" not in weights
            }
            config, dtype = self._model.config, self._scale_dtype
            scaled = scale_layer(block, config, prefix, self._grids, moments, self._round, dtype)
            done, alphas = scaled.matrices, scaled.alphas
            plain = {
                name: now.detach().clone()
                for name, (now, before) in others.items()
                if not torch.equal(now, before)
            }
        for name, part in single_matrices(weights).items():
            if name not in done:
                done[name] = self._round(name, part, self._grids[name.partition("[")[0]], moments.get(name))
        return Rounded(layer, done, plain, alphas)

    def _head_alone(self, head: nn.Linear, calibration: Stream | None) -> Rounded:
        moments = None if calibration is None else partial(calibration.head_moments, original=self._original)
        rounded = self._alone(HEAD, head.weight.detach(), moments)
        self._replace_head(rounded.values())
        return Rounded(None, {HEAD: rounded})

    def _replace_head(self, values: Tensor) -> None:
        head = self._model.lm_head
        assert isinstance(head, nn.Linear)
        after = nn.Linear(head.in_features, head.out_features, bias=False, device="meta")
        after.weight, after.bias = nn.Parameter(values, requires_grad=False), head.bias
        self._model.lm_head = after

    def _alone(
        self, name: str, weight: Tensor, moments: Callable[[], Moments | None] | None
    ) -> RoundedMatrix:
        """The embedding or the head; its moments are worked out where it is not known."""
        known = self._known(_ALONE[name])
        if known is not None:
            return known.matrices[name]
        found = self._given.get(name) if moments is None else moments()
        return self._round(name, weight, self._grids[name], found)

    def _round(self, name: str, weight: Tensor, grid: Grid, moments: Moments | None) -> RoundedMatrix:
        order = self._orders.get(name)
        if order is not None:
            weight, moments = weight[:, order], moments.ordered(order) if moments is not None else None
        with at_place(name):
            return replace(self._rounder(name, weight, grid, moments), order=order)

    def _embedding_moments(self, own: Tensor | nn.Linear) -> Moments:
        """Of what comes back to the embedding, and where the head is the same matrix, of what that reads."""
        assert self._calibration is not None
        head = own_logits(self._model, own if isinstance(own, Tensor) else float32_copy(own))
        found = embedding_moments(self._model, self._calibration, head, self._workers)
        if not isinstance(self._model.lm_head, TiedHead):
            return found
        read = self._tied_moments()
        share = found.count / read.count  # both are off by as much for a row as it is common
        return Moments(
            found.second + share * read.second, found.absolute + share * read.absolute, found.count
        )

    @torch.inference_mode()
    def _tied_moments(self) -> Moments:
        """What the head of a model reads whose embedding it is: known only from a pass of the original."""
        assert self._calibration is not None
        stream = Stream(self._model, self._calibration, self._workers)
        for layer in range(self._model.config.num_hidden_layers):
            with in_float32(self._model, layer):
                stream.advance(layer)
        return stream.head_moments()


def _prefix(layer: int) -> str:
    return f"model.layers.{layer}."
