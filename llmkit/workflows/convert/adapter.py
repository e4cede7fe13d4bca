"""An adapter from one form to another: PEFT's folder to the GGUF file that llama.cpp reads, and back."""

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from llmkit.errors import DataError, UsageError
from llmkit.formats.atomic import atomic_file, atomic_folder
from llmkit.formats.digest import digest_file
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.gguf.write import gguf_nbytes, write_gguf
from llmkit.formats.output_place import refuse_special
from llmkit.formats.peft import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from llmkit.formats.provenance import Invocation, write_provenance
from llmkit.machine import require_room
from llmkit.model.adapters.gguf import GgufAdapterContent, gguf_adapter
from llmkit.model.adapters.load import load_adapter
from llmkit.model.adapters.save import write_adapter
from llmkit.model.adapters.weights import AdapterWeights
from llmkit.model.config import ModelConfig
from llmkit.model.dtypes import DTYPES, dtype_name
from llmkit.model.source import check_model, is_model
from llmkit.model.stretched import read_shape
from llmkit.workflows.adapter_base import named_base
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.convert.plan import OWN_LINE, ConvertReport

_PACKAGES = ("torch", "numpy", "safetensors")


@dataclass(frozen=True)
class AdapterConversion:
    """A conversion decided: the values, what they are for, and what they become."""

    path: Path
    out: Path
    base: Path
    model: ModelConfig
    """The base's."""
    weights: AdapterWeights
    content: GgufAdapterContent | None
    """Of the GGUF file; None: a folder is written."""
    invocation: Invocation

    @property
    def files(self) -> list[Path]:
        """What was read."""
        if is_gguf(self.path):
            return [self.path]
        return [self.path / ADAPTER_CONFIG, self.path / ADAPTER_WEIGHTS]

    @property
    def size_bytes(self) -> int:
        """Of the GGUF file; of a folder that of its tensors."""
        if self.content is None:
            return self.weights.nbytes
        return gguf_nbytes(self.content.metadata, self.content.tensors)


def open_adapter_conversion(
    path: Path, out: Path, config: ConvertConfig, invocation: Invocation
) -> AdapterConversion:
    """Read an adapter, and find that it can be written.

    Raises:
        UsageError: it has that form already, an option is for models, or its base is not to be found.
        MissingError: no such base.
        ConfigError: the adapter is not supported, not for the base, or llama.cpp has none like it.
        DataError: it is damaged, or a value is beyond the dtype.
        ResourceError: the disk has too little room.
    """
    form = config.form(out)
    if form != "gguf":
        refuse_special(out)
    if (form == "gguf") == is_gguf(path):
        other = "NAME.gguf" if form == "safetensors" else "as a folder, without .gguf"
        raise UsageError(f"{path}: the adapter has that form already", hint=f"name the output {other}")
    _refuse_options(config)
    base = config.base or _base_of(path)
    check_model(base)
    model = read_shape(base)
    weights = load_adapter(path, model)
    content = None
    if form == "gguf":
        content = gguf_adapter(weights, model, config.dtype, weights.base)
        told = {"general.name": path.resolve().name, OWN_LINE: invocation.command_line}
        content = replace(content, metadata=content.metadata | told)
    elif config.dtype is not None:
        weights = _as_dtype(path, weights, config.dtype)
    found = AdapterConversion(path, out, base, model, weights, content, invocation)
    require_room(out, found.size_bytes, hint="free some space, or a smaller --dtype")
    return found


def write_adapter_conversion(found: AdapterConversion) -> ConvertReport:
    """Write it, whole or not at all.

    Raises:
        DataError: a value is beyond the dtype.
    """
    if found.content is not None:
        with atomic_file(found.out) as stream:
            write_gguf(stream, found.content.metadata, found.content.tensors)
    else:
        with atomic_folder(found.out) as folder:
            write_adapter(folder, found.weights, found.model, found.weights.base or str(found.base))
            inputs = {file.name: digest_file(file) for file in found.files}
            write_provenance(folder, found.invocation, inputs=inputs, packages=_PACKAGES)
    return msgspec.structs.replace(adapter_report(found), written=True)


def adapter_report(found: AdapterConversion) -> ConvertReport:
    """What will be written."""
    low = found.weights.modules.values()
    dtypes = {dtype_name(part.dtype) for one in low for part in (one.A, one.B)}
    return ConvertReport(
        source=str(found.path),
        out=str(found.out),
        model_type=found.model.model_type,
        form="safetensors" if found.content is None else "gguf",
        dtype=", ".join(sorted(dtypes)) if found.content is None else found.content.dtype,
        parameters=sum(one.A.numel() + one.B.numel() for one in low),
        tensors=2 * len(low) if found.content is None else len(found.content.tensors),
        size_bytes=found.size_bytes,
        files=1,
        tied=found.model.tie_word_embeddings,
        tokenizer_sha256=None,
        chat_template=False,
        base=str(found.base),
        notes=[],
        written=False,
    )


def _refuse_options(config: ConvertConfig) -> None:
    """Those that are about models."""
    given = {
        "--dequantize": config.dequantize,
        "--max-shard-size": config.max_shard_bytes is not None,
        "--tie": config.tie is not None,
        "-t": config.tokenizer is not None,
        "--no-tokenizer": not config.carry_tokenizer,
        "--add-token": bool(config.add_tokens),
        "--check": config.check,
    }
    for flag, used in given.items():
        if used:
            raise UsageError(f"{flag} is for models, and this is an adapter", hint="leave it out")


def _base_of(path: Path) -> Path:
    """The model that an adapter names, where it is at hand."""
    named = named_base(path)
    for place in () if named is None else (Path(named), path.parent / named):
        if is_model(place):
            return place
    told = "names no base" if named is None else f"names {named} as its base, which is not here"
    raise UsageError(
        f"{path}: the adapter {told}: its matrices have the base's names and heads",
        hint="add --base MODEL: a folder with its config.json is enough",
    )


def _as_dtype(path: Path, weights: AdapterWeights, dtype: str) -> AdapterWeights:
    kind = DTYPES[dtype]
    modules = {
        name: replace(one, A=one.A.to(kind), B=one.B.to(kind)) for name, one in weights.modules.items()
    }
    for name, one in modules.items():
        if not (one.A.isfinite().all() and one.B.isfinite().all()):
            raise DataError(f"{path}: {name}: a factor is beyond {dtype}", hint="--dtype bfloat16 or float32")
    return replace(weights, modules=modules)
