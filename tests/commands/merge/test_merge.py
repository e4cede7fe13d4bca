"""llmkit merge: flags reach the work, exit statuses, and a record without places."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.workflows.merging import weights_of, write_models

Run = Callable[..., Any]


def test_flags_reach_the_work(llmkit_run: Run, tmp_path: Path) -> None:
    write_models(tmp_path, "zero", "one", "two", near=0.1)
    one, two, zero = (tmp_path / name for name in ("one", "two", "zero"))
    line = (
        *("merge", one, two, "--method", "dare-ties", "--base", zero, "--weight", 1, "--weight", 0.5),
        *("--density", 0.5, "--density", 0.25, "--normalize", "--scale", 0.5, "--seed", 3, "--threads", 2),
        *("--dtype", "float16", "--max-shard-size", "20k", "--no-tokenizer", "-o", tmp_path / "out"),
    )
    report = json.loads(llmkit_run(*line, "--json").out)
    assert report["schema"] == "llmkit.merge/1" and report["dtype"] == "float16" and report["files"] > 1
    settings = json.loads((tmp_path / "out/llmkit.json").read_text())["settings"]
    assert (settings["seed"], settings["density"], settings["weight"]) == (3, [0.5, 0.25], [1.0, 0.5])
    out, base = weights_of(tmp_path / "out"), weights_of(zero)
    assert any(not torch.equal(out[name], base[name].half().float()) for name in out)
    other = tuple("5" if word == 3 else word for word in line[:-1])
    assert llmkit_run(*other, tmp_path / "other").status == 0
    assert any(not torch.equal(out[name], one) for name, one in weights_of(tmp_path / "other").items())


def test_no_normalize_leaves_weights_as_they_were_given(llmkit_run: Run, tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two")
    line = ("merge", tmp_path / "one", tmp_path / "two", "--method", "linear", "--weight", 3, "--weight", 1)
    assert llmkit_run(*line, "-o", tmp_path / "divided").status == 0
    assert llmkit_run(*line, "--no-normalize", "-o", tmp_path / "summed").status == 0
    one, two, divided, summed = (weights_of(tmp_path / name) for name in ("one", "two", "divided", "summed"))
    for name in one:
        torch.testing.assert_close(summed[name], 3 * one[name] + two[name])
        torch.testing.assert_close(divided[name], (3 * one[name] + two[name]) / 4)


def test_the_record_has_no_place_in_it(llmkit_run: Run, tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two")
    line = ("--expr", "a - 2*b", f"a={tmp_path}/one", f"b={tmp_path}/two")
    assert llmkit_run("merge", *line, "-o", tmp_path / "out").status == 0
    record = json.loads((tmp_path / "out/llmkit.json").read_text())
    assert record["command_line"] == "llmkit merge a=one b=two --expr 'a - 2*b'"
    assert str(tmp_path) not in json.dumps(record)


def test_a_missed_tolerance_exits_1_with_its_report(llmkit_run: Run, tmp_path: Path) -> None:
    write_models(tmp_path, "one", "two", near=0.1)
    line = ("merge", "--extract", tmp_path / "one", tmp_path / "two", "--rank", 1, "-o", tmp_path / "out")
    done = llmkit_run(*line, "--check", "--tolerance", 1e-3, "--json")
    assert done.status == 1 and json.loads(done.out)["written"] is False
    assert "nothing was written" in done.err and not (tmp_path / "out").exists()
    assert llmkit_run(*line, "--check", "--tolerance", 1e3).status == 0
    folded = ("merge", tmp_path / "one", "--adapter", f"{tmp_path / 'out'}:0.5", "-o", tmp_path / "half")
    done = llmkit_run(*folded, "--check")
    assert done.status == 0 and "scale 0.5" in done.text and "logits differ by up to" in done.text


def test_models_that_do_not_belong_together_exit_3(llmkit_run: Run, tmp_path: Path) -> None:
    write_models(tmp_path, "one")
    write_models(tmp_path, "two", vocab_size=64)
    done = llmkit_run(
        "merge", tmp_path / "one", tmp_path / "two", "--method", "linear", "-o", tmp_path / "out"
    )
    assert done.status == 3 and "embed_tokens.weight [64, 32] for [48, 32]" in done.err
    assert llmkit_run("merge", tmp_path / "one", "-o", tmp_path / "out").status == 2
    assert llmkit_run("merge", tmp_path / "x", "--adapter", "y", "-o", tmp_path / "out").status == 4
