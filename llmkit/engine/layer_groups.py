"""Which layers share a text's blocks.

A block has room for the keys and values of a group of layers, all groups being as large. Layers that see a
window are in groups of their own, whose blocks a text lets go of when its window has passed them; so one pool
serves both kinds, and what one does not need the other has (as in vLLM's hybrid cache).
"""

from dataclasses import dataclass

from llmkit.engine.native.parts import device_kind
from llmkit.model.config import ModelConfig
from llmkit.model.rope_scaling import is_dynamic
from llmkit.model.window import ALL, Window

MOST_GROUPS = 8
"""A text has a table for each, and of each block a key."""
_MOST_PADDED = 9 / 8
"""Of a text that is no longer than its windows, whose groups may lack layers: its memory with and without."""
TILE = 64
"""Keys are read in tiles of so many positions from the text's beginning, whatever of them is seen: kTile of
the kernels' attention_tile.h. What a tile has of a window stays until it is over."""


@dataclass(frozen=True, slots=True)
class LayerGroups:
    """The groups of a model's layers."""

    group_of: tuple[int, ...]
    """Of each layer the group; -1 for layers of state and MLPs alone, which have no blocks."""
    place_of: tuple[int, ...]
    """Of each layer its place in a block of the group's; -1 again."""
    windows: tuple[Window, ...]
    """Of each group what its layers see."""
    tile: int = TILE

    @property
    def count(self) -> int:
        """Groups."""
        return len(self.windows)

    @property
    def layers_in_block(self) -> int:
        """Layers whose keys and values a block has room for."""
        return max(self.place_of) + 1

    def first_kept(self, group: int, position: int) -> int:
        """The first position of a text that a group keeps, where `position` is the next to be computed."""
        return self.windows[group].first_seen(position) // self.tile * self.tile

    def blocks_for(self, positions: int, texts: int, block_tokens: int, pass_tokens: int) -> int:
        """Blocks in which so many positions of some texts have room, in all groups.

        Groups that see a window have room for that of each text, and for as many that can be found again.

        Args:
            positions: of all texts together.
            texts: at work at once.
            block_tokens: positions of a block.
            pass_tokens: most tokens of a pass, of all texts together.
        """
        blocks = -(-positions // block_tokens)
        total = 0
        for group in range(self.count):
            each = self.held_in_pass(group, block_tokens, 1)
            most = blocks if each is None else 2 * texts * each + -(-pass_tokens // block_tokens)
            total += min(blocks, most)
        return total

    def most_held(self, positions: int, block_tokens: int, pass_tokens: int) -> int:
        """Blocks that a text of so many positions holds at most, in all groups.

        Args:
            positions: of the text.
            block_tokens: positions of a block.
            pass_tokens: most tokens of a pass.
        """
        blocks = -(-positions // block_tokens)
        return sum(
            min(blocks, self.held_in_pass(group, block_tokens, pass_tokens) or blocks)
            for group in range(self.count)
        )

    def held_in_pass(self, group: int, block_tokens: int, count: int) -> int | None:
        """Blocks that a group holds at most in a pass of `count` tokens of a text; None: all that it has."""
        size = self.windows[group].size
        return None if size is None else -(-(size - 1 + self.tile - 1 + count) // block_tokens) + 1


def one_group(config: ModelConfig) -> LayerGroups:
    """All layers together; they keep every position."""
    places = {layer: place for place, layer in enumerate(config.attention_layers)}
    place_of = [places.get(layer, -1) for layer in range(config.num_hidden_layers)]
    return LayerGroups(tuple(min(place, 0) for place in place_of), tuple(place_of), (ALL,))


def layer_groups(config: ModelConfig, block_tokens: int) -> LayerGroups:
    """The groups in which a text as long as the model's context takes least memory while it is written, and a
    short one hardly more than all layers would.

    Where the base of rotations grows with a text, a text keeps everything, as it must never start again.

    Args:
        config: of the model.
        block_tokens: positions of a block.
    """
    best = one_group(config)
    if config.sliding_window is None or not config.sliding_layers or is_dynamic(config.rope_scaling):
        return best
    context = config.max_position_embeddings

    def size(groups: LayerGroups) -> int:
        return groups.layers_in_block * groups.most_held(context, block_tokens, 1)

    for layers in range(config.num_hidden_layers, 0, -1):  # of those that are as good, the fewest groups
        groups = _groups_of(config, layers)
        padded = groups.layers_in_block * groups.count > _MOST_PADDED * config.num_hidden_layers
        if groups.count <= MOST_GROUPS and not padded and size(groups) < size(best):
            best = groups
    return best


def groups_on(config: ModelConfig, block_tokens: int, device: str, *, whole: bool) -> LayerGroups:
    """The groups of an engine: on a GPU there is one.

    Args:
        config: of the model.
        block_tokens: positions of a block.
        device: where the model is.
        whole: whether all layers keep everything, as where processes tell each other their passes.
    """
    if whole or device_kind(device) != "cpu":
        return one_group(config)
    return layer_groups(config, block_tokens)


def _groups_of(config: ModelConfig, layers: int) -> LayerGroups:
    """Groups of so many layers each, the last of a kind maybe of fewer."""
    sliding = {*config.sliding_layers}
    group_of, place_of = [0] * config.num_hidden_layers, [0] * config.num_hidden_layers
    windows: list[Window] = []
    for slides in (False, True):
        members = [one for one in range(config.num_hidden_layers) if (one in sliding) == slides]
        for number, layer in enumerate(members):
            place_of[layer] = number % layers
            if not place_of[layer]:
                windows.append(config.window(slides))
            group_of[layer] = len(windows) - 1
    return LayerGroups(tuple(group_of), tuple(place_of), tuple(windows))
