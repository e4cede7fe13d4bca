"""Small models with layers of state."""

from copy import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from llmkit.model.config import ModelConfig
from llmkit.model.config_states import DeltaConfig, Mamba2Config, MultipliersConfig, ShortConvConfig
from llmkit.model.init import initialise
from llmkit.model.transformer import Transformer

SHAPE: dict[str, Any] = {
    **{"vocab_size": 40, "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 3},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512},
}
DELTA = DeltaConfig(
    layers=(0, 2), num_key_heads=2, num_value_heads=4, key_head_dim=6, value_head_dim=5, kernel=4
)
MAMBA = Mamba2Config(layers=(0, 2), num_heads=4, head_dim=16, num_groups=2, state_size=6, kernel=4)
FIELDS: dict[str, dict[str, Any]] = {
    "qwen3_5_text": {
        **{"delta": DELTA, "attention_gate": True, "qk_norm": "head", "norm_plus_one": True},
        **{"norm_eps": 1e-6, "rotary_dim": 2},
    },
    "lfm2": {
        **{"short_conv": ShortConvConfig(layers=(0, 2), kernel=3), "qk_norm": "head"},
        "rope_theta": 1e6,
    },
    "granitemoehybrid": {
        **{"mamba": MAMBA, "no_rope_layers": (0, 1, 2), "attention_scale": 0.3, "residual_scale": 0.5},
        "norm_eps": 1e-6,
    },
    "falcon_h1": {
        **{"mamba": replace(MAMBA, layers=(0, 1, 2), beside_attention=True, norm=False), "head_dim": 16},
        "multipliers": MultipliersConfig(
            **{"attention_in": 0.8, "attention_out": 1.5, "key": 0.6, "state_in": 1.25, "state_out": 0.7},
            **{"state_parts": (0.9, 0.5, 1.3, 0.7, 0.4), "mlp_gate": 0.6, "mlp_out": 0.9},
        ),
    },
    "nemotron_h": {
        **{"mamba": MAMBA, "lone_mlps": (1, 4), "num_hidden_layers": 5, "position": "none"},
        **{"gated_mlp": False, "hidden_act": "relu2"},
    },
}


def hybrid(name: str, **changes: Any) -> Transformer:
    """A model of one of the families, whose scores differ from token to token."""
    config = ModelConfig(model_type=name, initializer_range=0.2, **(SHAPE | FIELDS[name] | changes))
    model = Transformer(config).eval()
    initialise(model, torch.Generator().manual_seed(0))
    return model


def no_family(name: str, **changes: Any) -> Transformer:
    """One that differs from its family in what its config.json cannot say."""
    config = copy(hybrid(name).config)
    for field, value in changes.items():
        object.__setattr__(config, field, value)
    model = Transformer(config).eval()
    initialise(model, torch.Generator().manual_seed(0))
    return model


@pytest.fixture(params=FIELDS)
def model(request: pytest.FixtureRequest) -> Transformer:
    """One of each kind of layer."""
    return hybrid(request.param)
