"""What a model's weights take in memory as the engine holds them, told from the headers of its files."""

from pathlib import Path

from llmkit.engine.native.parts import why_not_natively
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.stored import NumbersAlone
from llmkit.estimate.weight_bytes import weight_bytes
from llmkit.kernels.coded_gguf import GROUPINGS
from llmkit.model.config import ModelConfig
from llmkit.model.quantised.stored import QuantisedInfo
from llmkit.model.source import read_plain_tensors
from llmkit.model.stored_numbers import ARRAY_DTYPES


def held_weight_bytes(path: Path, config: ModelConfig, dtype: str, device: str, *, stays_coded: bool) -> int:
    """Bytes of the weights while a model writes.

    Args:
        path: of the model.
        config: its.
        dtype: of weights that are plain numbers.
        device: where they are.
        stays_coded: whether the kernels, where they compute, take codes as the file has them.

    Raises:
        MissingError, DataError: see `read_plain_tensors`.
    """
    plain = weight_bytes(architecture_of(config), NumbersAlone(dtype)).nbytes
    if not stays_coded or why_not_natively(config, dtype, device) is not None:
        return plain
    held = 0
    for info in read_plain_tensors(path).values():
        is_coded = isinstance(info, QuantisedInfo) or info.dtype in GROUPINGS
        held += info.nbytes if is_coded else info.numel * ARRAY_DTYPES[dtype].itemsize
    return min(plain, held)
