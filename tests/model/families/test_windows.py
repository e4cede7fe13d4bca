"""Which layers slide and which have no positions, there and back."""

from collections.abc import Callable
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.model.families.windows import NoRopeLayers, PositionsOfWindows, Windows
from llmkit.model.keys import Keys
from llmkit.model.layer_kinds import after_max_window_layers, every, one_window

MakeKeys = Callable[..., Keys]
FOUND = {"num_hidden_layers": 4}
ON = {"use_sliding_window": True, "sliding_window": 16}
MISTRAL = Windows(one_window(4096), has_layer_types=False)
QWEN = Windows(after_max_window_layers, has_switch=True, has_max_window_layers=True)
GEMMA = Windows(every(2, 4096))


@pytest.mark.parametrize(
    ("part", "config", "layers", "window"),
    [
        (MISTRAL, {}, (0, 1, 2, 3), 4096),
        (MISTRAL, {"sliding_window": None}, (), None),
        (QWEN, {**ON, "max_window_layers": 2}, (2, 3), 16),
        (QWEN, {"sliding_window": 16, "max_window_layers": 2}, (), None),
        (GEMMA, {"sliding_window": 8}, (0, 2), 8),
        (GEMMA, {"layer_types": ["full_attention", *["sliding_attention"] * 3]}, (1, 2, 3), 4096),
        (GEMMA, {"layer_types": ["full_attention"] * 4, "sliding_window": 8}, (), None),
    ],
)
def test_sliding_layers_are_read_and_written_so_that_they_are_read_again(
    part: Windows, config: dict[str, Any], layers: tuple[int, ...], window: int | None, keys: MakeKeys
) -> None:
    found = part.read(keys(**config), FOUND)
    assert found == {"sliding_layers": layers, "sliding_window": window}
    written = part.write({**FOUND, **found, "max_position_embeddings": 64})
    assert part.read(keys(**written), FOUND) == found


def test_a_class_that_makes_the_mask_unasked_is_given_a_window(keys: MakeKeys) -> None:
    fields = {**FOUND, "sliding_layers": (), "sliding_window": None, "max_position_embeddings": 64}
    assert GEMMA.write(fields)["sliding_window"] == 64
    assert QWEN.write(fields) == {
        **{"sliding_window": None, "use_sliding_window": False, "max_window_layers": 4},
        "layer_types": ["full_attention"] * 4,
    }
    assert MISTRAL.write(fields) == {"sliding_window": None}


@pytest.mark.parametrize(
    ("always", "window", "without"), [(True, 8, (1, 3)), (False, 8, (1, 3)), (False, None, ())]
)
def test_only_layers_that_slide_have_positions_and_all_where_none_does(
    always: bool, window: int | None, without: tuple[int, ...], keys: MakeKeys
) -> None:
    part, sliding = PositionsOfWindows(always=always), (0, 2) if window else ()
    found = {**FOUND, "sliding_layers": sliding, "sliding_window": window}
    assert part.read(keys(sliding_window=window), found) == {"no_rope_layers": without}
    # EXAONE's class turns positions off wherever there is a window, and none may be made up
    assert part.write(found) == ({} if always else {"sliding_window": window})


def test_the_last_of_every_few_layers_has_no_positions_unless_a_list_says_which(keys: MakeKeys) -> None:
    part = NoRopeLayers()
    assert part.read(keys(), FOUND) == {"no_rope_layers": (3,)}
    assert part.read(keys(no_rope_layer_interval=2), FOUND) == {"no_rope_layers": (1, 3)}
    found = part.read(keys(no_rope_layers=[0, 1, 1, 0]), FOUND)
    assert found == {"no_rope_layers": (0, 3)}
    assert part.write({**FOUND, **found}) == {"no_rope_layers": [0, 1, 1, 0]}
    with pytest.raises(ConfigError, match="no_rope_layers is not 4 numbers, one for each layer"):
        part.read(keys(no_rope_layers=[1]), FOUND)
