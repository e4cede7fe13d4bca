"""What each of several processes has of a model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmkit.errors import ConfigError
from llmkit.formats.gguf.write import write_gguf
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.gguf.save import gguf_model
from llmkit.model.load import load_model
from llmkit.model.part import Part, part_config
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer
from tests.model.recurrent.conftest import hybrid

Make = Callable[..., ModelConfig]
LAYER = "model.layers.0"


def test_every_matrix_is_cut_where_its_branch_comes_apart(make_config: Make) -> None:
    config = make_config("llama", num_attention_heads=4, num_key_value_heads=2)  # 8 numbers a head
    one, other = (Part(index, 2) for index in range(2))
    q = torch.arange(32.0)[:, None].expand(32, 5)
    assert other.cut(f"{LAYER}.self_attn.q_proj.weight", q, config)[:, 0].tolist() == [*range(16, 32)]
    k = torch.arange(16.0)
    assert one.cut(f"{LAYER}.self_attn.k_proj.bias", k, config).tolist() == [*range(8)]
    down = torch.arange(6.0).expand(3, 6)
    assert other.cut(f"{LAYER}.mlp.down_proj.weight", down, config).tolist() == [[3, 4, 5]] * 3
    bias = torch.ones(3)
    cut = [part.cut(f"{LAYER}.self_attn.o_proj.bias", bias, config) for part in (one, other)]
    assert sum(cut).tolist() == [1, 1, 1]
    assert one.cut("model.embed_tokens.weight", q, config) is q
    assert one.cut(f"{LAYER}.self_attn.q_norm.weight", bias, config) is bias


def test_an_expert_keeps_the_same_columns_of_its_gate_and_its_up(make_config: Make) -> None:
    config = make_config("mixtral")
    stack = torch.tensor([[10, 11, 20, 21], [30, 31, 40, 41]])[..., None]  # 2 experts, their gates first
    cut = [Part(index, 2).cut(f"{LAYER}.mlp.experts.gate_up_proj", stack, config) for index in range(2)]
    assert [one[..., 0].tolist() for one in cut] == [[[10, 20], [30, 40]], [[11, 21], [31, 41]]]
    names = [f"{LAYER}.mlp.experts.{name}_proj_bias" for name in ("gate_up", "down")]
    bias = [Part(1, 2).cut(name, stack[..., 0], config) for name in names]
    assert [one.tolist() for one in bias] == [[[11, 21], [31, 41]], [[0] * 4] * 2]


def test_a_key_head_of_many_queries_is_with_all_that_ask_it(make_config: Make) -> None:
    config = make_config("llama", num_attention_heads=4, num_key_value_heads=2)
    k = torch.arange(16.0)
    found = [Part(index, 4).cut(f"{LAYER}.self_attn.v_proj.bias", k, config)[0].item() for index in range(4)]
    assert found == [0, 0, 8, 8]
    assert part_config(config, 4).num_key_value_heads == 1


def test_rows_that_cannot_be_divided_evenly_are_all_somebodys() -> None:
    parts = [Part(index, 3).rows(10) for index in range(3)]
    assert [one for part in parts for one in part] == [*range(10)]
    assert {len(part) for part in parts} == {3, 4}


def test_a_model_that_does_not_fall_into_parts_says_why(make_config: Make) -> None:
    config = make_config("llama", num_attention_heads=4, num_key_value_heads=2)
    with pytest.raises(ConfigError, match="--tp 3: the model's num_attention_heads is 4"):
        part_config(config, 3)
    six = make_config("llama", hidden_size=36, num_attention_heads=6, num_key_value_heads=3)
    with pytest.raises(ConfigError, match="--tp 2: the model's num_key_value_heads is 3"):
        part_config(six, 2)
    with pytest.raises(ConfigError, match="--tp 2: the model's intermediate_size is 49"):
        part_config(make_config("llama", intermediate_size=49), 2)
    sizes = {"num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 9, "layers": (0, 1)}
    mixture = ExpertsConfig(norm_topk_prob=True, **sizes)
    with pytest.raises(ConfigError, match="experts' intermediate_size is 9"):
        part_config(make_config("mixtral", intermediate_size=9, experts=mixture), 2)
    with pytest.raises(ConfigError, match="olmo2's norm over all heads at once"):
        part_config(make_config("olmo2"), 2)


def test_a_part_of_a_gguf_file_is_that_of_the_folder(tmp_path: Path, make_config: Make) -> None:
    model = Transformer(make_config("llama", num_key_value_heads=2)).eval()
    (tmp_path / "folder").mkdir()
    save_model(model, tmp_path / "folder")
    made = gguf_model(model, "float32")
    with (tmp_path / "model.gguf").open("wb") as stream:
        write_gguf(stream, {**made.metadata, "tokenizer.ggml.model": "none"}, made.tensors)
    for index in range(2):
        folder, file = (
            load_model(tmp_path / name, part=Part(index, 2)).state_dict() for name in ("folder", "model.gguf")
        )
        assert folder.keys() == file.keys()
        assert all(torch.equal(folder[name], file[name]) for name in folder)
    assert sum(one.numel() for one in folder.values()) < 0.7 * sum(one.numel() for one in model.parameters())


def test_layers_that_keep_a_state_are_in_no_part() -> None:
    with pytest.raises(ConfigError, match="--tp 2: qwen3_5_text has layers that keep a state"):
        part_config(hybrid("qwen3_5_text").config, 2)
