"""Two sets of stored tensors: names, shapes and dtypes from the headers, then the values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from llmkit.errors import UsageError
from llmkit.formats.model_folder import TensorInfo
from llmkit.progress import SILENT, Progress
from llmkit.workflows.diff.keys import Side
from llmkit.workflows.diff.names import Prefix, embedding_of, pair_names
from llmkit.workflows.diff.options import DiffConfig
from llmkit.workflows.diff.values import ValuesDiff, compare_values, same_bytes

Tensors = Mapping[str, TensorInfo]


class TensorForm(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor without its values."""

    name: str
    dtype: str
    shape: list[int]


class TensorDiff(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor of both that is not the same."""

    a: TensorForm
    b: TensorForm
    differs_in: list[Literal["shape", "dtype", "values"]]
    values: ValuesDiff | None
    """None: not compared, because shapes differ or no values were asked for."""


class TiedHead(msgspec.Struct, frozen=True, kw_only=True):
    """A head stored in one only, which is the embedding there: no difference."""

    name: str
    only: Side
    embedding: str
    checked: bool
    """By the values; otherwise the other's config.json says so."""


class TensorsDiff(msgspec.Struct, frozen=True, kw_only=True):
    """How two sets of tensors differ."""

    same: bool
    in_both: int
    only_a: list[TensorForm]
    only_b: list[TensorForm]
    prefix: Prefix | None
    tied: list[TiedHead]
    changed: list[TensorDiff]
    values: int | None
    """Compared; None: headers only."""
    differing_values: int | None
    """Beyond the tolerance."""
    max_abs: float | None
    """Largest |a - b| of all, within the tolerance or not."""
    max_tensor: str | None
    """Where that is, by its name in A; None where there is no difference."""


@dataclass(frozen=True)
class Weights:
    """The tensors of one side."""

    tensors: Tensors
    tied: bool | None = None
    """Whether its config.json ties the head to the embedding; None: it does not say."""


def diff_tensors(a: Weights, b: Weights, config: DiffConfig, *, progress: Progress = SILENT) -> TensorsDiff:
    """Compare the tensors of two sides.

    Raises:
        UsageError: a pattern that no tensor matches.
        DataError: a file ends before its tensors do.
    """
    pairing = pair_names(a.tensors, b.tensors)
    chosen = _chosen([*a.tensors, *pairing.only_b, *(name for _, name in pairing.pairs)], config.patterns)
    ties = [
        *_ties(pairing.only_a, "a", a.tensors, b.tied, config),
        *_ties(pairing.only_b, "b", b.tensors, a.tied, config),
    ]
    tied = {(tie.only, tie.name) for tie in ties}
    pairs = [
        (a.tensors[one], b.tensors[other]) for one, other in pairing.pairs if one in chosen or other in chosen
    ]
    found = _compare(pairs, config, progress)
    only_a = [a.tensors[one] for one in pairing.only_a if one in chosen and ("a", one) not in tied]
    only_b = [b.tensors[one] for one in pairing.only_b if one in chosen and ("b", one) not in tied]
    return TensorsDiff(
        same=not (only_a or only_b or pairing.prefix or found.changed),
        in_both=len(pairs),
        only_a=_forms(only_a),
        only_b=_forms(only_b),
        prefix=pairing.prefix,
        tied=[tie for tie in ties if tie.name in chosen],
        changed=found.changed,
        values=None if config.headers else found.values,
        differing_values=None if config.headers else found.differing,
        max_abs=None if config.headers or not found.values else found.max_abs,
        max_tensor=found.max_tensor,
    )


@dataclass
class _Found:
    """What comparing pair after pair adds up to."""

    changed: list[TensorDiff] = field(default_factory=list)
    values: int = 0
    differing: int = 0
    max_abs: float = 0.0
    max_tensor: str | None = None


def _compare(pairs: list[tuple[TensorInfo, TensorInfo]], config: DiffConfig, progress: Progress) -> _Found:
    found = _Found()
    done, total = 0, sum(one.nbytes + other.nbytes for one, other in pairs)
    for one, other in pairs:
        progress.update(done, total, differing=float(len(found.changed)))
        done += one.nbytes + other.nbytes
        values = None
        if one.shape == other.shape and not config.headers:
            values = compare_values(one, other, config)
            found.values += values.values
            found.differing += values.differing or 0
            if values.max_abs is not None and values.max_abs > found.max_abs:
                found.max_abs, found.max_tensor = values.max_abs, one.name
        differs_in = _differs_in(one, other, values, config)
        if differs_in:
            a, b = _forms((one, other))
            found.changed.append(TensorDiff(a=a, b=b, differs_in=differs_in, values=values))
    return found


def _differs_in(
    a: TensorInfo, b: TensorInfo, values: ValuesDiff | None, config: DiffConfig
) -> list[Literal["shape", "dtype", "values"]]:
    result: list[Literal["shape", "dtype", "values"]] = []
    if a.shape != b.shape:
        result.append("shape")
    if a.dtype != b.dtype and not config.any_dtype:
        result.append("dtype")
    if values is not None and values.differing != 0:
        result.append("values")
    return result


def _ties(
    only: Iterable[str], side: Side, tensors: Tensors, other_ties: bool | None, config: DiffConfig
) -> list[TiedHead]:
    """Heads that this side stores and the other has in its embedding; `other_ties`: what its config says."""
    found = []
    for name in only:
        embedding = embedding_of(name, tensors)
        if embedding is None or other_ties is False or tensors[name].shape != tensors[embedding].shape:
            continue
        if not config.headers and same_bytes(tensors[name], tensors[embedding]):
            found.append(TiedHead(name=name, only=side, embedding=embedding, checked=True))
        elif config.headers and other_ties:
            found.append(TiedHead(name=name, only=side, embedding=embedding, checked=False))
    return found


def _chosen(names: Iterable[str], patterns: tuple[str, ...]) -> set[str]:
    """The names that match one of the patterns; all names without patterns."""
    every = dict.fromkeys(names)
    if not patterns:
        return set(every)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in every):
            raise UsageError(
                f"--tensors {pattern!r}: no tensor has such a name (found: {', '.join([*every][:3])}, …)",
                hint="a shell pattern for the whole name, such as '*.q_proj.weight'",
            )
    return {name for name in every if any(fnmatchcase(name, pattern) for pattern in patterns)}


def _forms(tensors: Iterable[TensorInfo]) -> list[TensorForm]:
    return [TensorForm(name=one.name, dtype=one.dtype, shape=list(one.shape)) for one in tensors]
