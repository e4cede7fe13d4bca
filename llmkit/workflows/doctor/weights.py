"""A model folder's weights: files whole, every tensor that config.json asks for, nothing stored that is not
meant, no value that is NaN or infinite."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from llmkit.errors import LlmkitError, some_of
from llmkit.estimate.file_tensors import tensor_shapes
from llmkit.formats.model_folder import (
    BELONG_TOGETHER,
    CONFIG,
    CONFIG_DTYPES,
    INDEX,
    WEIGHTS,
    TensorInfo,
    names_dtype,
    read_config,
    read_header,
    read_json_object,
    read_tensors,
    weight_files,
)
from llmkit.model.config import ModelConfig
from llmkit.model.plain_weights import plain_weights
from llmkit.model.pooling import with_head_of
from llmkit.model.quantised.quantisation import quantisation
from llmkit.model.quantised.stored import QuantisedInfo
from llmkit.progress import SILENT, Progress
from llmkit.workflows.doctor.findings import Finding, Level, as_finding, finding

BLOCK_VALUES = 1 << 22
_EXPONENTS = {"F32": ("<u4", 0x7F800000), "BF16": ("<u2", 0x7F80), "F16": ("<u2", 0x7C00)}
"""How a value is stored, and the bits that are all set in NaN and infinity."""
_BEYOND_FLOAT16 = {"F32": (127 + 16) << 23, "BF16": (127 + 16) << 7}
"""Exponent bits from which a value is 65,536 or more."""


def check_weights(folder: Path, *, progress: Progress = SILENT) -> list[Finding]:
    """What is wrong with config.json and the safetensors of a model folder."""
    findings: list[Finding] = []
    config = _config(folder, findings)
    tensors = _tensors(folder, findings)
    if tensors is None:
        return findings
    if config is not None:
        findings += _compare(folder, config, tensors)
    findings += _stale_index(folder)
    findings += check_finite(tensors, progress=progress)
    return findings


def check_finite(tensors: Mapping[str, TensorInfo], *, progress: Progress = SILENT) -> list[Finding]:
    """One finding for each file with values that are NaN or infinite, or too large for float16."""
    bad: dict[Path, list[str]] = {}
    wide: dict[Path, list[str]] = {}
    done, total = 0, sum(tensor.nbytes for tensor in tensors.values())
    for name, tensor in tensors.items():
        progress.update(done, total)
        done += tensor.nbytes
        if tensor.dtype not in _EXPONENTS:
            continue
        largest = _largest_exponent(tensor)
        if largest == _EXPONENTS[tensor.dtype][1]:
            bad.setdefault(tensor.file, []).append(name)
        elif largest >= _BEYOND_FLOAT16.get(tensor.dtype, largest + 1):
            wide.setdefault(tensor.file, []).append(name)
    hint = "go back to an earlier checkpoint, and train on with a lower --lr or --clip"
    findings = [
        finding("error", "weights.finite", file, f"NaN or infinite values in {some_of(names)}", hint)
        for file, names in bad.items()
    ]
    for file, names in wide.items():
        what = f"values in {some_of(names)} that float16 has not"
        findings.append(finding("info", "weights.range", file, what, "use bfloat16 or float32, not float16"))
    return findings


def _config(folder: Path, findings: list[Finding]) -> ModelConfig | None:
    path = folder / CONFIG
    with as_finding(findings, "config.supported", path):
        return ModelConfig.from_hf(read_config(folder), source=str(path))
    return None


def _tensors(folder: Path, findings: list[Finding]) -> dict[str, TensorInfo] | None:
    """All tensors, or None when a file is damaged: then each damaged file has its finding."""
    try:
        return read_tensors(folder)
    except LlmkitError:
        pass
    before = len(findings)
    with as_finding(findings, "weights.files", folder):
        for file in weight_files(folder):
            with as_finding(findings, "weights.header", file):
                read_header(file)
    if len(findings) == before:  # each file is whole by itself: the index is what is wrong
        with as_finding(findings, "weights.index", folder / INDEX):
            read_tensors(folder)
    return None


def _compare(folder: Path, config: ModelConfig, tensors: Mapping[str, TensorInfo]) -> list[Finding]:
    """Names, shapes and dtype against what config.json asks for."""
    findings: list[Finding] = []

    def found(level: Level, check: str, what: str, hint: str) -> None:
        findings.append(finding(level, check, folder, what, hint))

    config = with_head_of(config, folder, tensors)
    expected = tensor_shapes(config)
    stored = plain_weights(tensors, config, None)
    with as_finding(findings, "weights.quantised", folder):
        stored = plain_weights(tensors, config, quantisation(read_config(folder), str(folder / CONFIG)))
    if config.tie_word_embeddings and stored.pop("lm_head.weight", None) is not None:
        found(
            "warning",
            "weights.tied",
            "lm_head.weight is stored, but config.json ties the head to the embedding",
            'leave it out of the file, or set "tie_word_embeddings": false',
        )
    if missing := [name for name in expected if name not in stored]:
        found(
            "error", "weights.missing", f"no {some_of(missing)}, which config.json asks for", BELONG_TOGETHER
        )
    if surplus := [name for name in stored if name not in expected]:
        found(
            "error",
            "weights.surplus",
            f"{some_of(surplus)}: config.json knows no such tensor",
            BELONG_TOGETHER,
        )
    wrong = [name for name in expected if name in stored and stored[name].shape != expected[name]]
    if wrong:
        first = wrong[0]
        shapes = f"is {list(stored[first].shape)}, config.json asks for {list(expected[first])}"
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        found("error", "weights.shape", f"{first} {shapes}{more}", BELONG_TOGETHER)
    plain = [tensor for tensor in stored.values() if not isinstance(tensor, QuantisedInfo)]
    dtypes = {CONFIG_DTYPES.get(tensor.dtype, tensor.dtype) for tensor in plain}
    if names_dtype(read_config(folder)) and dtypes - {config.dtype.removeprefix("torch.")}:
        names = " and ".join(sorted(dtypes))
        found(
            "info",
            "weights.dtype",
            f"stored as {names}, config.json says {config.dtype}",
            'set "dtype" in config.json to what is stored',
        )
    return findings


def _stale_index(folder: Path) -> list[Finding]:
    """An index beside a single file is not read here, but other programs look at it first."""
    index = folder / INDEX
    if not index.is_file() or not (folder / WEIGHTS).is_file():
        return []
    findings: list[Finding] = []
    with as_finding(findings, "weights.index", index):
        names = read_json_object(index).get("weight_map")
        if not isinstance(names, dict) or set(names) != set(read_header(folder / WEIGHTS).tensors):
            what = f"left over from other files: {WEIGHTS} holds other tensors"
            findings.append(finding("warning", "weights.index", index, what, f"rm {index}"))
    return findings


def _largest_exponent(tensor: TensorInfo) -> int:
    """The exponent bits of the largest value, read a block at a time; all set in NaN and infinity."""
    kind, exponent = _EXPONENTS[tensor.dtype]
    if not tensor.numel:
        return 0
    values = np.memmap(tensor.file, kind, "r", offset=tensor.offset, shape=(tensor.numel,))
    return max(
        int((values[start : start + BLOCK_VALUES] & exponent).max())
        for start in range(0, tensor.numel, BLOCK_VALUES)
    )
