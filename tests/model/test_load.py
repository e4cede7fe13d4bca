"""A model to its folder and back: the same bytes, the files of transformers, errors that say what failed."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmkit.errors import DataError, MissingError
from llmkit.model.config import ModelConfig
from llmkit.model.config_parts import ExpertsConfig
from llmkit.model.load import load_model
from llmkit.model.names import groups
from llmkit.model.save import save_model
from llmkit.model.transformer import Transformer

Change = Callable[[dict[str, Tensor]], object]
PEAK = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from llmkit.model.load import load_model

def peak():
    return 1024 * int(next(x for x in open("/proc/self/status") if x.startswith("VmHWM")).split()[1])

before = peak()
model = load_model(Path(sys.argv[1]))
for one in model.state_dict().values():
    one.sum()
print(peak() - before)
"""
"""What loading adds to the most memory ever held, in bytes."""
LARGE: dict[str, dict[str, Any]] = {
    "llama": {"hidden_size": 768, "intermediate_size": 2400, "num_attention_heads": 12},
    "mixtral": {
        **{"hidden_size": 512, "intermediate_size": 640, "num_attention_heads": 8},
        "experts": ExpertsConfig(
            **{"num_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 640},
            **{"layers": tuple(range(6)), "norm_topk_prob": True},
        ),
    },
}
"""Each about 200 MB of float32 in six layers."""
FIRST = "model.layers.0.input_layernorm.weight"


@pytest.fixture
def saved(
    tmp_path: Path, make_config: Callable[..., ModelConfig], make_model: Callable[..., Transformer]
) -> Callable[..., Path]:
    """Save a small model: `saved("qwen2", seed=1, max_shard_bytes=999)`."""

    def save(family: str = "llama", name: str = "model", seed: int = 0, **settings: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        fields = settings.pop("fields", {})
        save_model(make_model(make_config(family, **fields), seed), folder, **settings)
        return folder

    return save


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def _change(folder: Path, change: Change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _same(one: Transformer, other: Transformer) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2"])
def test_the_same_weights_give_the_same_bytes_even_through_a_folder(
    family: str, tmp_path: Path, saved: Callable[..., Path]
) -> None:
    first, second, other = saved(family, "a"), saved(family, "b"), saved(family, "c", seed=1)
    again = tmp_path / "again"
    again.mkdir()
    save_model(load_model(first), again)
    assert _digests(first) == _digests(second) == _digests(again)
    assert _digests(first)["model.safetensors"] != _digests(other)["model.safetensors"]
    assert list(_digests(first)) == ["config.json", "generation_config.json", "model.safetensors"]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_model_in_shards_is_the_same_model_to_us_and_to_transformers(
    family: str, saved: Callable[..., Path], open_theirs: Callable[..., Any], logit_gap: Callable[..., float]
) -> None:
    whole, parts = load_model(saved(family, "whole")), saved(family, "parts", max_shard_bytes=20_000)
    files = sorted(path.name for path in parts.glob("*.safetensors"))
    assert len(files) > 2
    assert files == [f"model-{n + 1:05d}-of-{len(files):05d}.safetensors" for n in range(len(files))]
    sizes = [sum(tensor.nbytes for tensor in load_file(parts / name).values()) for name in files]
    assert max(sizes) <= 20_000
    index = json.loads((parts / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(sizes) == 4 * index["metadata"]["total_parameters"]
    assert {name: file for file in files for name in load_file(parts / file)} == index["weight_map"]
    assert _same(load_model(parts), whole)
    assert logit_gap(whole, open_theirs(parts)) <= 1e-4


def test_a_tensor_larger_than_a_shard_has_one_of_its_own(saved: Callable[..., Path]) -> None:
    folder = saved(max_shard_bytes=1)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) == len(index["weight_map"])
    assert _same(load_model(folder), load_model(saved(name="whole")))


def test_shards_that_transformers_writes_are_read(
    tmp_path: Path,
    saved: Callable[..., Path],
    open_theirs: Callable[..., Any],
    logit_gap: Callable[..., float],
) -> None:
    theirs = open_theirs(saved("qwen2", fields={"num_key_value_heads": 2}))
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert len(list((tmp_path / "theirs").glob("model-*.safetensors"))) > 2
    assert logit_gap(load_model(tmp_path / "theirs"), theirs) <= 1e-4


def test_a_dtype_is_kept_or_changed_as_asked(saved: Callable[..., Path], tmp_path: Path) -> None:
    full = load_model(saved())
    (tmp_path / "half").mkdir()
    save_model(full, tmp_path / "half", dtype=torch.bfloat16)
    stored = load_file(tmp_path / "half" / "model.safetensors")
    assert all(torch.equal(stored[name], full.state_dict()[name].bfloat16()) for name in stored)
    written = json.loads((tmp_path / "half" / "config.json").read_text())
    assert written["dtype"] == written["torch_dtype"] == "bfloat16"
    assert {one.dtype for one in load_model(tmp_path / "half").parameters()} == {torch.bfloat16}
    wide = load_model(tmp_path / "half", dtype=torch.float32)
    assert {one.dtype for one in wide.parameters()} == {torch.float32}
    assert (tmp_path / "half" / "model.safetensors").stat().st_size < 0.6 * (
        tmp_path / "model" / "model.safetensors"
    ).stat().st_size


def test_a_loaded_model_scores_and_learns_and_leaves_its_file_alone(saved: Callable[..., Path]) -> None:
    folder = saved()
    before = _digests(folder)
    model = load_model(folder)
    assert not model.training
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.tensor([[1, 2, 3]])).logsumexp(-1).sum().backward()
    assert all(one.grad is not None for one in model.parameters())
    optimizer.step()
    assert not _same(model, load_model(folder))
    assert _digests(folder) == before


def test_special_ids_are_written_for_transformers_and_read_again(
    saved: Callable[..., Path], transformers: ModuleType
) -> None:
    fields = {"bos_token_id": 1, "eos_token_id": (2, 5), "pad_token_id": 0}
    folder = saved(fields=fields)
    theirs = transformers.GenerationConfig.from_pretrained(folder)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (1, [2, 5], 0)
    assert load_model(folder).config.eos_token_ids == (2, 5)


def test_gpt2_names_without_their_prefix_and_tables_of_old_releases_are_read(
    saved: Callable[..., Path], tmp_path: Path
) -> None:
    folder = saved("gpt2", fields={"tie_word_embeddings": True})
    expected = load_model(folder)
    tensors = {
        name.removeprefix("transformer."): tensor.clone()
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    tensors |= {"h.0.attn.bias": torch.ones(1, 1, 64, 64), "h.0.attn.masked_bias": torch.tensor(-1e4)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert _same(load_model(folder), expected)
    llama = saved(name="llama")
    _change(llama, lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}))
    load_model(llama)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(FIRST), f"the weights lack {FIRST}"),
        (lambda t: t.update({"model.extra.weight": torch.ones(2)}), "the weights have model.extra.weight"),
        (lambda t: t.update({FIRST: torch.ones(33)}), rf"{FIRST} is \[33\], config.json asks for \[32\]"),
        (lambda t: t.update({FIRST: torch.ones(32).char()}), f"{FIRST} is stored as I8"),
        (lambda t: [t.pop(name) for name in list(t) if "mlp" in name], "gate_proj.weight.* and 3 more"),
    ],
)
def test_weights_that_are_not_the_configs_are_refused_by_name(
    change: Change, words: str, saved: Callable[..., Path]
) -> None:
    folder = saved()
    _change(folder, change)
    with pytest.raises(DataError, match=words) as caught:
        load_model(folder)
    assert str(folder) in caught.value.problem


def test_a_head_stored_beside_a_tied_embedding_must_be_equal_to_it(saved: Callable[..., Path]) -> None:
    for family, embedding in (("llama", "model.embed_tokens.weight"), ("gpt2", "transformer.wte.weight")):
        folder = saved(family, family, fields={"tie_word_embeddings": True})
        expected = load_model(folder)
        _change(folder, lambda t, name=embedding: t.update({"lm_head.weight": t[name].clone()}))
        assert _same(load_model(folder), expected)
        _change(folder, lambda t: t.update({"lm_head.weight": t["lm_head.weight"] + 1e-3}))
        with pytest.raises(DataError, match=r"lm_head\.weight differs from the embedding") as caught:
            load_model(folder)
        assert caught.value.hint == 'set "tie_word_embeddings": false in config.json'


def test_sinusoids_are_written_and_another_table_in_their_place_is_refused(
    saved: Callable[..., Path],
) -> None:
    folder = saved("gpt2", fields={"position": "sinusoidal"}, dtype=torch.bfloat16)
    assert load_file(folder / "model.safetensors")["transformer.wpe.weight"].shape == (64, 32)
    load_model(folder)
    _change(folder, lambda t: t["transformer.wpe.weight"].add_(0.1))
    with pytest.raises(DataError, match=r"wpe\.weight is not the sinusoids"):
        load_model(folder)


@pytest.mark.parametrize("kept", [0, 5, 300, -1])
def test_a_file_cut_short_is_refused(kept: int, saved: Callable[..., Path]) -> None:
    path = saved() / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"model\.safetensors: .*cut short"):
        load_model(path.parent)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_file_that_is_not_there_is_named(missing: str, saved: Callable[..., Path]) -> None:
    folder = saved()
    (folder / missing).unlink()
    with pytest.raises(MissingError, match=missing):
        load_model(folder)


def test_a_shard_that_is_not_there_is_named(saved: Callable[..., Path]) -> None:
    folder = saved(max_shard_bytes=20_000)
    next(folder.glob("model-00002-*")).unlink()
    with pytest.raises(MissingError, match="model-00002-of-"):
        load_model(folder)


def test_loading_imports_no_compiler(saved: Callable[..., Path]) -> None:
    # torch._dynamo takes seconds, and an operation on the meta device can bring it in
    script = (
        "import sys; from pathlib import Path; from llmkit.model.load import load_model\n"
        "for one in map(Path, sys.argv[1:]): load_model(one); print(one.name, 'torch._dynamo' in sys.modules)"
    )
    families = ("gpt2", "gpt_neox", "phi3", "mixtral", "gpt_oss")
    command = [sys.executable, "-c", script, *(saved(family, family) for family in families)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{family} False" for family in families]


@pytest.mark.parametrize("family", LARGE)
def test_loading_takes_no_more_memory_than_the_weights(family: str, tmp_path: Path) -> None:
    # 200 MB, every tensor touched: what is mapped is counted when it is read. Twice the weights would be 2.0
    layers, parts = 6, LARGE[family]
    config = ModelConfig(**{"model_type": family, "vocab_size": 4000, "num_hidden_layers": layers} | parts)
    with torch.device("meta"):
        shapes = {name: tuple(one.shape) for name, one in Transformer(config).state_dict().items()}
    stored = {
        name: torch.zeros(shape)
        for group in groups(config, shapes)
        for name, shape in zip(group.theirs, group.shapes([shapes[one] for one in group.ours]), strict=True)
    }
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(config.to_hf()))
    weights = sum(one.nbytes for one in stored.values())
    assert 180e6 < weights < 260e6
    del stored
    done = subprocess.run([sys.executable, "-c", PEAK, tmp_path], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 1.15 * weights


def test_a_table_of_rope_scaling_takes_the_place_of_the_configs(saved: Callable[..., Path]) -> None:
    folder = saved()
    longer = load_model(folder, rope_scaling={"rope_type": "linear", "factor": 4.0})
    assert longer.config.rope_scaling == {"rope_type": "linear", "factor": 4.0}
    assert _same(longer, load_model(folder))


def test_a_mixture_of_experts_missing_one_is_told_which(saved: Callable[..., Path]) -> None:
    folder = saved("mixtral")
    name = "model.layers.1.block_sparse_moe.experts.2.w3.weight"
    _change(folder, lambda t: t.pop(name))
    with pytest.raises(DataError, match=f"the weights lack {name}, which config.json tells otherwise"):
        load_model(folder)
