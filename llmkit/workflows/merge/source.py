"""The models of a merge, opened and found to belong together before any weight is read."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from llmkit.errors import DataError, MissingError, some_of
from llmkit.formats.amount_text import plural
from llmkit.model.finite import check_finite
from llmkit.model.lazy_weights import LazyWeights
from llmkit.tokens.load import read_config, read_templates
from llmkit.tokens.prompt import PromptEncoder
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.convert.source import ConvertSource, open_convert_source
from llmkit.workflows.diff.tokenizer import TokenizerDiff, diff_tokenizers
from llmkit.workflows.stop_tokens import with_turn_end

_MAY_DIFFER = (
    *("dtype", "initializer_range", "max_position_embeddings"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
)
"""What no weight depends on: the output has the first model's."""
_MOST = 3


@dataclass(frozen=True, eq=False)
class MergeSource:
    """One model of a merge; no weight is read yet."""

    name: str
    source: ConvertSource
    weights: LazyWeights

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.source.path

    def read(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Some tensors, float32, in memory of their own.

        Raises:
            DataError: a weight is not a finite number, or the file is damaged.
        """
        found = self.weights.read(names)
        for name, tensor in found.items():
            check_finite(f"{self.path}: {name}", tensor, None)
        return found


def open_merge_source(
    name: str, path: Path, *, tokenizer: Path | None = None, carry_tokenizer: bool = True
) -> MergeSource:
    """Open a model without reading a weight.

    Args:
        name: in reports.
        path: a model folder or a GGUF file.
        tokenizer: in place of its own.
        carry_tokenizer: whether it is asked for one.

    Raises:
        MissingError, ConfigError, DataError: there is none, it is not supported, it is damaged.
    """
    if not path.exists():
        hint = (
            "NAME=PATH is for --expr, elsewhere give the path alone" if "=" in str(path) else "check the path"
        )
        raise MissingError(f"{path}: no such model folder or GGUF file", hint=hint)
    config = ConvertConfig(tokenizer=tokenizer, carry_tokenizer=carry_tokenizer)
    return MergeSource(name, open_convert_source(path, config), LazyWeights(path))


def check_alike(first: MergeSource, others: Sequence[MergeSource]) -> list[str]:
    """Refuse models whose weights do not mean the same, and say what differs harmlessly.

    Args:
        first: whose config and tokenizer the output has.
        others: what is merged with it.

    Returns:
        a sentence for each difference that does not matter to the arithmetic.

    Raises:
        DataError: names, shapes, the meaning of weights or the tokenizers differ; the first are named.
    """
    notes: list[str] = []
    for other in others:
        if different := _tensor_differences(first, other):
            raise DataError(
                f"{other.path}: {plural(len(different), 'tensor')} unlike those of {first.path}: "
                f"{some_of(different, _MOST)}",
                hint=f"models to merge have one shape: llmkit diff {first.path} {other.path} --headers",
            )
        if changed := _config_differences(first, other):
            raise DataError(
                f"{other.path}: computes otherwise than {first.path}: {some_of(changed, _MOST)}",
                hint=f"llmkit diff {first.path} {other.path} --only config",
            )
        notes += [*_dtype_notes(first, other), *_tokenizer_notes(first, other)]
    return notes


def template_notes(base: MergeSource, adapters: Sequence[Path]) -> list[str]:
    """A sentence for each adapter's folder that has another chat template than its base: what it learnt.

    Raises:
        DataError: a template is damaged.
    """
    tokenizer = base.source.tokenizer
    if tokenizer is None:
        return []
    own, theirs = tokenizer.templates, _templates_of(adapters)
    has = f"that of {base.path}" if own else f"none, like {base.path}"
    return [
        f"{one}: another chat template; the output has {has} (-t {one}: the adapter's)"
        for one, found in theirs.items()
        if found and found != own
    ]


def merged_generation(base: MergeSource, adapters: Sequence[Path]) -> dict[str, Any]:
    """What generation_config.json says of a base with adapters: where one has learnt answers in the chat
    template that both have, they end the texts of other programs too, as after `finetune` of a whole model.

    Raises:
        DataError: a template is damaged.
    """
    source = base.source
    if source.tokenizer is None or source.tokenizer.templates not in _templates_of(adapters).values():
        return source.own_generation
    turn_end = PromptEncoder(source.tokenizer).turn_end
    return with_turn_end(source.own_generation, source.config.eos_token_ids, turn_end)


def _templates_of(adapters: Sequence[Path]) -> dict[Path, dict[str, str]]:
    return {one: dict(read_templates(one, read_config(one))) for one in adapters if one.is_dir()}


def _tensor_differences(first: MergeSource, other: MergeSource) -> list[str]:
    ours, theirs = first.weights.shapes, other.weights.shapes
    found = []
    for name in dict.fromkeys([*ours, *theirs]):
        if name not in theirs:
            found.append(f"{name} is absent")
        elif name not in ours:
            found.append(f"{name} is surplus")
        elif ours[name] != theirs[name]:
            found.append(f"{name} {list(theirs[name])} for {list(ours[name])}")
    return found


def _config_differences(first: MergeSource, other: MergeSource) -> list[str]:
    ours, theirs = first.weights.config, other.weights.config
    return [
        f"{one.name} {getattr(theirs, one.name)} for {getattr(ours, one.name)}"
        for one in fields(ours)
        if one.name not in _MAY_DIFFER and getattr(ours, one.name) != getattr(theirs, one.name)
    ]


def _dtype_notes(first: MergeSource, other: MergeSource) -> list[str]:
    """Dtypes may differ: every number becomes float32 exactly."""
    found = [name for name in first.weights.shapes if first.weights.dtype(name) != other.weights.dtype(name)]
    if not found:
        return []
    name = found[0]
    return [
        f"{other.path}: {other.weights.dtype(name)}, {first.path}: {first.weights.dtype(name)}"
        f" (first of {len(found)}: {name}); the arithmetic is float32"
    ]


def _tokenizer_notes(first: MergeSource, other: MergeSource) -> list[str]:
    if first.source.tokenizer is None or other.source.tokenizer is None:
        return []
    assert first.source.tokenizer_path is not None and other.source.tokenizer_path is not None
    if first.source.tokenizer.sha256 != other.source.tokenizer.sha256:
        report = diff_tokenizers(first.source.tokenizer_path, other.source.tokenizer_path)
        if what := _ids_differ(report):
            raise DataError(
                f"{other.path}: its tokenizer is not that of {first.path}: {what}",
                hint="rows of the embeddings would be mixed that stand for different tokens; "
                "-t TOKENIZER says which is right all the same",
            )
    if first.source.tokenizer.templates != other.source.tokenizer.templates:
        return [f"{other.path}: another chat template; the output has that of {first.path}"]
    return []


def _ids_differ(report: TokenizerDiff) -> str | None:
    """The first token that has another id, or none, in the other; None where all are the same."""
    for one in (*report.moved, *report.only_a, *report.only_b):
        return f"{one.piece!r} has id {one.b} for {one.a}"
    if report.first_merge is not None:
        return f"merge {report.first_merge.number} is another"
    return None
