"""Which files take which grids, and what their config.json says."""

import pytest
import torch

from llmkit.errors import ConfigError, UsageError
from llmkit.estimate.quantised import scheme_of_config
from llmkit.quant.containers import (
    CONTAINERS,
    check_module,
    config_keys,
    container_grid,
    layout_for,
    matrix_nbytes,
)
from llmkit.quant.grids import grid_named
from llmkit.quant.int_grids import IntGrid

BF16 = torch.bfloat16
Q, DOWN = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj"


def test_readers_of_gptq_and_awq_have_float16_scales_and_gptq_no_zero_point_of_zero() -> None:
    gptq, awq = (container_grid(one, "int4-g128-asym", BF16) for one in ("gptq", "awq"))
    assert isinstance(gptq, IntGrid) and isinstance(awq, IntGrid)
    assert gptq.scale_dtype == awq.scale_dtype == torch.float16
    assert (gptq.zero_low, awq.zero_low) == (1, 0)
    assert container_grid("compressed-tensors", "int4-g128", BF16) == IntGrid(4, 128, True, BF16)


@pytest.mark.parametrize(
    ("container", "name"),
    [
        *(("gptq", name) for name in ("int5-g32", "fp8-channel", "mlx-4bit-g64", "Q4_K")),
        *(("awq", name) for name in ("int8-g128", "fp8-channel")),
        *(("mlx", name) for name in ("int4-g64", "Q4_K")),
        *(("compressed-tensors", name) for name in ("mlx-4bit-g64", "Q4_K")),
    ],
)
def test_a_grid_that_files_do_not_hold_is_told(container: str, name: str) -> None:
    with pytest.raises(UsageError, match=rf"{container} files cannot hold .+ \(they take "):
        container_grid(container, name, BF16)  # type: ignore[arg-type]


def test_gptq_files_want_zero_points_from_one() -> None:
    with pytest.raises(UsageError, match="gptq files cannot hold int4-g128-asym"):
        layout_for("gptq", grid_named("int4-g128-asym", torch.float16))


@pytest.mark.parametrize(
    ("container", "name", "scheme"),
    [
        ("compressed-tensors", "int4-g128", "w4a16-g128"),
        ("compressed-tensors", "int3-g32-asym", "w3a16-asym-g32"),
        ("compressed-tensors", "int8", "w8a16"),
        ("compressed-tensors", "fp8-channel", "fp8-channel"),
        ("gptq", "int4-g128", "gptq-4bit-g128"),
        ("gptq", "int8", "gptq-8bit"),
        ("awq", "int4-g64-asym", "awq-4bit-g64"),
        ("mlx", "mlx-4bit-g64", "mlx-4bit-g64"),
    ],
)
def test_kv_estimate_knows_what_config_json_says(container: str, name: str, scheme: str) -> None:
    grid = container_grid(container, name, BF16)  # type: ignore[arg-type]
    keys = config_keys(container, {Q: grid}, ["lm_head"], "lm_head")  # type: ignore[arg-type]
    found = scheme_of_config(keys)
    assert found is not None and found.name == scheme


def test_a_matrix_takes_the_bytes_worked_out_by_hand() -> None:
    def nbytes(container: str, name: str) -> int:
        return matrix_nbytes(container, (256, 512), container_grid(container, name, BF16))  # type: ignore[arg-type]

    numbers, groups = 256 * 512, 256 * 4
    assert nbytes("compressed-tensors", "int4-g128") == numbers // 2 + 2 * groups + 16
    assert nbytes("compressed-tensors", "int4-g128-asym") == numbers // 2 + 2 * groups + 16 + groups // 2
    assert nbytes("compressed-tensors", "fp8-channel") == numbers + 2 * 256
    assert nbytes("gptq", "int3-g128") == numbers * 3 // 8 + 2 * groups + groups * 3 // 8 + 4 * 512
    assert nbytes("awq", "int4-g128") == numbers // 2 + 2 * groups + groups // 2
    assert nbytes("mlx", "mlx-8bit-g128") == numbers + 4 * groups


def test_several_grids_are_told_module_by_module() -> None:
    four, eight = (container_grid("compressed-tensors", name, BF16) for name in ("int4-g128", "int8"))
    section = config_keys("compressed-tensors", {Q: four, DOWN: eight}, ["lm_head"], "lm_head")
    groups = section["quantization_config"]["config_groups"].values()
    assert [(group["targets"], group["weights"]["num_bits"]) for group in groups] == [([Q], 4), ([DOWN], 8)]
    four, eight = (container_grid("gptq", name, BF16) for name in ("int4-g128", "int8"))
    kept = "model.layers.0.mlp.gate"
    section = config_keys("gptq", {Q: four, "a.v": four, DOWN: eight}, [kept], "lm_head")
    assert section["quantization_config"]["dynamic"] == {
        r"-:^model\.layers\.0\.mlp\.gate$": {},
        r"+:^model\.layers\.0\.mlp\.down_proj$": {"bits": 8, "group_size": -1},
    }
    four, eight = (container_grid("mlx", name, BF16) for name in ("mlx-4bit-g64", "mlx-8bit-g32"))
    section = config_keys("mlx", {Q: four, "a.v": four, DOWN: eight}, [], "lm_head")
    assert section["quantization"] == section["quantization_config"]
    assert section["quantization"][DOWN] == {"group_size": 32, "bits": 8, "mode": "affine"}
    grids = [container_grid("awq", name, BF16) for name in ("int4-g128", "int4-g32")]
    with pytest.raises(UsageError, match="awq files have one grid"):
        config_keys("awq", dict(zip((Q, DOWN), grids, strict=True)), [], "lm_head")


def test_where_readers_look_for_no_codes_none_are_put() -> None:
    for container in CONTAINERS:
        check_module(container, Q, "joined", embedding=False, head=False)  # type: ignore[arg-type]
    check_module("mlx", "model.embed_tokens", "same", embedding=True, head=False)
    check_module("gptq", "transformer.h.0.attn.c_attn", "joined_turned", embedding=False, head=False)
    with pytest.raises(ConfigError, match="gptq files keep an embedding in plain numbers"):
        check_module("gptq", "model.embed_tokens", "same", embedding=True, head=False)
    with pytest.raises(ConfigError, match="awq files keep the head in plain numbers"):
        check_module("awq", "lm_head", "same", embedding=False, head=True)
    with pytest.raises(ConfigError, match=r"keep matrices of \(inputs, outputs\) in plain numbers"):
        check_module("compressed-tensors", "h.0.attn.c_attn", "turned", embedding=False, head=False)
    with pytest.raises(ConfigError, match="keep these experts in plain numbers"):
        check_module("mlx", "experts.0.w1", "experts", embedding=False, head=False)
