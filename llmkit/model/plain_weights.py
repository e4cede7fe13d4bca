"""What a model's folder holds, as its family's files have it: one tensor a matrix, however it is kept."""

from collections.abc import Mapping

from llmkit.formats.model_folder import TensorInfo
from llmkit.model.config import ModelConfig
from llmkit.model.expert_stacks import each_expert
from llmkit.model.file_names import stored_weights
from llmkit.model.names import groups
from llmkit.model.quantised.quantisation import Quantisation
from llmkit.model.quantised.stored import plain_tensors
from llmkit.model.shapes import tensor_shapes

_TURNED = ("turned", "joined_turned")


def plain_weights(
    tensors: Mapping[str, TensorInfo], config: ModelConfig, quantisation: Quantisation | None
) -> dict[str, TensorInfo]:
    """The weights among a folder's tensors: stacks of experts cut, quantised matrices as one tensor each.

    Args:
        tensors: by the names that the files give them.
        config: of the model.
        quantisation: as config.json has it; None: nothing is quantised.

    Raises:
        ConfigError, DataError: see `plain_tensors`.
    """
    kept = groups(config, tensor_shapes(config))
    turned = {name for one in kept if one.how in _TURNED for name in one.theirs}
    return plain_tensors(each_expert(stored_weights(tensors, config), config), quantisation, turned)
