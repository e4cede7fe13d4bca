"""GPT-2's names and layouts are those of transformers' own class, there and back."""

from collections.abc import Callable
from types import ModuleType

import torch
from torch import nn

from llmkit.model.config import ModelConfig
from llmkit.model.gpt2_names import from_gpt2, to_gpt2
from llmkit.model.transformer import Transformer

Make = Callable[..., ModelConfig]
MakeModel = Callable[..., Transformer]


def test_transformers_own_weights_fit_without_a_file_between(
    make_config: Make, transformers: ModuleType
) -> None:
    config = make_config("gpt2")
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**config.to_hf())).eval()
    ours = Transformer(config).eval()
    ours.load_state_dict(theirs.state_dict())
    ids = torch.arange(30)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=0, atol=1e-5)


def test_queries_keys_and_values_stand_side_by_side_and_projections_are_turned() -> None:
    q, k, v = (torch.full((2, 2), value) for value in (1.0, 2.0, 3.0))
    up = torch.arange(6.0).view(3, 2)
    block = "model.layers.7"
    stored = to_gpt2(
        {
            **{
                f"{block}.self_attn.{name}_proj.weight": one
                for name, one in zip("qkv", (q, k, v), strict=True)
            },
            **{
                f"{block}.self_attn.{name}_proj.bias": one[0]
                for name, one in zip("qkv", (q, k, v), strict=True)
            },
            f"{block}.mlp.up_proj.weight": up,
        }
    )
    assert stored["transformer.h.7.attn.c_attn.weight"].tolist() == [[1, 1, 2, 2, 3, 3]] * 2
    assert stored["transformer.h.7.attn.c_attn.bias"].tolist() == [1, 1, 2, 2, 3, 3]
    assert stored["transformer.h.7.mlp.c_fc.weight"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert len(stored) == 3


def test_a_state_dict_goes_out_and_comes_in_unchanged(make_config: Make, make_model: MakeModel) -> None:
    for fields in ({}, {"tie_word_embeddings": True}, {"position": "sinusoidal"}):
        model = make_model(make_config("gpt2", **fields))
        ours = dict(model.named_parameters())
        other = make_model(model.config, seed=1)
        other.load_state_dict(model.state_dict())
        assert all(torch.equal(one, ours[name]) for name, one in other.named_parameters())


def test_a_name_of_neither_kind_is_kept() -> None:
    strangers = {"scale": torch.ones(1), "model.layers.0.mlp.router.weight": torch.ones(2, 3)}
    for translated in (to_gpt2(strangers), from_gpt2(strangers)):
        assert translated == strangers


def test_names_are_translated_beneath_a_prefix_too(make_config: Make, make_model: MakeModel) -> None:
    model = make_model(make_config("gpt2"))
    wrapper = nn.ModuleDict({"inner": model, "other": nn.Linear(1, 1)})
    state = wrapper.state_dict()
    assert {name.removeprefix("inner.") for name in state if name.startswith("inner.")} == set(
        model.state_dict()
    )
    assert {name for name in state if not name.startswith("inner.")} == {"other.weight", "other.bias"}
    copy = nn.ModuleDict({"inner": make_model(model.config, seed=1), "other": nn.Linear(1, 1)})
    copy.load_state_dict(state)
    torch.testing.assert_close(copy["inner"](torch.arange(5)[None]), model(torch.arange(5)[None]))


def test_a_missing_tensor_is_still_missed(make_config: Make, make_model: MakeModel) -> None:
    model = make_model(make_config("gpt2"))
    state = model.state_dict()
    del state["transformer.h.1.mlp.c_fc.weight"]
    assert model.load_state_dict(state, strict=False).missing_keys == ["model.layers.1.mlp.up_proj.weight"]
