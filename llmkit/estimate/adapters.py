"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685): which matrices get one, and its numbers."""

from collections.abc import Sequence
from fractions import Fraction

from llmkit.errors import ConfigError, nearest
from llmkit.estimate.architecture import Architecture, TensorSpec
from llmkit.estimate.bounds import require_at_least
from llmkit.estimate.matrices import matrices_of

WRITES_HIDDEN = ("o_proj", "out_proj", "down_proj")
"""Matrices that tensor parallelism splits along their inputs; all others along their outputs."""


def lora_parameters(architecture: Architecture, rank: int, modules: Sequence[str] = ()) -> int:
    """Numbers of all adapters: rank x (inputs + outputs) for each matrix that has one.

    Args:
        architecture: the model.
        rank: of the adapters.
        modules: as `adapted_tensors` has it.

    Raises:
        ConfigError: rank is below 1, or the layers have no matrix of such a module.
    """
    require_at_least("lora_rank", rank, 1)
    return sum(int(adapter_values(architecture, one, rank)) for one in adapted_tensors(architecture, modules))


def adapted_tensors(architecture: Architecture, modules: Sequence[str] = ()) -> frozenset[TensorSpec]:
    """Tensors that get an adapter.

    Args:
        architecture: the model.
        modules: their modules, q_proj for one; none: every matrix in the layers but the router.

    Raises:
        ConfigError: the layers have no matrix of such a module.
    """
    able = [tensor for tensor in architecture.tensors if is_layer_matrix(tensor) and tensor.part != "router"]
    known = list(dict.fromkeys(tensor.module for tensor in able))
    for module in modules:
        if module not in known:
            guess = nearest(module, known)
            raise ConfigError(
                f"lora_modules: the layers have no matrix {module!r}",
                hint=f"did you mean {guess}?" if guess else f"modules: {', '.join(known)}",
            )
    return frozenset(tensor for tensor in able if tensor.module in (modules or known))


def adapter_values(architecture: Architecture, tensor: TensorSpec, rank: int, *, ranks: int = 1) -> Fraction:
    """Numbers of a tensor's adapter on one of `ranks` tensor-parallel devices.

    Of an adapter's two matrices the one is split that touches what the frozen matrix is split along.
    """
    count, rows, columns = matrices_of(tensor, architecture)
    splits_inputs = tensor.module in WRITES_HIDDEN
    inputs = Fraction(columns, ranks if splits_inputs else 1)
    outputs = Fraction(rows, 1 if splits_inputs else ranks)
    return count * rank * (inputs + outputs)


def is_layer_matrix(tensor: TensorSpec) -> bool:
    """Whether it is a matrix inside a layer: not the head, and no embedding."""
    return tensor.linear and tensor.layer is not None
