"""Adapters folded into a base: what peft's merge_and_unload gives, for each kind of adapter and family."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llmkit.errors import ConfigError, DataError, UsageError
from llmkit.model.load import load_model
from llmkit.workflows.scaled_path import ScaledPath
from tests.quant.small_folders import write_folders
from tests.workflows.merging import FAMILIES, merged, weights_of, write_models

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*embedding:UserWarning"),
]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("llama", {"target_modules": ["q_proj", "down_proj"]}),
    "rslora": ("llama", {"target_modules": ["v_proj"], "use_rslora": True, "rank_pattern": {"1.*v_proj": 2}}),
    "dora": ("llama", {"target_modules": ["k_proj", "up_proj"], "use_dora": True}),
    "saved": ("llama", {"target_modules": ["o_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}),
    "gpt2": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "phi3": ("phi3", {"target_modules": ["qkv_proj", "gate_up_proj"], "use_dora": True}),
}


def _peft(folder: Path, name: str, seed: int = 0, **settings: Any) -> Any:
    """A base under peft with an adapter that changes something, saved; peft's model."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    model = peft.get_peft_model(base, peft.LoraConfig(**{"r": 4, "lora_alpha": 6, **settings}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key or "modules_to_save" in key:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder / name)
    return model.eval()


def _logits(folder: Path) -> torch.Tensor:
    ids = torch.arange(24).view(2, 12)
    with torch.inference_mode():
        return load_model(folder, dtype=torch.float32)(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_is_pefts_merge_and_unload(kind: str, tmp_path: Path) -> None:
    family, settings = KINDS[kind]
    write_models(tmp_path, "base", **FAMILIES[family])
    model = _peft(tmp_path, "adapter", **settings)
    with torch.inference_mode():
        unmerged = model(torch.arange(24).view(2, 12)).logits
    adapters = (ScaledPath(tmp_path / "adapter"),)
    report = merged(tmp_path, "out", "base", adapters=adapters, check=True)
    assert report.check is not None and report.check.passed and report.written
    assert report.adapters[0].variant == (kind if kind in ("rslora", "dora") else report.adapters[0].variant)
    model.merge_and_unload().save_pretrained(tmp_path / "theirs")
    ours, theirs = weights_of(tmp_path / "out"), weights_of(tmp_path / "theirs")
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.allclose(ours[name], theirs[name], atol=2e-6), name
    base = weights_of(tmp_path / "base")
    assert sum(not torch.equal(ours[name], base[name]) for name in ours) >= 2
    assert torch.allclose(_logits(tmp_path / "out"), unmerged, atol=1e-4)


def test_adapters_with_scales_add_up_in_any_order(tmp_path: Path) -> None:
    write_models(tmp_path, "base")
    _peft(tmp_path, "one", seed=1, target_modules=["q_proj", "v_proj"])
    _peft(tmp_path, "two", seed=2, target_modules=["q_proj", "o_proj"], use_dora=True)
    one, two = ScaledPath(tmp_path / "one", 0.5), ScaledPath(tmp_path / "two", -2.0)
    for out, adapters in (("a", (one, two)), ("b", (two, one)), ("x", (one,)), ("y", (two,))):
        report = merged(tmp_path, out, "base", adapters=adapters, check=True)
        assert report.check is not None and report.check.passed, out
    base, a, b, x, y = (weights_of(tmp_path / name) for name in ("base", "a", "b", "x", "y"))
    for name in base:
        assert torch.allclose(a[name], b[name], atol=1e-6), name
        assert torch.allclose(a[name] - base[name], x[name] + y[name] - 2 * base[name], atol=2e-6), name
    full = merged(tmp_path, "z", "base", adapters=(ScaledPath(tmp_path / "one"),))
    z = weights_of(tmp_path / "z")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.allclose(x[name] - base[name], 0.5 * (z[name] - base[name]), atol=1e-6)
    assert full.changed == 4


def test_what_no_adapter_touches_is_the_base_bit_for_bit(tmp_path: Path) -> None:
    write_models(tmp_path, "base")
    _peft(tmp_path, "one", target_modules=["q_proj"])
    merged(tmp_path, "out", "base", adapters=(ScaledPath(tmp_path / "one"),))
    base, out = weights_of(tmp_path / "base"), weights_of(tmp_path / "out")
    assert [name for name in base if not torch.equal(base[name], out[name])] == [
        f"model.layers.{layer}.self_attn.q_proj.weight" for layer in range(2)
    ]


def test_a_head_that_was_the_embedding_parts_from_it_when_an_adapter_tells_them_apart(tmp_path: Path) -> None:
    write_models(tmp_path, "base", tie_word_embeddings=True)
    model = _peft(tmp_path, "one", target_modules=["embed_tokens", "q_proj"])
    with torch.inference_mode():
        unmerged = model(torch.arange(24).view(2, 12)).logits
    report = merged(tmp_path, "out", "base", adapters=(ScaledPath(tmp_path / "one"),), check=True)
    assert "no longer the embedding" in report.notes[0]
    assert report.check is not None and report.check.passed
    assert torch.allclose(_logits(tmp_path / "out"), unmerged, atol=1e-4)
    again = merged(tmp_path, "again", "out", expression=None, adapters=(ScaledPath(tmp_path / "one", 0.0),))
    assert not again.notes  # the base has a head of its own by now


def test_a_quantised_base_becomes_plain_numbers_or_the_original(tmp_path: Path) -> None:
    write_folders(tmp_path, "awq")  # `plain` has the same numbers
    (tmp_path / "plain").rename(tmp_path / "base")
    _peft(tmp_path, "one", target_modules=["q_proj", "down_proj"])
    adapters = (ScaledPath(tmp_path / "one"),)
    report = merged(tmp_path, "out", "quantised", adapters=adapters, check=True, dtype="float32")
    assert (report.into, report.check.passed) == ("dequantised", True)  # type: ignore[union-attr]
    # an original that is off by rounding, as originals are
    noisy = load_file(tmp_path / "base/model.safetensors")
    noise = {name: one * (1 + 0.05 * torch.randn(one.shape).to(one.dtype)) for name, one in noisy.items()}
    save_file(noise, tmp_path / "base/model.safetensors", metadata={"format": "pt"})
    into = merged(
        tmp_path,
        "into",
        "quantised",
        adapters=adapters,
        check=True,
        into=str(tmp_path / "base"),
        dtype="float32",
    )
    assert into.into == "original" and into.check is not None and into.check.passed
    assert into.quantised_difference is not None
    assert into.quantised_difference > 10 * into.check.largest_difference
    merged(tmp_path, "plainly", "base", adapters=adapters, dtype="float32")
    first, second = weights_of(tmp_path / "into"), weights_of(tmp_path / "plainly")
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(UsageError, match="is not quantised, there is nothing to choose"):
        merged(tmp_path, "x", "base", adapters=adapters, into="dequantised")


def test_a_check_that_fails_leaves_nothing(tmp_path: Path) -> None:
    write_models(tmp_path, "base")
    _peft(tmp_path, "one", target_modules=["q_proj"])
    adapters = (ScaledPath(tmp_path / "one"),)
    report = merged(tmp_path, "out", "base", adapters=adapters, check=True, tolerance=1e-9, dtype="float16")
    assert not report.written and report.check is not None and not report.check.passed
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_model_is_refused_with_its_names(tmp_path: Path) -> None:
    write_models(tmp_path, "base")
    write_models(tmp_path, "wide", hidden_size=64)
    _peft(tmp_path, "one", target_modules=["q_proj"])
    with pytest.raises(DataError, match=r"q_proj"):
        merged(tmp_path, "out", "wide", adapters=(ScaledPath(tmp_path / "one"),))
    write_models(tmp_path, "gpt2", **FAMILIES["gpt2"])
    with pytest.raises(ConfigError, match=r"q_proj"):
        merged(tmp_path, "out", "gpt2", adapters=(ScaledPath(tmp_path / "one"),))


def test_an_adapter_with_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    write_models(tmp_path, "base")
    _peft(tmp_path, "one", target_modules=["q_proj"])
    file = tmp_path / "one" / "adapter_model.safetensors"
    tensors = load_file(file)
    next(one for name, one in tensors.items() if "lora_B" in name)[2, 1] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(
        DataError, match=r"one: model\.layers\.0\.self_attn\.q_proj lora_B: a weight is not a f"
    ):
        merged(tmp_path, "out", "base", adapters=(ScaledPath(tmp_path / "one"),), dry_run=True)


def test_a_plan_says_which_adapter_changes_which_tensor(tmp_path: Path) -> None:
    write_models(tmp_path, "base")
    _peft(tmp_path, "one", target_modules=["q_proj"])
    adapters = (ScaledPath(tmp_path / "one"),)
    report = merged(tmp_path, "out", "base", adapters=adapters, dry_run=True)
    rows = {one.name: one.source for one in report.rows}
    assert rows["model.layers.0.self_attn.q_proj.weight"] == f"{tmp_path / 'base'} + {tmp_path / 'one'}"
    assert rows["model.layers.0.self_attn.k_proj.weight"] == str(tmp_path / "base")
    assert report.changed == 2


@pytest.mark.parametrize("kind", ["lora", "rslora", "gpt2"])
def test_a_gguf_file_of_an_adapter_folds_in_as_its_folder_does(
    kind: str, tmp_path: Path, as_gguf: Callable[[Path, Path], Path]
) -> None:
    family, settings = KINDS[kind]
    write_models(tmp_path, "base", **FAMILIES[family])
    _peft(tmp_path, "adapter", **settings)
    file = as_gguf(tmp_path / "adapter", tmp_path / "base")
    for out, path in (("a", tmp_path / "adapter"), ("b", file)):
        merged(tmp_path, out, "base", adapters=(ScaledPath(path, 0.5),))
    first, second = weights_of(tmp_path / "a"), weights_of(tmp_path / "b")
    assert first.keys() == second.keys()
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)
