"""How the vector of a text is made of a model's hidden states, where its files say so. No torch.

A folder says it in the files of sentence-transformers, a GGUF file by a number.

Sources: sentence-transformers 6, sentence_transformer/modules/pooling.py; llama.cpp's `llama_pooling_type`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from llmkit.errors import ConfigError
from llmkit.formats.gguf.header import read_gguf_header
from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.json_text import json_text
from llmkit.formats.model_folder import CONFIG
from llmkit.formats.sentence_modules import (
    MODULES,
    PROMPTS,
    TRANSFORMER,
    Step,
    read_longest,
    read_prompts,
    read_settings,
    read_steps,
    refuse_others,
    within,
)
from llmkit.model.config import ModelConfig
from llmkit.model.file_names import HEADS

_STEPS = ("Transformer", "Pooling", "Normalize")
_OLD_MODES = (
    *("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens"),
    "lasttoken",
)
"""Until sentence-transformers 5, each `pooling_mode_…` true or false."""
_PASSAGE = ("document", "passage", "corpus")
"""Names of what stands before passages, as encode_document looks for them."""
GGUF_POOLING = "pooling_type"

Mode = Literal["own", "mean", "last"]
GGUF_MODES: dict[int, Mode] = {0: "own", 1: "mean", 3: "last"}


@dataclass(frozen=True)
class Pooling:
    """Which tokens of a text count."""

    mode: Mode = "own"
    """own: nothing is said, and the vector is the mean of the text's own tokens; mean: of all tokens, with
    those that the tokenizer puts around a text; last: the last of these alone."""
    query: str = ""
    """What stands before a query."""
    passage: str = ""
    """What stands before a passage."""
    longest: int | None = None
    """Tokens that the model reads at once; None: as many as its context has."""

    def room(self, context: int) -> int:
        """Tokens that one vector is made of."""
        return context if self.longest is None else min(context, self.longest)

    @property
    def is_told(self) -> bool:
        """Whether the model was made for vectors."""
        return self.mode != "own"

    def skipped(self, tokens: int, before: int) -> int:
        """Tokens of a row, from the first on, that do not count.

        Args:
            tokens: of the row.
            before: those that the tokenizer puts before every text.
        """
        return {"own": before, "mean": 0, "last": tokens - 1}[self.mode]


OWN = Pooling()


def read_pooling(model: Path) -> Pooling:
    """What a folder or a GGUF file says.

    Raises:
        ConfigError: it asks for something that is not supported.
        DataError: a file is damaged.
    """
    if is_gguf(model):
        return _of_gguf(model)
    steps = read_steps(model)
    if not steps or any(one.kind == "LogitScore" for one in steps):  # it judges pairs of texts
        return OWN
    refuse_others(model, steps, _STEPS)
    pooling = next((one for one in steps if one.kind == "Pooling"), None)
    if pooling is None:
        raise ConfigError(
            f"{model / MODULES}: no step says which tokens count", hint="a model with a step called Pooling"
        )
    return _of_folder(model, pooling)


def write_pooling(folder: Path, pooling: Pooling, width: int) -> None:
    """Say in a model's folder how vectors are made, as sentence-transformers reads it, where that is told.

    Args:
        folder: of the model.
        pooling: what to say.
        width: numbers of a vector.
    """
    if not pooling.is_told:
        return
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(paths.items())
    ]
    (folder / MODULES).write_bytes(json_text(modules))
    mode = _OLD_MODES[-1] if pooling.mode == "last" else "mean_tokens"
    told = {f"pooling_mode_{one}": one == mode for one in _OLD_MODES}
    for path in filter(None, paths.values()):
        (folder / path).mkdir()
    (folder / paths["Pooling"] / CONFIG).write_bytes(json_text({"word_embedding_dimension": width, **told}))
    prompts = {"query": pooling.query, "document": pooling.passage}
    (folder / PROMPTS).write_bytes(json_text({"prompts": prompts}))


def with_head_of(config: ModelConfig, folder: Path, names: Iterable[str]) -> ModelConfig:
    """The config of a model that may have no head, since it was made for vectors: the embedding is it then.

    Args:
        config: of the model.
        folder: that it is in.
        names: of the tensors that are there.
    """
    return (
        config if config.tie_word_embeddings else replace(config, tie_word_embeddings=is_bare(folder, names))
    )


def is_bare(folder: Path, names: Iterable[str]) -> bool:
    """Whether a model was made for vectors and saved without a head, whatever its config says.

    Args:
        folder, names: see `with_head_of`.
    """
    return (folder / MODULES).is_file() and set(HEADS).isdisjoint(names)


def _of_folder(model: Path, step: Step) -> Pooling:
    told = step.settings()
    mode = (
        told.get("pooling_mode") or [one for one in _OLD_MODES if told.get(f"pooling_mode_{one}")] or "mean"
    )
    mode = mode[0] if isinstance(mode, list) and len(mode) == 1 else mode
    if mode not in ("mean", "mean_tokens", "lasttoken"):
        raise ConfigError(
            f"{step.path}: pooling by {mode} is not done here",
            hint="a decoder's vectors are the mean of its tokens, or its last one: mean, lasttoken",
        )
    prompts = read_prompts(model)
    query, passage = (
        prompts.get("query", ""),
        next((prompts[one] for one in _PASSAGE if prompts.get(one)), ""),
    )
    if told.get("include_prompt") is False and (query or passage):
        raise ConfigError(
            f"{step.path}: include_prompt is false, which is not done here", hint="true, or no prompts"
        )
    return Pooling("last" if mode == "lasttoken" else "mean", query, passage, _longest(model))


def _longest(model: Path) -> int | None:
    """Tokens that the model is given at once; None: as many as it takes.

    Raises:
        ConfigError: texts become others first, or vectors afterwards.
        DataError: it is no number.
    """
    path = model / TRANSFORMER
    given = read_settings(model, TRANSFORMER)
    if "message" in within(given, "modality_config", path=path):
        raise ConfigError(
            f"{path}: texts as messages of a chat are not done here",
            hint="a modality_config of text alone, and no chat template",
        )
    whole = read_settings(model, PROMPTS)
    for where, told, key in ((path, given, "do_lower_case"), (model / PROMPTS, whole, "truncate_dim")):
        if told.get(key):
            raise ConfigError(
                f"{where}: {key} {told[key]!r} is not done here", hint="take it out of the file"
            )
    return read_longest(model)


def _of_gguf(path: Path) -> Pooling:
    metadata: dict[str, Any] = read_gguf_header(path).metadata
    key = f"{metadata.get('general.architecture')}.{GGUF_POOLING}"
    number = metadata.get(key, 0)
    if number not in GGUF_MODES:
        raise ConfigError(
            f"{path}: {key} {number} is not done here",
            hint="1 is the mean of a text's tokens, 3 its last one",
        )
    return Pooling(GGUF_MODES[number])
