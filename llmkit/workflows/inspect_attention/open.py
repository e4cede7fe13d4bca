"""A model opened to be looked into: all weights as numbers in torch modules, its adapter merged into them."""

from dataclasses import dataclass, replace

import torch

from llmkit.errors import UsageError
from llmkit.model.adapters.add_lora import attach_adapter
from llmkit.model.adapters.load import load_adapter
from llmkit.model.adapters.merge import merge_adapter
from llmkit.model.adapters.weights import AdapterWeights
from llmkit.model.dtypes import DTYPES
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.hardware import choose_device
from llmkit.workflows.generate.adapter import AdapterSource
from llmkit.workflows.generate.job import Job
from llmkit.workflows.model_job import JobOptions, open_model_job


@dataclass(frozen=True, kw_only=True)
class InspectOptions(JobOptions):
    """Which model, and where and how it runs; its adapter is merged into it."""

    allow_special: bool = False
    """Whether what looks like a special token in a plain text becomes it."""


@dataclass(frozen=True)
class Inspected:
    """A model in evaluation mode, and what turns texts into its ids."""

    model: Transformer
    tokenizer: Tokenizer
    encoder: PromptEncoder
    job: Job
    """What is known without the weights."""


def open_inspected(options: InspectOptions) -> Inspected:
    """Read the weights too.

    Quantised matrices become the numbers that they stand for.

    Raises:
        UsageError, ConfigError, DataError, MissingError: see `open_model_job`, `load_model` and
            `load_adapter`; also part of an adapter's strength where it has tensors in place of the model's.
    """
    job = open_model_job(options)
    assert job.tokenizer is not None and job.encoder is not None
    device = choose_device(options.device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    model = load_model(
        options.model,
        dtype=None if options.dtype == "auto" else DTYPES[options.dtype],
        device=device,
        rope_scaling=job.rope_scaling,
    )
    for source in job.adapters.sources:
        attach_adapter(model, _of_strength(source, load_adapter(source.path, job.model)))
        merge_adapter(model)
    return Inspected(model.requires_grad_(False).eval(), job.tokenizer, job.encoder, job)


def _of_strength(source: AdapterSource, weights: AdapterWeights) -> AdapterWeights:
    """An adapter whose change is multiplied with the strength that was asked for."""
    if source.strength == 1.0:
        return weights
    if weights.whole or any(one.magnitude is not None for one in weights.modules.values()):
        raise UsageError(
            f"--adapter {source.path}: a strength of {source.strength:g} for an adapter with DoRA or with "
            "tensors in place of the model's",
            hint="llmkit merge makes one model of both, of any strength",
        )
    scaled = {name: replace(one, scale=one.scale * source.strength) for name, one in weights.modules.items()}
    return replace(weights, modules=scaled)
