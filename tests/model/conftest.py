"""Small models of every family whose every weight matters, and transformers to hold them against."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.config_states import DeltaConfig, Mamba2Config
from llmkit.model.transformer import Transformer

SIZES: dict[str, Any] = {
    **{"vocab_size": 80, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "max_position_embeddings": 64},
}
EXPERTS: dict[str, Any] = {
    **{"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 48},
    "layers": (0, 1),
}
SWITCHES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {"attention_bias": True},
    "qwen3": {"qk_norm": "head"},
    "gpt2": {
        **{"norm": "layer", "position": "learned", "gated_mlp": False, "hidden_act": "gelu_new"},
        **{"attention_bias": True, "output_bias": True, "mlp_bias": True},
    },
    "gemma2": {
        **{"norm_plus_one": True, "norm_placement": "both", "embedding_scale": 32**0.5},
        **{"attention_scale": 0.25, "hidden_act": "gelu_pytorch_tanh"},
    },
    "phi3": {},
    "dots1": {},
    "olmo2": {"qk_norm": "projection", "norm_placement": "after"},
    "gpt_neox": {"norm": "layer", "gated_mlp": False, "mlp_bias": True, "residual": "parallel"},
    "cohere": {
        **{"norm": "layer", "norm_bias": False, "residual": "parallel_one_norm"},
        "rope_interleaved": True,
    },
    "granite": {"attention_scale": 0.25},
    "mixtral": {"experts": ExpertsConfig(norm_topk_prob=True, **EXPERTS)},
    "qwen3_moe": {"qk_norm": "head", "experts": ExpertsConfig(**EXPERTS)},
    "qwen3_5_text": {
        **{"qk_norm": "head", "norm_plus_one": True, "attention_gate": True},
        "delta": DeltaConfig(
            layers=(0,), num_key_heads=2, num_value_heads=6, key_head_dim=16, value_head_dim=16, kernel=4
        ),
    },
    "granitemoehybrid": {
        "attention_scale": 0.25,
        "mamba": Mamba2Config(layers=(0,), num_heads=4, head_dim=16, num_groups=1, state_size=8, kernel=4),
    },
    "nemotron_h": {
        **{"num_hidden_layers": 3, "lone_mlps": (1,), "position": "none", "gated_mlp": False},
        "hidden_act": "relu2",
        "mamba": Mamba2Config(layers=(0,), num_heads=4, head_dim=16, num_groups=2, state_size=8, kernel=4),
    },
    "gpt_oss": {
        **{"attention_sinks": True, "attention_bias": True, "output_bias": True},
        "experts": ExpertsConfig(
            **{"norm_topk_prob": True, "router_bias": True, "expert_bias": True, "swiglu_limit": 7.0},
            **EXPERTS,
        ),
    },
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from threads, and lose tenfold where other work holds the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def make_config() -> Callable[..., ModelConfig]:
    """A config of some kilobytes: `make_config("qwen3", num_key_value_heads=2)`."""

    def make(family: str = "llama", **fields: Any) -> ModelConfig:
        return ModelConfig(**{"model_type": family, **SIZES, **SWITCHES[family], **fields})

    return make


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Transformer]:
    """The model of a config with every parameter at random, norms and biases too: no path is a no-op."""

    def make(config: ModelConfig, seed: int = 0, std: float = 0.2) -> Transformer:
        model = Transformer(config).eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(0.0, std, generator=generator)
                if parameter.dim() == 1 and name.endswith("weight"):
                    parameter.add_(1.0)
        return model

    return make


@pytest.fixture(scope="session")
def transformers() -> ModuleType:
    """The library, imported when the first test asks for it: that takes seconds."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    return transformers


@pytest.fixture(scope="session")
def open_theirs(transformers: ModuleType) -> Callable[[Path], nn.Module]:
    """A folder as transformers opens it, with attention written out; every tensor must find its place."""

    def load(folder: Path) -> nn.Module:
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        wrong = {kind: names for kind, names in found.items() if names}
        assert wrong == {}
        return model

    return load


@pytest.fixture(scope="session")
def logit_gap() -> Callable[..., float]:
    """The largest difference between two models' logits over random ids, which must not be all alike."""

    @torch.no_grad()
    def measure(ours: Transformer, theirs: nn.Module, length: int = 24) -> float:
        generator = torch.Generator().manual_seed(1)
        ids = torch.randint(0, ours.config.vocab_size, (2, length), generator=generator)
        mine, other = ours(ids), logits_of(theirs, ids)
        assert other.std() > 0.05
        return (mine - other).abs().max().item()

    return measure


def logits_of(model: nn.Module, ids: Tensor) -> Tensor:
    """What either library calls its logits."""
    result = model(ids)
    return result if isinstance(result, Tensor) else result.logits
