"""A LoRA out of two models: it gives back what it can hold, says how much that is, and opens in peft."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from llmkit.errors import DataError
from llmkit.model.load import load_model
from llmkit.model.save import save_model
from llmkit.workflows.scaled_path import ScaledPath
from tests.workflows.merging import FAMILIES, merged, weights_of, write_models

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def _tune(folder: Path, out: Path, rank: int, *, everywhere: bool = False) -> None:
    """A model that differs by matrices of a rank in its attention, or `everywhere`: norms, embeddings too."""
    model = load_model(folder)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if everywhere and (one.dim() == 1 or "embed" in name):
                one.add_(0.1)
            elif ".self_attn." in name and one.dim() == 2:
                left = torch.randn(one.shape[0], rank, generator=generator)
                one.add_(0.02 * left @ torch.randn(rank, one.shape[1], generator=generator))
    out.mkdir()
    save_model(model, out)


@pytest.mark.parametrize(("family", "rank", "fused"), [("llama", 3, 1), ("gpt2", 9, 3), ("phi3", 9, 3)])
def test_a_difference_of_low_rank_comes_back_whole(
    family: str, rank: int, fused: int, tmp_path: Path
) -> None:
    write_models(tmp_path, "base", **FAMILIES[family])
    _tune(tmp_path / "base", tmp_path / "tuned", rank // fused)
    report = merged(tmp_path, "lora", "base", "tuned", extract=True, rank=rank, check=True, tolerance=1e-3)
    assert report.written and report.explained == pytest.approx(1, abs=1e-6) and not report.left_out
    assert report.check is not None and report.check.passed
    merged(tmp_path, "again", "base", adapters=(ScaledPath(tmp_path / "lora"),))
    tuned, again = weights_of(tmp_path / "tuned"), weights_of(tmp_path / "again")
    for name in tuned:
        assert torch.allclose(tuned[name], again[name], atol=1e-5), name


def test_each_matrix_says_how_much_of_it_is_kept(tmp_path: Path) -> None:
    write_models(tmp_path, "base", "tuned", near=0.1)
    report = merged(tmp_path, "lora", "base", "tuned", extract=True, rank=4)
    base, tuned = weights_of(tmp_path / "base"), weights_of(tmp_path / "tuned")
    kept = whole = 0.0
    for row in report.matrices:
        strengths = np.linalg.svd((tuned[row.name] - base[row.name]).double().numpy(), compute_uv=False) ** 2
        assert row.explained == pytest.approx(strengths[:4].sum() / strengths.sum(), abs=1e-6)
        assert (row.rank, row.norm) == (4, pytest.approx(strengths.sum() ** 0.5, rel=1e-5))
        kept, whole = kept + strengths[:4].sum(), whole + strengths.sum()
    assert report.explained == pytest.approx(kept / whole, abs=1e-6)
    assert "model.layers.0.input_layernorm.weight" in report.left_out
    assert {row.name for row in report.matrices} >= {"lm_head.weight"}


def test_energy_gives_every_matrix_a_rank_of_its_own(tmp_path: Path) -> None:
    write_models(tmp_path, "base", "tuned", near=0.1)
    report = merged(tmp_path, "lora", "base", "tuned", extract=True, energy=0.8)
    assert all(row.explained >= 0.8 for row in report.matrices)
    assert len({row.rank for row in report.matrices}) > 1
    tensors = load_file(tmp_path / "lora/adapter_model.safetensors")
    ranks = {name: len(one) for name, one in tensors.items() if "lora_A" in name}
    assert sorted(ranks.values()) == sorted(row.rank for row in report.matrices)
    merged(tmp_path, "again", "base", adapters=(ScaledPath(tmp_path / "lora"),))  # patterns are read
    assert report.size_bytes == sum(one.nbytes for one in tensors.values())


def test_peft_opens_it_and_computes_the_same(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    write_models(tmp_path, "base", "tuned", near=0.1)
    merged(tmp_path, "lora", "base", "tuned", extract=True, energy=0.8)
    merged(tmp_path, "again", "base", adapters=(ScaledPath(tmp_path / "lora"),))
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    ids = torch.arange(24).view(2, 12)
    with torch.inference_mode():
        theirs = peft.PeftModel.from_pretrained(base, tmp_path / "lora")(ids).logits
        ours = load_model(tmp_path / "again")(ids)
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_any_number_of_threads_gives_the_same_bytes(tmp_path: Path) -> None:
    write_models(tmp_path, "base", "tuned", near=0.1)
    for threads in (1, 3):
        merged(tmp_path, f"lora{threads}", "base", "tuned", extract=True, rank=4, threads=threads)
    for name in ("adapter_model.safetensors", "adapter_config.json", "llmkit.json"):
        assert (tmp_path / "lora1" / name).read_bytes() == (tmp_path / "lora3" / name).read_bytes()
    record = json.loads((tmp_path / "lora1/llmkit.json").read_text())
    assert "tuned/model.safetensors" in record["inputs"]


def test_what_a_rank_cannot_hold_fails_the_check_and_leaves_nothing(tmp_path: Path) -> None:
    write_models(tmp_path, "base")
    _tune(tmp_path / "base", tmp_path / "tuned", 2, everywhere=True)
    report = merged(tmp_path, "lora", "base", "tuned", extract=True, rank=2, check=True, tolerance=1e-3)
    assert not report.written and report.check is not None and not report.check.passed
    assert "model.embed_tokens.weight" in report.left_out
    assert not (tmp_path / "lora").exists()


def test_two_models_that_are_the_same_give_no_adapter(tmp_path: Path) -> None:
    write_models(tmp_path, "base", "tuned", near=0.0)
    with pytest.raises(DataError, match=r"no matrix differs"):
        merged(tmp_path, "lora", "base", "tuned", extract=True, rank=2)


def test_a_plan_bounds_what_will_be_written(tmp_path: Path) -> None:
    write_models(tmp_path, "base", "tuned", near=0.1)
    plan = merged(tmp_path, "lora", "base", "tuned", extract=True, rank=4, dry_run=True)
    assert not plan.written and not (tmp_path / "lora").exists()
    done = merged(tmp_path, "lora", "base", "tuned", extract=True, rank=4)
    assert plan.size_bytes == done.size_bytes == sum(one.size_bytes for one in plan.rows)
