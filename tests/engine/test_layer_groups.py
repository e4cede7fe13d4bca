"""Groups of layers: which there are, and what a text holds in them, counted by hand."""

from collections.abc import Iterable
from typing import Any

import pytest

from llmkit.engine.layer_groups import MOST_GROUPS, TILE, LayerGroups, layer_groups, one_group
from llmkit.model.config import ModelConfig
from llmkit.model.window import ALL, Window


def config(layers: int, sliding: Iterable[int], window: int, context: int, **fields: Any) -> ModelConfig:
    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 4}
    sliding = tuple(sliding)
    fields |= {"sliding_layers": sliding, "sliding_window": window if sliding else None}
    fields |= {"num_hidden_layers": layers, "max_position_embeddings": context}
    return ModelConfig(**sizes, model_type="qwen2", attention_bias=True, **fields)


def every_sixth_sees_all(layers: int) -> list[int]:
    """As in Gemma 3."""
    return [layer for layer in range(layers) if (layer + 1) % 6]


@pytest.mark.parametrize(
    ("layers", "window", "in_block", "windows"),
    [
        (26, 512, 4, [None] + [512] * 6),  # 4 and 22
        (34, 1024, 5, [None] + [1024] * 6),  # 5 and 29
        (48, 1024, 8, [None] + [1024] * 5),  # 8 and 40
        (62, 1024, 11, [None] + [1024] * 5),  # 10 and 52: groups of 10 lacked 8 layers
    ],
)
def test_gemma_3_has_one_group_of_layers_that_see_all(
    layers: int, window: int, in_block: int, windows: list[int | None]
) -> None:
    groups = layer_groups(config(layers, every_sixth_sees_all(layers), window, 32_768), 16)
    assert (groups.layers_in_block, [one.size for one in groups.windows]) == (in_block, windows)


@pytest.mark.parametrize("layers", [1, 7, 26, 62])
@pytest.mark.parametrize("sliding", ["every", "none", "odd", "sixth", "last"])
def test_every_layer_has_a_place_of_its_own_in_a_group_of_its_kind(layers: int, sliding: str) -> None:
    chosen = {"every": range(layers), "none": [], "odd": range(1, layers, 2), "last": [layers - 1]}
    slides = {*chosen.get(sliding, every_sixth_sees_all(layers))}
    made = config(layers, sorted(slides), 1000, 30_000)
    groups = layer_groups(made, 16)
    places = {*zip(groups.group_of, groups.place_of, strict=True)}
    assert len(places) == layers and groups.count <= MOST_GROUPS
    assert {*range(groups.count)} == {*groups.group_of}
    if groups != one_group(made):
        for layer, group in enumerate(groups.group_of):
            assert groups.windows[group].size == (1000 if layer in slides else None)


def test_layers_stay_together_where_a_window_saves_nothing() -> None:
    alone = config(4, [0, 2], 500, 30_000)
    assert layer_groups(alone, 16).windows == (ALL, Window(500))
    growing = {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 10_000}
    for same in (
        config(4, [0, 2], 500, 512),  # the context is hardly longer
        config(4, [], 500, 30_000),
        config(4, [0, 2], 500, 30_000, rope_scaling=growing),
    ):
        assert layer_groups(same, 16) == one_group(same)
    assert one_group(alone) == LayerGroups((0, 0, 0, 0), (0, 1, 2, 3), (ALL,))


def test_what_stays_is_a_window_and_the_rest_of_its_tile() -> None:
    groups = LayerGroups((0, 1), (0, 0), (ALL, Window(100)))
    assert TILE == 64
    first = [groups.first_kept(1, position) for position in (0, 99, 162, 163, 226, 227)]
    assert first == [0, 0, 0, 64, 64, 128]
    assert groups.first_kept(0, 10_000) == 0


def test_a_chunk_stays_until_the_next_begins() -> None:
    groups = LayerGroups((0, 1), (0, 0), (ALL, Window(128, chunked=True)))
    assert [groups.first_kept(1, position) for position in (0, 127, 128, 255, 256)] == [0, 0, 128, 128, 256]
    assert groups.first_kept(0, 10_000) == 0


@pytest.mark.parametrize("window", [5, 64, 100])
@pytest.mark.parametrize("count", [1, 40])
def test_no_pass_holds_more_of_chunks_than_of_a_window(window: int, count: int) -> None:
    groups = LayerGroups((0,), (0,), (Window(window, chunked=True),))
    most = groups.held_in_pass(0, 16, count)
    held = [-(-(start + count) // 16) - groups.first_kept(0, start) // 16 for start in range(1000)]
    assert most is not None and max(held) <= most


@pytest.mark.parametrize("window", [1, 5, 17, 64, 100])
@pytest.mark.parametrize("count", [1, 7, 40])
@pytest.mark.parametrize("size", [3, 16, 64])
def test_no_pass_holds_more_than_is_said(window: int, count: int, size: int) -> None:
    groups = LayerGroups((0,), (0,), (Window(window),))
    most = groups.held_in_pass(0, size, count)
    assert most is not None
    held = [-(-(start + count) // size) - groups.first_kept(0, start) // size for start in range(1000)]
    assert max(held) <= most <= max(held) + 1
    for positions in (1, size, 990):
        assert groups.most_held(positions, size, count) == min(-(-positions // size), most)


def test_a_cache_has_room_for_the_windows_of_all_texts_and_for_all_positions_elsewhere() -> None:
    groups = LayerGroups((0, 1, 2), (0, 0, 0), (ALL, Window(100), Window(100)))
    each = -(-(99 + 63 + 1) // 16) + 1
    assert groups.blocks_for(16_000, 5, 16, 512) == 1000 + 2 * (2 * 5 * each + 32)
    assert groups.blocks_for(320, 5, 16, 512) == 3 * 20  # no more than they have positions
    assert groups.blocks_for(999, 1, 16, 16) == 63 + 2 * (2 * each + 1)


@pytest.mark.parametrize(("layers", "sliding"), [(28, [27]), (47, range(0, 47, 2)), (10, range(3))])
def test_short_texts_take_at_most_an_eighth_more(layers: int, sliding: Iterable[int]) -> None:
    groups = layer_groups(config(layers, sliding, 4096, 131_072), 16)
    assert groups.count * groups.layers_in_block <= layers * 9 / 8
