"""Passes of a plain model through the native kernels: weights packed once, every layer in one call.

The slow twin is `Runner`. Weights are kept as they are (float32, bfloat16) or rounded to 8 or 4 bits in
groups of 32, as GGUF's Q8_0 and Q4_0; activations stay float32 between products.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from llmkit.engine.runner import known_ids, paged_spans, scored_rows
from llmkit.engine.scheduler import Work
from llmkit.engine.step import is_flat
from llmkit.engine.store import KVStore, PagedSpan
from llmkit.errors import UsageError
from llmkit.kernels.elementwise import Activation
from llmkit.kernels.forward import KeptMemory, LayerWeights, NativeModel, Sizes
from llmkit.kernels.library import available
from llmkit.kernels.memory import Floats, Rows, ValueType
from llmkit.kernels.packed import PackedFormat, PackedWeight, pack
from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer

_ACTIVATIONS = {
    "silu": Activation.SILU,
    **dict.fromkeys(("gelu_new", "gelu_pytorch_tanh"), Activation.GELU_TANH),
}
_TYPES = {torch.float32: ValueType.FLOAT32, torch.bfloat16: ValueType.BFLOAT16}
_FORMATS = {torch.float32: PackedFormat.FLOAT32, torch.bfloat16: PackedFormat.BFLOAT16}


def runs_natively(config: ModelConfig, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the kernels are here and have every part of a model."""
    return (
        available()
        and device.type == "cpu"
        and dtype in _TYPES
        and is_flat(config)
        and (config.norm, config.position, config.gated_mlp) == ("rms", "rope", True)
        and config.hidden_act in _ACTIVATIONS
    )


def pack_model(
    model: Transformer, packed_format: PackedFormat | None = None, *, release: bool = False
) -> NativeModel:
    """A model's weights as the kernels read them.

    Args:
        model: one that `runs_natively`.
        packed_format: INT8 or INT4 to round to; None keeps the weights as they are.
        release: give up the model's own weights matrix by matrix, so that memory holds them once; the model
            can compute nothing afterwards, but its embedding stays.
    """
    config, decoder = model.config, model.model
    if packed_format is None:
        packed_format = _FORMATS[decoder.embed_tokens.weight.dtype]
    packer = _Packer(packed_format, release=release)
    head = packer.pack(model.lm_head.weight)
    if release and isinstance(model.lm_head, nn.Linear):
        packer.give_up(model.lm_head)
    sizes = Sizes(
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        rotary_dim=config.rotary_dim,
        intermediate=config.intermediate_size,
        vocabulary=config.vocab_size,
        activation=_ACTIVATIONS[config.hidden_act],
        epsilon=config.norm_eps,
        scale=config.head_dim**-0.5,
    )
    layers = [packer.layer(block) for block in decoder.layers]
    return NativeModel(sizes, layers, _vector(cast(Tensor, decoder.norm.weight)), head)


class NativeRunner:
    """Computes what is planned, in one call of the library a pass."""

    def __init__(self, model: Transformer, store: KVStore, native: NativeModel, *, wide: bool = True) -> None:
        """
        Args:
            model: whose embedding and positions are used.
            store: memory of keys and values, float32 or bfloat16.
            native: its weights, packed.
            wide: use every thread of the kernels.
        """
        if model.model.rope is None:
            raise UsageError("the kernels have no positions but rotary ones", hint="use Runner")
        self._embedding = model.model.embed_tokens.weight
        self._rope = model.model.rope
        self._native = native
        self._store = store
        self._wide = wide
        self._angles: tuple[Floats, Floats] = (np.empty((0, 0), np.float32),) * 2
        self._memory = KeptMemory(
            keys=tuple(layer[0].data_ptr() for layer in store.layers),
            values=tuple(layer[1].data_ptr() for layer in store.layers),
            value_type=_TYPES[store.layers[0][0].dtype],
            block_size=store.block_tokens,
        )

    @torch.inference_mode()
    def run(self, works: Sequence[Work]) -> list[Tensor | None]:
        """See `Runner.run`."""
        spans = paged_spans(works)
        wanted = scored_rows(works, spans)
        ids = torch.tensor([one for work in works for one in known_ids(work)])
        x = self._embedding[ids].float().numpy()
        table = _block_table(spans, self._store.block_tokens)
        rows = [row for rows in wanted for row in rows]
        logits = self._native.forward(
            x,
            np.concatenate([np.arange(span.start, span.end, dtype=np.int32) for span in spans]),
            np.concatenate([_places(span, self._store.block_tokens) for span in spans]),
            self._angles_to(max(span.end for span in spans)),
            self._memory,
            table,
            np.array([0, *(span.first + span.count for span in spans)], np.int32),
            np.array([span.end for span in spans], np.int32),
            np.array(rows, np.int32),
            wide=self._wide,
        )
        parts = iter(torch.from_numpy(logits).split([len(rows) for rows in wanted]))
        return [part if len(part) else None for part in parts]

    def _angles_to(self, positions: int) -> tuple[Floats, Floats]:
        """Cosines and sines of so many positions or more."""
        if len(self._angles[0]) < positions:
            cos, sin = self._rope.table(positions, torch.device("cpu"))
            self._angles = cos.contiguous().numpy(), sin.contiguous().numpy()
        return self._angles


class _Packer:
    """Packs the matrices of a model one after the other."""

    def __init__(self, packed_format: PackedFormat, *, release: bool) -> None:
        self._format = packed_format
        self._release = release

    def layer(self, block: Any) -> LayerWeights:
        """A layer's weights."""
        attention, mlp = block.self_attn, block.mlp
        gate, up = mlp.gate_proj, mlp.up_proj
        linears = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        both = None if gate.bias is None else torch.cat((gate.bias, up.bias))
        packed = LayerWeights(
            _vector(block.input_layernorm.weight),
            _vector(block.post_attention_layernorm.weight),
            q=self.pack(attention.q_proj.weight),
            k=self.pack(attention.k_proj.weight),
            v=self.pack(attention.v_proj.weight),
            o=self.pack(attention.o_proj.weight),
            gate_up=self.pack(torch.cat((gate.weight, up.weight))),
            down=self.pack(mlp.down_proj.weight),
            q_norm=None if attention.q_norm is None else _vector(attention.q_norm.weight),
            k_norm=None if attention.k_norm is None else _vector(attention.k_norm.weight),
            biases=tuple(
                None if bias is None else _vector(bias)
                for bias in (*(linear.bias for linear in linears), both, mlp.down_proj.bias)
            ),
        )
        if self._release:
            for linear in (*linears, gate, up, mlp.down_proj):
                self.give_up(linear)
        return packed

    def pack(self, weight: Tensor) -> PackedWeight:
        """weight: (out, in)."""
        weight = weight.detach()
        rows, cols = weight.shape
        source = Rows(weight.data_ptr(), rows, cols, weight.stride(0), _TYPES[weight.dtype], weight)
        return pack(source, self._format)

    def give_up(self, linear: nn.Linear) -> None:
        """Free a matrix."""
        linear.weight = nn.Parameter(torch.empty(0), requires_grad=False)


def _vector(parameter: Tensor) -> Floats:
    return parameter.detach().float().contiguous().numpy()


def _block_table(spans: Sequence[PagedSpan], block_tokens: int) -> NDArray[np.int32]:
    """(texts, blocks of the longest); what a text does not have is 0."""
    needed = [-(-span.end // block_tokens) for span in spans]
    table = np.zeros((len(spans), max(needed)), np.int32)
    for row, (span, count) in enumerate(zip(spans, needed, strict=True)):
        table[row, :count] = span.table[:count]
    return table


def _places(span: PagedSpan, block_tokens: int) -> NDArray[np.int64]:
    """Rows of memory that a text's new positions go to."""
    positions = np.arange(span.start, span.end)
    blocks = np.array(span.table, np.int64)[positions // block_tokens]
    return blocks * block_tokens + positions % block_tokens
