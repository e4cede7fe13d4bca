"""The states of all texts that the native kernels read and write.

They are float32 whatever keys and values are: so a text is the same to the bit, in however many passes it is
read. Shapes: S slots, L floats of a text in all layers.
"""

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from llmkit.engine.native.parts import ACTIVATIONS
from llmkit.engine.saved_states import StateKind
from llmkit.kernels.forward_states import KeptStates, StateSizes
from llmkit.kernels.memory import fresh_bytes
from llmkit.model.config import ModelConfig


class NativeStates:
    """Room for so many states. See `StateSlots`.

    Memory that was never written is not taken: the array is as large as it may become.

    Attributes:
        array: (S, L), layer after layer.
        kept: the same, as a pass is told of it.
        kinds: see `StateSlots`.
    """

    def __init__(self, config: ModelConfig, slots: int) -> None:
        """
        Args:
            config: of a model with layers of state.
            slots: states that there is room for.
        """
        layers, each = config.state_layers, state_sizes(config).floats
        self.array = fresh_bytes(4 * slots * len(layers) * each).view(np.float32).reshape(slots, -1)
        places = accumulate([4 * each] * (len(layers) - 1), initial=self.array.ctypes.data)
        address_of = dict(zip(layers, places, strict=True))
        addresses = [address_of.get(layer, 0) for layer in range(config.num_hidden_layers)]
        self.kept = KeptStates(addresses, len(layers) * each)
        self.kinds = [StateKind("float32", self.array.shape[1:])]

    @property
    def nbytes(self) -> int:
        """Bytes that all states may take."""
        return self.array.nbytes

    def copy(self, source: int, target: int) -> None:
        """See `StateSlots`."""
        self.array[target] = self.array[source]

    def read(self, number: int, slot: int) -> NDArray[np.uint8]:
        """See `StateSlots`."""
        return self.array[slot].view(np.uint8)

    def write(self, number: int, slot: int, content: NDArray[np.uint8]) -> None:
        """See `StateSlots`."""
        self.array[slot].view(np.uint8)[:] = content

    def begin(self, slot: int) -> None:
        """A text begins: its state is zeros."""
        self.array[slot] = 0


def state_sizes(config: ModelConfig) -> StateSizes:
    """The numbers of a model's layers of state, which are all alike."""
    if (short := config.short_conv) is not None:
        return StateSizes(channels=config.hidden_size, kernel=short.kernel)
    if (mamba := config.mamba) is not None:
        least, most = mamba.step_limits
        return StateSizes(
            channels=mamba.convolved,
            kernel=mamba.kernel,
            key_heads=mamba.num_groups,
            value_heads=mamba.num_heads,
            key_dim=mamba.state_size,
            value_dim=mamba.head_dim,
            activation=ACTIVATIONS[mamba.hidden_act],
            least_step=least,
            most_step=most,
        )
    delta = config.delta
    assert delta is not None
    return StateSizes(
        channels=delta.convolved,
        kernel=delta.kernel,
        key_heads=delta.num_key_heads,
        value_heads=delta.num_value_heads,
        key_dim=delta.key_head_dim,
        value_dim=delta.value_head_dim,
        activation=ACTIVATIONS[config.hidden_act],
    )
