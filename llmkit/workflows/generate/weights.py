"""What a model takes in memory as the engine holds it, told from the headers of its files."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from llmkit.engine.block_store import CODES_ESTIMATED_AS
from llmkit.engine.draft_model import PASS_TOKENS
from llmkit.engine.engine import EngineConfig
from llmkit.engine.layer_groups import LayerGroups, groups_on
from llmkit.engine.native.parts import runs_natively, why_not_natively
from llmkit.engine.native.states import state_sizes
from llmkit.engine.state_memory import guessing_states, num_slots, verified_states
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.cache import contiguous_cache_bytes
from llmkit.estimate.stored import NumbersAlone
from llmkit.estimate.weight_bytes import weight_bytes
from llmkit.kernels.coded_gguf import GROUPINGS
from llmkit.model.config import ModelConfig
from llmkit.model.layer_sizes import side_by_side
from llmkit.model.quantised.stored import QuantisedInfo
from llmkit.model.source import read_plain_tensors
from llmkit.model.stored_numbers import ARRAY_DTYPES
from llmkit.workflows.generate.job import Job
from llmkit.workflows.generate.placement import cache_together, weights_together


@dataclass(frozen=True)
class ModelBytes:
    """What a model takes."""

    weights: int
    groups: LayerGroups
    """Of its layers."""
    block: int
    """A block of its cache, which has room for a group of layers."""
    pass_tokens: int
    """Most tokens of a pass, as long as texts are not more."""
    state: int = 0
    """What layers that keep a state keep of a text."""
    earlier: Callable[[int], int] = field(default=lambda texts: 0)
    """States to go back to behind guesses, of so many texts at work."""

    def cache(self, blocks: int, texts: int) -> int:
        """Its cache.

        Args:
            blocks: of positions, of all texts together.
            texts: at work at once.
        """
        size, most = EngineConfig.block_tokens, max(self.pass_tokens, texts)
        states = num_slots(texts, self.earlier(texts)) * self.state
        return states + self.groups.blocks_for(blocks * size, texts, size, most) * self.block


@dataclass(frozen=True)
class JobBytes:
    """What the models of a job take."""

    model: ModelBytes
    draft: ModelBytes | None = None
    """The one that guesses, which has keys and values of its own."""

    @property
    def weights(self) -> int:
        """Of both."""
        return self.model.weights + (0 if self.draft is None else self.draft.weights)

    def caches(self, blocks: int, texts: int) -> int:
        """Of both: see `ModelBytes.cache`."""
        draft = 0 if self.draft is None else self.draft.cache(blocks, texts)
        return self.model.cache(blocks, texts) + draft

    def drafts(self, blocks: int, texts: int) -> int:
        """What guesses take in all."""
        return 0 if self.draft is None else self.draft.weights + self.draft.cache(blocks, texts)


def job_bytes(job: Job, dtype: str, kv_dtype: str, device: str) -> JobBytes:
    """What the models of a job take; of a model in parts on GPUs, one part.

    Args:
        job: whose.
        dtype: of weights that are plain numbers.
        kv_dtype: of the cache.
        device: of the first part.

    Raises:
        MissingError, DataError: see `held_weight_bytes`.
    """
    config, tp, drafts = job.model, job.config.tp, job.drafts
    kernels = job.config.kernels != "torch"
    coded = job.config.weights == "stored" and kernels
    weights = held_weight_bytes(
        job.files.model, config, dtype, device, stays_coded=coded and not job.adapters.sources
    )
    kv_name = CODES_ESTIMATED_AS if kv_dtype == "int8" else kv_dtype
    groups = groups_on(config, EngineConfig.block_tokens, device, whole=tp > 1)
    model = ModelBytes(
        weights_together(config, weights, dtype, device, tp),
        groups,
        cache_together(config, _block(config, kv_name, groups), device, tp),
        EngineConfig.pass_tokens,
        _held_state(config, kv_name, natively=kernels and runs_natively(dtype, device)),
        partial(verified_states, guesses=0 if drafts is None else drafts.tokens),
    )
    if drafts is None or drafts.model is None or drafts.path is None:
        return JobBytes(model)
    weights = held_weight_bytes(drafts.path, drafts.model, dtype, device, stays_coded=coded)
    groups = groups_on(drafts.model, EngineConfig.block_tokens, device, whole=False)
    block = _block(drafts.model, dtype, groups)
    state = _held_state(drafts.model, dtype, natively=kernels and runs_natively(dtype, device))
    earlier = partial(guessing_states, guesses=drafts.tokens)
    return JobBytes(model, ModelBytes(weights, groups, block, PASS_TOKENS, state, earlier))


def _block(config: ModelConfig, kv_dtype: str, groups: LayerGroups) -> int:
    """Bytes of a block, which has room for a group of layers; none where all of them keep a state."""
    places = sum(1 / side_by_side(config, layer) for layer in config.attention_layers)
    grows = _kept(config, kv_dtype, blocks=1) - _state(config, kv_dtype)
    return round(grows * groups.layers_in_block / max(1, places))


def _held_state(config: ModelConfig, kv_dtype: str, *, natively: bool) -> int:
    """Bytes of a text's state, which the kernels have in float32 and in whole vectors."""
    if natively and config.state_layers:
        return ARRAY_DTYPES["float32"].itemsize * state_sizes(config).floats * len(config.state_layers)
    return _state(config, kv_dtype)


def _state(config: ModelConfig, kv_dtype: str) -> int:
    """Bytes of a text that do not grow with it."""
    return 2 * _kept(config, kv_dtype, blocks=1) - _kept(config, kv_dtype, blocks=2)


def _kept(config: ModelConfig, kv_dtype: str, blocks: int) -> int:
    """Bytes of all layers for a text of so many blocks."""
    context = blocks * EngineConfig.block_tokens
    return contiguous_cache_bytes(architecture_of(config), kv_dtype, context=context)


def held_weight_bytes(path: Path, config: ModelConfig, dtype: str, device: str, *, stays_coded: bool) -> int:
    """Bytes of the weights while a model writes.

    Args:
        path: of the model.
        config: its.
        dtype: of weights that are plain numbers.
        device: where they are.
        stays_coded: whether the kernels, where they compute, take codes as the file has them.

    Raises:
        MissingError, DataError: see `read_plain_tensors`.
    """
    plain = weight_bytes(architecture_of(config), NumbersAlone(dtype)).nbytes
    if not stays_coded or why_not_natively(dtype, device) is not None:
        return plain
    held = 0
    for info in read_plain_tensors(path).values():
        is_coded = isinstance(info, QuantisedInfo) or info.dtype in GROUPINGS
        held += info.nbytes if is_coded else info.numel * ARRAY_DTYPES[dtype].itemsize
    return min(plain, held)
