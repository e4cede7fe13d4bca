"""One layer: attention and MLP, each added to the residual stream, with norms where the family has them."""

import torch
from torch import Tensor, nn

from llmkit.model.attention import Attention
from llmkit.model.config import ModelConfig
from llmkit.model.config_states import MultipliersConfig
from llmkit.model.held import Both, HeldLayer
from llmkit.model.latent_attention import LatentAttention
from llmkit.model.layer_sizes import mlp_width
from llmkit.model.layout import Layout
from llmkit.model.mlp import build_mlp
from llmkit.model.moe import ExpertsBesideMLP, MixtureOfExperts, build_mixture
from llmkit.model.norm import norm_of_width
from llmkit.model.own_inputs import OwnInput
from llmkit.model.recurrent.gated_delta import GatedDelta
from llmkit.model.recurrent.held import StateLayer
from llmkit.model.recurrent.mamba2 import Mamba2
from llmkit.model.recurrent.short_conv import ShortConv
from llmkit.model.routing import RoutingTape
from llmkit.model.shapes import branch_norms, mixer_name


class Block(nn.Module):
    """A transformer layer; attribute names are the tensor names of the llama, gemma2 and olmo2 families.

    Norms before: input_layernorm, post_attention_layernorm. After: post_attention_layernorm,
    post_feedforward_layernorm. Both: these three and pre_feedforward_layernorm.
    """

    self_attn: Attention | LatentAttention
    """In layers that have attention."""
    input_layernorm: nn.Module
    post_attention_layernorm: nn.Module
    pre_feedforward_layernorm: nn.Module
    post_feedforward_layernorm: nn.Module

    def __init__(self, config: ModelConfig, layer: int) -> None:
        """
        Args:
            config: of the model.
            layer: its number, from 0.
        """
        super().__init__()
        sparse = config.experts is not None and layer in config.experts.layers
        self.mixer_name = mixer_name(config, layer)
        """Of the module by which positions learn of each other, or of an MLP that is all there is; a layer
        that keeps a state beside keys has `mamba` too."""
        self.is_lone = config.lone_mlps is not None
        if self.mixer_name != "mlp":
            setattr(self, self.mixer_name, _mixer(config, layer))
        self.has_both = config.has_both and layer in config.state_layers
        if self.has_both and config.mamba is not None:
            self.mamba = Mamba2(config, config.mamba)
        self.multipliers = config.multipliers or MultipliersConfig()
        if self.mixer_name == "mlp" or not self.is_lone:
            self.mlp = build_mixture(config) if sparse else build_mlp(config, mlp_width(config, layer))
        self.residual, self.residual_scale = config.residual, config.residual_scale
        self.placement = config.norm_placement
        for name in branch_norms(config):
            setattr(self, name, norm_of_width(config, config.hidden_size))
        self.own_input = None if config.own_inputs is None else OwnInput(config, config.own_inputs)
        self.layer_scalar: Tensor | None
        self.register_buffer("layer_scalar", torch.ones(1) if config.layer_scalar else None)

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        cache: HeldLayer | StateLayer | Both | None = None,
        routing: RoutingTape | None = None,
    ) -> Tensor:
        """x: (B, T, D). Returns (B, T, D)."""
        mix: nn.Module = getattr(self, self.mixer_name)
        if self.has_both or isinstance(cache, Both):
            assert cache is None or isinstance(cache, Both)
            x = x + self._scaled(self._side_by_side(self.input_layernorm(x), layout, cache))
            return x + self._scaled(self._feed(self.post_attention_layernorm(x), routing))
        if self.is_lone:
            normed = self.input_layernorm(x)
            y = self._feed(normed, routing) if self.mixer_name == "mlp" else mix(normed, layout, cache)
            return x + self._scaled(y)
        if self.residual != "serial":
            return self._parallel(x, mix, layout, cache, routing)
        if self.placement == "before":
            x = x + self._scaled(mix(self.input_layernorm(x), layout, cache))
            return x + self._scaled(self._feed(self.post_attention_layernorm(x), routing))
        if self.placement == "after":
            x = x + self._scaled(self.post_attention_layernorm(mix(x, layout, cache)))
            return x + self._scaled(self.post_feedforward_layernorm(self._feed(x, routing)))
        attended = mix(self.input_layernorm(x), layout, cache)
        x = x + self._scaled(self.post_attention_layernorm(attended))
        read = self.pre_feedforward_layernorm(x)
        beside = isinstance(self.mlp, ExpertsBesideMLP)
        fed = self.mlp(read, routing, x) if beside else self._feed(read, routing)
        return self._left(x + self._scaled(self.post_feedforward_layernorm(fed)), layout)

    def _left(self, x: Tensor, layout: Layout) -> Tensor:
        """What the next layer reads: with the layer's own embedding, times its scalar."""
        if self.own_input is not None:
            assert layout.own is not None
            x = self.own_input(x, layout.own)
        return x if self.layer_scalar is None else x * self.layer_scalar

    def _parallel(
        self,
        x: Tensor,
        mix: nn.Module,
        layout: Layout,
        cache: HeldLayer | StateLayer | None,
        routing: RoutingTape | None,
    ) -> Tensor:
        """Both branches read the same stream (GPT-J)."""
        normed = self.input_layernorm(x)
        other = normed if self.residual == "parallel_one_norm" else self.post_attention_layernorm(x)
        x = x + self._scaled(mix(normed, layout, cache))
        return x + self._scaled(self._feed(other, routing))

    def _side_by_side(self, x: Tensor, layout: Layout, cache: Both | None) -> Tensor:
        """What attention and Mamba-2 give of the same rows."""
        keys, state = (None, None) if cache is None else cache
        read: Tensor = self.mamba(x, layout, state)
        attended: Tensor = self.self_attn(x, layout, keys)
        return read * self.multipliers.state_out + attended * self.multipliers.attention

    def _feed(self, x: Tensor, routing: RoutingTape | None) -> Tensor:
        y: Tensor = self.mlp(x, routing) if isinstance(self.mlp, MixtureOfExperts) else self.mlp(x)
        return y if self.multipliers.mlp_out == 1.0 else y * self.multipliers.mlp_out

    def _scaled(self, branch: Tensor) -> Tensor:
        return branch if self.residual_scale == 1.0 else branch * self.residual_scale


def _mixer(config: ModelConfig, layer: int) -> nn.Module:
    if config.delta is not None and layer in config.delta.layers:
        return GatedDelta(config, config.delta)
    if config.short_conv is not None and layer in config.short_conv.layers:
        return ShortConv(config, config.short_conv)
    if config.mamba is not None and layer in config.mamba.layers and not config.has_both:
        return Mamba2(config, config.mamba)
    return Attention(config, layer) if config.latent is None else LatentAttention(config)
