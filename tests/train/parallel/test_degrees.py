"""Degrees that multiply to the processes, and models and batches that can be divided so."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig
from llmkit.model.presets import preset
from llmkit.train.parallel.degrees import Degrees, check_degrees, resolve_degrees
from tests.model.recurrent.conftest import hybrid

TINY = preset("tiny", vocab_size=64, max_position_embeddings=16)


@pytest.mark.parametrize(
    ("world", "asked", "expected"),
    [
        (1, {}, Degrees()),
        (4, {}, Degrees(dp=4)),
        (4, {"fsdp": 4}, Degrees(fsdp=4)),
        (4, {"fsdp": 2}, Degrees(dp=2, fsdp=2)),
        (8, {"tp": 2, "pp": 2}, Degrees(pp=2, dp=2, tp=2)),
        (8, {"dp": 2, "fsdp": 2, "tp": 2}, Degrees(dp=2, fsdp=2, tp=2)),
        (8, {"ep": 4}, Degrees(dp=2, ep=4)),
        (8, {"cp": 2, "fsdp": 2}, Degrees(dp=2, fsdp=2, cp=2)),
    ],
)
def test_what_is_left_open_is_taken_by_replicas(world: int, asked: dict[str, int], expected: Degrees) -> None:
    assert resolve_degrees(world, **asked) == expected
    assert expected.world == world


@pytest.mark.parametrize(
    ("world", "asked", "message"),
    [
        (4, {"tp": 3}, "--tp 3 makes 3 processes, but the run has 4"),
        (4, {"dp": 2}, "--dp 2 makes 2 processes, but the run has 4"),
        (2, {"fsdp": 2, "tp": 2}, "--fsdp 2 --tp 2 makes 4 processes, but the run has 2"),
        (2, {"tp": 0}, "--tp must be at least 1"),
        (4, {"cp": 3}, "--cp 3 makes 3 processes, but the run has 4"),
        (4, {"ep": 3}, "--ep 3 makes 3 processes, but the run has 4"),
    ],
)
def test_degrees_that_do_not_multiply_to_the_processes_are_refused(
    world: int, asked: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_degrees(world, **asked)


@pytest.mark.parametrize(
    ("degrees", "changes", "rows", "message"),
    [
        (Degrees(dp=3), {}, 4, "4 rows of an update cannot be shared by 3 processes"),
        (Degrees(dp=2, fsdp=2), {}, 6, "cannot be shared by 4"),
        (Degrees(pp=99), {}, 4, "--pp 99: the model has"),
        (Degrees(pp=2), {}, 1, "--pp 2: an update has 1 rows for so many stages"),
        (Degrees(pp=2, dp=2), {}, 2, "--pp 2: an update has 1 rows for so many stages"),
        (Degrees(tp=2), {"vocab_size": 65}, 4, "the model's vocab_size is 65"),
        (Degrees(tp=2), {"num_attention_heads": 3, "num_key_value_heads": 3}, 4, "num_attention_heads is 3"),
    ],
)
def test_a_model_that_cannot_be_divided_so_is_refused_by_its_flag(
    degrees: Degrees, changes: dict[str, Any], rows: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_degrees(degrees, replace(TINY, **changes), rows, 16)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("olmo2", {"qk_norm": "projection", "norm": "layer"}, "a LayerNorm over all heads"),
    ],
)
def test_heads_that_hang_together_are_not_cut(name: str, shape: dict[str, Any], message: str) -> None:
    model = SimpleNamespace(**{**vars(TINY), "model_type": name, **shape})
    with pytest.raises(ConfigError, match=message):
        check_degrees(Degrees(tp=2), cast("ModelConfig", model), 4, 16)
    check_degrees(Degrees(fsdp=2), cast("ModelConfig", model), 4, 16)


@pytest.mark.parametrize(
    ("degrees", "name", "rows", "message"),
    [
        (Degrees(ep=2), "tiny", 4, "--ep 2: the model has no experts"),
        (Degrees(ep=3), "tiny-moe", 6, "--ep 3: the model has 8 experts"),
        (Degrees(ep=2, fsdp=2), "tiny-moe", 6, "cannot be shared by 4"),
        (Degrees(ep=4), "tiny-moe", 6, "cannot be shared by 4"),
    ],
)
def test_experts_are_spread_where_there_are_enough(
    degrees: Degrees, name: str, rows: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_degrees(degrees, preset(name, vocab_size=64, max_position_embeddings=16), rows, 16)
    experts = preset("tiny-moe", vocab_size=64, max_position_embeddings=16)
    check_degrees(Degrees(dp=2, fsdp=2, ep=2, cp=2, tp=2), experts, 8, 16)


@pytest.mark.parametrize(
    ("degrees", "name", "seq_len", "message"),
    [
        (Degrees(cp=2), "tiny", 18, "--cp 2: rows of 18 tokens do not fall into 4 equal pieces"),
        (Degrees(tp=4), "tiny", 18, "--tp 4: rows of 18 tokens do not fall into 4 equal pieces"),
        (Degrees(cp=2, tp=4), "tiny", 18, "--cp 2 --tp 4: rows of 18 tokens do not fall into 8 equal pieces"),
    ],
)
def test_rows_that_cannot_be_cut_are_refused(degrees: Degrees, name: str, seq_len: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_degrees(degrees, preset(name, vocab_size=64, max_position_embeddings=32), 4, seq_len)
    more = 24 if degrees.cp * degrees.tp == 8 else 20
    assert seq_len == 16 or f"rows of {more} tokens" in caught.value.hint
    check_degrees(Degrees(cp=2, fsdp=2, tp=2), TINY, 4, 16)


def test_shards_are_cut_by_rows_in_pieces_too_and_weights_without_shards_are_not() -> None:
    assert [Degrees(fsdp=2, cp=4).shards, Degrees(cp=4).shards, Degrees(fsdp=2).shards] == [8, 1, 2]
    assert [Degrees(cp=2).is_split, Degrees(dp=2, cp=2).is_split] == [False, False]
    assert all(Degrees(**{name: 2}).is_split for name in ("pp", "fsdp", "ep", "tp"))
    assert (Degrees(cp=4, dp=2).shares, Degrees(cp=4, dp=2).world) == (2, 8)


def test_experts_fall_into_fewer_shards_than_what_is_whole_beside_them() -> None:
    spread = Degrees(fsdp=2, ep=4, cp=2)
    assert (spread.shards, spread.expert_shards) == (16, 4)
    assert (Degrees(ep=4).shards, Degrees(ep=4).expert_shards) == (1, 1)


def test_degrees_name_what_is_divided() -> None:
    assert str(Degrees()) == "one process"
    assert str(Degrees(dp=2, tp=4)) == "dp 2 x tp 4"


@pytest.mark.parametrize(("degrees", "flag"), [(Degrees(tp=2), "--tp 2"), (Degrees(cp=2), "--cp 2")])
def test_layers_that_keep_a_state_are_not_cut(degrees: Degrees, flag: str) -> None:
    for name in ("lfm2", "granitemoehybrid"):
        model = hybrid(name).config
        with pytest.raises(ConfigError, match=f"{flag}: {name} has layers that keep a state"):
            check_degrees(degrees, model, 4, 16)
        check_degrees(Degrees(fsdp=2, pp=2), model, 4, 16)
