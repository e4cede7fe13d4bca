"""What each process of a division holds, counted, beside what it does hold."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from runs import HEADS, Run, config_of

from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.transformer import Transformer
from llmkit.train.parallel.degrees import Degrees
from llmkit.train.parallel.divided import Divided
from llmkit.train.parallel.own_part import layers_of, own_part, parts_of_batch
from llmkit.train.parallel.ranks import MeshRanks
from llmkit.train.parallel.tensors import local

UNTIED = Run(shape={"tie_word_embeddings": False, "num_hidden_layers": 3})
EXPERTS = Run(name="tiny-moe")
TWO = [(one, UNTIED) for one in (Degrees(dp=2), Degrees(fsdp=2), Degrees(tp=2), Degrees(pp=2))]
TWO += [(Degrees(pp=2), Run()), (Degrees(ep=2), EXPERTS), (Degrees(fsdp=2), EXPERTS)]
TWO += [(Degrees(tp=2), one) for one in (EXPERTS, Run(name="tiny-moe-free"))]
TWO += [(Degrees(tp=2), one) for one in (*HEADS.values(), Run(name="gpt2", shape={"num_key_value_heads": 4}))]
FOUR = [(Degrees(fsdp=2, tp=2), Run()), (Degrees(pp=2, tp=2), Run()), (Degrees(dp=2, ep=2), EXPERTS)]
FOUR += [(one, EXPERTS) for one in (Degrees(fsdp=2, ep=2), Degrees(ep=2, tp=2), Degrees(ep=2, cp=2))]


@pytest.mark.parametrize(("stages", "layers"), [(1, 3), (2, 4), (2, 5), (3, 8), (4, 4)])
def test_every_layer_belongs_to_one_stage_and_none_has_two_more_than_another(
    stages: int, layers: int
) -> None:
    shares = [layers_of(stage, stages, layers) for stage in range(stages)]
    assert [layer for share in shares for layer in share] == list(range(layers))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("rows", "most", "stages", "parts"),
    [(8, 8, 2, 2), (8, 1, 2, 8), (8, 3, 2, 4), (2, 1, 4, 2), (6, 4, 4, 6)],
)
def test_parts_of_a_batch_fill_the_stages_and_are_alike(
    rows: int, most: int, stages: int, parts: int
) -> None:
    assert parts_of_batch(rows, most, stages) == parts


def held_by(plans: list[tuple[Degrees, Run]]) -> list[tuple[int, int]]:
    """The stage of this process and the numbers that it holds, run by run."""
    found = []
    for degrees, run in plans:
        ranks = MeshRanks(degrees, torch.device("cpu"))
        divided = Divided(Transformer(config_of(run)), ranks)
        found.append((ranks.stage, sum(local(one).numel() for one in divided.model.parameters())))
    return found


@pytest.mark.parametrize("plans", [TWO, FOUR], ids=["two", "four"])
def test_a_process_holds_what_is_counted(
    on_ranks: Callable[..., Any], plans: list[tuple[Degrees, Run]]
) -> None:
    for told in on_ranks(plans[0][0].world, held_by, plans):
        for (degrees, run), (stage, held) in zip(plans, told, strict=True):
            own = own_part(architecture_of(config_of(run)), degrees, stage)
            assert own.kept == held, degrees


def test_all_of_a_model_is_its_ends_its_layers_and_its_experts() -> None:
    model = Transformer(config_of(EXPERTS))
    own = own_part(architecture_of(model.config), Degrees())
    sizes = {name: one.numel() for name, one in model.named_parameters()}
    layers = [sum(n for name, n in sizes.items() if f".layers.{at}." in name) for at in range(2)]
    assert own.all == own.kept == sum(sizes.values())
    assert own.experts == sum(n for name, n in sizes.items() if ".experts." in name)
    assert own.layers + own.experts == sum(layers) and own.largest_layer == max(layers)
