"""A merge decided: what is read, how each tensor is made, and what will be written. No weight is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from llmkit.errors import UsageError
from llmkit.formats.atomic import refuse_existing
from llmkit.formats.output_place import refuse_special
from llmkit.formats.provenance import Invocation
from llmkit.machine import require_room
from llmkit.model.algebra.algebra import linear
from llmkit.model.algebra.mix import Recipe, mix
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import DTYPES, dtype_of
from llmkit.workflows.merge.adapters import Adapters, open_adapters
from llmkit.workflows.merge.options import DEQUANTISED, MergeConfig
from llmkit.workflows.merge.report import MergeReport, ModelRow, TensorRow
from llmkit.workflows.merge.source import MergeSource, check_alike, open_merge_source, template_notes
from llmkit.workflows.merge.write import FileTensor, FolderPlan, plan_folder
from llmkit.workflows.run.launch import threads_of

_COPIES = {
    "adapters": 3,
    "expression": 2,
    "linear": 2,
    "slerp": 3,
    "task": 3,
    "ties": 6,
    "dare": 4,
    "dare-ties": 6,
    "model-stock": 3,
}
"""Tensors at work beside one of each model: differences, signs, sums."""


@dataclass(frozen=True)
class MergeJob:
    """A merge that writes a model."""

    config: MergeConfig
    out: Path
    invocation: Invocation
    first: MergeSource
    """Whose config the output has."""
    models: tuple[MergeSource, ...]
    """All that are read, the first of them included, in the order of the weights; a base comes first."""
    quantised: MergeSource | None
    """The base as it was trained on, where the adapters go into another."""
    companion: MergeSource
    """Whose tokenizer goes with the output."""
    weights: tuple[float, ...]
    """Of `models`; empty where there are none."""
    recipe: Recipe | None
    adapters: Adapters | None
    dtype: torch.dtype
    plan: FolderPlan
    notes: tuple[str, ...]

    @property
    def model_config(self) -> ModelConfig:
        """Of the output."""
        return self.plan.config

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the output's tensors."""
        return self.first.weights.shapes if self.adapters is None else self.adapters.shapes

    @property
    def threads(self) -> int:
        """Groups of tensors that are made at once; their number decides no bit."""
        return self.config.threads or threads_of(1)

    @property
    def into(self) -> str | None:
        """Where adapters of a quantised base go."""
        if self.quantised is not None:
            return "original"
        return DEQUANTISED if self.adapters is not None and self.first.weights.quantised else None

    def make(self, names: Sequence[str]) -> Mapping[str, Tensor]:
        """Tensors of the output, float32, by our names: a group's, all together."""
        if self.adapters is not None:
            return self.adapters.read(self.first, names)
        read = [one.read(names) for one in self.models]
        made = {}
        for name in names:
            tensors = [one.pop(name) for one in read]
            if self.recipe is None:
                made[name] = linear(tensors, self.weights, normalize=False)
            elif self.config.base is None:
                made[name] = mix(self.recipe, name, tensors, None)
            else:
                made[name] = mix(self.recipe, name, tensors[1:], tensors[0])
        return made

    def report(self) -> MergeReport:
        """What will be written."""
        return MergeReport(
            job=self.config.job,
            out=str(self.out),
            model_type=self.first.weights.config.model_type,
            models=self._model_rows(),
            adapters=[] if self.adapters is None else self.adapters.rows(),
            method=self.config.method,
            expression=self.config.expression,
            into=self.into,
            dtype=str(self.dtype).removeprefix("torch."),
            parameters=sum(torch.Size(shape).numel() for shape in self.shapes.values()),
            tensors=len(self.plan.tensors),
            changed=sum(self._changes(one) for one in self.plan.tensors),
            size_bytes=self.plan.nbytes,
            files=len(self.plan.shards),
            memory_bytes=self._memory(),
            tokenizer_sha256=_sha256(self.companion),
            notes=list(self.notes),
            written=False,
        )

    def rows(self) -> list[TensorRow]:
        """Every tensor of the files, and what it is made of."""
        return [
            TensorRow(
                name=one.name,
                dtype=str(one.dtype).removeprefix("torch."),
                shape=list(one.shape),
                size_bytes=one.nbytes,
                source=self._source(one),
            )
            for one in self.plan.tensors
        ]

    def _changes(self, one: FileTensor) -> bool:
        return bool(one.ours) and (
            self.adapters is None or any(self.adapters.touches(name) for name in one.ours)
        )

    def _source(self, one: FileTensor) -> str:
        if not one.ours:
            return "computed"
        if self.adapters is not None:
            names = [str(path) for name in one.ours for path in self.adapters.touching(name)]
            return " + ".join([str(self.first.path), *dict.fromkeys(names)])
        if self.config.expression is not None:
            return self.config.expression
        return f"{self.config.method} of {', '.join(str(model.path) for model in self.models)}"

    def _model_rows(self) -> list[ModelRow]:
        merged = [one for one in self.models if self.config.base is None or one is not self.models[0]]
        densities = dict(zip(merged, self.config.all_densities, strict=False))
        weights = dict(zip(self.models, self.weights, strict=False))
        matrix = next(name for name, shape in self.shapes.items() if len(shape) > 1 and ".layers." in name)
        return [
            ModelRow(
                name=one.name,
                path=str(one.path),
                dtype=one.weights.dtype(matrix),
                quantised=one.weights.quantised,
                weight=weights.get(one) if one in merged else None,
                density=densities.get(one),
            )
            for one in self.models
        ]

    def _memory(self) -> int:
        """The largest group, float32, once for each model and what is made of it, for each thread."""
        largest = max(
            sum(torch.Size(self.shapes[name]).numel() for name in one.ours) for one in self.plan.groups
        )
        copies = len(self.models) + _COPIES[self.config.method or self.config.job]
        return 4 * largest * copies * min(self.threads, len(self.plan.groups))


def open_merge(config: MergeConfig, out: Path, *, force: bool, invocation: Invocation) -> MergeJob:
    """Open everything that a merge reads, and find it to belong together.

    Raises:
        UsageError: the output exists, or the options do not go together.
        MissingError, ConfigError: a model or an adapter is not there, or not supported.
        DataError: it is damaged, or models do not have one shape, one meaning and one tokenizer.
        ResourceError: the disk has too little room.
    """
    inputs = [*config.paths.values(), *(one.path for one in config.adapters)]
    inputs += [] if config.base is None else [config.base]
    original = None if config.into in (None, DEQUANTISED) else Path(str(config.into))
    inputs += [] if original is None else [original]
    refuse_existing(out, force=force, inputs=inputs)
    refuse_special(out)
    models = _open_models(config)
    quantised, companion, notes = None, _leader(models), []
    if original is not None:
        quantised = models[0]
        _refuse_plain(quantised, original)
        models = (open_merge_source("original", original, carry_tokenizer=False),)
        notes += check_alike(models[0], [quantised])
    first = _leader(models)
    notes += check_alike(first, [one for one in models if one is not first])
    if config.into == DEQUANTISED:
        _refuse_plain(first, None)
    adapters = open_adapters(config.adapters, first) if config.adapters else None
    if config.tokenizer is None:
        notes += template_notes(companion, [one.path for one in config.adapters])
    dtype = DTYPES[config.dtype] if config.dtype else dtype_of(first.weights.config)
    shape, shapes = first.weights.config, first.weights.shapes
    if adapters is not None and adapters.unties:
        shape, shapes = adapters.config, adapters.shapes
        notes.append("the head is no longer the embedding: an adapter changes one without the other")
    plan = plan_folder(shape, shapes, dtype, config.max_shard_bytes)
    require_room(out, plan.nbytes, hint="free some space, or a smaller --dtype")
    weights, recipe = _recipe(config, models)
    return MergeJob(
        config, out, invocation, first, models, quantised, companion, weights, recipe, adapters, dtype, plan,
        tuple(notes),
    )  # fmt: skip


def _open_models(config: MergeConfig) -> tuple[MergeSource, ...]:
    paths = dict(config.paths)
    if config.base is not None:
        paths = {"base": config.base, **paths}
    lead = "base" if "base" in paths else next(iter(paths))
    return tuple(
        open_merge_source(
            "base" if config.job == "adapters" else name,
            path,
            tokenizer=config.tokenizer if name == lead else None,
            # told which tokenizer is right, nobody asks the others
            carry_tokenizer=config.carry_tokenizer and (name == lead or config.tokenizer is None),
        )
        for name, path in paths.items()
    )


def _leader(models: Sequence[MergeSource]) -> MergeSource:
    return next((one for one in models if one.name == "base"), models[0])


def _recipe(config: MergeConfig, models: Sequence[MergeSource]) -> tuple[tuple[float, ...], Recipe | None]:
    """The weights of `models`, and how a method goes about it."""
    if config.job == "expression":
        found = config.coefficients()
        return tuple(float(found[one.name]) for one in models), None
    if config.method is None:
        return (), None
    recipe = Recipe(
        method=config.method,
        weights=config.all_weights,
        densities=config.all_densities,
        normalize=config.divides,
        scale=config.scale,
        seed=config.seed,
    )
    if config.method == "slerp":
        share = recipe.weights[1]
        return (1 - share, share), recipe
    ancestor = (0.0,) if config.base is not None else ()
    return (*ancestor, *recipe.weights), recipe


def _refuse_plain(base: MergeSource, original: Path | None) -> None:
    if base.weights.quantised:
        return
    what = "dequantised" if original is None else str(original)
    raise UsageError(
        f"--into {what}: {base.path} is not quantised, there is nothing to choose", hint="leave --into out"
    )


def _sha256(one: MergeSource) -> str | None:
    return None if one.source.tokenizer is None else one.source.tokenizer.sha256
