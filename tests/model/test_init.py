"""Fresh weights: the spread of each kind, and the same bytes from the same seed."""

from collections.abc import Callable

import pytest
import torch

from llmkit.model.config import ModelConfig
from llmkit.model.init import initialise
from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from tests.model.recurrent.conftest import hybrid

Make = Callable[..., ModelConfig]


def _fresh(config: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> Transformer:
    model = Transformer(config).to(dtype)
    initialise(model, torch.Generator().manual_seed(seed))
    return model


@pytest.mark.parametrize(("family", "fields"), [("llama", {"mlp_bias": True}), ("qwen3", {}), ("gpt2", {})])
def test_matrices_are_normal_and_those_into_the_stream_are_narrower_with_depth(
    family: str, fields: dict[str, bool], make_config: Make
) -> None:
    config = make_config(
        family, **fields, hidden_size=128, intermediate_size=256, num_hidden_layers=8, initializer_range=0.05
    )
    kinds = set()
    for name, parameter in _fresh(config).named_parameters():
        if parameter.dim() == 1:
            assert (parameter == (0.0 if name.endswith("bias") else 1.0)).all(), name
            continue
        into_stream = name.split(".")[-2] in ("o_proj", "down_proj")
        expected = 0.05 / 4 if into_stream else 0.05  # sqrt(2 * 8 layers) = 4
        assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
        assert abs(parameter.mean().item()) < expected / 10, name
        assert parameter.abs().max() > 2.5 * expected, name  # not uniform
        kinds.add(name.split(".")[-2])
    assert {
        "embed_tokens",
        "lm_head",
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "up_proj",
        "down_proj",
    } <= kinds
    assert ("embed_positions" in kinds) == (family == "gpt2")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(make_config: Make) -> None:
    first, second, other = (_fresh(make_config(), seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_nothing_but_the_generator_decides(make_config: Make) -> None:
    torch.manual_seed(1)
    first = _fresh(make_config())
    torch.manual_seed(2)
    torch.rand(5)
    before = torch.get_rng_state()
    second = Transformer(make_config())
    torch.set_rng_state(before)
    initialise(second, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    theirs = second.state_dict()
    assert all(torch.equal(one, theirs[name]) for name, one in first.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_of_another_dtype_has_the_same_weights_converted(
    dtype: torch.dtype, make_config: Make
) -> None:
    full, other = _fresh(make_config()).state_dict(), _fresh(make_config(), dtype=dtype).state_dict()
    assert all(torch.equal(full[name].to(dtype), other[name]) for name in full)


def test_a_fresh_model_knows_nothing_yet(make_config: Make) -> None:
    config = make_config("qwen3", vocab_size=500, hidden_size=64, tie_word_embeddings=True)
    ids = torch.randint(0, 500, (4, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = _fresh(config)(ids)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    assert loss.item() == pytest.approx(torch.tensor(500.0).log().item(), rel=0.02)  # ln V: a uniform guess


@pytest.mark.parametrize("name", ["tiny-moe", "tiny-moe-free"])
def test_experts_are_drawn_one_by_one_as_wide_as_other_matrices(name: str) -> None:
    config = preset(name, initializer_range=0.05)  # 4 layers: sqrt(2 * 4)
    model = _fresh(config)
    for key, parameter in model.named_parameters():
        if parameter.dim() < 3:
            continue
        expected = 0.05 / 8**0.5 if key.endswith("down_proj") else 0.05
        stds = parameter.std((1, 2))
        torch.testing.assert_close(stds, torch.full_like(stds, expected), rtol=0.05, atol=0)
        assert not torch.equal(parameter[0], parameter[1])
    gate = model.get_parameter("model.layers.1.mlp.gate.weight")
    assert gate.std().item() == pytest.approx(0.05, rel=0.1)
    biases = [one for key, one in model.named_buffers() if key.endswith("e_score_correction_bias")]
    assert len(biases) == (3 if name == "tiny-moe-free" else 0)
    assert not any(one.any() for one in biases)


def test_biases_in_stacks_and_sinks_are_nought_and_norms_change_nothing() -> None:
    sizes = {
        "vocab_size": 32,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_dim": 8,
    }
    keys = {
        "model_type": "gpt_oss",
        **sizes,
        "num_key_value_heads": 1,
        "num_local_experts": 4,
        "intermediate_size": 8,
    }
    model = _fresh(
        ModelConfig.from_hf(
            {**keys, "num_experts_per_tok": 2, "rope_theta": 1e4, "max_position_embeddings": 64}
        )
    )
    for key, parameter in model.named_parameters():
        if key.endswith(("bias", "sinks")):
            assert not parameter.any(), key
        elif "norm" in key:
            assert (parameter == 1).all(), key
        else:
            assert parameter.std() > 0, key
    keys = {"model_type": "gemma2", **sizes, "num_key_value_heads": 1, "intermediate_size": 8}
    for key, parameter in _fresh(
        ModelConfig.from_hf({**keys, "max_position_embeddings": 64})
    ).named_parameters():
        assert bool(parameter.any()) != ("norm" in key), key  # multiplied with 1 + weight


def test_layers_of_state_begin_as_their_papers_begin() -> None:
    tensors = {key: one.detach() for key, one in hybrid("qwen3_5_text").named_parameters()}
    layer = {key.rpartition("linear_attn.")[2]: one for key, one in tensors.items() if ".0.linear" in key}
    assert bool((layer["dt_bias"] == 1).all()) and bool((layer["norm.weight"] == 1).all())
    decays = layer["A_log"].exp()
    assert float(decays.min()) >= 0.01 and float(decays.max()) <= 16 and float(decays.std()) > 0
    conv = layer["conv1d.weight"]
    assert float(conv.abs().max()) <= 0.5 and conv.std().item() == pytest.approx(0.5 / 3**0.5, rel=0.1)
    wide, narrow = layer["in_proj_z.weight"].std().item(), layer["out_proj.weight"].std().item()
    assert narrow == pytest.approx(wide / 6**0.5, rel=0.15)
    assert not tensors["model.layers.0.input_layernorm.weight"].any()  # to which 1 is added


def test_mamba_2_begins_as_its_paper_begins() -> None:
    tensors = {key: one.detach() for key, one in hybrid("granitemoehybrid").named_parameters()}
    layer = {key.rpartition("mamba.")[2]: one for key, one in tensors.items() if ".0.mamba" in key}
    steps, decays = torch.nn.functional.softplus(layer["dt_bias"]), layer["A_log"].exp()
    assert 0.001 <= float(steps.min()) < float(steps.max()) <= 0.1
    assert 1 <= float(decays.min()) < float(decays.max()) <= 16
    assert bool((layer["D"] == 1).all()) and bool((layer["norm.weight"] == 1).all())
    assert not layer["conv1d.bias"].any()
    wide, narrow = layer["in_proj.weight"].std().item(), layer["out_proj.weight"].std().item()
    assert narrow == pytest.approx(wide / 6**0.5, rel=0.15)


def test_the_factors_of_xielu_begin_as_its_paper_has_them(make_config: Make) -> None:
    sizes = {"hidden_act": "xielu", "gated_mlp": False, "qk_norm": "head"}
    model = Transformer(make_config(model_type="apertus", **sizes))
    for parameter in model.parameters():
        parameter.data.fill_(9.0)
    initialise(model, torch.Generator().manual_seed(0))
    act = model.model.layers[1].mlp.act_fn
    factors = torch.nn.functional.softplus(torch.cat((act.alpha_p, act.alpha_n)))
    torch.testing.assert_close(factors, torch.tensor([0.8, 0.3]))
