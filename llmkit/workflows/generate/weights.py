"""What a model takes in memory as the engine holds it, told from the headers of its files."""

from dataclasses import dataclass
from pathlib import Path

from llmkit.engine.block_store import CODES_ESTIMATED_AS
from llmkit.engine.engine import EngineConfig
from llmkit.engine.layer_groups import LayerGroups, groups_on
from llmkit.engine.native.parts import why_not_natively
from llmkit.estimate.architecture_of import architecture_of
from llmkit.estimate.cache import contiguous_cache_bytes
from llmkit.estimate.stored import NumbersAlone
from llmkit.estimate.weight_bytes import weight_bytes
from llmkit.kernels.coded_gguf import GROUPINGS
from llmkit.model.config import ModelConfig
from llmkit.model.quantised.stored import QuantisedInfo
from llmkit.model.source import read_plain_tensors
from llmkit.model.stored_numbers import ARRAY_DTYPES
from llmkit.workflows.generate.job import Job
from llmkit.workflows.generate.placement import cache_together, weights_together


@dataclass(frozen=True)
class JobBytes:
    """What the models of a job take."""

    weights: int
    draft_weights: int
    """Of the model that guesses."""
    groups: LayerGroups
    """Of the model's layers."""
    block: int
    """A block of the model's cache, which has room for a group of layers."""
    draft_block: int
    """A block of the model that guesses, which keeps keys and values of its own in all layers."""

    def cache(self, blocks: int, texts: int) -> int:
        """The model's cache.

        Args:
            blocks: of positions, of all texts together.
            texts: at work at once.
        """
        size, most = EngineConfig.block_tokens, max(EngineConfig.pass_tokens, texts)
        return self.groups.blocks_for(blocks * size, texts, size, most) * self.block

    def caches(self, blocks: int, texts: int) -> int:
        """The same with that of the model that guesses."""
        return self.cache(blocks, texts) + blocks * self.draft_block


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
    config, tp = job.model, job.config.tp
    coded = job.config.weights == "stored" and job.config.kernels != "torch"
    nbytes = held_weight_bytes(
        job.files.model, config, dtype, device, stays_coded=coded and not job.adapters.sources
    )
    kv_name = CODES_ESTIMATED_AS if kv_dtype == "int8" else kv_dtype
    block_tokens = EngineConfig.block_tokens
    groups = groups_on(config, block_tokens, device, whole=tp > 1)
    block = contiguous_cache_bytes(architecture_of(config), kv_name, context=block_tokens)
    block = cache_together(config, block, device, tp) * groups.layers_in_block // config.num_hidden_layers
    draft_weights = draft_block = 0
    if job.drafts is not None and job.drafts.model is not None and job.drafts.path is not None:
        draft_weights = held_weight_bytes(job.drafts.path, job.drafts.model, dtype, device, stays_coded=coded)
        draft_block = contiguous_cache_bytes(architecture_of(job.drafts.model), dtype, context=block_tokens)
    weights = weights_together(config, nbytes, dtype, device, tp)
    return JobBytes(weights, draft_weights, groups, block, draft_block)


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
    if not stays_coded or why_not_natively(config, dtype, device) is not None:
        return plain
    held = 0
    for info in read_plain_tensors(path).values():
        is_coded = isinstance(info, QuantisedInfo) or info.dtype in GROUPINGS
        held += info.nbytes if is_coded else info.numel * ARRAY_DTYPES[dtype].itemsize
    return min(plain, held)
