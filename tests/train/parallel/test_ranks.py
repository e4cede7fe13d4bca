"""What processes tell each other."""

from collections.abc import Callable
from typing import Any

import torch

from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.ranks import ALONE, MeshRanks, Share


def told(degrees: Degrees) -> tuple[Any, ...]:
    ranks = MeshRanks(degrees, torch.device("cpu"))
    sums = ranks.sum([1.0, 10.0 ** (ranks.share.index + 9)])
    ranks.wait()
    return ranks.is_first, ranks.share, ranks.stage, sums, ranks.highest(ranks.rank)


def test_alone_every_sum_is_ones_own() -> None:
    assert ALONE.sum([1.5, 2.0]) == [1.5, 2.0]
    assert (ALONE.highest(3), ALONE.is_first, ALONE.share) == (3, True, Share(0, 1))
    with ALONE.first():
        pass


def test_sums_are_over_the_shares_of_a_batch_and_not_over_parts_of_a_matrix(
    on_ranks: Callable[..., Any],
) -> None:
    found = on_ranks(4, told, Degrees(fsdp=2, tp=2))
    assert [one[0] for one in found] == [True, False, False, False]
    assert [one[1] for one in found] == [Share(0, 2), Share(0, 2), Share(1, 2), Share(1, 2)]
    assert all(one[3] == [2.0, 1.1e10] for one in found)
    assert all(one[4] == 3 for one in found)


def in_turn(folder: str) -> list[str]:
    from pathlib import Path

    ranks = MeshRanks(Degrees(dp=2), torch.device("cpu"))
    with ranks.first():
        found = sorted(path.name for path in Path(folder).iterdir())
        (Path(folder) / str(ranks.rank)).touch()
    return found


def test_the_others_find_what_the_first_made(on_ranks: Callable[..., Any], tmp_path: Any) -> None:
    assert on_ranks(2, in_turn, str(tmp_path)) == [[], ["0"]]


def patiently() -> str:
    import time
    from datetime import timedelta

    from torch.distributed.distributed_c10d import _get_default_group, _set_pg_timeout

    ranks = MeshRanks(Degrees(dp=2), torch.device("cpu"))
    _set_pg_timeout(timedelta(seconds=1), _get_default_group())
    with ranks.first():
        if ranks.is_first:
            time.sleep(1.5)
    return "met"


def test_the_first_may_work_longer_than_others_wait_for_a_sum(on_ranks: Callable[..., Any]) -> None:
    assert on_ranks(2, patiently) == ["met", "met"]


def stages() -> tuple[int, Share]:
    ranks = MeshRanks(Degrees(pp=2, dp=2), torch.device("cpu"))
    return ranks.stage, ranks.share


def test_stages_are_the_outermost_dimension(on_ranks: Callable[..., Any]) -> None:
    found = on_ranks(4, stages)
    assert found == [(0, Share(0, 2)), (0, Share(1, 2)), (1, Share(0, 2)), (1, Share(1, 2))]


def pieces(degrees: Degrees) -> tuple[Share, Share, list[float], list[int], tuple[int, ...]]:
    ranks = MeshRanks(degrees, torch.device("cpu"))
    summed = ranks.over_rows(torch.tensor([1, ranks.rank]))
    return ranks.share, ranks.cut, ranks.sum([1.0]), summed.tolist(), tuple(ranks.shard_mesh().shape)


def test_pieces_of_rows_are_summed_over_by_those_that_have_the_same_rows(
    on_ranks: Callable[..., Any],
) -> None:
    assert ALONE.over_rows(torch.tensor([3])).tolist() == [3] and ALONE.cut == Share(0, 1)
    found = on_ranks(4, pieces, Degrees(fsdp=2, cp=2))
    assert [one[0] for one in found] == [Share(0, 2), Share(0, 2), Share(1, 2), Share(1, 2)]
    assert [one[1] for one in found] == [Share(0, 2), Share(1, 2), Share(0, 2), Share(1, 2)]
    assert all(one[2] == [4.0] for one in found)  # a loss is over all of them
    assert [one[3] for one in found] == [[2, 1], [2, 1], [2, 5], [2, 5]]
    assert all(one[4] == (4,) for one in found)


def streams(degrees: Degrees) -> tuple[Share, list[float], list[float], list[int]]:
    ranks = MeshRanks(degrees, torch.device("cpu"))
    summed = ranks.over_rows(torch.tensor([2**ranks.rank])).tolist()
    return ranks.stream, ranks.sum([1.0]), ranks.sum([1.0], of_stream=True), summed


def test_what_each_position_gives_is_summed_over_those_that_share_the_stream_too(
    on_ranks: Callable[..., Any],
) -> None:
    assert (ALONE.stream, ALONE.sum([2.0], of_stream=True)) == (Share(0, 1), [2.0])
    found = on_ranks(4, streams, Degrees(dp=2, tp=2))
    assert [one[0] for one in found] == [Share(0, 2), Share(1, 2)] * 2
    assert all(one[1:3] == ([2.0], [4.0]) for one in found)
    assert [one[3] for one in found] == [[3], [3], [12], [12]]  # ranks 0 and 1, 2 and 3


def spread(degrees: Degrees) -> tuple[Share, tuple[int, ...], tuple[int, ...]]:
    ranks = MeshRanks(degrees, torch.device("cpu"))
    return ranks.share, tuple(ranks.shard_mesh().shape), tuple(ranks.shard_mesh(of_experts=True).shape)


def test_processes_of_experts_share_the_batch_and_shards_of_all_else(
    on_ranks: Callable[..., Any],
) -> None:
    found = on_ranks(4, spread, Degrees(fsdp=2, ep=2))
    assert found == [(Share(at, 4), (4,), (2,)) for at in range(4)]
