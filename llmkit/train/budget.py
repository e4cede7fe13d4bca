"""What the settings of a run come to: rows of an update, rows of a pass, updates, warm-up. No torch."""

import math

from llmkit.errors import ConfigError
from llmkit.train.bounds import flag_of
from llmkit.train.config import BUDGETS, PretrainConfig
from llmkit.train.ramp import parse_ramp

PASS_TOKENS = {"cpu": 2048, "cuda": 16_384}
"""Tokens of a forward pass: on a CPU, more would leave its caches (2048 was the fastest of 512 to 8192)."""
MOST_STEPS = 2**63 - 1
"""What counts them has eight bytes, with a sign."""
CHINCHILLA = 20.0
"""Tokens for each parameter that a budget of FLOPs is spent best on (2203.15556, table 3)."""


MOST_BATCH_TOKENS = 2**31 - 1
"""Of one update: thirty times what the largest runs have."""


def resolve_batch_rows(config: PretrainConfig, seq_len: int) -> int:
    """Rows of one update.

    Raises:
        ConfigError: --batch-tokens is less than one row; or the batch is larger than any.
    """
    asked = config.batch_rows * seq_len if config.batch_rows is not None else config.batch_tokens or 0
    if asked > MOST_BATCH_TOKENS:
        name = "--batch-tokens" if config.batch_rows is None else "--batch-rows"
        raise ConfigError(
            f"{name} makes batches of {asked:,} tokens, and one may have {MOST_BATCH_TOKENS:,}",
            hint="a smaller batch, and more --steps",
        )
    if config.batch_rows is not None:
        return config.batch_rows
    rows = (config.batch_tokens or 2048) // seq_len
    if config.batch_tokens is not None and rows == 0:
        raise ConfigError(
            f"--batch-tokens {config.batch_tokens} is less than one row of {seq_len} tokens",
            hint=f"--batch-tokens {seq_len}, or shorter rows: llmkit pack --seq-len {config.batch_tokens}",
        )
    return max(1, rows)


def resolve_steps(
    config: PretrainConfig,
    *,
    rows: int,
    seq_len: int,
    batch_rows: int,
    parameters: int,
    flops_per_token: float,
) -> int:
    """Updates that the budget comes to, rounded up; one epoch where there is none.

    Args:
        config: with one budget at most.
        rows: of the data.
        seq_len: targets of a row.
        batch_rows: rows of an update, where they are not fewer at first.
        parameters: that a token passes through.
        flops_per_token: of training.

    Raises:
        ConfigError: they are beyond all counting.
    """
    name = next((name for name in BUDGETS if getattr(config, name) is not None), "epochs")
    try:
        steps = _updates(config, rows, seq_len, batch_rows, parameters, flops_per_token)
    except OverflowError:  # of a float that is infinite
        steps = MOST_STEPS + 1
    if steps > MOST_STEPS:
        raise ConfigError(
            f"{flag_of(name)} {getattr(config, name)}: a run has at most {MOST_STEPS:,} updates",
            hint=f"a smaller {flag_of(name)}",
        )
    return steps


def _updates(
    config: PretrainConfig,
    rows: int,
    seq_len: int,
    batch_rows: int,
    parameters: int,
    flops_per_token: float,
) -> int:
    if config.steps is not None:
        return config.steps
    tokens: float | None = config.tokens
    if config.tokens_per_parameter is not None:
        tokens = config.tokens_per_parameter * parameters
    elif config.target_flops is not None:
        tokens = config.target_flops / flops_per_token
    times = 1
    if tokens is None:
        tokens, times = (config.epochs or 1.0) * rows * seq_len, config.updates_per_batch
    if config.batch_ramp is not None:
        return parse_ramp(config.batch_ramp, batch_rows).steps_for(max(1, math.ceil(tokens / seq_len - 1e-9)))
    return max(1, math.ceil(tokens / (batch_rows * seq_len) - 1e-9)) * times


def resolve_micro_batch_rows(
    config: PretrainConfig, *, batch_rows: int, seq_len: int, device_type: str
) -> int:
    """Rows of one forward pass, at most the batch."""
    if config.micro_batch_rows is not None:
        return min(config.micro_batch_rows, batch_rows)
    return min(batch_rows, max(1, PASS_TOKENS[device_type] // seq_len))


def kept_checkpoints(config: PretrainConfig, steps: int) -> int:
    """The most checkpoints that a run keeps, beside one that is being written."""
    for_good = steps // config.keep_every if config.keep_every else 0
    return config.keep + for_good + (config.on_spike == "rewind")


def resolve_warmup_steps(config: PretrainConfig, steps: int) -> int:
    """Updates over which the learning rate rises.

    Raises:
        ConfigError: it would rise to the end of the run, and never be what was asked for.
    """
    if config.warmup_steps is None:
        return min(2000, steps // 20)
    if config.warmup_steps >= steps:
        raise ConfigError(
            f"--warmup-steps {config.warmup_steps}: the run ends before, at step {steps}, and never has its "
            "peak rate",
            hint=f"at most --warmup-steps {steps - 1}, or a longer run",
        )
    return config.warmup_steps
