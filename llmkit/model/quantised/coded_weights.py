"""Matrices of a model that stay the codes they are stored as, until the kernels take them.

`StoredWeights` leaves them out where it is given a CodedWeights. Each is read when its turn comes, so that no
plain copy of it is ever made.
"""

import re
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from llmkit.errors import DataError
from llmkit.formats.gguf.data import GgufData
from llmkit.formats.model_folder import TensorInfo
from llmkit.kernels.coded import CodedMatrix, Order, stacked
from llmkit.kernels.coded_gguf import GROUPINGS, gguf_matrix
from llmkit.kernels.coded_layouts import TELLING, layout_matrix, takes_layout, widened_key
from llmkit.kernels.coded_orders import grouping_of_runs, mixed, with_runs
from llmkit.model.gguf.delta_layouts import DeltaLayout
from llmkit.model.gguf.names import GgufGroup
from llmkit.model.names import Group
from llmkit.model.quantised.stored import QuantisedInfo, read_part
from llmkit.model.shapes import Shape

Source = Callable[[], CodedMatrix]
_TAKEN = re.compile(
    r"model\.embed_tokens\.weight|lm_head\.weight|"
    r"model\.layers\.\d+\.(self_attn\.([qkvo]|q_a|q_b)_proj\.weight|self_attn\.kv_a_proj_with_mqa\.weight|"
    r"mlp\.(shared_expert\.)?(gate|up|down)_proj\.weight|mlp\.experts\.(gate_up|up|down)_proj|"
    r"((conv|mamba)\.in_proj|linear_attn\.in_proj_(qkvz|qkv|z)|(conv|mamba|linear_attn)\.out_proj)\.weight)"
)
"""A model's tensors that the kernels read packed. Routers stay numbers, and so do a delta rule's rates
and what makes keys of latents."""


class CodedWeights:
    """Which tensors of a model are codes, and where they are read."""

    def __init__(self) -> None:
        self.sources: dict[str, list[Source]] = {}
        """By the model's name: one matrix, or each expert's of a stack."""

    def take_stored(self, group: Group, found: Sequence[TensorInfo], rows: Sequence[int]) -> bool:
        """Take a group of a folder's tensors, if it is one the kernels read.

        Args:
            group: the model's names and the file's.
            found: the file's tensors.
            rows: the first dimension of each of the model's.
        """
        infos = [one for one in found if isinstance(one, QuantisedInfo) and not one.turned]
        if len(infos) != len(found) or not self._wants(group.ours):
            return False
        if infos[0].experts:
            self.sources[group.ours[0]] = _each_of_stack(infos[0], in_turns=group.how == "stack_in_turns")
            return True
        if group.how not in ("same", "joined", "experts"):
            return False
        pairs = [(one, one.read_parts(TELLING)) for one in infos]
        if not all(takes_layout(one.layout, one.shape[1], parts) for one, parts in pairs):
            return False
        sources = [_stored(one) for one in infos]
        if group.how == "joined":
            sources = _split(sources[0], rows)
        elif group.how == "experts":
            keys = [widened_key(one.layout, one.shape[1], parts) for one, parts in pairs]
            if not _go_together(keys, rows[0]):
                return False
            self.sources[group.ours[0]] = _by_expert(sources, rows[0])
            return True
        self.sources |= {name: [source] for name, source in zip(group.ours, sources, strict=True)}
        return True

    def take_gguf(self, group: GgufGroup, data: GgufData, rows: Sequence[int]) -> None:
        """Take a group of a GGUF file's tensors, if it is one the kernels read."""
        if not self._wants(group.ours) or any(data.info(name).type not in GROUPINGS for name in group.theirs):
            return
        parts = [_gguf(data, name) for name in group.theirs]
        match group.how:
            case "same":
                self.sources[group.ours[0]] = parts[0]
            case "in_turns":
                self.sources[group.ours[0]] = [_ordered(parts[0][0], in_turns(rows[0], group.heads))]
            case "joined":
                sources = _split(parts[0][0], rows)
                self.sources |= {name: [one] for name, one in zip(group.ours, sources, strict=True)}
            case "halves":
                pairs = zip(*parts, strict=True)
                self.sources[group.ours[0]] = [_stacked(list(pair)) for pair in pairs]
            case "layout":
                assert isinstance(group.layout, DeltaLayout)  # Mamba-2's has none that are taken
                types = [data.info(name).type for name in group.theirs]
                shapes = [data.shape(name) for name in group.theirs]
                if group.moves_columns and grouping_of_runs(GROUPINGS[types[0]], group.layout.run) is None:
                    return  # numbers: its heads' columns end within a group
                self.sources[group.ours[0]] = [_delta([one for (one,) in parts], group.layout, shapes)]

    def _wants(self, names: Sequence[str]) -> bool:
        return all(_TAKEN.fullmatch(name) for name in names)


def in_turns(rows: int, heads: int) -> Order:
    """Of each of the model's rows the one of a file that has each head's halves in turns."""
    return np.arange(rows).reshape(heads, -1, 2).transpose(0, 2, 1).reshape(-1)


def _go_together(keys: Sequence[Hashable], experts: int) -> bool:
    """Whether the matrices of each expert become one: those that are widened need much in common."""
    count = len(keys) // experts
    return all(len(set(keys[at : at + count])) == 1 for at in range(0, len(keys), count))


def _stored(info: QuantisedInfo) -> Source:
    def read() -> CodedMatrix:
        found = layout_matrix(info.layout, info.read_parts(), *info.shape)
        if found is None:
            raise DataError(f"{info.name}: its tensors do not fit each other", hint="fetch the model again")
        return found

    return read


def _each_of_stack(info: QuantisedInfo, *, in_turns: bool) -> list[Source]:
    """The matrix of each expert; in turns: its rows are of gate and up, and the model has all gates first."""
    count, columns, rows = info.shape

    def source(number: int) -> Source:
        def read() -> CodedMatrix:
            parts = {suffix: read_part(_slice(one, number)) for suffix, one in info.stored.items()}
            found = layout_matrix(info.layout, parts, rows, columns)
            assert found is not None
            return found

        return _ordered(read, np.arange(rows).reshape(-1, 2).T.reshape(-1)) if in_turns else read

    return [source(number) for number in range(count)]


def _slice(info: TensorInfo, number: int) -> TensorInfo:
    """One of a stored tensor's first dimension."""
    count, *shape = info.shape
    nbytes = info.nbytes // count
    return TensorInfo(info.name, info.dtype, tuple(shape), nbytes, info.file, info.offset + number * nbytes)


def _gguf(data: GgufData, name: str) -> list[Source]:
    """A matrix, or those of a stack; read, not mapped, so that its bytes go when it is packed."""
    *stack, rows, columns = data.shape(name)
    info, count, file = data.info(name), int(np.prod(stack, dtype=np.int64)), data.file(name)
    nbytes = info.nbytes // count

    def source(number: int) -> Source:
        def read() -> CodedMatrix:
            raw = np.fromfile(file, np.uint8, nbytes, offset=info.offset + number * nbytes)
            return gguf_matrix(raw, info.type, rows, columns)

        return read

    return [source(number) for number in range(count)]


def _by_expert(sources: list[Source], experts: int) -> list[Source]:
    count = len(sources) // experts
    return [_stacked(sources[at : at + count]) for at in range(0, len(sources), count)]


def _stacked(sources: Sequence[Source]) -> Source:
    def read() -> CodedMatrix:
        found = stacked([one() for one in sources])
        if found is None:  # tables of one kind that differ, see _go_together
            raise DataError("matrices of one expert do not fit each other", hint="fetch the model again")
        return found

    return read


def _ordered(source: Source, order: Order) -> Source:
    return lambda: source().ordered(order)


def _delta(sources: Sequence[Source], layout: DeltaLayout, shapes: Sequence[Shape]) -> Source:
    """A matrix of the gated delta rule: its layout, given numbers of rows or columns, says where they are."""
    if layout.moves_columns:
        columns = layout.unpack([np.arange(shapes[0][1])[None]])[0]
        return lambda: with_runs(sources[0](), columns[:: layout.run] // layout.run, layout.run)
    ends = np.cumsum([shape[0] for shape in shapes])
    rows = layout.unpack([np.arange(end - shape[0], end) for end, shape in zip(ends, shapes, strict=True)])
    if len(sources) == 1:
        return _ordered(sources[0], rows)
    return lambda: mixed([one() for one in sources], rows)


def _split(source: Source, rows: Sequence[int]) -> list[Source]:
    ends = np.cumsum(rows)
    return [_ordered(source, np.arange(end - count, end)) for end, count in zip(ends, rows, strict=True)]
