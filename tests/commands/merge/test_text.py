"""A merge as text: who takes part, what each tensor is made of, what an adapter keeps."""

from pathlib import Path

from llmkit.commands.merge.text import merge_text
from tests.workflows.merging import merged, write_models


def test_a_plan_lists_tensors_with_their_source(tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two", "zero", near=0.1)
    report = merged(tmp_path, "out", "one", "two", method="ties", base=tmp_path / "zero", dry_run=True)
    text = merge_text(report, width=200)
    assert text.startswith(f"{tmp_path}/out: model folder\n")
    assert f"model 2  {tmp_path}/two, float32, weight 1, density 0.5" in text
    row = next(line for line in text.splitlines() if line.startswith("model.layers.1.mlp.up_proj.weight"))
    assert row.split()[1:5] == ["float32", "48x32", "6.0", "KiB"] and "ties of" in row


def test_an_extraction_shows_the_worst_first_and_what_is_left_out(tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two", near=0.1, num_hidden_layers=4)
    report = merged(tmp_path, "out", "one", "two", extract=True, rank=4)
    text = merge_text(report, width=200)
    assert text.startswith(f"{tmp_path}/out: LoRA adapter\n") and "of the difference" in text
    assert "and 9 more (--json has all)" in text  # of 4 * 7 + 1
    assert "left out   model.embed_tokens.weight, model.layers.0.input_layernorm.weight" in text
    table = text.splitlines()[text.splitlines().index("") + 2 : -1]
    shares = [float(line.split()[3].rstrip("%")) for line in table]
    assert len(shares) == 20 and shares == sorted(shares)
