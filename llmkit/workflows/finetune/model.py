"""The model of a run as it starts: the base, what of it is trained, and where a checkpoint left it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.peft import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from llmkit.model.adapters.add_lora import add_lora
from llmkit.model.adapters.save import save_adapter
from llmkit.model.load import load_model
from llmkit.model.quantised.base import load_quantised_base, quantise_base
from llmkit.model.quantised.stored import QuantisedInfo
from llmkit.model.source import read_plain_tensors
from llmkit.model.trainable import trainable_layers
from llmkit.model.transformer import Transformer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.finetune_config import FinetuneConfig
from llmkit.train.objective import Reference, adapter_reference, frozen_reference
from llmkit.train.state import Product, load_trained, load_weights
from llmkit.workflows.pretrain.companions import whole_model
from llmkit.workflows.pretrain.model import ModelSource

ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)


def product_of(config: FinetuneConfig, base: Path, tokenizer: Tokenizer) -> Product:
    """What a run makes: PEFT's folder of an adapter, or a whole model.

    Args:
        config: says which.
        base: the model that is trained, or that the adapter is for, as it was named.
        tokenizer: with the chat template of the examples.
    """
    if config.lora is None:
        return whole_model(base, PromptEncoder(tokenizer).turn_end)
    return Product(ADAPTER_FILES, lambda model, folder: save_adapter(model, folder, str(base)))


def build_finetuned(
    source: ModelSource, config: FinetuneConfig, device: torch.device, checkpoint: Path | None
) -> Transformer:
    """The model to train: everything that is not trained wants no gradient.

    Args:
        source: the base, a model folder or GGUF file, and its shape.
        config: what is trained.
        device: where it is put.
        checkpoint: of this run, to go on from; None: the beginning.
    """
    assert source.weights is not None
    if config.lora is None:
        if checkpoint is None:
            model = load_weights(source.weights, device, source.rope_scaling)
        else:  # it says itself how it is stretched
            model = load_weights(checkpoint, device)
        model.config = replace(model.config, experts=source.config.experts)  # as this run weighs their losses
        choose_trained(model, config)
        return model
    model = load_frozen(source.weights, device, quantised=config.qlora)
    choose_trained(model, config)
    if checkpoint is not None:
        load_trained(model, checkpoint)
    return model


def choose_trained(model: Transformer, config: FinetuneConfig) -> None:
    """Say what of a model wants a gradient, and add the adapters."""
    if config.lora is not None:
        add_lora(model, config.lora, config.seed)
    elif config.last_layers is not None:
        trainable_layers(model, config.last_layers)


def load_frozen(
    path: Path,
    device: torch.device,
    *,
    quantised: bool = False,
    rope_scaling: Mapping[str, Any] | None = None,
) -> Transformer:
    """A model that is not trained.

    Args:
        path: model folder or GGUF file.
        device: where it is put.
        quantised: the matrices of the layers as the file quantises them, in NF4 where it does not; else all
            of it in float32, of which a CPU reads float32 files in place.
        rope_scaling: in place of what its config.json says; not with `quantised`.
    """
    if quantised and is_quantised(path):
        model = load_quantised_base(path, dtype=torch.float32).to(device)
    else:
        model = load_model(path, dtype=torch.float32, device=device, rope_scaling=rope_scaling)
        if quantised:
            quantise_base(model)
    model.requires_grad_(False)
    return model


def is_quantised(path: Path) -> bool:
    """Whether a model's file or folder has quantised matrices; gpt-oss's stacks of experts do not count."""
    tensors = read_plain_tensors(path).values()
    if is_gguf(path):
        return any(tensor.dtype not in ("F32", "F16", "BF16") for tensor in tensors)
    return any(isinstance(tensor, QuantisedInfo) and not tensor.experts for tensor in tensors)


def build_reference(source: ModelSource, config: FinetuneConfig, device: torch.device) -> Reference:
    """The base that a model in training is compared with: itself without adapters, or a second copy."""
    if config.lora is not None:
        return adapter_reference()
    assert source.weights is not None
    return frozen_reference(load_frozen(source.weights, device, rope_scaling=source.rope_scaling))
