"""How numbers are stored, and the bytes they take."""

from collections.abc import Mapping

import msgspec


class Storage(msgspec.Struct, frozen=True):
    """Numbers stored in blocks of one size."""

    values: int
    """In one block."""
    nbytes: int
    """Of one block, its scale included where it has one."""

    @property
    def bytes_per_value(self) -> float:
        """Exact: a block holds a power of two of values."""
        return self.nbytes / self.values


STORAGE: Mapping[str, Storage] = {
    "float32": Storage(1, 4),
    "bfloat16": Storage(1, 2),
    "float16": Storage(1, 2),
    "fp8": Storage(1, 1),
    "int8": Storage(1, 1),
    "int4": Storage(2, 1),
    # llama.cpp's cache types: a float16 scale for 32 values, and in q5_1 and q4_1 a float16 minimum
    "q8_0": Storage(32, 34),
    "q5_1": Storage(32, 24),
    "q5_0": Storage(32, 22),
    "q4_1": Storage(32, 20),
    "q4_0": Storage(32, 18),
    "iq4_nl": Storage(32, 18),
}
"""Every dtype by name. fp8, int8 and int4 are the numbers alone: scales kept beside them are not counted."""

WITHOUT_SCALES = ("fp8", "int8", "int4")
FLOATS = ("float32", "bfloat16", "float16")
"""What a model computes in, so that its cache can be kept in it."""
WEIGHT_DTYPES = ("float32", "bfloat16", "float16", "fp8", "int8", "int4")
CACHE_ONLY = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
KV_DTYPES = (*WEIGHT_DTYPES, *CACHE_ONLY)
