"""Quantised matrices among a model's stored tensors, seen as plain ones under plain names. No torch.

Headers are read first; a matrix becomes numbers when its turn comes.
"""

from collections.abc import Container, Mapping

import numpy as np

from llmkit.errors import DataError, LlmkitError
from llmkit.formats.bfloat16 import widened
from llmkit.formats.model_folder import BELONG_TOGETHER, TensorInfo
from llmkit.formats.quantised.matrix_layout import Array, Floats, MatrixLayout
from llmkit.formats.quantised.mxfp4 import Mxfp4
from llmkit.model.quantised.quantisation import UNREAD, Quantisation

_WEIGHT = ".weight"
_NUMPY = {
    **{"U8": "u1", "I8": "i1", "F8_E4M3": "u1", "I16": "<i2", "I32": "<i4", "U32": "<u4", "I64": "<i8"},
    **{"F16": "<f2", "F32": "<f4", "BF16": "<u2"},
}
_FLOATS = ("F16", "F32", "BF16")


class QuantisedInfo(TensorInfo, frozen=True, kw_only=True):
    """A matrix that several tensors keep, as one of plain numbers.

    Its name and shape are the plain matrix's, its dtype is what `read` gives, its bytes are those stored.
    """

    layout: MatrixLayout
    stored: Mapping[str, TensorInfo]
    """Its tensors, by suffix."""
    turned: bool = False
    """Whether the plain matrix is (inputs, outputs), GPT-2's way; layouts are always (outputs, inputs)."""
    experts: int = 0
    """Of a stack (experts, inputs, outputs), which the layout has one below the other; 0: it is no stack."""

    def read(self) -> Floats:
        """The matrix as numbers.

        Raises:
            DataError: the tensors are damaged.
        """
        return self.values(self.read_parts())

    def read_parts(self, only: Container[str] | None = None) -> dict[str, Array]:
        """Its tensors by suffix, or some of them, as `read_part` gives them."""
        stored = self.stored.items()
        return {suffix: read_part(info) for suffix, info in stored if only is None or suffix in only}

    def values(self, parts: Mapping[str, Array]) -> Floats:
        """The same out of its tensors by suffix, as `read_part` gives them."""
        try:
            if self.experts:
                stack, inputs, outputs = self.shape
                matrix = self.layout.read(parts, stack * outputs, inputs)
                return np.ascontiguousarray(matrix.reshape(stack, outputs, inputs).swapaxes(1, 2))
            first, second = self.shape
            if self.turned:
                return np.ascontiguousarray(self.layout.read(parts, second, first).T)
            return self.layout.read(parts, first, second)
        except LlmkitError as error:
            raise DataError(f"{self.name}: {error.problem}", hint=error.hint) from None


def plain_tensors(
    stored: Mapping[str, TensorInfo],
    quantisation: Quantisation | None,
    turned: Container[str] = (),
) -> dict[str, TensorInfo]:
    """What a model's files hold, each quantised matrix as one tensor.

    Args:
        stored: by name.
        quantisation: as config.json has it; None: nothing is quantised.
        turned: names of plain tensors that are (inputs, outputs).

    Raises:
        ConfigError: config.json does not say how a matrix is kept.
        DataError: a matrix lacks a tensor, or they do not fit each other.
    """
    plain = dict(stored)
    if quantisation is None:
        return plain
    for name in stored:
        if name.endswith(UNREAD):
            plain.pop(name, None)
        mark = next((mark for mark in quantisation.marks if name.endswith(mark)), None)
        if mark is not None:
            module = name.removesuffix(mark)
            found = _matrix(module, stored, quantisation, turned)
            for suffix in found.stored:
                plain.pop(module + suffix)  # its own name is the file's, which may be another
            plain[found.name] = found
    return plain


def _matrix(
    module: str, stored: Mapping[str, TensorInfo], quantisation: Quantisation, turned: Container[str]
) -> QuantisedInfo:
    layout = quantisation.layout(module)
    parts = {suffix: stored[module + suffix] for suffix in layout.suffixes if module + suffix in stored}
    told = {suffix: read_part(parts[suffix]) for suffix in layout.telling if suffix in parts}
    try:
        shape = layout.shape({suffix: info.shape for suffix, info in parts.items()}, told)
        if parts[layout.suffixes[0]].dtype in _FLOATS:  # codes never are
            shape = None
    except KeyError as missing:
        raise DataError(
            f"{module}: no {missing.args[0].lstrip('._')}, which {quantisation.method} weights have",
            hint="fetch the whole model again",
        ) from None
    except (LlmkitError, ValueError) as error:
        raise DataError(
            f"{module}: its {quantisation.method} tensors are damaged ({error})", hint=BELONG_TOGETHER
        ) from None
    if shape is None:
        found = ", ".join(
            f"{suffix.lstrip('._')} {info.dtype} {list(info.shape)}" for suffix, info in parts.items()
        )
        raise DataError(
            f"{module}: its tensors are not {quantisation.method} weights as config.json describes them "
            f"(found: {found})",
            hint=BELONG_TOGETHER,
        )
    experts = parts[layout.suffixes[0]].shape[0] if isinstance(layout, Mxfp4) else 0
    name = module if experts else module + _WEIGHT
    plain = shape[::-1] if name in turned else shape
    return QuantisedInfo(
        name,
        "F32",
        (experts, shape[1], shape[0] // experts) if experts else plain,
        sum(info.nbytes for info in parts.values()),
        next(iter(parts.values())).file,
        layout=layout,
        stored=parts,
        turned=name in turned,
        experts=experts,
    )


def read_part(info: TensorInfo) -> Array:
    """One tensor of a matrix; floats as float32.

    Raises:
        DataError: it has a dtype that no part of a quantised matrix has.
    """
    if info.dtype not in _NUMPY:
        raise DataError(
            f"{info.name} is stored as {info.dtype}, no dtype of quantised weights", hint=BELONG_TOGETHER
        )
    with info.file.open("rb") as stream:
        stream.seek(info.offset)
        content = stream.read(info.nbytes)
    numbers = np.frombuffer(content, _NUMPY[info.dtype]).reshape(info.shape)
    if info.dtype == "BF16":
        return widened(numbers)
    return numbers.astype(np.float32, copy=False) if info.dtype in _FLOATS else numbers
