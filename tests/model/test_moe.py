"""A mixture of experts: against transformers' of each family, against a slow loop, alone and in a batch."""

import importlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.moe import MixtureOfExperts
from llmkit.model.routing import RoutingTape

D, F, N, K = 16, 24, 8, 3
SIZES = {"hidden_size": D, "num_attention_heads": 2, "num_experts_per_tok": K, "hidden_act": "silu"}
V3 = {"scoring": "sigmoid", "norm_topk_prob": True, "selection_bias": True, "group_score": "best_two"}


@dataclass
class Theirs:
    """A family's block in transformers, and the ExpertsConfig that describes it."""

    block: str
    keys: dict[str, Any]
    """Of config.json."""
    ours: dict[str, Any] = field(default_factory=dict)


def _deepseek(block: str, **keys: Any) -> Theirs:
    groups = {"num_groups": keys.get("n_group", 1), "topk_groups": keys.get("topk_group", 1)}
    sizes = {"n_routed_experts": N, "moe_intermediate_size": F, "n_shared_experts": 2}
    ours = {"routed_scaling_factor": 2.5, "shared_intermediate_size": 2 * F, **groups}
    return Theirs(block, {**sizes, "routed_scaling_factor": 2.5, **keys}, ours)


def _with(theirs: Theirs, **ours: Any) -> Theirs:
    return Theirs(theirs.block, theirs.keys, {**theirs.ours, **ours})


def _v3(block: str, **keys: Any) -> Theirs:
    keys = {"n_group": 4, "topk_group": 2, "norm_topk_prob": True, **keys}
    return _with(_deepseek(block, **keys), **{**V3, "norm_topk_prob": keys["norm_topk_prob"]})


_LOCAL = {"num_local_experts": N, "intermediate_size": F}
_QWEN = {"num_experts": N, "moe_intermediate_size": F, "norm_topk_prob": True}
_LIMITED = {"topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2}
FAMILIES = {
    "mixtral": Theirs("MixtralSparseMoeBlock", _LOCAL, {"norm_topk_prob": True}),
    "qwen2_moe": Theirs(
        "Qwen2MoeSparseMoeBlock",
        {**_QWEN, "norm_topk_prob": False, "shared_expert_intermediate_size": 40},
        {"shared_intermediate_size": 40, "shared_gate": True},
    ),
    "qwen3_moe": Theirs("Qwen3MoeSparseMoeBlock", _QWEN, {"norm_topk_prob": True}),
    "qwen3_moe raw": Theirs("Qwen3MoeSparseMoeBlock", {**_QWEN, "norm_topk_prob": False}),
    "olmoe": Theirs("OlmoeSparseMoeBlock", {"num_experts": N, "intermediate_size": F}),
    "deepseek_v2": _deepseek("DeepseekV2Moe", topk_method="greedy"),
    "deepseek_v2 limited": _deepseek("DeepseekV2Moe", **_LIMITED),
    "deepseek_v3": _v3("DeepseekV3MoE"),
    "deepseek_v3 raw": _v3("DeepseekV3MoE", norm_topk_prob=False, n_group=2, topk_group=1),
    "dots1": _v3("Dots1MoE", n_group=1, topk_group=1),
    "glm4_moe": _v3("Glm4MoeMoE", n_group=1, topk_group=1),
    "gpt_oss": Theirs(
        "GptOssMLP",
        {**_LOCAL, "swiglu_limit": 1.5},
        {"norm_topk_prob": True, "router_bias": True, "expert_bias": True, "swiglu_limit": 1.5},
    ),
    "nemotron_h": Theirs(
        "NemotronHMoE",
        {
            **{"n_routed_experts": N, "moe_intermediate_size": F, "moe_shared_expert_intermediate_size": 20},
            **{"routed_scaling_factor": 2.5, "n_group": 4, "topk_group": 2},
        },
        {
            **{**V3, "gated": False, "shared_intermediate_size": 20, "routed_scaling_factor": 2.5},
            **{"num_groups": 4, "topk_groups": 2},
        },
    ),
}


def _config(*, gated: bool = True, **experts: Any) -> Any:
    """What a mixture reads of a ModelConfig; which families may have which of it is not its business."""
    sizes = {"num_experts": N, "num_experts_per_tok": K, "intermediate_size": F, "layers": (0,)}
    mixture = ExpertsConfig(**{**sizes, **experts})
    return SimpleNamespace(
        hidden_size=D,
        hidden_act="silu" if gated else "relu2",
        mlp_bias=False,
        gated_mlp=gated,
        multipliers=None,
        experts=mixture,
    )


def _mixture(seed: int = 0, dtype: torch.dtype = torch.float64, **experts: Any) -> MixtureOfExperts:
    """Every weight matters, biases too."""
    mixture = MixtureOfExperts(_config(**experts)).to(dtype)
    _fill(mixture, seed)
    return mixture


def _fill(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for tensor in (*module.parameters(), *module.buffers()):
        fan_in = tensor.shape[-1] if tensor.dim() > 1 else 4
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * 2 / fan_in**0.5
        tensor.data.copy_(drawn)


def _inputs(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    return torch.randn(*shape, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


def _their_block(family: str) -> tuple[nn.Module, Theirs]:
    theirs, name = FAMILIES[family], family.split()[0]
    module = importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    block = getattr(module, theirs.block)
    stem = module.__name__.replace("modeling", "configuration")
    config_class = next(
        one
        for key, one in vars(importlib.import_module(stem)).items()
        if key.endswith("Config") and getattr(one, "model_type", None) == name
    )
    config = config_class(**SIZES, **theirs.keys)
    config._experts_implementation = "eager"
    made = block(config)
    _fill(made, seed=3)
    return made.eval(), theirs


def _copy(theirs: nn.Module, ours: MixtureOfExperts) -> None:
    state = {
        name.replace("shared_experts.", "shared_expert."): one for name, one in theirs.state_dict().items()
    }
    state = {name.replace("router.", "gate."): one for name, one in state.items()}
    if "experts.gate_up_proj_bias" in state:  # gpt-oss: matrices lie the other way, gate and up take turns
        stacked = state["experts.gate_up_proj"].mT
        state["experts.gate_up_proj"] = torch.cat([stacked[:, ::2], stacked[:, 1::2]], 1)
        bias = state["experts.gate_up_proj_bias"]
        state["experts.gate_up_proj_bias"] = torch.cat([bias[:, ::2], bias[:, 1::2]], 1)
        state["experts.down_proj"] = state["experts.down_proj"].mT
    ours.load_state_dict(state)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_each_family_gives_what_transformers_gives(family: str) -> None:
    block, theirs = _their_block(family)
    ours = MixtureOfExperts(_config(**theirs.ours))
    _copy(block, ours)
    x = _inputs(3, 7, dtype=torch.float32)
    expected = block(x)
    expected = expected[0] if isinstance(expected, tuple) else expected
    scale = expected.abs().max()
    assert scale > 0.5  # not all but nothing
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-5 * scale.item())
    one = torch.cat([ours(token) for token in x.view(-1, 1, 1, D)]).view_as(x)  # decoding
    torch.testing.assert_close(one, expected, rtol=0, atol=1e-5 * scale.item())


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_each_familys_router_chooses_and_weighs_as_transformers_does(family: str) -> None:
    block, theirs = _their_block(family)
    ours = MixtureOfExperts(_config(**theirs.ours))
    _copy(block, ours)
    x = _inputs(64, dtype=torch.float32)
    their_logits, their_weights, their_chosen = (block.router if family == "gpt_oss" else block.gate)(x)
    routes = ours.gate(x)
    dense = torch.zeros(64, N)
    torch.testing.assert_close(routes.logits, their_logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        dense.scatter(1, routes.chosen, routes.weights),
        dense.scatter(1, their_chosen, their_weights),
        rtol=0,
        atol=1e-6,
    )


MIXTURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "shared": {"shared_intermediate_size": 20, "shared_gate": True, "norm_topk_prob": True},
    "gpt-oss": {"router_bias": True, "expert_bias": True, "swiglu_limit": 1.5, "norm_topk_prob": True},
    "llama 4": {"scoring": "sigmoid", "weighs_inputs": True, "shared_intermediate_size": 20},
    "groups": {**V3, "num_groups": 4, "topk_groups": 2, "routed_scaling_factor": 1.5},
    "without a gate": {**V3, "gated": False, "shared_intermediate_size": 20},
}


def _slow(mixture: MixtureOfExperts, x: Tensor) -> Tensor:
    """Token by token, expert by expert, as the papers write it."""
    experts, settings = mixture.experts, mixture.gate.experts
    out = []
    for token in x.reshape(-1, D):
        routes = mixture.gate(token[None])
        y = torch.zeros(D, dtype=x.dtype)
        for expert, weight in zip(routes.chosen[0], routes.weights[0], strict=True):
            read, counts = (token * weight, 1.0) if settings.weighs_inputs else (token, weight)
            inner = next(iter(experts.parameters()))[expert] @ read  # of gates and ups, or ups alone
            if experts.gate_up_proj_bias is not None:
                inner = inner + experts.gate_up_proj_bias[expert]
            gate, up = inner[:F], inner[F:]
            if settings.swiglu_limit:
                gate = torch.minimum(gate, torch.tensor(settings.swiglu_limit))
                up = up.clip(-settings.swiglu_limit, settings.swiglu_limit)
                inner = (up + 1) * gate / (1 + torch.exp(-1.702 * gate))
            elif not up.numel():
                inner = gate.clip(min=0.0) ** 2
            else:
                inner = up * gate / (1 + torch.exp(-gate))
            part = experts.down_proj[expert] @ inner
            y = y + counts * (
                part if experts.down_proj_bias is None else part + experts.down_proj_bias[expert]
            )
        if mixture.shared_expert is not None:
            shared = mixture.shared_expert(token)
            if mixture.shared_expert_gate is not None:
                shared = shared * torch.sigmoid(mixture.shared_expert_gate(token))
            y = y + shared
        out.append(y)
    return torch.stack(out).view_as(x)


@pytest.mark.parametrize("kind", MIXTURES)
def test_results_and_all_gradients_are_those_of_a_loop_over_tokens(kind: str) -> None:
    mixture, x = _mixture(**MIXTURES[kind]), _inputs(2, 9)
    weigh = _inputs(2, 9, seed=5)
    found = []
    for compute in (mixture, lambda x: _slow(mixture, x)):
        mixture.zero_grad()
        x = x.detach().requires_grad_()
        y = compute(x)
        (y * weigh).sum().backward()
        gradients = {name: parameter.grad for name, parameter in mixture.named_parameters()}
        found.append({"y": y.detach(), "x": x.grad, **gradients})
    ours, slow = found
    for name, expected in slow.items():
        assert expected is not None and expected.abs().max() > 1e-3, name
        torch.testing.assert_close(ours[name], expected, rtol=1e-11, atol=1e-12, msg=name)


@pytest.mark.parametrize("kind", MIXTURES)
def test_the_gradient_is_the_slope(kind: str) -> None:
    mixture, x = _mixture(**MIXTURES[kind]), _inputs(1, 3).requires_grad_()
    weights = [*mixture.experts.parameters(), mixture.gate.weight]
    assert torch.autograd.gradcheck(lambda *_: mixture(x), (x, *weights), fast_mode=True)


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
@pytest.mark.parametrize("kind", MIXTURES)
@torch.no_grad()
def test_a_token_gives_the_same_alone_and_in_any_batch(kind: str, dtype: torch.dtype, digits: float) -> None:
    mixture, x = _mixture(dtype=dtype, **MIXTURES[kind]), _inputs(4, 8, dtype=dtype)
    y = mixture(x)
    scale = y.abs().max().item()
    alone = torch.stack([mixture(token[None, None])[0, 0] for token in x.flatten(0, 1)]).view_as(x)
    rows = torch.cat([mixture(row[None]) for row in x])
    mates = mixture(torch.cat([_inputs(5, 8, dtype=dtype, seed=9), x]))[5:]
    for other in (alone, rows, mates):
        torch.testing.assert_close(other, y, rtol=0, atol=digits * scale)
    assert torch.equal(mixture(x), y)


@torch.no_grad()
def test_no_token_is_dropped_however_many_choose_the_same_expert() -> None:
    mixture, x = _mixture(num_experts_per_tok=1), _inputs(1, 1).expand(2, 50, D)
    y = mixture(x)
    torch.testing.assert_close(y, _slow(mixture, x[:1, :1]).expand_as(y), rtol=1e-12, atol=1e-12)


def test_experts_that_no_row_reached_get_one_too() -> None:
    """Where other processes have the rest of the experts, and wait for the gradients of these."""
    experts = MixtureOfExperts(_config()).experts
    given = torch.empty(0, experts.down_proj.shape[1], requires_grad=True)
    counts = torch.zeros(len(experts.gate_up_proj), dtype=torch.int64)
    found = experts._compute(given, counts[:0], counts)
    assert found.shape == given.shape
    found.sum().backward()
    for stack in experts.parameters():
        assert stack.grad is not None and not stack.grad.any()


def test_an_expert_without_tokens_gets_a_gradient_of_nought() -> None:
    mixture, x = _mixture(), _inputs(1, 1)
    mixture(x).sum().backward()
    chosen = mixture.gate(x[0]).chosen[0]
    gradient = mixture.experts.gate_up_proj.grad
    assert gradient is not None
    reached = gradient.abs().amax((1, 2)).nonzero().flatten()
    assert reached.tolist() == sorted(chosen.tolist())


def test_arithmetic_of_lower_precision_leaves_the_choice_as_it_was() -> None:
    mixture, x = _mixture(dtype=torch.float32), _inputs(4, 8, dtype=torch.float32)
    plain, low = RoutingTape(), RoutingTape()
    y = mixture(x, plain)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = mixture(x, low)
    before, after = plain.routes[mixture.gate][0], low.routes[mixture.gate][0]
    assert torch.equal(before.chosen, after.chosen) and torch.equal(before.logits, after.logits)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - y).abs().max() < 0.05 * y.abs().max()


def test_the_tape_is_told_what_was_chosen() -> None:
    mixture, x, tape = _mixture(), _inputs(2, 5), RoutingTape()
    mixture(x, tape)
    assert torch.equal(tape.routes[mixture.gate][0].chosen, mixture.gate(x.flatten(0, 1)).chosen)


def test_names_of_tensors_are_the_ones_that_files_translate_to() -> None:
    mixture = MixtureOfExperts(
        _config(**MIXTURES["gpt-oss"], **{"shared_intermediate_size": 20}, selection_bias=True)
    )
    assert {name: tuple(one.shape) for name, one in mixture.state_dict().items()} == {
        "gate.weight": (N, D),
        "gate.bias": (N,),
        "gate.e_score_correction_bias": (N,),
        "experts.gate_up_proj": (N, 2 * F, D),
        "experts.gate_up_proj_bias": (N, 2 * F),
        "experts.down_proj": (N, D, F),
        "experts.down_proj_bias": (N, D),
        "shared_expert.gate_proj.weight": (20, D),
        "shared_expert.up_proj.weight": (20, D),
        "shared_expert.down_proj.weight": (D, 20),
    }
