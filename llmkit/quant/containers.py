"""The safetensors files that hold rounded matrices: which grids each kind takes, and what config.json says.

compressed-tensors is read by transformers and vLLM, gptq and awq by those and their own programs, mlx by
mlx-lm. GGUF files are none of these: see llmkit/model/gguf/save.py.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch

from llmkit.errors import ConfigError, UsageError
from llmkit.formats.bytewise import Bytewise
from llmkit.formats.model_folder import DTYPE_BITS
from llmkit.formats.quantised.awq import Awq
from llmkit.formats.quantised.compressed_tensors import PackQuantized
from llmkit.formats.quantised.gptq import BITS as GPTQ_BITS
from llmkit.formats.quantised.gptq import Gptq
from llmkit.formats.quantised.matrix_layout import WrittenLayout
from llmkit.formats.quantised.mlx_affine import MlxAffine
from llmkit.model.dtypes import STORED_WORDS
from llmkit.model.families.stored import How
from llmkit.quant.fp8_grid import Fp8Grid
from llmkit.quant.grid import Grid
from llmkit.quant.grids import grid_named
from llmkit.quant.int_grids import AffineGrid, IntGrid

Container = Literal["compressed-tensors", "gptq", "awq", "mlx"]
CONTAINERS: tuple[str, ...] = get_args(Container)
_TAKES = {
    "compressed-tensors": "int2 to int8 in any group, with or without -asym, and fp8-channel",
    "gptq": "int2, int3, int4 and int8 in any group, with or without -asym",
    "awq": "int4 in any group, with or without -asym",
    "mlx": "mlx-2bit to mlx-8bit (not 7) in groups of 32, 64 or 128",
}


def container_grid(container: Container, name: str, dtype: torch.dtype) -> Grid:
    """A grid by its name, with what this kind of files asks of it.

    Args:
        container: the kind of files.
        name: see `grid_named`.
        dtype: of the model's other weights.

    Raises:
        UsageError: no such grid, or none that these files hold.
    """
    old = container in ("gptq", "awq")  # their readers have float16 scales
    try:
        grid = grid_named(name, torch.float16 if old else dtype, zero_low=int(container == "gptq"))
    except UsageError:  # which tells of every container's grids
        raise UsageError(
            f"no grid is called {name!r} ({container} files take {_TAKES[container]})",
            hint=f"for one: {'mlx-4bit-g64' if container == 'mlx' else 'int4-g32'}",
        ) from None
    layout_for(container, grid)
    return grid


def layout_for(container: Container, grid: Grid) -> WrittenLayout:
    """How these files keep a matrix on a grid.

    Raises:
        UsageError: they cannot.
    """
    match container, grid:
        case "compressed-tensors", IntGrid():
            return PackQuantized(grid.bits, grid.group, grid.symmetric)
        case "compressed-tensors", Fp8Grid():
            return Bytewise()
        case "gptq", IntGrid() if grid.bits in GPTQ_BITS and (grid.symmetric or grid.zero_low):
            return Gptq(grid.bits, grid.group)
        case "awq", IntGrid(bits=4):
            return Awq(grid.group)
        case "mlx", AffineGrid():
            return MlxAffine(grid.bits, grid.group)
    raise UsageError(
        f"{container} files cannot hold {grid.name} (they take {_TAKES[container]})",
        hint="another grid, or another of " + ", ".join(CONTAINERS),
    )


def config_keys(
    container: Container, quantised: Mapping[str, Grid], kept: Sequence[str], head: str
) -> dict[str, Any]:
    """The keys of config.json that tell readers of quantised weights.

    Args:
        container: the kind of files.
        quantised: the grid of each quantised module, by its name in the files; at least one.
        kept: modules with a matrix that is not quantised, embeddings left out.
        head: the name of the head's module, whether there is one or not.

    Raises:
        UsageError: these files want one grid for all, and there are several.
    """
    counts = Counter(quantised.values())
    usual = counts.most_common(1)[0][0]
    others = {module: grid for module, grid in quantised.items() if grid != usual}
    match container:
        case "compressed-tensors":
            return {"quantization_config": _compressed(quantised, list(counts), kept)}
        case "gptq":
            return {"quantization_config": _gptq(usual, others, quantised, kept, head)}
        case "awq":
            if others:
                names = ", ".join(sorted(grid.name for grid in counts))
                raise UsageError(
                    f"awq files have one grid for all matrices (given: {names})",
                    hint="one grid, or compressed-tensors",
                )
            section = {
                **{"quant_method": "awq", "bits": 4, "group_size": _group_size(usual), "zero_point": True},
                **{"version": "gemm", "modules_to_not_convert": sorted({*kept, head})},
            }
            return {"quantization_config": section}
        case "mlx":
            mlx = _mlx(usual) | {module: _mlx(grid) for module, grid in others.items()}
            return {"quantization": mlx, "quantization_config": mlx}


def check_module(container: Container, module: str, how: How, *, embedding: bool, head: bool) -> None:
    """Whether readers of these files look for a quantised matrix there.

    Args:
        container: the kind of files.
        module: its name in the files, for messages.
        how: the family's files keep the plain matrix.
        embedding: whether it is an embedding.
        head: whether it is the head.

    Raises:
        ConfigError: they do not.
    """
    if embedding and container != "mlx":
        what = "an embedding"
    elif head and container == "awq":
        what = "the head"
    elif how in ("turned", "joined_turned") and container != "gptq":
        what = "matrices of (inputs, outputs)"
    elif how.startswith("stack") or (how == "experts" and container == "mlx"):
        what = "these experts"
    else:
        return
    raise ConfigError(
        f"{container} files keep {what} in plain numbers (asked for: {module} on a grid)",
        hint="leave it out, or write GGUF",
    )


def _compressed(quantised: Mapping[str, Grid], grids: list[Grid], kept: Sequence[str]) -> dict[str, Any]:
    groups: dict[str, Any] = {}
    for number, grid in enumerate(grids):
        # several groups name their modules: readers differ in which of two that match has a module
        targets = ["Linear"] if len(grids) == 1 else [name for name, one in quantised.items() if one == grid]
        form = "float-quantized" if isinstance(grid, Fp8Grid) else "pack-quantized"
        groups[f"group_{number}"] = {
            "targets": targets,
            "weights": _compressed_weights(grid),
            **{"input_activations": None, "output_activations": None, "format": form},
        }
    forms = {group["format"] for group in groups.values()}
    return {
        "quant_method": "compressed-tensors",
        "format": forms.pop() if len(forms) == 1 else "mixed-precision",
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": sorted(kept),
        "kv_cache_scheme": None,
    }


def _compressed_weights(grid: Grid) -> dict[str, Any]:
    if isinstance(grid, IntGrid):
        shape = {"strategy": "group", "group_size": grid.group} if grid.group else {"strategy": "channel"}
        return {
            **{"num_bits": grid.bits, "type": "int", "symmetric": grid.symmetric},
            **{**shape, "dynamic": False},
        }
    return {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel", "dynamic": False}


def _gptq(
    usual: Grid, others: Mapping[str, Grid], quantised: Mapping[str, Grid], kept: Sequence[str], head: str
) -> dict[str, Any]:
    assert isinstance(usual, IntGrid)
    rules: dict[str, Any] = {f"-:^{re.escape(module)}$": {} for module in sorted(kept) if module != head}
    for module, grid in others.items():
        assert isinstance(grid, IntGrid)
        rules[f"+:^{re.escape(module)}$"] = {"bits": grid.bits, "group_size": _group_size(grid)}
    grids = quantised.values()
    return {
        **{"quant_method": "gptq", "bits": usual.bits, "group_size": _group_size(usual), "desc_act": False},
        "sym": all(isinstance(grid, IntGrid) and grid.symmetric for grid in grids),
        **{"lm_head": head in quantised, "checkpoint_format": "gptq", "pack_dtype": "int32"},
        **({"dynamic": rules} if rules else {}),
    }


def _group_size(grid: Grid) -> int:
    """-1 for the whole row."""
    return (grid.group if isinstance(grid, IntGrid) else 0) or -1


def _mlx(grid: Grid) -> dict[str, Any]:
    assert isinstance(grid, AffineGrid)
    return {"group_size": grid.group, "bits": grid.bits, "mode": "affine"}


def matrix_nbytes(container: Container, shape: Sequence[int], grid: Grid) -> int:
    """Bytes of a matrix on a grid in these files, all its tensors counted; their names are in the header.

    Args:
        container: the kind of files.
        shape: (R, C) of the plain matrix as (outputs, inputs).
        grid: which.

    Raises:
        UsageError, ConfigError: the files do not hold the grid, or not in this shape.
    """
    rows, columns = shape
    layout, scale = layout_for(container, grid), STORED_WORDS[getattr(grid, "scale_dtype", torch.float16)]
    parts = layout.parts(rows, columns, scale)
    return sum(math.prod(part.shape) * DTYPE_BITS[part.dtype] // 8 for part in parts)
