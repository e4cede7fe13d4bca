"""What `llmkit merge` is asked for: one of four jobs, and what goes with each. No torch."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from llmkit.errors import UsageError, nearest
from llmkit.model.algebra.expression import parse_expression
from llmkit.model.algebra.method import Method
from llmkit.workflows.scaled_path import ScaledPath

Job = Literal["adapters", "method", "expression", "extract"]
Dtype = Literal["float32", "float16", "bfloat16"]
DEQUANTISED = "dequantised"
_WEIGHED_DIFFERENCES = ("task", "ties", "dare", "dare-ties")
_ON_DIFFERENCES = (*_WEIGHED_DIFFERENCES, "model-stock")
_SPARSE = ("ties", "dare", "dare-ties")
_NORMALIZES = ("linear", "ties")
_DIVIDED_BY_SUM = ("linear", "task", "dare")
"""Of all weights: ties divides by those of the models that a number is taken from."""
_MOST = 3.4e38
"""A number that float32 holds, next to its largest."""


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """The choices of one merge.

    Raises:
        UsageError: they do not go together.
    """

    models: tuple[str, ...] = ()
    """Paths, or NAME=PATH with an expression."""
    adapters: tuple[ScaledPath, ...] = ()
    method: Method | None = None
    expression: str | None = None
    extract: bool = False
    base: Path | None = None
    """The common ancestor of methods on differences."""
    weights: tuple[float, ...] = ()
    """Of the models, in their order; one is for all. Empty: equal."""
    densities: tuple[float, ...] = ()
    """Of ties and dare, like the weights. Empty: 0.5."""
    normalize: bool | None = None
    """Divide by the sum of the weights; None: as the method has it."""
    scale: float = 1.0
    """λ of methods on differences."""
    seed: int = 0
    into: str | None = None
    """What an adapter of a quantised base goes into: `dequantised`, or the path of the original."""
    rank: int | None = None
    energy: float | None = None
    dtype: Dtype | None = None
    """Of the output; None: the first model's, and float32 for an extracted adapter."""
    max_shard_bytes: int = 5_000_000_000
    tokenizer: Path | None = None
    carry_tokenizer: bool = True
    check: bool = False
    tolerance: float | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        self._check_job()
        self._check_flags()
        self._check_numbers()
        if self.method is not None:
            self._check_method()
        if self.job == "extract":
            self._check_extract()

    @property
    def job(self) -> Job:
        """Which of the four."""
        if self.extract:
            return "extract"
        if self.expression is not None:
            return "expression"
        return "adapters" if self.method is None else "method"

    @property
    def paths(self) -> dict[str, Path]:
        """The models by name: `a`, `b`, … where they have none of their own."""
        if self.job == "expression":
            pairs = [word.partition("=") for word in self.models]
            return {name: Path(path) for name, _, path in pairs}
        return {f"model {number}": Path(one) for number, one in enumerate(self.models, start=1)}

    @property
    def all_weights(self) -> tuple[float, ...]:
        """One for each model."""
        equal = 1.0 if self.method in _ON_DIFFERENCES else 1 / len(self.models)
        return _spread(self.weights or (0.5 if self.method == "slerp" else equal,), len(self.models))

    @property
    def all_densities(self) -> tuple[float, ...]:
        """One for each model, of the methods that thin out."""
        return _spread(self.densities or (0.5,), len(self.models)) if self.method in _SPARSE else ()

    @property
    def divides(self) -> bool:
        """Whether the weights' sum is divided by."""
        return self.method in _NORMALIZES if self.normalize is None else self.normalize

    @property
    def _has_own_shares(self) -> bool:
        """Whether the method itself divides what it adds."""
        return self.method in ("slerp", "model-stock")

    def coefficients(self) -> dict[str, Fraction]:
        """The weight of each model of the expression.

        Raises:
            UsageError: see `parse_expression`; or it names another model than is given.
        """
        assert self.expression is not None
        known, found = self.paths, parse_expression(self.expression)
        for name in found:
            if name not in known:
                guess = nearest(name, known)
                raise UsageError(
                    f"--expr {self.expression!r} names {name}, and there is no {name}=PATH",
                    hint=f"did you mean {guess}?" if guess else f"add {name}=PATH",
                )
        for name in known:
            if name not in found:
                raise UsageError(
                    f"{name}={known[name]} is given, and --expr {self.expression!r} does not use it",
                    hint=f"leave {name}= out",
                )
        return dict(found)

    def _check_job(self) -> None:
        asked = [
            flag
            for flag, given in (
                ("--adapter", self.adapters),
                ("--method", self.method),
                ("--expr", self.expression is not None),
                ("--extract", self.extract),
            )
            if given
        ]
        if len(asked) != 1:
            raise UsageError(
                f"{' and '.join(asked)}: one job at a time" if asked else "nothing says how to merge",
                hint="give one of --adapter PATH, --method NAME, --expr TEXT, --extract",
            )
        count = len(self.models)
        if self.job == "adapters" and count != 1:
            raise UsageError(f"--adapter goes with one model (found {count})", hint="give BASE alone")
        if self.job == "extract" and count != 2:
            raise UsageError(f"--extract takes BASE and TUNED (found {count})", hint="give both folders")
        if self.job == "expression":
            self._check_names()
            self.coefficients()

    def _check_names(self) -> None:
        for word in self.models:
            name, equals, path = word.partition("=")
            if not (equals and path and name.isidentifier()):
                raise UsageError(f"{word}: with --expr, models have names", hint=f"name it: a={word}")
        names = [word.partition("=")[0] for word in self.models]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UsageError(f"{twice[0]}= is given twice", hint="give each model a name of its own")

    def _check_flags(self) -> None:
        """Flags that the job would not read are refused."""
        jobs: dict[str, tuple[object, bool]] = {
            "--base": (self.base, self.method in _ON_DIFFERENCES),
            "--weight": (self.weights, self.job == "method" and self.method != "model-stock"),
            "--density": (self.densities, self.method in _SPARSE),
            "--normalize": (self.normalize is not None, self.job == "method" and not self._has_own_shares),
            "--scale": (self.scale != 1, self.method in _WEIGHED_DIFFERENCES),
            "--seed": (self.seed, self.method in ("dare", "dare-ties")),
            "--into": (self.into, self.job == "adapters"),
            "--rank": (self.rank, self.job == "extract"),
            "--energy": (self.energy, self.job == "extract"),
            "--max-shard-size": (self.max_shard_bytes != 5_000_000_000, self.job != "extract"),
            "--check": (self.check, self.job in ("adapters", "extract")),
            "--tolerance": (self.tolerance is not None, self.check),
            "-t": (self.tokenizer, self.job != "extract"),
            "--no-tokenizer": (not self.carry_tokenizer, self.job != "extract"),
        }
        for flag, (given, read) in jobs.items():
            if given and not read:
                what = f"--method {self.method}" if self.job == "method" else f"the job ({self.job})"
                if flag == "--tolerance":
                    raise UsageError("--tolerance without --check does nothing", hint="add --check")
                raise UsageError(
                    f"{flag} does nothing here: {what} does not use it", hint=f"leave {flag} out"
                )
        if self.tokenizer is not None and not self.carry_tokenizer:
            raise UsageError("-t and --no-tokenizer", hint="give one of them")

    def _check_numbers(self) -> None:
        """What tensors are multiplied with is a number of their arithmetic."""
        coefficients = self.coefficients().values() if self.job == "expression" else ()
        for flag, fits in {
            "--weight": all(abs(one) <= _MOST for one in self.weights),
            "--scale": abs(self.scale) <= _MOST,
            "--adapter": all(abs(one.scale) <= _MOST for one in self.adapters),
            "--expr": all(abs(one) <= _MOST for one in coefficients),
        }.items():
            if not fits:
                raise UsageError(
                    f"{flag}: a number that float32 does not hold", hint=f"give one of at most {_MOST:g}"
                )

    def _check_method(self) -> None:
        count = len(self.models)
        if self.method in _ON_DIFFERENCES:
            if self.base is None:
                raise UsageError(
                    f"--method {self.method} works on differences from a common ancestor",
                    hint="name it: --base PATH",
                )
            if self.method == "model-stock" and count < 2:
                raise UsageError(
                    f"model-stock takes two models or more (found {count})", hint="--method task takes one"
                )
            if not count:
                raise UsageError("no model to merge into the base", hint="give A, or A and B")
        elif self.method == "slerp" and count != 2:
            raise UsageError(
                f"slerp takes two models (found {count})", hint="--method linear takes any number"
            )
        elif count < 2:
            raise UsageError(f"{self.method} takes two models or more (found {count})", hint="give A and B")
        for flag, values in (("--weight", self.weights), ("--density", self.densities)):
            few = (
                1
                if self.method == "slerp" or flag == "--density" or self.method in _ON_DIFFERENCES
                else count
            )
            if values and len(values) not in (few, count):
                raise UsageError(
                    f"{len(values)} times {flag}, for {count} models", hint=f"give {flag} {count} times"
                )
        if any(not 0 < one <= 1 for one in self.densities):
            raise UsageError("--density is a share, above 0 and at most 1", hint="0.5 keeps half")
        if self.method == "slerp" and self.weights and len(self.weights) > 1:
            raise UsageError("slerp has one --weight: that of the second model", hint="--weight 0.5")
        if self.divides and self.method in _DIVIDED_BY_SUM and abs(sum(self.all_weights)) < 1e-8:
            raise UsageError("the weights add up to 0, and are divided by it", hint="--no-normalize")

    def _check_extract(self) -> None:
        if self.rank is None and self.energy is None:
            raise UsageError("--extract needs a rank", hint="--rank 16, or --energy 0.9 to let it be chosen")
        if self.check and self.tolerance is None:
            raise UsageError(
                "--check of an extraction needs --tolerance: a low rank is not the whole difference",
                hint="--tolerance 0.1, in logits",
            )
        if self.energy is not None and not 0 < self.energy <= 1:
            raise UsageError("--energy is a share, above 0 and at most 1", hint="--energy 0.9")


def _spread(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    return values * count if len(values) == 1 else values
