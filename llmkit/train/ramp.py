"""Updates of few rows first and of more later: how many, as a pure function of the step. No torch.

Early gradients agree with each other, so that small batches learn as much from fewer tokens (1812.06162);
Megatron's --rampup-batch-size and OLMo-core's batch schedule are stairs too.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

from llmkit.errors import ConfigError


@dataclass(frozen=True)
class BatchRamp:
    """Stairs of equal height, the first `rows`, the last `batch_rows`, over about as many steps each.

    Raises:
        ConfigError: a full batch is no whole number of first ones.
    """

    rows: int
    batch_rows: int
    steps: int
    """The first update of a full batch, counted from 0."""

    def __post_init__(self) -> None:
        if self.batch_rows % self.rows:
            raise ConfigError(
                f"--batch-ramp {self.rows}:{self.steps}: a batch of {self.batch_rows} rows is no whole "
                f"number of {self.rows} rows",
                hint=f"--batch-rows {-(-self.batch_rows // self.rows) * self.rows}, or begin with a divisor "
                f"of {self.batch_rows}",
            )

    def rows_of(self, step: int) -> int:
        """Rows of update `step`, the first being 0."""
        rises = self.batch_rows // self.rows - 1
        return self.rows * (1 + min(step, self.steps) * rises // self.steps)

    def rows_before(self, step: int) -> int:
        """Rows of all updates before `step`: each stair counts from where it begins."""
        rises = self.batch_rows // self.rows - 1
        begins = (-(-rise * self.steps // rises) for rise in range(1, rises + 1))
        return self.rows * (step + sum(max(0, step - begin) for begin in begins))

    def steps_for(self, rows: int) -> int:
        """The fewest updates that have so many rows."""
        return bisect_left(range(-(-rows // self.rows) + 1), rows, key=self.rows_before)


@lru_cache(maxsize=8)
def parse_ramp(text: str, batch_rows: int) -> BatchRamp:
    """`ROWS:STEPS`, up to a full batch.

    Raises:
        ConfigError: it is no such thing, or does not fit the batch.
    """
    rows, _, steps = text.partition(":")
    if not (rows.isdigit() and steps.isdigit() and int(rows) and int(steps)):
        raise ConfigError(
            f"--batch-ramp must be ROWS:STEPS (found {text!r})",
            hint="--batch-ramp 8:1000 begins with 8 rows, and has all of them from update 1000 on",
        )
    return BatchRamp(int(rows), batch_rows, int(steps))
