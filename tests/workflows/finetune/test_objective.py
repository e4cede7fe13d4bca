"""A method's name and settings become its objective, with the values that were given."""

from contextlib import nullcontext
from typing import Any, get_args

import pytest

from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.train.distil import Distil
from llmkit.train.finetune_config import FinetuneConfig, Method
from llmkit.train.grpo import Grpo
from llmkit.train.kto import Kto
from llmkit.train.objective import NextToken
from llmkit.train.preference import Dpo, Orpo, Simpo
from llmkit.workflows.finetune.objective import build_objective

SIZES: dict[str, Any] = {
    **{"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1},
    **{"num_attention_heads": 1, "max_position_embeddings": 8},
}


def _build(method: str, **settings: Any) -> Any:
    config = FinetuneConfig(method=method, **settings)  # type: ignore[arg-type]
    return build_objective(config, lambda model: nullcontext(model), Transformer(ModelConfig(**SIZES)), 8)


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        *(("sft", NextToken), ("dpo", Dpo), ("ipo", Dpo), ("hinge", Dpo), ("robust", Dpo), ("orpo", Orpo)),
        *(("kto", Kto), ("simpo", Simpo), ("grpo", Grpo), ("kd", Distil)),
    ],
)
def test_every_method_has_its_objective(method: str, kind: type) -> None:
    objective = _build(method)
    assert type(objective) is kind
    if kind is Dpo:
        assert objective.form == {"dpo": "sigmoid"}.get(method, method)


def test_the_list_above_is_all_methods() -> None:
    marks = test_every_method_has_its_objective.pytestmark  # type: ignore[attr-defined]
    assert [row[0] for row in marks[0].args[1]] == list(get_args(Method))


def test_settings_reach_the_objective_and_the_published_ones_stand_in_for_them() -> None:
    assert (_build("dpo").beta, _build("dpo", beta=0.5).beta) == (0.1, 0.5)
    assert _build("dpo", label_smoothing=0.2).label_smoothing == 0.2
    assert (_build("simpo").beta, _build("simpo", gamma=0.3).gamma) == (2.0, 0.3)
    kto = _build("kto", desirable_weight=2.0, undesirable_weight=0.5)
    assert (kto.desirable_weight, kto.undesirable_weight, kto.longest) == (2.0, 0.5, 8)
    kd = _build("kd", temperature=2.0, direction="reverse", hard_weight=0.25)
    assert (kd.temperature, kd.direction, kd.hard_weight) == (2.0, "reverse", 0.25)
    grpo = _build("grpo", temperature=0.7)
    assert (grpo.beta, grpo.temperature) == (0.04, 0.7)


def test_a_compiled_model_scores_in_one_plain_pass() -> None:
    assert _build("sft").chunked and not _build("sft", compile=True).chunked
