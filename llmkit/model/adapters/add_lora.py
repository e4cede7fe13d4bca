"""Adapters into a model and out of it: fresh ones, and values that were trained before."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from llmkit.errors import ConfigError, UsageError
from llmkit.model.adapters.config import LoraConfig
from llmkit.model.adapters.lora import (
    Adapted,
    LoraEmbedding,
    LoraLinear,
    LowRankChange,
    Retrained,
    dense_weight,
)
from llmkit.model.adapters.targets import lora_targets, modules_to_train
from llmkit.model.adapters.weights import TRAINED_ON, AdapterWeights, LowRank
from llmkit.model.tied_head import TiedHead
from llmkit.model.transformer import Transformer

_EMBEDDING, _HEAD = "model.embed_tokens", "lm_head"


def add_lora(model: Transformer, config: LoraConfig, seed: int) -> None:
    """Give a model fresh adapters, which change nothing yet; only they learn.

    Each module's factors come out of the seed and its name, so that neither the order of modules nor the
    number of threads matters: A uniform within 1 / sqrt(in), B zero, as PEFT has them. Modules that the
    family's files keep as one matrix share A, as they do in PEFT.

    Args:
        model: changed in place.
        config: what kind.
        seed: of the factors.

    Raises:
        ConfigError: the config names modules that the model does not have.
        UsageError: it has an adapter already.
    """
    targets = lora_targets(model.config, config)
    whole = modules_to_train(model.config, config, _leaves(model))
    _refuse_adapted(model)
    model.requires_grad_(False)
    for name in whole:
        _retrain(model, name)
    shared: dict[tuple[str, int], nn.Parameter] = {}
    for target in targets:
        base = model.get_submodule(target.name)
        device = _device(base)
        key = (target.held_by.name, target.rank)
        if key not in shared:
            shape = (target.rank, target.held_by.columns)
            drawn = _drawn(shape, f"{seed}/{key[0]}", normal=target.held_by.is_embedding)
            shared[key] = nn.Parameter(drawn.to(device))
        rows = target.held_by.rows[target.held_by.ours.index(target.name)]
        magnitude = None
        if config.use_dora:
            magnitude = dense_weight(base).detach().float().norm(dim=1)  # type: ignore[arg-type]
        values = LowRank(shared[key], torch.zeros(rows, target.rank, device=device), target.scale, magnitude)
        _wrap(model, target.name, values, config.dropout, config.use_rslora)


def attach_adapter(model: Transformer, weights: AdapterWeights) -> None:
    """Give a model an adapter that was trained before; nothing of both learns any more.

    Args:
        model: changed in place.
        weights: of an adapter of such a model.

    Raises:
        ConfigError: the adapter has tensors that the model has no place for.
        UsageError: it has an adapter already.
    """
    _refuse_adapted(model)
    _put_whole(model, weights)
    shared: dict[int, nn.Parameter] = {}
    for name, values in weights.modules.items():
        device = _device(model.get_submodule(name))
        if id(values.A) not in shared:
            shared[id(values.A)] = nn.Parameter(values.A.detach().float().to(device, copy=True))
        magnitude = None if values.magnitude is None else values.magnitude.to(device)
        moved = LowRank(shared[id(values.A)], values.B.to(device), values.scale, magnitude)
        _wrap(model, name, moved, weights.dropout, weights.use_rslora)
    model.requires_grad_(False)


def adapter_of(model: Transformer) -> AdapterWeights:
    """What a model's adapter is now: the parameters themselves, not copies.

    Raises:
        UsageError: it has none.
    """
    adapted = {name: module for name, module in model.named_modules() if isinstance(module, Adapted)}
    if not adapted:
        raise UsageError("the model has no adapter", hint="give it one with add_lora or attach_adapter")
    low_rank = {name: one for name, one in adapted.items() if isinstance(one, LowRankChange)}
    whole: dict[str, Tensor] = {}
    for name, module in adapted.items():
        if isinstance(module, Retrained):
            own = module.own
            if isinstance(own, TiedHead):
                whole[f"{name}.weight"] = own.weight.detach()
            whole |= {f"{name}.{part}": value.detach() for part, value in own.named_parameters()}
    shared: dict[int, Tensor] = {}
    values = {}
    for name, one in low_rank.items():
        A = shared.setdefault(id(one.lora_A), one.lora_A.detach())
        values[name] = LowRank(A, one.values.B, one.scale, one.values.magnitude)
    first = next(iter(low_rank.values()), None)
    return AdapterWeights(
        modules=values,
        whole=whole,
        use_rslora=first is not None and first.use_rslora,
        dropout=0.0 if first is None else first.dropout,
    )


def replace_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in another's place, in the same mode."""
    above, _, last = name.rpartition(".")
    new.train(model.get_submodule(name).training)
    setattr(model.get_submodule(above), last, new)


def _wrap(model: Transformer, name: str, values: LowRank, dropout: float, use_rslora: bool) -> None:
    base = model.get_submodule(name)
    kind = LoraEmbedding if isinstance(base, nn.Embedding) else LoraLinear
    replace_module(model, name, kind(base, values, dropout=dropout, use_rslora=use_rslora))  # type: ignore[arg-type]


def _retrain(model: Transformer, name: str) -> None:
    """A copy to train; a head that is the embedding goes on being the one that is trained."""
    base = model.get_submodule(name)
    if isinstance(base, Retrained):  # the head of an embedding before it
        return
    if isinstance(base, TiedHead):
        replace_module(model, name, Retrained(base, _own_head(base, base.weight)))
        return
    new = Retrained(base)
    replace_module(model, name, new)
    if name == _EMBEDDING and isinstance(model.lm_head, TiedHead):
        assert isinstance(new.own, nn.Embedding)
        head = TiedHead(new.own, model.config)
        if model.lm_head.bias is not None:
            head.bias = nn.Parameter(model.lm_head.bias.detach().clone())
        replace_module(model, _HEAD, Retrained(model.lm_head, head))


def _own_head(base: TiedHead, weight: Tensor) -> nn.Linear:
    """A head that is the embedding no more."""
    rows, columns = weight.shape
    own = nn.Linear(columns, rows, bias=base.bias is not None, device="meta")
    own.weight = nn.Parameter(weight.detach().clone())
    if base.bias is not None:
        own.bias = nn.Parameter(base.bias.detach().clone())
    return own


def _put_whole(model: Transformer, weights: AdapterWeights) -> None:
    """Tensors in place of the base's; what is equal to the base's stays that."""
    by_module: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.whole.items():
        owner, _, kind = name.rpartition(".")
        by_module.setdefault(owner, {})[kind] = tensor
    embedding = by_module.get(_EMBEDDING, {}).get("weight")
    for name, tensors in sorted(by_module.items(), key=lambda one: one[0] != _EMBEDDING):  # a tied head last
        base = model.get_submodule(name)
        if _is_equal(name, base, tensors):
            continue
        if name in weights.modules:
            raise ConfigError(
                f"{name}: the adapter was trained on other numbers than the model has there",
                hint=TRAINED_ON,
            )
        _retrain(model, name)
        module = model.get_submodule(name)
        assert isinstance(module, Retrained)
        if isinstance(module.own, TiedHead) and not _is_same(tensors.get("weight"), embedding):
            module.own = _own_head(module.own, module.own.weight)
        with torch.no_grad():
            for kind, tensor in tensors.items():
                getattr(module.own, kind).copy_(tensor)
    if (
        isinstance(model.lm_head, Retrained)
        and isinstance(model.lm_head.own, TiedHead)
        and _HEAD not in by_module
    ):
        model.lm_head = model.lm_head.base  # type: ignore[assignment]  # the adapter leaves the head to the base


def _is_equal(name: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the model has these tensors already; a module that was changed before them has not."""
    equal = not isinstance(module, Retrained)
    for kind, tensor in tensors.items():
        held = getattr(module, kind, None)
        if not isinstance(held, Tensor):
            raise ConfigError(
                f"the adapter has {name}.{kind}, which the model does not have",
                hint=TRAINED_ON,
            )
        if held.shape != tensor.shape:
            raise ConfigError(
                f"{name}.{kind} is {list(tensor.shape)} in the adapter and {list(held.shape)} in the model",
                hint=f"{TRAINED_ON}: one with as many tokens",
            )
        equal = equal and torch.equal(held.detach().float(), tensor.float().to(held.device))
    return equal


def _is_same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)


def _leaves(model: nn.Module) -> list[str]:
    """Modules with parameters of their own and none below, and a head that is the embedding."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, TiedHead)
        or (list(module.parameters(recurse=False)) and not list(module.children()))
    ]


def _refuse_adapted(model: nn.Module) -> None:
    if any(isinstance(module, Adapted) for module in model.modules()):
        raise UsageError("the model has an adapter already", hint="merge it first")


def _device(module: nn.Module) -> torch.device:
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    assert isinstance(module, TiedHead)  # a head that is the embedding
    return module.weight.device


def _drawn(shape: tuple[int, int], key: str, *, normal: bool) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1
    generator = torch.Generator().manual_seed(seed)
    fresh = torch.empty(shape, dtype=torch.float32, device="cpu")
    if normal:
        return fresh.normal_(generator=generator)
    bound = shape[1] ** -0.5  # kaiming_uniform with a = sqrt(5)
    return fresh.uniform_(-bound, bound, generator=generator)
