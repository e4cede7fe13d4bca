"""What `llmkit convert` reads: a folder, a GGUF file or one of llama2.c, and the tokenizer with it."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from llmkit.errors import DataError, UsageError
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.gguf.values import MetadataValue
from llmkit.formats.sentence_modules import copy_steps, step_files
from llmkit.model.config import ModelConfig
from llmkit.model.grow_embeddings import grow_embeddings
from llmkit.model.llama2c import is_llama2c, llama2c_config, load_llama2c
from llmkit.model.load import load_model
from llmkit.model.pooling import OWN, Pooling, read_pooling, with_head_of, write_pooling
from llmkit.model.quantised.section import quantised_section
from llmkit.model.source import (
    check_model,
    config_source,
    model_files,
    read_model_config,
    read_model_generation,
    read_model_tensors,
)
from llmkit.model.transformer import Transformer
from llmkit.tokens.add_tokens import add_tokens
from llmkit.tokens.gguf.write import gguf_tokenizer_metadata, lost_in_gguf
from llmkit.tokens.load import MERGES, SENTENCEPIECE, SPECIAL_TOKENS_MAP, VOCABULARY, load_tokenizer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import CHAT_TEMPLATE, NAMED_TEMPLATES, TOKENIZER, TOKENIZER_CONFIG, Tokenizer
from llmkit.workflows.artefact import PICKLES, holds_tokenizer
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.stop_tokens import with_turn_end

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_TOKENIZER_FILES = (
    *(TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP, "added_tokens.json"),
    *(VOCABULARY, MERGES, SENTENCEPIECE, "*.tiktoken", CHAT_TEMPLATE, f"{NAMED_TEMPLATES}/*.jinja"),
)


@dataclass(frozen=True)
class ConvertSource:
    """A model to convert; no weight is read yet."""

    path: Path
    config: ModelConfig
    """With the head as it is asked for."""
    tokenizer: Tokenizer | None
    tokenizer_path: Path | None
    generation: Mapping[str, Any]
    """What generation_config.json says."""
    adds_tokens: bool
    """Whether the tokenizer has more tokens than the one that is read, and the model fewer embeddings."""
    quantised: bool
    """Whether most weights are kept in fewer bits than plain numbers have."""

    @property
    def files(self) -> list[Path]:
        """What it is read from."""
        return [self.path] if is_llama2c(self.path) else model_files(self.path)

    @property
    def own_generation(self) -> dict[str, Any]:
        """`generation` without the version of the program that wrote it; a tokenizer in place of the model's
        own has a chat template of its own, whose answers end in its own way."""
        own = {name: value for name, value in self.generation.items() if name != "transformers_version"}
        if self.tokenizer is None or self.tokenizer_path == self.path:
            return own
        return with_turn_end(own, self.config.eos_token_ids, PromptEncoder(self.tokenizer).turn_end)

    def load(self, dtype: torch.dtype | None = None) -> Transformer:
        """The model as it is, its weights mapped where that can be.

        Raises:
            DataError: the files are damaged, or the head is not the embedding that it is to be.
        """
        stored = load_llama2c(self.path) if is_llama2c(self.path) else load_model(self.path, dtype=dtype)
        if self.adds_tokens:
            grow_embeddings(stored, self.config.vocab_size)
        return _with_head(stored, self.config, self.path)

    @cached_property
    def pooling(self) -> Pooling:
        """How vectors are made of its hidden states.

        Raises:
            ConfigError, DataError: see `read_pooling`.
        """
        return OWN if is_llama2c(self.path) else read_pooling(self.path)

    @cached_property
    def gguf_tokenizer(self) -> tuple[dict[str, MetadataValue], list[str]]:
        """The tokenizer as a GGUF file has it, and what llama.cpp does otherwise: once for plan and file.

        Raises:
            ConfigError: llama.cpp has no such tokenizer.
        """
        assert self.tokenizer is not None
        metadata = gguf_tokenizer_metadata(self.tokenizer, vocab_size=self.config.vocab_size)
        return metadata, lost_in_gguf(self.tokenizer)

    def copy_steps(self, folder: Path) -> None:
        """Put into a folder what is done with the model beyond its scores."""
        if self.path.is_dir():
            copy_steps(self.path, folder)
        else:
            write_pooling(folder, self.pooling, self.config.hidden_size)

    def copy_tokenizer(self, folder: Path) -> None:
        """Put the tokenizer's files into a folder: as they are, or written anew where they are not in one."""
        if self.tokenizer is None or self.tokenizer_path is None:
            return
        if self.adds_tokens or not self.tokenizer_path.is_dir():
            self.tokenizer.save(folder)
            return
        for pattern in _TOKENIZER_FILES:
            for file in sorted(self.tokenizer_path.glob(pattern)):
                target = folder / file.relative_to(self.tokenizer_path)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, target)


def open_convert_source(path: Path, config: ConvertConfig) -> ConvertSource:
    """Open a model without reading a weight.

    Raises:
        MissingError: there is none.
        ConfigError: it is none that is supported.
        DataError: it is damaged, or a pickle.
    """
    _refuse_pickle(path)
    if config.base is not None and path.exists():  # what is not there is told below
        raise UsageError("--base is the model of an adapter, and this is a model", hint="leave it out")
    generation: Mapping[str, Any] = {}
    quantised = False
    if is_llama2c(path):
        shape = llama2c_config(path)
    else:
        check_model(path)
        content = read_model_config(path)
        shape = ModelConfig.from_hf(content, source=config_source(path))
        stored = read_model_tensors(path)  # a missing or truncated file is found now
        shape, tensors = with_head_of(shape, path, stored), stored.values()
        generation, _ = read_model_generation(path)
        plain = sum(one.numel for one in tensors if one.dtype in ("F32", "F16", "BF16"))
        if is_gguf(path):
            quantised = 2 * plain < sum(one.numel for one in tensors)
        else:
            quantised = quantised_section(content) is not None
            step_files(path)  # those that cannot be copied are found now
    if config.tie is not None:
        shape = replace(shape, tie_word_embeddings=config.tie)
    where = config.tokenizer or (path if holds_tokenizer(path) else None)
    tokenizer = load_tokenizer(where) if where is not None and config.carry_tokenizer else None
    if tokenizer is not None and tokenizer.vocab_size > shape.vocab_size:
        raise DataError(
            f"{where}: {tokenizer.vocab_size} ids, but {path} has {shape.vocab_size} embeddings",
            hint="name the model's own tokenizer with -t, or leave it out with --no-tokenizer",
        )
    if config.add_tokens:
        if tokenizer is None:
            raise UsageError("--add-token: the model has no tokenizer", hint="add -t TOKENIZER")
        tokenizer = add_tokens(tokenizer, config.add_tokens)
        shape = replace(shape, vocab_size=max(shape.vocab_size, tokenizer.vocab_size))
    return ConvertSource(path, shape, tokenizer, where, generation, bool(config.add_tokens), quantised)


def _refuse_pickle(path: Path) -> None:
    if not path.is_file():
        return
    with path.open("rb") as stream:
        head = stream.read(4)
    what = next((what for magic, what in PICKLES.items() if head.startswith(magic)), None)
    if what is not None:
        raise DataError(
            f"{path}: {what}",
            hint="ask for the model's safetensors; nanoGPT's own code can save its state_dict as such",
        )
    if not is_gguf(path) and not is_llama2c(path):
        raise UsageError(
            f"{path}: neither a GGUF file nor a model of llama2.c",
            hint="give the model's folder: config.json and its weights belong together",
        )


def _with_head(model: Transformer, config: ModelConfig, path: Path) -> Transformer:
    """The same weights, with a head of its own or with none."""
    if config.tie_word_embeddings == model.config.tie_word_embeddings:
        return model
    tensors = model.state_dict()
    if config.tie_word_embeddings:
        head, embedding = tensors.pop(_HEAD), tensors[_EMBEDDING]
        if not torch.equal(head, embedding):
            gap = (head.float() - embedding.float()).abs().max().item()
            raise DataError(
                f"{path}: the head is not the embedding (they differ by up to {gap:.3g}): it cannot be tied",
                hint="leave --tie out",
            )
    else:
        tensors[_HEAD] = tensors[_EMBEDDING].clone()  # safetensors wants no two in one place
    with torch.device("meta"):
        other = Transformer(replace(model.config, tie_word_embeddings=config.tie_word_embeddings))
    other.load_state_dict(tensors, assign=True)
    return other.eval()
