"""How the processes of a run divide its work: so many of each kind, which multiply to all. No torch."""

import math
from dataclasses import dataclass, replace

from llmkit.errors import ConfigError
from llmkit.model.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Degrees:
    """The sizes of the dimensions of a run, 1 where it is not divided so."""

    pp: int = 1
    """Pipeline stages: each has some of the layers."""
    dp: int = 1
    """Replicas: each has all weights of its part and some rows of every batch."""
    fsdp: int = 1
    """Shards: each keeps a part of every weight, gradient and moment, and has some rows of every batch."""
    ep: int = 1
    """Expert parallel: each has some experts of every mixture and some rows of every batch; all else is whole
    on each, or beside shards cut by it too."""
    cp: int = 1
    """Context parallel: each has some positions of every row; beside shards, these are cut by it too."""
    tp: int = 1
    """Tensor parallel: each has some heads and some columns of every matrix, all rows, and some positions of
    what passes between matrices."""

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.pp * self.dp * self.ep * self.fsdp * self.cp * self.tp

    @property
    def shares(self) -> int:
        """Parts that the rows of a batch fall into."""
        return self.dp * self.ep * self.fsdp

    @property
    def shards(self) -> int:
        """Parts that --fsdp makes of each weight; of experts fewer."""
        return self.expert_shards * self.ep if self.fsdp > 1 else 1

    @property
    def expert_shards(self) -> int:
        """Parts that --fsdp makes of the experts that a process has."""
        return self.fsdp * self.cp if self.fsdp > 1 else 1

    @property
    def is_split(self) -> bool:
        """Whether no process has all of the model."""
        return self.pp * self.fsdp * self.ep * self.tp > 1

    def __str__(self) -> str:
        named = [f"{name} {size}" for name, size in vars(self).items() if size > 1]
        return " x ".join(named) or "one process"


ONE_PROCESS = Degrees()


def resolve_degrees(
    world: int,
    *,
    dp: int | None = None,
    fsdp: int | None = None,
    tp: int = 1,
    pp: int = 1,
    ep: int = 1,
    cp: int = 1,
) -> Degrees:
    """The degrees of a run of so many processes; what is left open is taken by replicas.

    Raises:
        ConfigError: they do not multiply to the processes.
    """
    asked = {"--dp": dp, "--fsdp": fsdp, "--tp": tp, "--pp": pp, "--ep": ep, "--cp": cp}
    for flag, size in asked.items():
        if size is not None and size < 1:
            raise ConfigError(f"{flag} must be at least 1 (found {size})", hint=f"change {flag}")
    given = Degrees(pp=pp, dp=dp or 1, ep=ep, fsdp=fsdp or 1, cp=cp, tp=tp)
    rest, left = divmod(world, given.world)
    if left == 0 and dp is None:
        given = replace(given, dp=rest)
    if given.world != world:
        named = " ".join(f"{flag} {size}" for flag, size in asked.items() if size is not None and size > 1)
        raise ConfigError(
            f"{named or 'one process'} makes {given.world} processes, but the run has {world}",
            hint=f"--nproc {given.world}, or other degrees",
        )
    return given


def check_degrees(degrees: Degrees, model: ModelConfig, batch_rows: int, seq_len: int) -> None:
    """Whether a model and its batches of rows of `seq_len` can be divided so.

    Raises:
        ConfigError: naming the flag that does not fit.
    """
    if degrees.pp > model.num_hidden_layers:
        raise ConfigError(
            f"--pp {degrees.pp}: the model has {model.num_hidden_layers} layers", hint="fewer stages"
        )
    for name, size in (("tp", degrees.tp), ("cp", degrees.cp), ("pp", degrees.pp)):
        if size > 1 and model.full_heads is not None:
            raise ConfigError(
                f"--{name} {size}: {model.model_type} has heads by the kind of layer, which are not divided",
                hint="--fsdp divides any model",
            )
    for name, size in (("tp", degrees.tp), ("cp", degrees.cp)):
        if size > 1 and (model.delta or model.short_conv or model.mamba or model.lone_mlps):
            raise ConfigError(
                f"--{name} {size}: {model.model_type} has layers that keep a state, which are not divided",
                hint="--fsdp divides any model",
            )
    check_rows(degrees, batch_rows, seq_len)
    if degrees.ep > 1:
        _check_experts(degrees, model)
    if degrees.tp > 1:
        _check_heads(degrees, model)


def check_rows(degrees: Degrees, batch_rows: int, seq_len: int) -> None:
    """Whether batches of rows of `seq_len` can be divided so, whatever learns from them.

    Raises:
        ConfigError: naming the flag that does not fit.
    """
    if batch_rows % degrees.shares:
        raise ConfigError(
            f"{batch_rows} rows of an update cannot be shared by {degrees.shares} processes ({degrees})",
            hint=f"--batch-rows {-(-batch_rows // degrees.shares) * degrees.shares}",
        )
    check_stage_rows(degrees, batch_rows, f"--batch-rows {degrees.pp * degrees.shares}")
    _check_pieces(degrees, seq_len)


def check_stage_rows(degrees: Degrees, rows: int, hint: str) -> None:
    """Whether the stages have a part of a batch each: fewer would never be at work together.

    Raises:
        ConfigError: they have not.
    """
    if rows // degrees.shares < degrees.pp:
        raise ConfigError(
            f"--pp {degrees.pp}: an update has {rows // degrees.shares} rows for so many stages", hint=hint
        )


def _check_experts(degrees: Degrees, model: ModelConfig) -> None:
    found = 0 if model.sparse is None else model.sparse.num_experts
    if found == 0 or found % degrees.ep:
        what = f"{found} experts" if found else "no experts"
        raise ConfigError(
            f"--ep {degrees.ep}: the model has {what}", hint="a degree that divides --num-experts, or --fsdp"
        )


def _check_pieces(degrees: Degrees, seq_len: int) -> None:
    """Context parallelism gives each process two pieces of a row; parts of matrices share these."""
    pieces = math.lcm(2 * degrees.cp if degrees.cp > 1 else 1, degrees.cp * degrees.tp)
    if seq_len % pieces:
        flags = [f"--{name} {size}" for name, size in (("cp", degrees.cp), ("tp", degrees.tp)) if size > 1]
        raise ConfigError(
            f"{' '.join(flags)}: rows of {seq_len} tokens do not fall into {pieces} equal pieces",
            hint=f"rows of {-(-seq_len // pieces) * pieces} tokens: --seq-len, or llmkit pack --seq-len",
        )


def _check_heads(degrees: Degrees, model: ModelConfig) -> None:
    sizes = {
        "num_attention_heads": model.num_attention_heads,
        "num_key_value_heads": model.num_key_value_heads,
        "intermediate_size": model.intermediate_size,
        "vocab_size": model.vocab_size,
    }
    for name, size in sizes.items():
        if size % degrees.tp:
            raise ConfigError(
                f"--tp {degrees.tp}: the model's {name} is {size}",
                hint=f"a degree that divides it, or --{name.replace('_', '-')}",
            )
    if model.qk_norm == "projection" and model.norm != "rms":
        raise ConfigError(
            f"--tp {degrees.tp}: a LayerNorm over all heads at once is not divided",
            hint="--fsdp divides any model",
        )
