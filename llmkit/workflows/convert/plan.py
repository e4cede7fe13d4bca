"""What a conversion will write, to the byte, before any weight is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from llmkit.errors import ConfigError, UsageError
from llmkit.formats.gguf.split import cut_gguf, file_paths
from llmkit.formats.gguf.values import MetadataValue, Typed
from llmkit.formats.gguf.write import GgufTensor
from llmkit.formats.json_text import is_number
from llmkit.formats.model_folder import MAX_SHARD_BYTES
from llmkit.formats.provenance import Invocation
from llmkit.formats.safetensors_size import TensorShape, safetensors_nbytes
from llmkit.machine import require_room
from llmkit.model.absorb import absorbed
from llmkit.model.dtypes import DTYPES, STORED_WORDS, dtype_of
from llmkit.model.gguf.config import ARCHITECTURE
from llmkit.model.gguf.save import CodedMatrix, gguf_model
from llmkit.model.pooling import GGUF_MODES, GGUF_POOLING
from llmkit.model.relevance import read_relevance
from llmkit.model.save import file_tensors, split_shards
from llmkit.model.source import NO_TOKENIZER, SAMPLING_KEYS
from llmkit.model.transformer import Transformer
from llmkit.workflows.convert.check import CheckReport
from llmkit.workflows.convert.options import ConvertConfig, Form
from llmkit.workflows.convert.source import ConvertSource

OWN_LINE = "llmkit.command_line"
_GENERAL = ("general.architecture", "general.type", "general.file_type", "general.quantization_version")


class ConvertReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is written, or will be."""

    schema: str = "llmkit.convert/1"
    source: str
    out: str
    """Of several GGUF files the first, which is the one to name."""
    model_type: str
    form: Form
    dtype: str
    parameters: int
    tensors: int
    size_bytes: int
    """Of the GGUF file, or of all safetensors files."""
    files: int
    """With weights."""
    tied: bool
    tokenizer_sha256: str | None
    chat_template: bool
    base: str | None = None
    """The model that an adapter is for; None of a model."""
    notes: list[str]
    """What other programs will do otherwise."""
    check: CheckReport | None = None
    written: bool
    """False of a plan, and where the check failed."""


@dataclass(frozen=True)
class Written:
    """A conversion decided: where it goes, as what."""

    source: ConvertSource
    out: Path
    form: Form
    dtype: str
    max_shard_bytes: int | None
    """None: MAX_SHARD_BYTES of a safetensors file, and one GGUF file."""
    invocation: Invocation

    @property
    def read_dtype(self) -> torch.dtype | None:
        """What weights are read as: quantised ones are rounded once, to what is written."""
        return DTYPES.get(self.dtype, torch.float32) if self.source.quantised else None

    def gguf(
        self,
        model: Transformer,
        coded: Mapping[str, CodedMatrix] | None = None,
        types: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, MetadataValue], list[GgufTensor], list[str]]:
        """The content of a GGUF file, and what llama.cpp does otherwise.

        Args:
            model: whose.
            coded, types: see `gguf_model`.

        Raises:
            ConfigError: llama.cpp has no such model or tokenizer.
        """
        made = gguf_model(absorbed(model), self.dtype, coded, types)
        tokenizer, lost = self._tokenizer()
        first = {key: made.metadata[key] for key in _GENERAL if key in made.metadata}
        metadata: dict[str, MetadataValue] = {
            **first,
            "general.name": _name(self.source.path),
            **self._sampling(),
            **made.metadata,
            **self._pooling(str(made.metadata[ARCHITECTURE])),
            OWN_LINE: self.invocation.command_line,
            **tokenizer,
        }
        return metadata, made.tensors, [*made.lost, *lost, *self._lost_steps()]

    def _lost_steps(self) -> list[str]:
        """What is done with the model beyond its scores, and has no key in a GGUF file."""
        lost = []
        if self.source.pooling.query or self.source.pooling.passage:
            lost.append("what stands before queries and passages is not in the file, which has no key for it")
        if (longest := self.source.pooling.longest) is not None:
            lost.append(f"that a vector is made of {longest:,} tokens at most is not in the file")
        if read_relevance(self.source.path) is not None:
            lost.append("that it judges pairs of texts is not in the file: --rerank takes it for any model")
        return lost

    def _pooling(self, architecture: str) -> dict[str, MetadataValue]:
        """How vectors are made, where the model was made for them."""
        numbers = {mode: number for number, mode in GGUF_MODES.items()}
        pooling = self.source.pooling
        key = f"{architecture}.{GGUF_POOLING}"
        return {key: Typed("u32", numbers[pooling.mode])} if pooling.is_told else {}

    def _tokenizer(self) -> tuple[dict[str, MetadataValue], list[str]]:
        if self.source.tokenizer is not None:
            try:
                keys, lost = self.source.gguf_tokenizer
            except ConfigError as error:
                raise ConfigError(
                    error.problem, hint=f"{error.hint}; or leave it out with --no-tokenizer"
                ) from None
            own = {key: one for key, one in self._special_ids().items() if key not in keys}
            return {**keys, **own}, lost
        named: dict[str, MetadataValue] = {"tokenizer.ggml.model": str(NO_TOKENIZER[1])}
        return named | self._special_ids(), [
            "there is no tokenizer in the file: other programs cannot read text with it"
        ]

    def _special_ids(self) -> dict[str, MetadataValue]:
        """Those of config.json, where the tokenizer names none: llama.cpp takes others of its own then."""
        config = self.source.config
        ids = {
            "bos": config.bos_token_id,
            "eos": next(iter(config.eos_token_ids), None),
            "padding": config.pad_token_id,
        }
        return {
            f"tokenizer.ggml.{what}_token_id": Typed("u32", one)
            for what, one in ids.items()
            if one is not None and 0 <= one < config.vocab_size
        }

    def _sampling(self) -> dict[str, MetadataValue]:
        """generation_config.json's numbers, under GGUF's names, which has none for `do_sample: false`."""
        given = self.source.generation
        if given.get("do_sample") is False:
            given = {"temperature": 0.0}  # what the others say is of no account
        return {
            key: Typed(kind, given[name])
            for name, (key, kind) in SAMPLING_KEYS.items()
            if is_number(given.get(name))
        }


def decide(source: ConvertSource, out: Path, config: ConvertConfig, invocation: Invocation) -> Written:
    """Fill in what was not asked for.

    Raises:
        UsageError: weights are quantised, and nothing says that they are to become plain numbers; or they
            are plain numbers, and something does.
    """
    form = config.form(out)
    if source.quantised and config.dtype is None and not config.dequantize:
        raise UsageError(
            f"{source.path}: quantised weights, and no dtype to write them as",
            hint="--dequantize for plain numbers, or --dtype float16"
            + (" or q8_0" if form == "gguf" else ""),
        )
    if config.dequantize and not source.quantised:
        raise UsageError(
            f"{source.path}: --dequantize, but the weights are plain numbers", hint="leave --dequantize out"
        )
    dtype = config.dtype or str(dtype_of(source.config)).removeprefix("torch.")
    return Written(source, out, form, dtype, config.max_shard_bytes, invocation)


def plan(written: Written) -> ConvertReport:
    """The report of a conversion, from names and shapes.

    Raises:
        ConfigError: llama.cpp has no such model or tokenizer.
        ResourceError: the disk has too little room.
    """
    source = written.source
    with torch.device("meta"):
        model = Transformer(source.config)
    notes: list[str] = []
    if written.form == "gguf":
        metadata, tensors, notes = written.gguf(model)
        cut = cut_gguf(metadata, tensors, written.max_shard_bytes)
        paths = file_paths(written.out, len(cut))
        size, files, count = sum(one.nbytes for one in cut), len(cut), len(tensors)
    else:
        shapes = list(file_tensors(model, DTYPES[written.dtype]))
        shards = list(split_shards(shapes, written.max_shard_bytes or MAX_SHARD_BYTES))
        size = sum(safetensors_nbytes(map(_shape_of, shard.items())) for shard in shards)
        paths, files, count = [written.out], len(shards), len(shapes)
    require_room(written.out, size, hint="free some space, or a smaller --dtype")
    return ConvertReport(
        source=str(source.path),
        out=str(paths[0]),
        model_type=source.config.model_type,
        form=written.form,
        dtype=written.dtype,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        tensors=count,
        size_bytes=size,
        files=files,
        tied=source.config.tie_word_embeddings,
        tokenizer_sha256=None if source.tokenizer is None else source.tokenizer.sha256,
        chat_template=source.tokenizer is not None and source.tokenizer.chat_template is not None,
        notes=notes,
        written=False,
    )


def _shape_of(item: tuple[str, torch.Tensor]) -> TensorShape:
    name, one = item
    return TensorShape(name, STORED_WORDS[one.dtype], tuple(one.shape))


def _name(path: Path) -> str:
    """A model's name: its folder's, or its file's without the suffix."""
    resolved = path.resolve()
    return resolved.stem if path.is_file() else resolved.name
