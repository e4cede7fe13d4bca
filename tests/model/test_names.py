"""Tensors as files keep them, and back: by hand for each layout, and as transformers' classes have them."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from llmkit.model.config import ModelConfig
from llmkit.model.families.stored import How
from llmkit.model.names import Group, groups
from llmkit.model.transformer import Transformer

Make = Callable[..., ModelConfig]
MakeModel = Callable[..., Transformer]
N, D, F = 3, 4, 2
GATE_UP = torch.arange(float(N * 2 * F * D)).view(N, 2 * F, D)
"""Rows of the gate first."""
QKV = tuple(
    torch.arange(float(rows * D)).view(rows, D) + 100 * number for number, rows in enumerate((4, 4, 4))
)


def _group(how: How, ours: int, theirs: int, heads: int = 2) -> Group:
    return Group(tuple("abc"[:ours]), tuple(f"t{n}" for n in range(theirs)), how, heads)


CASES: dict[How, tuple[Group, tuple[Tensor, ...], list[Tensor]]] = {
    "same": (_group("same", 1, 1), (QKV[0],), [QKV[0]]),
    "row": (_group("row", 1, 1), (QKV[0][0],), [QKV[0][:1]]),
    "turned": (_group("turned", 1, 1), (QKV[1],), [QKV[1].T]),
    "joined": (_group("joined", 3, 1), QKV, [torch.cat(QKV)]),
    "joined_turned": (_group("joined_turned", 3, 1), QKV, [torch.cat(QKV).T]),
    "joined_by_head": (
        _group("joined_by_head", 3, 1),
        QKV,
        [torch.cat([one[head * 2 : head * 2 + 2] for head in range(2) for one in QKV])],
    ),
    "experts": (
        _group("experts", 1, 2 * N),
        (GATE_UP,),
        [GATE_UP[expert, half * F : half * F + F] for expert in range(N) for half in range(2)],
    ),
    "stack_turned": (_group("stack_turned", 1, 1), (GATE_UP,), [torch.stack([one.T for one in GATE_UP])]),
    "stack_in_turns": (
        _group("stack_in_turns", 1, 1),
        (GATE_UP,),
        [torch.stack([one[[0, 2, 1, 3]].T for one in GATE_UP])],  # gate, up, gate, up
    ),
}


@pytest.mark.parametrize("how", CASES)
def test_a_layout_is_what_its_name_says_there_and_back(how: How) -> None:
    group, ours, theirs = CASES[how]
    packed = group.pack(ours)
    assert [one.tolist() for one in packed] == [one.tolist() for one in theirs]
    assert group.shapes([tuple(one.shape) for one in ours]) == [tuple(one.shape) for one in theirs]
    back = group.unpack([one.contiguous() for one in theirs], [len(one) for one in ours])
    assert [one.tolist() for one in back] == [one.tolist() for one in ours]
    assert all(one.is_contiguous() for one in back)


@pytest.mark.parametrize("how", CASES)
def test_numpys_arrays_are_laid_out_as_tensors_are(how: How) -> None:
    group, ours, theirs = CASES[how]
    mine, files = ([one.contiguous().numpy().astype(np.uint16) for one in some] for some in (ours, theirs))
    packed = group.pack(mine)
    assert [one.tolist() for one in packed] == [one.tolist() for one in theirs]
    back = group.unpack(files, [len(one) for one in ours])
    assert [one.tolist() for one in back] == [one.tolist() for one in ours]
    assert all(one.flags.c_contiguous and one.dtype == np.uint16 for one in back)


@pytest.mark.parametrize("how", ["joined_turned", "turned", "stack_turned", "stack_in_turns"])
def test_biases_are_never_turned(how: How) -> None:
    group, ours, _ = CASES[how]
    biases = [one[..., 0] for one in ours]
    packed = group.pack(biases)
    expected = {"stack_in_turns": GATE_UP[:, [0, 2, 1, 3], 0], "joined_turned": torch.cat(biases)}
    assert packed[0].tolist() == expected.get(how, biases[0]).tolist()
    assert group.shapes([tuple(one.shape) for one in biases]) == [tuple(one.shape) for one in packed]
    back = group.unpack(packed, [len(one) for one in biases])
    assert [one.tolist() for one in back] == [one.tolist() for one in biases]


def test_heads_with_fewer_keys_than_queries_are_taken_apart_where_each_ends(make_config: Make) -> None:
    config = make_config("phi3", num_key_value_heads=2)
    (group,) = [
        one for one in groups(config, _names(config)) if one.theirs[0].endswith("0.self_attn.qkv_proj.weight")
    ]
    joined = torch.arange(64.0).view(64, 1)
    q, k, v = group.unpack([joined], [32, 16, 16])
    assert (q[0].item(), k[0].item(), v[0].item(), v[-1].item()) == (0, 32, 48, 63)


def test_a_weight_and_its_bias_are_groups_of_their_own_and_every_tensor_is_in_one(make_config: Make) -> None:
    for family in ("llama", "gpt2", "gpt_neox", "mixtral", "gpt_oss", "qwen3_moe"):
        config = make_config(family)
        names = _names(config)
        found = [name for group in groups(config, names) for name in group.ours]
        assert sorted(found) == sorted(names)
        theirs = [name for group in groups(config, names) for name in group.theirs]
        assert len(theirs) == len(set(theirs))
        for group in groups(config, names):
            assert len({name.rpartition(".")[2].rpartition("_")[2] == "bias" for name in group.ours}) == 1


def test_the_names_are_those_of_published_files(make_config: Make) -> None:
    expected = {
        "gpt2": "transformer.h.1.attn.c_attn.bias",
        "gpt_neox": "gpt_neox.layers.1.attention.query_key_value.weight",
        "mixtral": "model.layers.1.block_sparse_moe.experts.3.w2.weight",
        "gpt_oss": "model.layers.1.mlp.experts.gate_up_proj_bias",
        "qwen3_moe": "model.layers.1.mlp.experts.3.up_proj.weight",
        "llama": "model.layers.1.self_attn.q_proj.weight",
        "olmo2": "model.layers.1.post_feedforward_layernorm.weight",
    }
    for family, name in expected.items():
        config = make_config(family)
        assert name in [one for group in groups(config, _names(config)) for one in group.theirs]


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "gpt_oss"])
@torch.no_grad()
def test_transformers_own_weights_fit_without_a_file_between(
    family: str, make_config: Make, transformers: ModuleType
) -> None:
    config = make_config(family, tie_word_embeddings=False)
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**config.to_hf()), attn_implementation="eager"
    ).eval()
    for tensor in theirs.parameters():
        tensor.normal_(0.0, 0.2)
    stored, ours = dict(theirs.state_dict()), Transformer(config).eval()
    stored["embed_out.weight"] = stored["lm_head.weight"]  # GPT-NeoX's head, in files
    state = ours.state_dict()
    for group in groups(config, state):
        rows = [len(state[name]) for name in group.ours]
        for name, one in zip(group.ours, group.unpack([stored[n] for n in group.theirs], rows), strict=True):
            state[name] = one
    ours.load_state_dict(state)
    ids = torch.arange(30)[None]
    torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=0, atol=1e-4)


def test_a_name_of_neither_kind_is_kept(make_config: Make) -> None:
    (group,) = groups(make_config("gpt2"), ["scale"])
    assert (group.ours, group.theirs, group.how) == (("scale",), ("scale",), "same")


def _names(config: ModelConfig) -> list[str]:
    with torch.device("meta"):
        return list(Transformer(config).state_dict())
