"""A model or adapter from one form to another: folder or GGUF file, dtype, number of files, its head."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from llmkit.formats.atomic import atomic_folder, refuse_existing
from llmkit.formats.digest import digest_file
from llmkit.formats.gguf.split import atomic_gguf, cut_gguf, file_paths
from llmkit.formats.gguf.write import Buffer, GgufTensor
from llmkit.formats.model_folder import MAX_SHARD_BYTES
from llmkit.formats.output_place import refuse_special
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.model.dtypes import DTYPES, kept_dtype
from llmkit.model.finite import check_finite
from llmkit.model.load import load_model
from llmkit.model.save import file_tensors, save_config, write_weights
from llmkit.model.source import is_adapter
from llmkit.model.transformer import Transformer
from llmkit.progress import SILENT, Progress
from llmkit.workflows.convert.adapter import (
    adapter_report,
    open_adapter_conversion,
    write_adapter_conversion,
)
from llmkit.workflows.convert.check import CheckReport, NotAlikeError, compare_logits, rounding
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.convert.plan import ConvertReport, Written, decide, plan
from llmkit.workflows.convert.source import ConvertSource, open_convert_source

_PACKAGES = ("torch", "numpy", "safetensors", "tokenizers")


def plan_convert(
    path: Path, out: Path, config: ConvertConfig, *, force: bool, invocation: Invocation
) -> ConvertReport:
    """What `convert` would write; nothing is written and no weight is read.

    Raises:
        UsageError, ConfigError, DataError, MissingError, ResourceError: as `convert`.
    """
    if is_adapter(path):
        refuse_existing(out, force=force, inputs=[path])
        return adapter_report(open_adapter_conversion(path, out, config, invocation))
    written = _decide(path, out, config, force, invocation)
    return _planned(written, force)


def convert(
    path: Path,
    out: Path,
    config: ConvertConfig,
    *,
    force: bool,
    invocation: Invocation,
    progress: Progress = SILENT,
) -> ConvertReport:
    """Write a model or an adapter in another form, whole or not at all.

    Args:
        path: a model folder, a GGUF file, or a .bin of llama2.c; or an adapter's folder or GGUF file.
        out: the folder or file to write.
        config: as what.
        force: replace what is there.
        invocation: told in llmkit.json.
        progress: hears of bytes.

    Returns:
        the report; not `written` where the check failed.

    Raises:
        UsageError: the output exists, or the options do not go together.
        MissingError: no such model.
        ConfigError: the model is not supported, or llama.cpp has none like it.
        DataError: it is damaged, or a weight is not a finite number, or beyond the dtype.
        ResourceError: the disk has too little room.
    """
    if is_adapter(path):
        refuse_existing(out, force=force, inputs=[path])
        return write_adapter_conversion(open_adapter_conversion(path, out, config, invocation))
    written = _decide(path, out, config, force, invocation)
    expected = _planned(written, force)
    model = written.source.load(written.read_dtype)
    try:
        if written.form == "gguf":
            check = _write_gguf(written, model, config, expected.size_bytes, progress)
        else:
            check = _write_folder(written, model, config, expected.size_bytes, progress)
    except NotAlikeError as failed:
        return msgspec.structs.replace(expected, check=failed.report)
    return msgspec.structs.replace(expected, check=check, written=True)


def _decide(path: Path, out: Path, config: ConvertConfig, force: bool, invocation: Invocation) -> Written:
    refuse_existing(out, force=force, inputs=[path])
    source = open_convert_source(path, config)
    refuse_existing(out, force=force, inputs=source.files)  # the other files of a GGUF model in parts
    written = decide(source, out, config, invocation)
    if written.form != "gguf":
        refuse_special(out)
    return written


def _planned(written: Written, force: bool) -> ConvertReport:
    """The plan, and no file of several in the place of another."""
    expected = plan(written)
    if written.form == "gguf" and expected.files > 1:
        for path in file_paths(written.out, expected.files):
            refuse_existing(path, force=force, inputs=written.source.files)
    return expected


def _write_gguf(
    written: Written, model: Transformer, config: ConvertConfig, total: int, progress: Progress
) -> CheckReport | None:
    metadata, tensors, _ = written.gguf(model)
    files = cut_gguf(metadata, counted(tensors, total, progress), written.max_shard_bytes)
    with atomic_gguf(written.out, files) as first:
        return _checked(written, model, config, first)


def _write_folder(
    written: Written, model: Transformer, config: ConvertConfig, total: int, progress: Progress
) -> CheckReport | None:
    source, dtype = written.source, DTYPES[written.dtype]
    with atomic_folder(written.out) as folder:
        save_config(model, folder, dtype=dtype, generation=source.own_generation)
        tensors = _within_range(file_tensors(model), dtype, source)
        write_weights(_told(tensors, total, progress), folder, written.max_shard_bytes or MAX_SHARD_BYTES)
        write_companions(source, folder, written.invocation)
        return _checked(written, model, config, folder)


def write_companions(source: ConvertSource, folder: Path, invocation: Invocation) -> None:
    """What goes with a model's weights: the tokenizer, and what made the folder."""
    source.copy_tokenizer(folder)
    source.copy_steps(folder)
    write_provenance(
        folder,
        invocation,
        inputs={file.name: digest_file(file) for file in source.files},
        tokenizer_sha256=None if source.tokenizer is None else source.tokenizer.sha256,
        packages=_PACKAGES,
    )


def _checked(written: Written, model: Transformer, config: ConvertConfig, made: Path) -> CheckReport | None:
    """Compare what was made with what it was made from.

    Raises:
        NotAlikeError: they differ by more than the tolerance.
    """
    if not config.check:
        return None
    stored = str(next(model.parameters()).dtype).removeprefix("torch.")
    report = compare_logits(
        model.float(),
        load_model(made, dtype=torch.float32),
        dtype=rounding(stored, written.dtype),
        tolerance=config.tolerance,
    )
    if not report.passed:
        raise NotAlikeError(report)
    return report


def _within_range(
    tensors: Iterable[tuple[str, Tensor]], dtype: torch.dtype, source: ConvertSource
) -> Iterator[tuple[str, Tensor]]:
    """Tensors in another dtype: all numbers are finite, and none becomes infinite by it."""
    for name, tensor in tensors:
        kept = kept_dtype(name, dtype)
        check_finite(f"{source.path}: {name}", tensor, kept)
        yield name, tensor.to(kept)


def _told(
    tensors: Iterable[tuple[str, Tensor]], total: int, progress: Progress
) -> Iterator[tuple[str, Tensor]]:
    done = 0
    for name, tensor in tensors:
        yield name, tensor
        done += tensor.nbytes
        progress.update(done, total)


def counted(tensors: list[GgufTensor], total: int, progress: Progress) -> list[GgufTensor]:
    """The same tensors, whose bytes are counted as they go by."""
    done = 0

    def count(tensor: GgufTensor) -> Iterator[Buffer]:
        nonlocal done
        pieces: Any = tensor.data()
        for piece in pieces:
            yield piece
            done += piece.nbytes
            progress.update(done, total)

    return [
        GgufTensor(one.name, one.shape, one.type, lambda one=one: count(one))  # type: ignore[misc]
        for one in tensors
    ]
