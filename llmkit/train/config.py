"""How a model is trained: what is asked for (PretrainConfig) and what that comes to (Recipe). No torch."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from llmkit.errors import ConfigError
from llmkit.model.config_parts import ExpertsConfig
from llmkit.train.bounds import check_bounds, flag_of
from llmkit.train.ramp import parse_ramp
from llmkit.train.step_profile import parse_window

OptimizerName = Literal["adamw", "muon"]
ScheduleName = Literal["cosine", "wsd", "linear", "inverse-sqrt", "constant"]
BUDGETS = ("steps", "epochs", "tokens", "tokens_per_parameter", "target_flops")
Reaction = Literal["ignore", "skip", "stop"]
SpikeReaction = Literal["ignore", "skip", "stop", "rewind"]
ActivationCheckpointing = Literal["none", "selective", "full"]
Resume = Literal["auto", "never", "must"]
DtypeName = Literal["auto", "float32", "bfloat16"]
ROUTER_BIAS_UPDATE = 0.001
"""What a selection bias moves by after each update: 2408.15664, section 4.1."""
MUON_MOMENTUM = 0.95
DECAY_RATIO = 0.4
MAX_REWINDS = 3
_ONCE_UNSAID = {"optimizer": "adamw", "momentum": MUON_MOMENTUM, "fp8": False}
"""What recipes of older checkpoints mean that do not say it."""
ROUTER_SETTINGS = ("router_aux_loss_coef", "router_z_loss_coef", "router_bias_update")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """The settings of a run as asked for; None is worked out from the model and the data.

    Raises:
        ConfigError: a value is out of range, or two settings exclude each other.
    """

    steps: int | None = None
    """Updates to make. One of steps, epochs, tokens, tokens_per_parameter and target_flops is the budget;
    none of them means one epoch."""
    epochs: float | None = None
    tokens: int | None = None
    """Targets to learn from, repeats included."""
    tokens_per_parameter: float | None = None
    """The same for each parameter of a token's pass: 20 is Chinchilla's (2203.15556)."""
    target_flops: float | None = None
    """FLOPs of all updates, by the count that MFU is told in."""
    batch_rows: int | None = None
    """Rows of one update; None takes as many as make 2048 tokens."""
    batch_tokens: int | None = None
    """The same in tokens, rounded down to whole rows."""
    batch_ramp: str | None = None
    """`8:1000`, 8 rows first and all of them from update 1000 on: see ramp.py; None: all from the first."""
    micro_batch_rows: int | None = None
    """Rows of one forward pass; gradients are accumulated over a batch. None: see budget.PASS_TOKENS."""
    lr: float | None = None
    """Peak learning rate; None is 3e-3 at a width of 128, falling with the root of hidden_size."""
    mup_base_width: int | None = None
    """Width that `lr` is for, where a wider model is to learn as that one does: see width_scaling.py."""
    min_lr_ratio: float = 0.0
    """What remains of it at the end."""
    optimizer: OptimizerName = "adamw"
    momentum: float | None = None
    """Of Muon; None: MUON_MOMENTUM."""
    schedule: ScheduleName = "cosine"
    warmup_steps: int | None = None
    """None is a twentieth of the steps, at most 2000."""
    decay_ratio: float | None = None
    """The last part of the steps over which wsd decays; None: DECAY_RATIO."""
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.1
    """On matrices only, never on norms and biases."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 leaves it as it is."""
    z_loss: float | None = None
    """Weight of (log Z)^2 of the logits, see z_loss.py: 1e-4 in PaLM; None: it is not learnt from."""
    router_aux_loss_coef: float | None = None
    """Weight of the loss that keeps experts evenly used; None: the model's."""
    router_z_loss_coef: float | None = None
    """Weight of the loss that keeps the logits of routers small; None: the model's."""
    router_bias_update: float | None = None
    """What the selection bias of an expert moves by after each update; None: ROUTER_BIAS_UPDATE."""
    seed: int = 0
    dtype: DtypeName = "auto"
    """Of the arithmetic; weights and optimiser state are float32 always."""
    fp8: bool = False
    """Matrices of the layers multiply in float8, all else in bfloat16: see quantised/float8_linear.py."""
    document_mask: bool = True
    on_nonfinite: Literal["stop", "skip"] = "stop"
    on_spike: SpikeReaction = "ignore"
    max_rewinds: int | None = None
    """How often a run goes back from a spike before it ends; None: MAX_REWINDS."""
    eval_every: int | None = None
    """Steps; None is ten times a run. The end of a run is always evaluated."""
    eval_rows: int | None = None
    """Validation rows to use, the first ones; None: all."""
    sample_every: int = 0
    sample_tokens: int = 64
    sample_temperature: float = 0.8
    checkpoint_every: int | None = None
    """Steps; None is ten times a run. The end of a run is always saved."""
    keep: int = 2
    """Checkpoints to keep, the last ones."""
    keep_every: int | None = None
    """Steps; a checkpoint is made at each multiple of it, and stays."""
    async_checkpoint: bool = False
    """Write a copy of what is to be saved while training goes on."""
    max_seconds: float | None = None
    compile: bool = False
    activation_checkpointing: ActivationCheckpointing = "none"
    """What the backward pass computes again: nothing, all but products and attention, or whole layers."""
    profile: str | None = None
    """Updates to record, `10:3`: see step_profile.parse_window."""
    log_norms: int = 0
    """Updates from one whose layers' norms are recorded to the next; 0: none is."""
    device: str = "auto"
    threads: int | None = None
    """None: one for a model too small to share, else one a core."""

    @property
    def trains_routers(self) -> bool:
        """Whether the routers of a model with experts are trained."""
        return True

    @property
    def updates_per_batch(self) -> int:
        """Updates from the same rows, one after the other."""
        return 1

    @property
    def recomputes(self) -> bool:
        """Whether layers, or parts of them, compute again backwards, for memory."""
        return self.activation_checkpointing != "none"

    def __post_init__(self) -> None:
        budgets = [flag_of(name) for name in BUDGETS if getattr(self, name) is not None]
        if len(budgets) > 1:
            raise ConfigError(f"two budgets: {budgets[0]} and {budgets[1]}", hint="give one of them")
        if self.momentum is not None and self.optimizer != "muon":
            raise ConfigError("--momentum is Muon's", hint="add --optimizer muon; AdamW's is --beta1")
        if self.min_lr_ratio and self.schedule == "constant":
            raise ConfigError(
                "--min-lr-ratio: a constant rate has no end to fall to",
                hint="another --schedule, or leave it out",
            )
        if self.decay_ratio is not None and self.schedule != "wsd":
            raise ConfigError("--decay-ratio is wsd's", hint="add --schedule wsd, or leave it out")
        if self.fp8 and self.dtype == "float32":
            raise ConfigError(
                "--fp8 is for matrices in bfloat16 arithmetic (found --dtype float32)",
                hint="leave one of them out",
            )
        if self.batch_rows is not None and self.batch_tokens is not None:
            raise ConfigError("both --batch-rows and --batch-tokens", hint="give one of them")
        at_least_one = ("steps", "tokens", "batch_rows", "batch_tokens", "micro_batch_rows", "keep")
        every = ("eval_every", "checkpoint_every", "keep_every")
        for name in (*at_least_one, *every, "eval_rows", "threads", "mup_base_width", "sample_tokens"):
            check_bounds(name, getattr(self, name), low=1)
        if self.max_rewinds is not None and self.on_spike != "rewind":
            raise ConfigError("--max-rewinds counts what only --on-spike rewind does", hint="give both")
        if self.profile is not None:
            parse_window(self.profile)
        if self.log_norms and self.compile:
            raise ConfigError(
                "--log-norms looks at each layer, which --compile makes one of all",
                hint="leave one of them out",
            )
        at_least_zero = ("seed", "warmup_steps", "weight_decay", "clip", "sample_every", "sample_temperature")
        for name in (*at_least_zero, "log_norms", "max_rewinds", "z_loss", *ROUTER_SETTINGS):
            check_bounds(name, getattr(self, name), low=0)
        check_bounds("seed", self.seed, high=2**63 - 1)  # eight bytes with a sign
        for name in ("beta1", "beta2", "momentum"):
            check_bounds(name, getattr(self, name), low=0, below=1)
        for name in ("min_lr_ratio", "decay_ratio"):
            check_bounds(name, getattr(self, name), low=0, high=1)
        for name in ("lr", "epochs", "tokens_per_parameter", "target_flops", "max_seconds"):
            check_bounds(name, getattr(self, name), above=0)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights of a run: stored in each checkpoint, compared on resume."""

    model: dict[str, Any]
    """config.json's keys."""
    initial_sha256: str | None
    """Digest of the weights a run continues from; None: drawn from the seed."""
    data_sha256: str
    tokenizer_sha256: str | None
    seed: int
    rows: int
    seq_len: int
    steps: int
    batch_rows: int
    lr: float
    min_lr_ratio: float
    schedule: ScheduleName
    warmup_steps: int
    decay_ratio: float
    beta1: float
    beta2: float
    weight_decay: float
    clip: float
    dtype: str
    document_mask: bool
    router_aux_loss_coef: float | None = None
    """These three: None where the model has no experts, or no selection bias."""
    router_z_loss_coef: float | None = None
    router_bias_update: float | None = None
    optimizer: OptimizerName = "adamw"
    momentum: float = MUON_MOMENTUM
    batch_ramp: str | None = None
    z_loss: float | None = None
    mup_base_width: int | None = None
    fp8: bool = False

    def rows_of(self, step: int) -> int:
        """Rows of update `step`, the first being 0."""
        ramp = self.batch_ramp
        return self.batch_rows if ramp is None else parse_ramp(ramp, self.batch_rows).rows_of(step)

    def rows_before(self, step: int) -> int:
        """Rows of all updates before `step`."""
        ramp = self.batch_ramp
        return step * self.batch_rows if ramp is None else parse_ramp(ramp, self.batch_rows).rows_before(step)

    @property
    def batch_tokens(self) -> int:
        """Targets of one full update, padding counted."""
        return self.batch_rows * self.seq_len

    @property
    def tokens(self) -> int:
        """Targets of the whole run, padding counted."""
        return self.rows_before(self.steps) * self.seq_len

    @property
    def epochs(self) -> float:
        """Times that each row is taken up."""
        return self.cursor(self.steps) / self.rows

    def cursor(self, step: int) -> int:
        """Rows that are taken up before update `step`."""
        return self.rows_before(step)

    def differences(self, other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """The settings in which a stored recipe is another, keys of the model too: name to (stored, ours)."""
        ours, theirs = _flat(asdict(self)), _flat({**_ONCE_UNSAID, **other})
        names = [*ours, *(name for name in theirs if name not in ours)]
        return {
            name: (theirs.get(name), ours.get(name)) for name in names if ours.get(name) != theirs.get(name)
        }


def _flat(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe with the model's keys among its own; those that both have are `model.KEY`."""
    own = {one.name for one in fields(Recipe)}
    model = {f"model.{key}" if key in own else key: value for key, value in recipe.get("model", {}).items()}
    return {name: value for name, value in recipe.items() if name != "model"} | model


def default_lr(hidden_size: int) -> float:
    """Peak learning rate of AdamW for a width: 3e-3 at 128, 1.2e-3 at 768, 7.5e-4 at 2048."""
    return float(f"{3e-3 * math.sqrt(128 / hidden_size):.3g}")


def default_initializer_range(hidden_size: int) -> float:
    """Standard deviation of fresh weights for a width: 0.062 at 128, 0.025 at 768, 0.015 at 2048."""
    return float(f"{0.7 / math.sqrt(hidden_size):.3g}")


def resolve_router(config: PretrainConfig, experts: ExpertsConfig | None) -> dict[str, float | None]:
    """The three settings of routers, as a Recipe has them.

    Raises:
        ConfigError: one is given that the model has no use for.
    """
    if experts is None:
        _refuse_router(config, ROUTER_SETTINGS, "the model has no experts", "--preset tiny-moe has experts")
        return {}
    aux, z, update = (getattr(config, name) for name in ROUTER_SETTINGS)
    if not experts.selection_bias:
        what = "the model's routers have no selection bias"
        _refuse_router(config, ROUTER_SETTINGS[2:], what, "--preset tiny-moe-free has one; or use a loss")
    elif update is None and config.trains_routers:
        update = ROUTER_BIAS_UPDATE
    return {
        "router_aux_loss_coef": experts.router_aux_loss_coef if aux is None else aux,
        "router_z_loss_coef": experts.router_z_loss_coef if z is None else z,
        "router_bias_update": update,
    }


def _refuse_router(config: PretrainConfig, names: tuple[str, ...], what: str, hint: str) -> None:
    for name in names:
        if (value := getattr(config, name)) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} {value:g}: {what}", hint=hint)
