"""HunYuan in config.json: what its models share, and mixtures of experts of one width."""

from dataclasses import dataclass
from typing import Any

from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.families.parts import Constant, Fields, Fixed, Part, Training
from llmkit.model.keys import Keys

_IN_FILES = (
    *("attention_head_dim", "org_vocab_size", "cla_share_factor", "mask_init_id", "norm_type", "mlp_bias"),
    *("use_rotary_pos_emb", "position_embedding_xdrope"),
)
"""Published, and read by no class."""
_NO_MORE = ("n_group", "topk_group", "routed_scaling_factor")
"""The class has no groups of experts, and no factor."""
_OF_OTHERS = (
    *("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"),
    *("num_media_embeds", "moe_drop_tokens", "moe_random_routing_dropped_token", "use_mixed_mlp_moe"),
)
"""Published in files of mixtures, of latent attention and images that they do not have."""
HUNYUAN: tuple[Part, ...] = (
    Fixed({"qk_norm": "rotated"}),
    Constant({"use_qk_norm": True, "use_cla": False}),
    Training(ignored=_IN_FILES),
)
"""What dense models and mixtures have in common."""


@dataclass(frozen=True)
class HunYuanExperts:
    """Softmax scores that add up to 1; published files have a number for each layer, all alike."""

    def read(self, keys: Keys, found: Fields) -> dict[str, Any]:
        """Fields out of keys."""
        width, layers = found["intermediate_size"], found["num_hidden_layers"]
        keys.known("output_router_logits", "num_experts_per_tok")
        keys.known(*_NO_MORE, *_OF_OTHERS)
        for name in _NO_MORE:
            if keys.config.get(name) not in (None, False, 1):
                keys.wrong(name, "false, which is all that is supported")
        alike_in_all_layers(keys, "moe_intermediate_size", width)
        alike_in_all_layers(keys, "num_shared_expert", 1)
        count = keys.whole("num_experts", "num_local_experts", default=1)
        return {
            "experts": ExpertsConfig(
                num_experts=count,
                num_experts_per_tok=alike_in_all_layers(keys, "moe_topk")
                or keys.whole("num_experts_per_tok", default=1),
                intermediate_size=width,
                layers=tuple(range(layers)),
                norm_topk_prob=True,
                shared_intermediate_size=width,
                router_aux_loss_coef=keys.number("router_aux_loss_coef", default=0.0) or 0.0,
                router_z_loss_coef=keys.number("router_z_loss_coef", default=0.0) or 0.0,
            )
        }

    def write(self, fields: Fields) -> dict[str, Any]:
        """Keys out of fields."""
        experts: ExpertsConfig = fields["experts"]
        return {
            "num_experts": experts.num_experts,
            "moe_topk": experts.num_experts_per_tok,
            "router_aux_loss_coef": experts.router_aux_loss_coef,
            "router_z_loss_coef": experts.router_z_loss_coef,
            "output_router_logits": False,
        }


def alike_in_all_layers(keys: Keys, name: str, wanted: int | None = None) -> int | None:
    """A number, or a list with one for each layer, where all are the same; None where the key is absent.

    Args:
        keys: of the file.
        name: the key.
        wanted: what it has to be; None: anything from 1.

    Raises:
        ConfigError: it is something else.
    """
    keys.known(name)
    given = keys.config.get(name)
    values = given if isinstance(given, list) and given else [given]
    if given is None:
        return None
    first = values[0]
    if isinstance(first, bool) or not isinstance(first, int) or first < 1:
        keys.wrong(name, "a whole number of at least 1, or a list of them")
    if any(value != first for value in values) or wanted not in (None, first):
        what = "one number in all layers" if wanted is None else f"{wanted} in all layers"
        keys.wrong(name, f"{what}, which is all that is supported")
    return first
