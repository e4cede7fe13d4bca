"""Which layers share a text's blocks.

A block has room for the keys and values of a group of layers, all groups being as large. Layers that see a
window are in groups of their own, whose blocks a text lets go of when its window has passed them; so one pool
serves both kinds, and what one does not need the other has (as in vLLM's hybrid cache).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.engine.native.parts import device_kind
from llmkit.model.config import ModelConfig
from llmkit.model.layer_sizes import side_by_side
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
    slot_of: tuple[int, ...] = ()
    """Of each layer its part of the place, where narrow layers share one: 0 in models whose layers are all as
    wide, whose list is empty."""
    tile: int = TILE

    @property
    def count(self) -> int:
        """Groups."""
        return len(self.windows)

    @property
    def layers_in_block(self) -> int:
        """Layers whose keys and values a block has room for."""
        return max(self.place_of) + 1

    def slot(self, layer: int) -> int:
        """See `slot_of`."""
        return self.slot_of[layer] if self.slot_of else 0

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
    group_of, place_of, slot_of = ([-1] * config.num_hidden_layers for _ in range(3))
    first = 0
    for members in _kinds(config) if config.full_heads is not None else [config.attention_layers]:
        first += _place(config, members, first, place_of, slot_of)
        for layer in members:
            group_of[layer] = 0
    return _groups(config, group_of, place_of, slot_of, (ALL,))


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

    needed = sum(1 / side_by_side(config, layer) for layer in config.attention_layers)
    for layers in range(config.num_hidden_layers, 0, -1):  # of those that are as good, the fewest groups
        groups = _groups_of(config, layers)
        padded = groups.layers_in_block * groups.count > _MOST_PADDED * needed
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
    """Groups of so many layers each, or narrow ones in their room, the last of a kind maybe of fewer."""
    group_of, place_of, slot_of = ([-1] * config.num_hidden_layers for _ in range(3))
    windows: list[Window] = []
    for window, members in zip((config.window(False), config.window(True)), _kinds(config), strict=True):
        most = layers * (side_by_side(config, members[0]) if members else 1)
        for begin in range(0, len(members), most):
            some = members[begin : begin + most]
            _place(config, some, 0, place_of, slot_of)
            for layer in some:
                group_of[layer] = len(windows)
            windows.append(window)
    return _groups(config, group_of, place_of, slot_of, tuple(windows))


def _kinds(config: ModelConfig) -> tuple[Sequence[int], Sequence[int]]:
    """Layers that keep everything, and those that keep a window."""
    sliding = {*config.sliding_layers}
    keeps = config.attention_layers
    return [one for one in keeps if one not in sliding], [one for one in keeps if one in sliding]


def _place(
    config: ModelConfig, members: Sequence[int], first: int, place_of: list[int], slot_of: list[int]
) -> int:
    """Give layers of one kind places from `first` on. Returns how many."""
    each = side_by_side(config, members[0]) if members else 1
    for number, layer in enumerate(members):
        place_of[layer], slot_of[layer] = first + number // each, number % each
    return -(-len(members) // each)


def _groups(
    config: ModelConfig,
    group_of: Sequence[int],
    place_of: Sequence[int],
    slot_of: Sequence[int],
    windows: tuple[Window, ...],
) -> LayerGroups:
    slots = () if config.full_heads is None else tuple(slot_of)
    return LayerGroups(tuple(group_of), tuple(place_of), windows, slots)
