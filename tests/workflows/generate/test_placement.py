"""What a model in parts takes of one GPU's memory, and of a machine's."""

import dataclasses

from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import LatentConfig
from llmkit.workflows.generate.placement import (
    Placement,
    cache_together,
    device_of,
    runtime_bytes,
    weights_together,
)

CPU, CUDA = "cpu", "cuda:0"
CONFIG = ModelConfig(
    **{"vocab_size": 1000, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2},
    **{"num_attention_heads": 8, "num_key_value_heads": 2},
)


def test_a_gpu_has_its_part_and_all_embeddings_and_a_machine_has_everything_once() -> None:
    embeddings = 1000 * 64 * 2
    assert weights_together(CONFIG, 1_000_000, "bfloat16", CPU, 4) == 1_000_000
    on_each = weights_together(CONFIG, 1_000_000, "bfloat16", CUDA, 4)
    assert on_each == embeddings + (1_000_000 - embeddings) // 4


def test_key_heads_on_several_processes_are_kept_several_times() -> None:
    assert [cache_together(CONFIG, 1000, CPU, count) for count in (1, 2, 4, 8)] == [1000, 1000, 2000, 4000]
    assert [cache_together(CONFIG, 1000, CUDA, count) for count in (1, 2, 4, 8)] == [1000, 500, 500, 500]
    latent = LatentConfig(kv_lora_rank=8, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8)
    rows = dataclasses.replace(CONFIG, num_key_value_heads=8)
    object.__setattr__(rows, "latent", latent)  # which no family of this shape has
    assert [cache_together(rows, 1000, device, 2) for device in (CPU, CUDA)] == [2000, 1000]


def test_processes_on_a_cpu_share_its_memory() -> None:
    sizes = {"weight_bytes": 5, "kv_bytes": 7, "positions": 16, "texts": 1}
    kinds = {"dtype": "float32", "kv_dtype": "float32", "threads": 1}
    one, two = (Placement(device=CPU, **kinds, **sizes, processes=count) for count in (1, 2))
    own = runtime_bytes(CPU, 1, loads_torch=True)
    assert two.memory_bytes - one.memory_bytes == own
    assert one.memory_bytes == own + 12
    assert runtime_bytes(CUDA, 4, loads_torch=True) == runtime_bytes(CUDA, 1, loads_torch=True)
    kernels = dataclasses.replace(one, loads_torch=False)
    assert kernels.memory_bytes < one.memory_bytes - 100_000_000


def test_each_process_has_a_gpu_of_its_own_from_the_first_one_on() -> None:
    assert [device_of(name, 2) for name in ("cpu", "cuda", "cuda:4")] == ["cpu", "cuda:2", "cuda:6"]
