"""Two artefacts of one kind, part by part: tensors, configs, tokenizers, shards."""

from pathlib import Path
from typing import Any

import msgspec

from llmkit.errors import DataError, UsageError
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.model_folder import CONFIG, TensorInfo, read_config, read_header, read_tensors
from llmkit.formats.peft import ADAPTER_WEIGHTS
from llmkit.formats.provenance import FILE_NAME, read_provenance
from llmkit.model.quantised.section import quantised_section
from llmkit.model.source import read_plain_tensors
from llmkit.progress import SILENT, Progress
from llmkit.workflows.artefact import MODELS, Artefact, Kind, holds_tokenizer, recognise
from llmkit.workflows.diff.config import (
    ConfigDiff,
    OneSided,
    diff_adapter_configs,
    diff_model_configs,
    diff_read_configs,
)
from llmkit.workflows.diff.keys import KeyDiff, diff_keys
from llmkit.workflows.diff.numbers import model_tensors
from llmkit.workflows.diff.options import DiffConfig, Part
from llmkit.workflows.diff.shards import ShardsDiff, diff_shards
from llmkit.workflows.diff.tensors import TensorsDiff, Weights, diff_tensors
from llmkit.workflows.diff.tokenizer import TokenizerDiff, diff_tokenizers

_MODEL: tuple[Part, ...] = ("tensors", "config", "tokenizer")
_PARTS: dict[Kind, tuple[Part, ...]] = {
    **{"model": _MODEL, "run": _MODEL, "checkpoint": _MODEL, "gguf": _MODEL},
    "adapter": ("tensors", "config"),
    **{"safetensors": ("tensors",), "config": ("config",), "tokenizer": ("tokenizer",)},
    **{"shards": ("shards",), "shard": ("shards",)},
}
_FAMILIES: tuple[tuple[Kind, ...], ...] = (MODELS, ("shards", "shard"))
_TENSOR_FLAGS = "--atol, --rtol, --headers, --tensors and --any-dtype"


class SideReport(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two artefacts."""

    path: str
    kind: Kind


class DiffReport(msgspec.Struct, frozen=True, kw_only=True):
    """How two artefacts differ; a part that was not compared is None."""

    schema: str = "llmkit.diff/1"
    a: SideReport
    b: SideReport
    same: bool
    missing: list[OneSided]
    """Parts that one artefact has and the other has not."""
    tensors: TensorsDiff | None = None
    config: ConfigDiff | None = None
    tokenizer: TokenizerDiff | None = None
    shards: ShardsDiff | None = None
    provenance: list[KeyDiff] | None = None
    """What llmkit.json says of how each was made, where both have one and are of one kind. No difference by
    itself."""


def diff_artefacts(a: Path, b: Path, config: DiffConfig, *, progress: Progress = SILENT) -> DiffReport:
    """Compare two artefacts.

    Raises:
        MissingError: nothing is at a path, or a file of it is not there.
        DataError: one is damaged, they are of different kinds, or of a kind that is not compared.
        UsageError: a part or a flag that does not apply to them.
    """
    first, second = recognise(a), recognise(b)
    parts = _parts(first, second, config)
    missing: list[OneSided] = []
    tensors = configs = tokenizer = shards = None
    if "tensors" in parts:
        tensors = diff_tensors(*_weights_of(first, second), config, progress=progress)
    if "config" in parts:
        configs = _configs(first, second, config)
    if "tokenizer" in parts:
        a_has, b_has = (one.kind == "tokenizer" or holds_tokenizer(one.path) for one in (first, second))
        if (a_has and b_has) or "tokenizer" in config.only:  # asked for, one that is absent is an error
            tokenizer = diff_tokenizers(first.path, second.path, config.texts, progress=progress)
        elif a_has or b_has:
            missing.append(OneSided(file="tokenizer", only="a" if a_has else "b"))
    if "shards" in parts:
        shards = diff_shards(first.path, second.path, progress=progress)
    compared = (tensors, configs, tokenizer, shards)
    return DiffReport(
        a=SideReport(path=str(a), kind=first.kind),
        b=SideReport(path=str(b), kind=second.kind),
        same=not missing and all(one is None or one.same for one in compared),
        missing=missing,
        tensors=tensors,
        config=configs,
        tokenizer=tokenizer,
        shards=shards,
        provenance=_provenance(first, second),
    )


def _parts(a: Artefact, b: Artefact, config: DiffConfig) -> tuple[Part, ...]:
    """The parts to compare: those asked for, or all where the artefacts are of one kind."""
    for one in (a, b):
        _check_compared(one)
    shared = tuple(part for part in _PARTS[a.kind] if part in _PARTS[b.kind])
    if "adapter" in (a.kind, b.kind) and a.kind != b.kind:  # its config is another file
        shared = tuple(part for part in shared if part == "tensors")
    usual = shared
    if (a.kind == "gguf") != (b.kind == "gguf"):  # which keeps a tokenizer in another form, with other keys
        usual = tuple(part for part in shared if part != "tokenizer")
    wanted = config.only or (usual if _family(a.kind) == _family(b.kind) else ())
    if not wanted:
        hint = f"--only {','.join(shared)} compares what both have" if shared else "give two of one kind"
        raise DataError(f"{a.path} ({a.kind}), {b.path} ({b.kind}): artefacts of different kinds", hint=hint)
    for part in wanted:
        if part not in shared:
            raise DataError(
                f"{a.path} ({a.kind}), {b.path} ({b.kind}): not both have {part}",
                hint=f"--only {','.join(shared)}" if shared else "give two of one kind",
            )
    if config.texts and "tokenizer" not in wanted:
        raise UsageError("--text needs two tokenizers to compare", hint="llmkit diff tok tok2 --text FILE")
    about_tensors = config.headers or config.patterns or not config.bit_for_bit or config.any_dtype
    if about_tensors and "tensors" not in wanted:
        raise UsageError(f"{_TENSOR_FLAGS} are about tensors, which are not compared", hint="leave them out")
    return wanted


def _check_compared(artefact: Artefact) -> None:
    path, kind = artefact.path, artefact.kind
    if kind == "adapter" and is_gguf(path):
        raise DataError(
            f"{path}: adapters in GGUF files are not compared",
            hint=f"compare their folders: llmkit convert {path} FOLDER --base MODEL",
        )
    if kind not in _PARTS:
        raise DataError(
            f"{path}: what is of this kind ({kind}) is not compared",
            hint=f"diff or cmp on the files; llmkit show {path}",
        )


def _family(kind: Kind) -> tuple[Kind, ...]:
    return next((family for family in _FAMILIES if kind in family), (kind,))


def _section(artefact: Artefact) -> Any:
    """What its config.json says of quantised weights."""
    if not (artefact.path / CONFIG).is_file():
        return None
    return quantised_section(read_config(artefact.path))


def _weights_of(a: Artefact, b: Artefact) -> tuple[Weights, Weights]:
    """The tensors of both: as models have them where one is a GGUF file, which has other names and types."""
    if "gguf" in (a.kind, b.kind):
        first, second = (
            Weights(*model_tensors(one.path)) if one.kind in MODELS else _weights(one, False)
            for one in (a, b)
        )
        return first, second
    as_numbers = _section(a) != _section(b)
    return _weights(a, as_numbers), _weights(b, as_numbers)


def _weights(artefact: Artefact, as_numbers: bool) -> Weights:
    """Its tensors; of two that are not quantised alike each matrix as the numbers that it stands for."""
    path = artefact.path
    if artefact.kind == "safetensors":
        return Weights(read_header(path).tensors)
    if artefact.kind == "adapter":
        return Weights(read_header(path / ADAPTER_WEIGHTS).tensors)
    tensors: dict[str, TensorInfo] = read_plain_tensors(path) if as_numbers else read_tensors(path)
    tied: Any = read_config(path).get("tie_word_embeddings") if (path / CONFIG).is_file() else None
    return Weights(tensors, tied if isinstance(tied, bool) else None)


def _configs(a: Artefact, b: Artefact, config: DiffConfig) -> ConfigDiff | None:
    if a.kind == "adapter":
        return diff_adapter_configs(a.path, b.path)
    if "gguf" in (a.kind, b.kind):
        return diff_read_configs(a.path, b.path)
    has_one = any(not one.path.is_dir() or (one.path / CONFIG).is_file() for one in (a, b))
    if not has_one and "config" not in config.only:
        return None
    return diff_model_configs(a.path, b.path, any_dtype=config.any_dtype)


def _provenance(a: Artefact, b: Artefact) -> list[KeyDiff] | None:
    if _family(a.kind) != _family(b.kind):  # made by two commands, whose settings have nothing in common
        return None
    made = [read_provenance(one.path) if one.path.is_dir() else None for one in (a, b)]
    if made[0] is None or made[1] is None:
        return None
    # a flag that was not given says as little as one that the other command does not have
    return [one for one in diff_keys(FILE_NAME, made[0], made[1]) if (one.a, one.b) != (None, None)]
