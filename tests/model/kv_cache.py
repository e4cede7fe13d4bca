"""Memory of a model's texts in one piece, with which it goes on from what it has read, pass after pass."""

import torch

from llmkit.model.config import ModelConfig
from llmkit.model.held import Both, Held
from llmkit.model.layer_sizes import head_sizes
from llmkit.model.layout import Span
from llmkit.model.recurrent.held import HeldState


class KVCache:
    """Keys and values, or the states, of every layer for up to `capacity` positions."""

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        def positions(layer: int) -> Held:
            if config.latent is not None:
                width = config.latent.kv_lora_rank + config.latent.qk_rope_head_dim
                return Held(torch.empty(batch, capacity, width, dtype=dtype, device=device))
            heads = head_sizes(config, layer)
            shape = (batch, heads.num_key_value_heads, capacity, heads.head_dim)
            return Held(*(torch.empty(shape, dtype=dtype, device=device) for _ in range(2)))

        keys = {layer: positions(layer) for layer in config.attention_layers}
        states = {layer: HeldState(config, batch, dtype, device) for layer in config.state_layers}
        self._keys, self._states = keys.values(), states.values()
        self.layers = [
            Both(keys[layer], states[layer])
            if layer in keys and layer in states
            else keys.get(layer) or states.get(layer) or Held()
            for layer in range(config.num_hidden_layers)
        ]
        self.length = 0
        """Positions held."""
        self.reach = 0
        """Positions of the whole text, where more than those read so far are known: rotations that depend on
        a text's length have this one, so that a prompt read in parts is rotated as if read at once."""

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return sum(one.nbytes for one in (*self._keys, *self._states))

    def spans(self, count: int) -> list[Span]:
        """All texts of a batch stand at the same places."""
        return [Span(self.length, count, self.reach)]

    def advance(self, count: int) -> None:
        """Count the positions that every layer has appended in this pass."""
        self.length += count
        for one in self._keys:
            one.length = self.length
