"""llmkit eval kl on the command line."""

import json
from pathlib import Path

import pytest

TEXT = "You must give any other recipients of the Work or Derivative Works a copy of this License; and " * 3


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_the_reference_runs_as_it_is_stored_and_flags_are_the_models(
    llmkit_run, spelled_model, text: Path
) -> None:
    folder = spelled_model()
    words = ("eval", "kl", folder, text, "-r", folder, "--window", "20", "--max-chunks", "2")
    same = json.loads(llmkit_run(*words, "--json").out)
    assert same["quality"]["kld"] == 0 and same["schema"] == "llmkit.eval.kl/1" and same["chunks"] == 2
    rounded = json.loads(llmkit_run(*words, "--dtype", "bfloat16", "--json").out)
    assert rounded["quality"]["kld"] > 0
    whole = json.loads(llmkit_run(*words, "--whole", "--json").out)
    assert whole["quality"]["positions"] == 38 > same["quality"]["positions"] == 18


def test_gates_exit_1_behind_a_whole_report(llmkit_run, spelled_model, text: Path, tmp_path: Path) -> None:
    folder = spelled_model()
    words = ("eval", "kl", folder, text, "-r", folder, "--dtype", "bfloat16", "--window", "20")
    done = llmkit_run(*words, "--fail-above", "0", "--json")
    assert done.status == 1 and "kl_divergence" in done.err and json.loads(done.out)
    assert llmkit_run(*words, "--fail-above", "100", "--min-same-top", "0").status == 0
    assert llmkit_run(*words, "--min-same-top", "80").status == 2
    (tmp_path / "old.json").write_bytes(done.out)
    assert llmkit_run(*words, "--baseline", tmp_path / "old.json").status == 0
    records = tmp_path / "r.jsonl"
    assert llmkit_run(*words, "--per-record", records).status == 0
    assert json.loads(records.read_text().splitlines()[0])["id"] == "chunk 0"


def test_the_same_token_at_the_top_too_seldom_is_a_failure(llmkit_run, spelled_model, text: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder, other = spelled_model(), spelled_model("other")
    path = other / "model.safetensors"
    save_file({name: -one for name, one in load_file(path).items()}, path, metadata={"format": "pt"})
    done = llmkit_run("eval", "kl", other, text, "-r", folder, "--min-same-top", "0.99")
    assert done.status == 1 and "less than --min-same-top 0.99" in done.err
