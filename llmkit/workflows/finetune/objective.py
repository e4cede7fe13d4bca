"""The loss of a method, with the values that were given or the objective's own."""

from typing import Any

from llmkit.model.transformer import Transformer
from llmkit.train.distil import Distil
from llmkit.train.finetune_config import FinetuneConfig
from llmkit.train.grpo import Grpo
from llmkit.train.kto import Kto
from llmkit.train.objective import NextToken, Objective, Reference
from llmkit.train.preference import Dpo, Orpo, Simpo

_FORMS = {"dpo": "sigmoid", "ipo": "ipo", "hinge": "hinge", "robust": "robust"}


def build_objective(
    config: FinetuneConfig, reference: Reference | None, teacher: Transformer | None, longest: int
) -> Objective:
    """What a run makes smaller.

    Args:
        config: names the method and its settings.
        reference: of the methods that have one.
        teacher: of kd.
        longest: tokens of a text, at most.
    """
    beta, method = config.resolved_beta, config.method
    if method in _FORMS:
        assert reference is not None
        smoothing = _given(config, label_smoothing="label_smoothing")
        return Dpo(reference, beta=beta, form=_FORMS[method], **smoothing)  # type: ignore[arg-type]
    if method == "kto":
        assert reference is not None
        weights = {name: name for name in ("desirable_weight", "undesirable_weight")}
        return Kto(reference, beta=beta, longest=longest, **_given(config, **weights))
    if method == "orpo":
        return Orpo(beta=beta)
    if method == "simpo":
        return Simpo(beta=beta, **_given(config, gamma="gamma", label_smoothing="label_smoothing"))
    if method == "grpo":
        return Grpo(reference, beta=beta, **_given(config, temperature="temperature", clip="clip_ratio"))
    if method == "kd":
        assert teacher is not None
        names = ("temperature", "direction", "hard_weight")
        return Distil(teacher, **_given(config, **{name: name for name in names}))
    return NextToken(chunked=not config.compile)


def _given(config: FinetuneConfig, **names: str) -> dict[str, Any]:
    """Arguments of an objective and the settings they come from: those that were given."""
    values = {name: getattr(config, setting) for name, setting in names.items()}
    return {name: value for name, value in values.items() if value is not None}
