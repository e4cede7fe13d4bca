"""A case of a bench: one point of the sweep, and what runs there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from llmkit.errors import ConfigError, UsageError
from llmkit.model.config import ModelConfig
from llmkit.probe.bench import OURS
from llmkit.probe.work import Work

_MOST_CASES = 1000
_MOST_THREADS = 1024
"""Far more than that, and the system refuses one: the process ends without a word of ours."""
_NO_LENGTHS = ("threads", "dtype", "batch_rows", "batch", "weights")
Point = dict[str, int | str]
"""A value for each dimension of a sweep: `{"prompt": 512, "depth": 0, "threads": 2, "dtype": "float32"}`."""


@dataclass(frozen=True)
class BenchCase:
    """One thing to time."""

    engine: str
    point: Point
    work: Work
    run: Callable[[], object]
    prepare: Callable[[], object] | None = None
    """Called before each run, outside its time."""
    on_kernels: bool = False
    """Whether our kernels compute: torch, which then only samples, has one thread, as in `generate`."""
    memory_bytes: Callable[[], int] | None = None
    """The most that it has held so far, where it runs in another process."""

    @property
    def name(self) -> str:
        """`llmkit prompt=512 depth=0 threads=2 dtype=float32`: the same in every report of such a case."""
        return case_name(self.engine, self.point)


def case_name(engine: str, point: Point) -> str:
    """The name of a row."""
    return " ".join((engine, *(f"{key}={value}" for key, value in point.items())))


def sweep(dimensions: dict[str, Sequence[int | str]]) -> list[Point]:
    """The Cartesian product, the last dimension running fastest.

    Raises:
        ConfigError: a size below 1, or 0 where that means nothing; too many threads or cases.
    """
    for name, values in dimensions.items():
        least = 0 if name == "depth" else 1
        for value in values:
            if isinstance(value, int) and value < least:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag} must be at least {least} (found {value})", hint=f"--{flag} 64")
    threads = [value for value in dimensions.get("threads", ()) if isinstance(value, int)]
    if max(threads, default=1) > _MOST_THREADS:
        raise ConfigError(
            f"--threads must be at most {_MOST_THREADS:,} (found {max(threads)})", hint="--threads auto"
        )
    if (cases := prod(map(len, dimensions.values()))) > _MOST_CASES:
        raise ConfigError(
            f"the sweep has {cases:,} cases, the most is {_MOST_CASES:,}",
            hint="a range with steps: 128-4k*2 or 512-2048+512",
        )
    return [dict(zip(dimensions, values, strict=True)) for values in product(*dimensions.values())]


def check_positions(config: ModelConfig, point: Point, needed: int) -> None:
    """Refuse a case that is longer than the model's context.

    Raises:
        UsageError: it is.
    """
    room = config.max_position_embeddings
    if needed > room:
        sizes = {key: value for key, value in point.items() if key not in _NO_LENGTHS}
        largest = max(sizes, key=lambda key: int(sizes[key]))
        fits = max(1, int(sizes[largest]) - (needed - room))
        raise UsageError(
            f"{case_name(OURS, sizes)} takes {needed:,} positions, but the model has {room:,}",
            hint=f"--{largest.replace('_', '-')} {fits}",
        )
