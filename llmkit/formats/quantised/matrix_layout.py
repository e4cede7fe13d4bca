"""How safetensors files keep a quantised matrix: several tensors named after its module.

A layout is one way to do that. Numbers come and go as numpy has them: codes in words or bytes, scales as
float32 whatever the file keeps them as.
Shapes: R rows (outputs), C columns (inputs), G groups of a row.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from llmkit.formats.quantised.packed_ints import Codes

Floats = NDArray[np.float32]
Array = NDArray[Any]


class Part(NamedTuple):
    """A tensor of a matrix."""

    suffix: str
    """What follows the module's name: `.weight_packed`."""
    dtype: str
    """safetensors' word."""
    shape: tuple[int, ...]


class Scales(NamedTuple):
    """Where the steps go, and the bases where there are any."""

    suffix: str
    turned: bool = False
    """Whether the file has (G, R)."""
    bases: str | None = None
    """The suffix of the bases, laid out as the steps."""


class MatrixLayout(Protocol):
    """A way to keep a matrix."""

    @property
    def codes_name(self) -> str:
        """What the codes are: int4, fp8, nf4, …"""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of all its tensors, those that may be absent too."""

    @property
    def telling(self) -> tuple[str, ...]:
        """The suffixes of small tensors that `shape` wants to have read."""

    def shape(
        self, parts: Mapping[str, tuple[int, ...]], told: Mapping[str, Array]
    ) -> tuple[int, int] | None:
        """(R, C); None where the tensors do not fit each other.

        Args:
            parts: shapes by suffix, of all that are there.
            told: what the `telling` ones hold.
        """

    def read(self, parts: Mapping[str, Array], rows: int, columns: int) -> Floats:
        """The matrix: (R, C).

        Args:
            parts: by suffix; float8 numbers as their bytes.
            rows, columns: see `shape`.
        """


class WrittenLayout(MatrixLayout, Protocol):
    """A way that matrices are written in too."""

    @property
    def scales(self) -> Scales:
        """Where steps and bases go."""

    def parts(self, rows: int, columns: int, scale_dtype: str) -> list[Part]:
        """Every tensor of a matrix.

        Raises:
            ConfigError: it cannot hold this shape.
        """

    def write(self, codes: Codes, zeros: NDArray[np.int16] | None) -> dict[str, Array]:
        """The tensors but scales and bases, by suffix.

        Args:
            codes: (R, C), from 0.
            zeros: (R, G), the codes that stand for 0; None: the middle, or what the bases say.
        """


def affine(
    codes: Codes,
    scales: Floats,
    zeros: Array | int,
    bases: Floats | None = None,
    groups: NDArray[Any] | None = None,
) -> Floats:
    """`(codes - zeros) * scales + bases`, group by group.

    Args:
        codes: (R, C).
        scales: (R, G), or (1, 1).
        zeros: (R, G), or one for all.
        bases: (R, G).
        groups: (C,), the group of each column; None: in order, all of one length.
    """
    rows, columns = codes.shape
    if groups is not None:
        zeros = zeros if isinstance(zeros, int) else zeros[:, groups]
        return (codes.astype(np.float32) - zeros) * scales[:, groups]
    count = scales.shape[1]
    values = codes.astype(np.float32).reshape(rows, count, columns // count)
    values -= zeros if isinstance(zeros, int) else zeros[..., None].astype(np.float32)
    values *= scales[..., None]
    if bases is not None:
        values += bases[..., None]
    return values.reshape(rows, columns)
