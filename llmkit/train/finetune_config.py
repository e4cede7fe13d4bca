"""How a model is fine-tuned: what is asked for (FinetuneConfig) and what that comes to. No torch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from llmkit.errors import ConfigError
from llmkit.model.adapters.config import LoraConfig
from llmkit.train.bounds import check_bounds
from llmkit.train.config import PretrainConfig, Reaction, Recipe

Method = Literal["sft", "dpo", "ipo", "hinge", "robust", "orpo", "kto", "simpo", "grpo", "kd"]
PAIRED = ("dpo", "ipo", "hinge", "robust", "orpo", "simpo")
"""Methods that learn from pairs of a chosen and a rejected answer."""
REFERRING = ("dpo", "ipo", "hinge", "robust", "kto")
"""Methods that compare the model with what it was; grpo too, unless beta is 0."""
BETAS = dict.fromkeys(("dpo", "ipo", "hinge", "robust", "orpo", "kto"), 0.1) | {"simpo": 2.0, "grpo": 0.04}
"""The published papers' values, or those of their authors' code."""
OWN_SETTINGS: dict[str, tuple[str, ...]] = {
    "beta": tuple(BETAS),
    "gamma": ("simpo",),
    "label_smoothing": ("dpo", "robust", "simpo"),
    "desirable_weight": ("kto",),
    "undesirable_weight": ("kto",),
    "temperature": ("kd", "grpo"),
    "direction": ("kd",),
    "hard_weight": ("kd",),
    "group_size": ("grpo",),
    "completion_tokens": ("grpo",),
    "updates_per_rollout": ("grpo",),
    "clip_ratio": ("grpo",),
}
"""Settings that some methods have, and those methods."""
PRETRAINS_ALONE = (
    *("tokens_per_parameter", "target_flops", "optimizer", "momentum", "batch_ramp", "max_rewinds"),
    *("z_loss", "mup_base_width", "async_checkpoint", "fp8"),
)
"""Settings of `pretrain` that `finetune` leaves as they are: it has no flags for them."""
GROUP_SIZE = 8
"""Answers to a prompt, in grpo."""
TEMPERATURE = 1.0
"""At which they are drawn."""
_COMPLETION_TOKENS = 128
_LEAST = dict.fromkeys(("patience", "last_layers", "completion_tokens", "updates_per_rollout"), 1) | {
    "group_size": 2
}
_ROWS = 8
"""Pairs, single answers or prompts of an update, where it is not said."""
_WIDTH = 4096
"""hidden_size of the 7B models that the published learning rates are for."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(PretrainConfig):
    """The settings of a run as asked for; None is worked out from the method, the model and the data.

    Raises:
        ConfigError: a value is out of range, or belongs to another method.
    """

    method: Method = "sft"
    weight_decay: float = 0.0
    """Pulls towards zero, not towards the weights that were there: nothing, as in the published recipes."""
    on_spike: Reaction = "ignore"
    """Going back from a spike is for runs of pretraining: a fine-tuning is short, and starts anew."""
    lora: LoraConfig | None = None
    """Low-rank adapters on frozen weights; None: the weights themselves are trained."""
    qlora: bool = False
    """The frozen weights in four bits, or as the file quantises them."""
    last_layers: int | None = None
    """Train only so many layers, and the last norm; None: everything."""
    patience: int | None = None
    """Evaluations without a lower validation loss after which the run ends; None: it does not."""
    beta: float | None = None
    """How strongly the model is held to what it was, or the weight of the preference; None: see BETAS."""
    gamma: float | None = None
    label_smoothing: float | None = None
    desirable_weight: float | None = None
    undesirable_weight: float | None = None
    temperature: float | None = None
    direction: Literal["forward", "reverse"] | None = None
    hard_weight: float | None = None
    group_size: int | None = None
    completion_tokens: int | None = None
    updates_per_rollout: int | None = None
    """Updates from the same answers; None: 1, with which the clip never binds."""
    clip_ratio: float | None = None
    """How far an answer's probability may move from what it was when it was written; None: 0.2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, methods in OWN_SETTINGS.items():
            if getattr(self, name) is not None and self.method not in methods:
                raise ConfigError(
                    f"--{name.replace('_', '-')} with --method {self.method}, which has no such setting",
                    hint=f"leave it out, or choose --method {' or '.join(methods)}",
                )
            if isinstance(value := getattr(self, name), float):
                check_bounds(name, value)
        check_bounds("temperature", self.temperature, above=0)
        for name, low in _LEAST.items():
            check_bounds(name, getattr(self, name), low=low)
        if self.clip_ratio is not None and (self.updates_per_rollout or 1) == 1:
            raise ConfigError(
                "--clip-ratio with one update from each answer, which it never changes",
                hint="add --updates-per-rollout 2, or leave --clip-ratio out",
            )
        if self.lora is not None and self.last_layers is not None:
            raise ConfigError(
                "--last-layers trains the weights themselves, --lora leaves them as they are",
                hint="give one of them; --lora-layers N puts adapters on the last layers only",
            )
        if self.lora is not None and self.router_bias_update is not None:
            raise ConfigError(
                "--router-bias-update changes the model itself, --lora leaves it as it is",
                hint="leave --router-bias-update out",
            )
        if self.qlora and self.lora is None:
            raise ConfigError("weights in four bits cannot be trained", hint="--qlora with --lora")

    @property
    def trains_routers(self) -> bool:
        """See `PretrainConfig`."""
        return self.lora is None

    @property
    def updates_per_batch(self) -> int:
        """See `PretrainConfig`."""
        return self.updates_per_rollout or 1

    @property
    def answers_per_row(self) -> int:
        """What an update learns from for each row: the answers to a prompt, else the row itself."""
        return self.group_size or GROUP_SIZE if self.method == "grpo" else 1

    @property
    def uses_reference(self) -> bool:
        """Whether the model is compared with what it was."""
        return self.method in REFERRING or (self.method == "grpo" and self.resolved_beta > 0)

    @property
    def resolved_beta(self) -> float:
        """The beta that was given, or the method's; 0 where it has none."""
        return self.beta if self.beta is not None else BETAS.get(self.method, 0.0)

    @property
    def resolved_completion_tokens(self) -> int:
        """The most tokens of an answer that grpo learns from."""
        return self.completion_tokens or _COMPLETION_TOKENS

    @property
    def parameters(self) -> dict[str, Any]:
        """What is trained, as a recipe has it."""
        if self.lora is not None:
            named = {name: getattr(self.lora, name) for name in self.lora.__dataclass_fields__}
            named = {name: list(one) if isinstance(one, tuple) else one for name, one in named.items()}
            return {"kind": "qlora" if self.qlora else "lora", **named}
        if self.last_layers is not None:
            return {"kind": "last_layers", "layers": self.last_layers}
        return {"kind": "full"}

    @property
    def settings(self) -> dict[str, Any]:
        """What the method was told, as a recipe has it."""
        names = (name for name, methods in OWN_SETTINGS.items() if self.method in methods)
        given = {name: getattr(self, name) for name in names}
        return {**given, "beta": self.resolved_beta} if self.method in BETAS else given


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe(Recipe):
    """Everything that decides the weights of a run, and whose step's they are in the end."""

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    """What the method was told."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """What is trained."""
    teacher_sha256: str | None = None
    reward: str | None = None
    """The program that scores answers, wherever it is."""
    valid_sha256: str | None = None
    """Digest of the validation data; None: there is none, and the last step counts."""
    eval_rows: int | None = None
    """Of these, the first; None: all."""

    @property
    def answers_per_row(self) -> int:
        """See `FinetuneConfig`."""
        return self.settings.get("group_size") or GROUP_SIZE if self.method == "grpo" else 1

    @property
    def batch_tokens(self) -> int:
        """See `Recipe`: of all answers to a prompt."""
        return super().batch_tokens * self.answers_per_row

    @property
    def tokens(self) -> int:
        """See `Recipe`: of all answers to a prompt."""
        return super().tokens * self.answers_per_row

    def cursor(self, step: int) -> int:
        """See `Recipe`: several updates may learn from the same answers."""
        return self.rows_before(-(-step // (self.settings.get("updates_per_rollout") or 1)))

    def differences(self, other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """See `Recipe`. Older checkpoints do not say what they were validated on: that may be anything."""
        unsaid = {"valid_sha256", "eval_rows"} - other.keys()
        return {name: pair for name, pair in super().differences(other).items() if name not in unsaid}


def default_finetune_lr(method: str, *, adapter: bool, hidden_size: int) -> float:
    """Peak learning rate: the published one at a width of 4096, and inversely with the width for others.

    Full SFT and distillation 2e-5, preference methods and GRPO 1e-6, as trl has it, ORPO 8e-6 (2403.07691);
    LoRA ten times that (LoRA Without Regret, thinkingmachines.ai, 2025). All times 4096 / hidden_size, as
    Adam's rate for the matrices inside a model has it (2203.03466, table 3): see tests/bench/README.md.
    """
    full = {"sft": 2e-5, "kd": 2e-5, "orpo": 8e-6}.get(method, 1e-6)
    return float(f"{full * (10 if adapter else 1) * _WIDTH / hidden_size:.3g}")


def default_rows(method: str) -> int | None:
    """Rows of an update where each is a pair, an answer or a prompt; None: by tokens, as in pretraining."""
    return None if method in ("sft", "kd") else _ROWS
