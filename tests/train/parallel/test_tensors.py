"""Parts of tensors and the whole, there and back."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.ranks import MeshRanks
from llmkit.train.parallel.tensors import like, local, part_of, total_norm, whole


def test_a_tensor_of_one_process_is_its_own_part_and_whole() -> None:
    tensor = torch.arange(6.0)
    assert local(tensor).data_ptr() == whole(tensor).data_ptr() == tensor.data_ptr()
    assert part_of(tensor, tensor) is tensor
    assert like(tensor, tensor) is tensor


def there_and_back() -> dict[str, bool]:
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh = MeshRanks(Degrees(fsdp=2, tp=2), torch.device("cpu")).mesh["fsdp", "tp"]
    found = {}
    for name, shape, placements in (
        ("rows", (6, 4), (Shard(0), Replicate())),
        ("rows twice", (7, 4), (Shard(0), Shard(0))),
        ("rows and columns", (5, 6), (Shard(0), Shard(1))),
        ("fewer rows than processes", (1, 4), (Shard(0), Replicate())),
        ("everywhere", (3,), (Replicate(), Replicate())),
    ):
        full = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        tensor = distribute_tensor(full, mesh, placements, src_data_rank=None)
        found[name] = (
            torch.equal(whole(tensor), full)
            and torch.equal(part_of(full, tensor), local(tensor))
            and torch.equal(whole(like(part_of(full, tensor), tensor)), full)
        )
    return found


def test_the_parts_of_a_tensor_make_it_whole_again(on_ranks: Callable[..., Any]) -> None:
    for found in on_ranks(4, there_and_back):
        assert all(found.values()), found


def norms() -> tuple[float, float]:
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    ranks = MeshRanks(Degrees(fsdp=2), torch.device("cpu"))
    mesh = ranks.mesh["fsdp"]
    generator = torch.Generator().manual_seed(2)
    full = [torch.randn(5, 4, generator=generator) for _ in range(3)]
    expected = float(torch.cat([one.flatten() for one in full]).norm())
    parts = [
        distribute_tensor(full[0], mesh, [Shard(0)], src_data_rank=None),
        distribute_tensor(full[1], mesh, [Replicate()], src_data_rank=None),
        full[2],
    ]
    return float(total_norm(parts)), expected


def test_the_norm_counts_each_number_once(on_ranks: Callable[..., Any]) -> None:
    for found, expected in on_ranks(2, norms):
        assert found == pytest.approx(expected, rel=1e-6)


def test_the_norm_of_one_process_is_pytorchs_own_to_the_bit() -> None:
    gradients = [torch.randn(7, 3), torch.randn(5)]
    assert float(total_norm(gradients)) == float(torch.nn.utils.get_total_norm(gradients))
    assert float(total_norm([])) == 0.0
