"""The peers of a bench: which there are, and transformers, in this process, on the same weights in memory."""

import copy
import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmkit.errors import MissingError, UsageError
from llmkit.model.save import file_tensors
from llmkit.model.transformer import Transformer
from llmkit.probe.config import BenchKind
from llmkit.train.config import Recipe
from llmkit.workflows.bench.kernels import STORED
from llmkit.workflows.bench.llama import LLAMA_CPP, find_library

TRANSFORMERS = "transformers"


def peer_name(against: str | None) -> str | None:
    """Whose the peer's rows are: `llama.cpp` for `llama.cpp:PATH`.

    Raises:
        UsageError: no such peer.
    """
    name, separator, path = (against or "").partition(":")
    if against is None or (name == TRANSFORMERS and not separator):
        return against
    if name == LLAMA_CPP and (path or not separator):
        return name
    raise UsageError(
        f"--against {against}: no such peer", hint=f"{TRANSFORMERS}, {LLAMA_CPP} or {LLAMA_CPP}:PATH"
    )


def peer_library(against: str | None) -> Path | None:
    """llama.cpp's library, where it is the peer.

    Raises:
        UsageError, MissingError: as `check_peer`.
    """
    if peer_name(against) != LLAMA_CPP:
        return None
    return find_library((against or "").partition(":")[2] or None)


def check_peer(against: str | None, kind: BenchKind, weights: Sequence[str]) -> None:
    """Find out before any work whether the peer is there, and can do what is asked.

    Raises:
        MissingError: it is not installed.
        UsageError: no such peer, or not for this bench or these weights.
    """
    name = peer_name(against)
    if name == LLAMA_CPP:
        if kind not in ("prefill", "decode"):
            raise UsageError(
                f"--against {LLAMA_CPP}: it has no bench {kind} here", hint=f"--against {TRANSFORMERS}"
            )
        peer_library(against)
    elif name == TRANSFORMERS:
        if find_spec(TRANSFORMERS) is None:
            raise MissingError(
                "--against transformers: the package is not installed", hint="pip install transformers"
            )
        if any(one != STORED for one in weights):
            raise UsageError(
                f"--against {TRANSFORMERS}: it has no {' and no '.join(weights)} weights here",
                hint=f"--weights {STORED}, or --against {LLAMA_CPP}",
            )


def as_transformers(model: Transformer) -> Any:
    """transformers' own class for a model, over the same tensors, copied only where its files have
    another layout; nothing is drawn."""
    transformers = _import()
    config: Any = transformers.AutoConfig.for_model(**model.config.to_hf())
    kind = getattr(transformers, config.architectures[0])
    weights = dict(file_tensors(model))
    dtype = model.model.embed_tokens.weight.dtype
    return kind.from_pretrained(None, config=config, state_dict=weights, dtype=dtype).eval()


def open_transformers(folder: Path, dtype: torch.dtype) -> Any:
    """transformers' own class for a model, read from its folder."""
    return _import().AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


class PeerText:
    """Texts that transformers goes on from: its cache holds some tokens, and each run begins there.

    `prepare` copies the cache, outside the time, since a run adds to it.
    """

    def __init__(self, model: Any, ids: Tensor) -> None:
        """
        Args:
            model: as `as_transformers` gives it.
            ids: (B, S) what the cache is to hold of each text; S may be 0.
        """
        self.model = model
        names = inspect.signature(type(model).forward).parameters
        self.cache_name = "cache" if "cache" in names else "past_key_values"  # the older name
        self._held: Any = _import().DynamicCache(config=model.config)  # layers of state have their own kind
        self._cache: Any = None
        self.next_token: Tensor | None = None
        """(B, 1) the best token after those held; None where none is held."""
        if ids.shape[1]:
            self.next_token = self._read(ids, self._held)

    def prepare(self) -> None:
        """A cache for the next run."""
        self._cache = copy.deepcopy(self._held)

    def read(self, ids: Tensor) -> Tensor:
        """One forward pass over ids (B, T), the last position scored. Returns the best next tokens (B, 1)."""
        return self._read(ids, self._cache)

    def write(self, ids: Tensor, tokens: int) -> Tensor:
        """`generate`, greedy, exactly `tokens` new ones.

        Args:
            ids: (B, S + 1), of which the cache holds all but the last.

        Returns:
            (B, tokens) the new ids.
        """
        settings = _import().GenerationConfig(
            do_sample=False, max_new_tokens=tokens, eos_token_id=None, pad_token_id=0, use_cache=True
        )
        ids_out = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=settings,
            **{self.cache_name: self._cache},
        )
        new: Tensor = ids_out[:, ids.shape[1] :]
        assert new.shape[1] == tokens
        return new

    @torch.inference_mode()
    def _read(self, ids: Tensor, cache: Any) -> Tensor:
        scores = self.model(ids, use_cache=True, logits_to_keep=1, **{self.cache_name: cache}).logits
        return scores[:, -1].argmax(-1, keepdim=True)


def peer_optimizer(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """Fused AdamW over every parameter, as a user of torch makes it."""
    return torch.optim.AdamW(
        model.parameters(),
        lr=recipe.lr,
        betas=(recipe.beta1, recipe.beta2),
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def peer_step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    micro_batch_rows: int,
    draw: Callable[[], Tensor],
) -> Callable[[], float]:
    """One update as a user of transformers and torch writes it: autocast, clipping, AdamW.

    Args:
        model: as `as_transformers` gives it.
        optimizer: of its parameters.
        recipe: the same arithmetic as llmkit's.
        micro_batch_rows: rows of one pass.
        draw: gives a batch, (B, T) ids.

    Returns:
        A function that makes one update and returns its loss.
    """
    model.train()
    mixed = recipe.dtype == "bfloat16"

    def step() -> float:
        ids, total = draw(), 0.0
        for part in torch.split(ids, micro_batch_rows):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
                loss = model(input_ids=part, labels=part, use_cache=False).loss * (len(part) / len(ids))
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
        return total

    return step


def _import() -> Any:
    """The package, with nothing to say on stderr."""
    package: Any = import_module(TRANSFORMERS)
    package.utils.logging.set_verbosity_error()
    package.utils.logging.disable_progress_bar()
    return package
