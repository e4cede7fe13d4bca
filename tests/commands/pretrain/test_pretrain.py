"""The command line of pretrain: what it reads, refuses and writes; each flag changes something."""

import gzip
import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import tokenizers
import torch

from llmkit.formats.checkpoint import damage, list_checkpoints
from llmkit.train.guard import Guard
from llmkit.train.parallel import recompute

TEXT = "the cat sat on the mat; the dog ran to the cat and sat on the dog. " * 60
SMALL = [
    *("--hidden-size", 16, "--num-hidden-layers", 1, "--num-attention-heads", 2, "--num-key-value-heads", 1),
    *("--batch-rows", 4, "--threads", 1, "-q"),
]


@pytest.fixture(autouse=True)
def in_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a tokenizer of characters and some text."""
    letters = sorted(set(TEXT + "xyz"))
    model = tokenizers.models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="x")
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    backend.decoder = tokenizers.decoders.Fuse()
    (tmp_path / "tok").mkdir()
    backend.save(str(tmp_path / "tok" / "tokenizer.json"))
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "valid.txt").write_text(TEXT[:500])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pretrain(llmkit_run: Callable[..., Any]) -> Callable[..., Any]:
    """Run `llmkit pretrain` on text.txt with a small model, 6 steps, and more flags."""

    def call(
        *flags: Any, stdin: bytes = b"", data: tuple[str, ...] = ("text.txt",), steps: int | None = 6
    ) -> Any:
        inputs = [word for path in data for word in ("--data", path)]
        budget = [] if steps is None else ["--steps", steps]
        base = ["pretrain", *inputs, "-t", "tok", "--seq-len", 16, *SMALL, *budget]
        if "-o" not in flags:
            base += ["-o", "run"]
        return llmkit_run(*base, *flags, stdin=stdin)

    return call


_PLAIN: list[dict[str, Any]] = []


def plain_steps(pretrain: Callable[..., Any]) -> list[dict[str, Any]]:
    """The steps of a run without more flags: made once, the same for every test."""
    if not _PLAIN:
        assert pretrain().status == 0
        _PLAIN[:] = steps_of()
    return _PLAIN


def records(run: str = "run") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]


def steps_of(run: str = "run") -> list[dict[str, Any]]:
    return [record for record in records(run) if "event" not in record]


def test_the_run_is_a_model_folder_that_transformers_opens_with_our_logits(
    pretrain: Callable[..., Any],
) -> None:
    import transformers

    from llmkit.model.load import load_model

    assert pretrain().status == 0
    ids = torch.arange(12)[None]
    theirs = transformers.AutoModelForCausalLM.from_pretrained("run")
    ours = load_model(Path("run"))
    assert (theirs(ids).logits - ours(ids)).abs().max() < 1e-4
    assert transformers.AutoTokenizer.from_pretrained("run").encode("the cat") == [*_ids("the cat")]
    assert json.loads(Path("run/llmkit.json").read_text())["seed"] == 0


def _ids(text: str) -> list[int]:
    return tokenizers.Tokenizer.from_file("tok/tokenizer.json").encode(text).ids


def test_the_report_is_one_json_object_and_the_loss_falls(pretrain: Callable[..., Any]) -> None:
    done = pretrain("--json", "--valid", "valid.txt", steps=40)
    report = json.loads(done.out)
    assert report["schema"] == "llmkit.pretrain/1"
    assert report["steps"] == 40
    assert report["valid_loss"] < records()[1]["loss"] - 0.3
    # one character is one byte, and each is a target: bits per byte are the nats of a token in bits
    assert report["bits_per_byte"] == pytest.approx(report["valid_loss"] / math.log(2))
    assert report["checkpoint"] == "checkpoints/step-00000040"


def test_metrics_have_a_line_a_step_with_the_fields_of_the_contract(pretrain: Callable[..., Any]) -> None:
    pretrain("--valid", "valid.txt", "--eval-every", 3, "--checkpoint-every", 2)
    fields = {
        "time_seconds",
        "step",
        "tokens",
        "loss",
        "lr",
        "grad_norm",
        "tokens_per_second",
        "mfu",
        "memory_bytes",
        "loader_seconds",
    }
    assert [line["step"] for line in steps_of()] == [1, 2, 3, 4, 5, 6]
    assert all(set(line) == fields for line in steps_of())
    assert steps_of()[-1]["tokens"] == 6 * 4 * 16
    events = [(line["event"], line["step"]) for line in records() if "event" in line]
    assert events == [
        *(("start", 0), ("checkpoint", 2), ("eval", 3), ("checkpoint", 4)),
        *(("eval", 6), ("checkpoint", 6), ("stop", 6)),
    ]
    assert "measured" in records()[0]["peak_source"]


def test_a_budget_may_be_chinchillas_or_one_of_flops(pretrain: Callable[..., Any]) -> None:
    plans = [
        json.loads(pretrain(*flags, "--dry-run", "--json", steps=None).out)
        for flags in (("--tokens-per-parameter", "chinchilla"), ("--target-flops", "1e8"))
    ]
    assert plans[0]["steps"] == math.ceil(20 * plans[0]["parameters"] / 64)
    assert plans[1]["steps"] == math.ceil(1e8 / plans[1]["flops_per_token"] / 64)


@pytest.mark.parametrize("flag", ["--find-lr", "--overfit-batch"])
def test_a_trial_reports_and_leaves_no_run(pretrain: Callable[..., Any], flag: str) -> None:
    done = pretrain(flag, "--json")
    assert (done.status, Path("run").exists()) == (0, False)
    assert len(json.loads(done.out)["curve"]) > 50


def test_a_trial_names_the_flags_that_say_nothing_to_it(llmkit_run: Callable[..., Any]) -> None:
    loud = ("pretrain", "--data", "text.txt", "-t", "tok", "--seq-len", 16, *SMALL[:-1], "-o", "run")
    idle = ("--schedule", "linear", "--max-time", "1h", "--metrics", "m.jsonl", "--tensorboard", "tb")
    done = llmkit_run(*loud, "--overfit-batch", *idle, "--seed", "1", "--clip", "0.5")
    assert done.status == 0 and not Path("m.jsonl").exists() and not Path("tb").exists()
    told = "--overfit-batch is a trial of 100 updates, to which these say nothing:"
    assert f"{told} --schedule, --max-time, --metrics, --tensorboard\n" in done.err
    assert "say nothing" not in llmkit_run(*loud, "--overfit-batch", "--seed", "1").err


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(pretrain: Callable[..., Any]) -> None:
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert pretrain("-o", out, "--seed", seed).status == 0
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        a, b, c = (Path(out, "checkpoints/step-00000006", name).read_bytes() for out in "abc")
        assert a == b != c


def test_shards_give_what_the_documents_give_that_they_were_packed_from(
    pretrain: Callable[..., Any], llmkit_run: Callable[..., Any]
) -> None:
    assert llmkit_run("pack", "-t", "tok", "text.txt", "--seq-len", 16, "-o", "shards").status == 0
    assert pretrain("-o", "from-text").status == 0
    assert pretrain("-o", "from-shards", data=("shards",)).status == 0
    assert (
        Path("from-text/model.safetensors").read_bytes() == Path("from-shards/model.safetensors").read_bytes()
    )


def test_packed_documents_are_found_again_inside_the_run(pretrain: Callable[..., Any]) -> None:
    pretrain("--steps", 2, steps=None)
    (cache,) = Path("run/cache").iterdir()
    before = {file.name: file.stat().st_mtime_ns for file in cache.iterdir()}
    assert pretrain("--steps", 2, steps=None).status == 0
    assert {file.name: file.stat().st_mtime_ns for file in cache.iterdir()} == before
    Path("text.txt").write_text(TEXT + "xyz")
    assert pretrain("--steps", 2, steps=None).status == 2  # other text is another run
    assert len(list(Path("run/cache").iterdir())) == 2


def test_documents_come_from_stdin_too(pretrain: Callable[..., Any]) -> None:
    lines = json.dumps({"text": TEXT}).encode() + b"\n"
    assert pretrain("-o", "a", data=("-",), stdin=lines).status == 0
    assert pretrain("-o", "b", data=(), stdin=TEXT.encode()).status == 0
    assert pretrain("-o", "c").status == 0
    assert len({Path(run, "model.safetensors").read_bytes() for run in "abc"}) == 1
    assert not any(path.name.startswith(".") for path in Path("a/cache").iterdir())


def test_the_same_line_again_has_nothing_to_do(pretrain: Callable[..., Any]) -> None:
    pretrain("--valid", "valid.txt")
    before = Path("run/model.safetensors").read_bytes(), steps_of()
    done = pretrain("--valid", "valid.txt", "--json")
    assert done.status == 0
    assert json.loads(done.out)["resumed_step"] == 6
    assert json.loads(done.out)["valid_loss"] is not None
    assert (Path("run/model.safetensors").read_bytes(), steps_of()) == before


def test_a_run_goes_on_with_the_tokenizer_that_it_has(pretrain: Callable[..., Any]) -> None:
    pretrain("--schedule", "constant")
    done = pretrain("--schedule", "constant", "-t", "run", "--json", steps=8)
    assert done.status == 0 and json.loads(done.out)["resumed_step"] == 6


def test_other_settings_do_not_resume_and_are_named(pretrain: Callable[..., Any]) -> None:
    pretrain()
    done = pretrain("--lr", 0.5, "--num-hidden-layers", 2)
    assert done.status == 2
    assert "num_hidden_layers 1 there, 2 here" in done.err
    assert "lr 0.00849 there, 0.5 here" in done.err
    assert "--resume never --force" in done.err


@pytest.mark.parametrize(
    "flag", [("--checkpoint-every", 2), ("--keep", 1), ("--on-spike", "skip"), ("--micro-batch-rows", 2)]
)
def test_settings_that_do_not_decide_the_weights_may_change(
    pretrain: Callable[..., Any], flag: tuple[Any]
) -> None:
    pretrain()
    assert pretrain(*flag).status == 0


@pytest.mark.parametrize("schedule", ["constant", "inverse-sqrt"])
def test_a_finished_run_goes_on_to_the_bits_of_one_that_was_to_be_longer(
    pretrain: Callable[..., Any], schedule: str
) -> None:
    flags = ("--schedule", schedule, "--checkpoint-every", 5)
    for out, counts in (("run", (6, 12)), ("straight", (12,))):
        for steps in counts:
            done = pretrain("-o", out, *flags, steps=steps)
            assert done.status == 0, done.err
    ours, theirs = (Path(out, "checkpoints/step-00000012") for out in ("run", "straight"))
    names = {file.name for file in theirs.iterdir()}
    assert {"model.safetensors", "optimizer.safetensors", "state.json", "llmkit.json", "COMPLETE"} < names
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    assert all(damage(folder) is None for folder in list_checkpoints(Path("run"))[0])
    assert [line["step"] for line in steps_of()] == list(range(1, 13))


def test_a_rate_that_came_to_its_end_is_not_gone_on_with_and_the_way_to_train_longer_is_told(
    pretrain: Callable[..., Any],
) -> None:
    pretrain()
    done = pretrain(steps=12)
    assert (done.status, "steps 6 there, 12 here" in done.err) == (2, True)
    assert "pretrain -m run" in done.err
    refused = pretrain("--fail-above", 0.01)
    assert (refused.status, "-m run" in refused.err, "--steps" in refused.err) == (1, True, False)
    assert pretrain("-o", "run2", "-m", "run", steps=12).status == 0


def test_starting_over_needs_never_and_force(pretrain: Callable[..., Any]) -> None:
    pretrain()
    old = Path("run/model.safetensors").read_bytes()
    refused = pretrain("--resume", "never", "--lr", 0.1)
    assert (refused.status, "--force" in refused.err) == (2, True)
    assert Path("run/model.safetensors").read_bytes() == old
    assert pretrain("--resume", "never", "--force", "--lr", 0.1).status == 0
    assert Path("run/model.safetensors").read_bytes() != old
    assert not Path("run/.replaced").exists()
    assert [line["step"] for line in steps_of()] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_fails_before_its_first_checkpoint_leaves_the_one_it_was_to_replace(
    pretrain: Callable[..., Any],
) -> None:
    pretrain()
    old, metrics = Path("run/model.safetensors").read_bytes(), records()
    failing = ("--resume", "never", "--force", "--lr", 1e38, "--warmup-steps", 0, "--checkpoint-every", 6)
    assert pretrain(*failing).status == 1
    assert Path("run/model.safetensors").read_bytes() == old
    assert records() == metrics
    assert pretrain("--resume", "must").status == 0


def test_must_needs_a_checkpoint(pretrain: Callable[..., Any]) -> None:
    done = pretrain("--resume", "must")
    assert (done.status, "no checkpoint to resume from" in done.err) == (4, True)
    assert not Path("run").exists(), "nothing is packed for a run that cannot begin"


def test_a_folder_that_is_no_run_is_refused(pretrain: Callable[..., Any]) -> None:
    shutil.copytree("tok", "other")
    for out in ("other", "tok"):
        done = pretrain("-o", out)
        assert (done.status, f"{out}: exists and is not a run" in done.err) == (2, True)
        assert [entry.name for entry in Path(out).iterdir()] == ["tokenizer.json"]


def test_old_checkpoints_go_and_the_last_ones_stay(pretrain: Callable[..., Any]) -> None:
    pretrain("--checkpoint-every", 1, "--keep", 3)
    assert [folder.name[-1] for folder in list_checkpoints(Path("run"))[0]] == ["4", "5", "6"]
    assert Path("run/model.safetensors").samefile("run/checkpoints/step-00000006/model.safetensors")


def test_a_damaged_checkpoint_is_passed_over(pretrain: Callable[..., Any]) -> None:
    pretrain("--checkpoint-every", 2)
    expected = Path("run/model.safetensors").read_bytes()
    os.truncate("run/checkpoints/step-00000006/optimizer.safetensors", 100)
    done = pretrain("--json")
    assert json.loads(done.out)["resumed_step"] == 4
    assert Path("run/model.safetensors").read_bytes() == expected


def test_a_dry_run_writes_nothing_and_tells_everything(pretrain: Callable[..., Any]) -> None:
    done = pretrain("--dry-run", "--json")
    plan = json.loads(done.out)
    assert done.status == 0
    assert not Path("run").exists()
    assert plan["schema"] == "llmkit.pretrain-plan/1"
    assert plan["total_tokens"] == 6 * 4 * 16
    assert plan["disk_bytes"] == 3 * plan["checkpoint_bytes"]
    assert plan["time_source"] == "measured step"
    assert plan["total_seconds"] == pytest.approx(6 * plan["step_seconds"])
    pretrain()
    size = sum(file.stat().st_size for file in Path("run/checkpoints/step-00000006").iterdir())
    assert size < plan["checkpoint_bytes"] < 3 * size
    assert json.loads(pretrain("--dry-run", "--json").out)["resume_step"] == 6


def test_a_plan_for_people_has_the_same_figures(pretrain: Callable[..., Any]) -> None:
    text = pretrain("--dry-run").text
    for word in ("parameters", "FLOPs", "memory", "disk", "measured step"):
        assert word in text


def test_metrics_go_to_a_second_file_or_to_stdout(pretrain: Callable[..., Any]) -> None:
    assert pretrain("--metrics", "more.jsonl").status == 0
    assert Path("more.jsonl").read_text() == Path("run/metrics.jsonl").read_text()
    assert pretrain("-o", "run4", "--metrics", os.devnull).status == 0
    done = pretrain("-o", "run2", "--metrics", "-")
    assert done.text == Path("run2/metrics.jsonl").read_text()
    refused = pretrain("-o", "run3", "--metrics", "more.jsonl")
    assert (refused.status, "already exists" in refused.err) == (2, True)


def test_a_loss_above_the_gate_is_status_1(pretrain: Callable[..., Any]) -> None:
    assert pretrain("--fail-above", 100.0).status == 0
    done = pretrain("--fail-above", 0.01)
    assert (done.status, "the loss is above 0.01" in done.err) == (1, True)


def test_a_loss_that_is_not_finite_stops_or_is_skipped(pretrain: Callable[..., Any]) -> None:
    flags = ("--lr", 1e38, "--warmup-steps", 0, "--clip", 0, "--batch-rows", 4)
    done = pretrain(*flags)
    assert done.status == 1
    assert "not finite" in done.err
    assert "--on-nonfinite skip" in done.err
    assert records()[-1]["reason"] == "nonfinite"
    done = pretrain(*flags, "--on-nonfinite", "skip", "--json")
    assert done.status == 0
    assert json.loads(done.out)["skipped_steps"] > 0


def test_a_run_whose_updates_come_to_nothing_any_more_gives_up(pretrain: Callable[..., Any]) -> None:
    flags = ("--lr", 1e38, "--warmup-steps", 0, "--clip", 0, "--on-nonfinite", "skip")
    done = pretrain(*flags, steps=100)
    assert done.status == 1 and "after 32 updates in a row that were left out" in done.err
    assert "--on-nonfinite skip" not in done.err
    left_out = [one["step"] for one in steps_of() if one.get("skipped") == "nonfinite"]
    assert left_out == [*range(steps_of()[-1]["step"] - 31, steps_of()[-1]["step"] + 1)]
    assert records()[-1]["reason"] == "nonfinite"


def test_a_run_whose_folder_is_removed_ends_at_its_next_checkpoint_and_leaves_nothing(
    pretrain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(guard: Guard, loss: float, grad_norm: float) -> None:
        shutil.rmtree("run", ignore_errors=True)

    monkeypatch.setattr(Guard, "judge", judge)
    done = pretrain("--checkpoint-every", 3)
    assert done.status == 5
    assert "run: the run's folder was removed or replaced" in done.err
    assert not Path("run").exists()


def test_samples_are_written_on_time_and_change_nothing(pretrain: Callable[..., Any]) -> None:
    pretrain()
    expected = Path("run/model.safetensors").read_bytes()
    flags = ("--sample-every", 3, "--sample-prompt", "the ", "--sample-prompt", "cat", "--sample-tokens", 5)
    assert pretrain("-o", "run2", *flags).status == 0
    samples = [(line["step"], line["prompt"]) for line in records("run2") if line.get("event") == "sample"]
    assert samples == [(3, "the "), (3, "cat"), (6, "the "), (6, "cat")]
    assert all(len(line["text"]) == 5 for line in records("run2") if line.get("event") == "sample")
    assert Path("run2/model.safetensors").read_bytes() == expected
    greedy = [
        [line["text"] for line in records(out) if line.get("event") == "sample"]
        for out in ("run3", "run4")
        if pretrain("-o", out, *flags, "--sample-temperature", 0).status == 0
    ]
    assert greedy[0] == greedy[1]


def test_a_model_is_trained_on_from_its_weights(pretrain: Callable[..., Any]) -> None:
    pretrain(steps=30)
    before = steps_of()[0]["loss"]
    assert pretrain("-o", "run2", "--model", "run").status == 0
    assert steps_of("run2")[0]["loss"] < before - 0.3
    assert json.loads(Path("run2/config.json").read_text()) == json.loads(Path("run/config.json").read_text())
    refused = pretrain("-o", "run3", "--model", "run", "--num-hidden-layers", 2)
    assert (refused.status, "would change the weights of run" in refused.err) == (2, True)
    assert pretrain("-o", "run3", "--model", "run/config.json").status == 0
    assert steps_of("run3")[0]["loss"] == before  # the shape alone: weights from the seed


def test_a_settings_file_that_names_the_default_shape_beside_a_model_is_taken(
    pretrain: Callable[..., Any],
) -> None:
    Path("run.toml").write_text('preset = "tiny"\nmodel = "run"\n')  # as --print-config wrote it
    pretrain()
    done = pretrain("-o", "run2", "--config", "run.toml", "--dry-run")
    assert done.status == 0, done.err


def test_a_run_does_not_take_the_place_of_the_model_that_it_begins_with(pretrain: Callable[..., Any]) -> None:
    assert pretrain("--valid", "valid.txt").status == 0
    before = Path("run/model.safetensors").read_bytes()
    for more in ((), ("--dry-run",)):
        done = pretrain("--model", "run", "--resume", "never", "--force", *more)
        assert (done.status, "run: the output is also an input" in done.err) == (2, True)
    assert Path("run/model.safetensors").read_bytes() == before


@pytest.mark.parametrize("scaling", ["yarn:4", "linear:4", "dynamic:4", "llama3:4"])
def test_a_model_is_trained_on_with_longer_rows_as_transformers_stretches_it(
    pretrain: Callable[..., Any], llmkit_run: Callable[..., Any], scaling: str
) -> None:
    import transformers

    assert pretrain("-o", "short", steps=30).status == 0
    Path("valid.txt").write_text(TEXT[:61])
    more = ["--steps", 2, "--schedule", "constant", "--batch-rows", 4, "--threads", 1, "--valid", "valid.txt"]
    words = ["pretrain", "-m", "short", "--data", "text.txt", "--seq-len", 60, *more, "-q", "-o", "long"]
    refused = llmkit_run(*words)
    assert refused.status == 2 and "--rope-scaling yarn:4" in refused.err and not Path("long").exists()
    assert llmkit_run(*words, "--rope-scaling", scaling).status == 0
    theirs = transformers.AutoModelForCausalLM.from_pretrained("long")
    ids = torch.tensor([_ids(TEXT[:61])])
    expected = torch.nn.functional.cross_entropy(theirs(ids[:, :-1]).logits[0], ids[0, 1:])
    (*_, last) = (one for one in records("long") if one.get("event") == "eval")
    assert last["valid_loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert llmkit_run(*words, "--rope-scaling", scaling, "--steps", 3).status == 0  # it knows itself again
    other = llmkit_run(*words, "--rope-scaling", "yarn:5", "--steps", 3)
    assert other.status == 2 and "has other settings" in other.err


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        (("--lr", 0.1), "lr"),
        (("--schedule", "wsd"), "lr"),
        (("--schedule", "wsd", "--decay-ratio", 0.9), "lr"),
        (("--schedule", "linear"), "lr"),
        (("--schedule", "inverse-sqrt", "--warmup-steps", 2), "lr"),
        (("--schedule", "constant"), "lr"),
        (("--optimizer", "muon"), "loss"),
        (("--optimizer", "muon", "--momentum", 0.5), "loss"),
        (("--min-lr-ratio", 0.5), "lr"),
        (("--warmup-steps", 5), "lr"),
        (("--beta1", 0.5), "loss"),
        (("--beta2", 0.5), "loss"),
        (("--weight-decay", 0.9), "loss"),
        (("--clip", 0.01), "loss"),
        (("--dtype", "bfloat16"), "loss"),
        (("--batch-tokens", 32, "--batch-rows", 2), None),
        (("--initializer-range", 0.5), "loss"),
        (("--rope-theta", 10.0), "loss"),
        (("--intermediate-size", 8), "loss"),
        (("--head-dim", 4), "loss"),
        (("--no-tie-word-embeddings",), "loss"),
        (("--vocab-size", 64), "loss"),
        (("--model-type", "mistral"), "loss"),
        (("--preset", "stories15m"), "loss"),
    ],
)
def test_settings_of_the_model_and_the_optimiser_change_the_run(
    pretrain: Callable[..., Any], flags: tuple[Any, ...], changes: str | None
) -> None:
    plain = plain_steps(pretrain)
    done = pretrain("-o", "run2", *flags)
    if changes is None:
        assert done.status == 2
    else:
        assert done.status == 0, done.err
        assert [line[changes] for line in plain] != [line[changes] for line in steps_of("run2")]


@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        *((("--epochs", 0.5), None), (("--tokens", 640), 10), (("--steps", 3), 3)),
    ],
)
def test_the_budget_is_steps_epochs_or_tokens(
    pretrain: Callable[..., Any], flags: tuple[Any, ...], steps: int | None
) -> None:
    pretrain(*flags, steps=None)
    rows = records()[0]["rows"]
    assert len(steps_of()) == (steps if steps is not None else math.ceil(rows / 2 / 4))


def test_evaluation_of_the_first_rows_is_another_figure(pretrain: Callable[..., Any]) -> None:
    pretrain("--valid", "valid.txt", "--eval-rows", 2)
    assert [line["tokens"] for line in records() if line.get("event") == "eval"][-1] == 32


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (("--data", "absent.txt"), 4, "absent.txt: no such file"),
        (("--preset", "tinny"), 2, "did you mean tiny?"),
        (("--preset", "small", "--model", "tok"), 2, "both --preset small and --model"),
        (("--sample-every", 2, "--sample-tokens", 0), 2, "--sample-tokens must be at least 1 (found 0)"),
        (("--seed", -5), 2, "--seed must be at least 0 (found -5)"),
        (("--steps", 3, "--epochs", 1.0), 2, "two budgets"),
        (("--max-position-embeddings", 8), 2, "rows of 16 tokens, but the model has 8 positions"),
        (("--vocab-size", 5), 3, "a vocabulary of 5"),
        (("--device", "tpu"), 2, "no such device"),
        (("--hidden-size", 15), 2, "hidden_size"),
        (("--valid", "absent"), 4, "absent: no such file"),
        (("--max-time", "soon"), 2, "is not a time"),
        (("--fail-above", "nan"), 2, "'nan' is not a finite number"),
        (("--weight-decay", "inf"), 2, "--weight-decay must be finite (found inf)"),
        (("--decay-ratio", 0.4), 2, "--decay-ratio is wsd's"),
        (("--sample-prompt", "the"), 2, "--sample-prompt without --sample-every"),
        (("--metrics", "-", "--json"), 2, "--json and --metrics -: both are for stdout"),
        (("--metrics", "nodir/m.jsonl"), 4, "nodir/m.jsonl: no such folder"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    pretrain: Callable[..., Any], flags: tuple[Any, ...], status: int, message: str
) -> None:
    done = pretrain(*flags)
    assert done.status == status
    assert message in done.err
    assert not Path("run/metrics.jsonl").exists()


def test_artefacts_of_another_tokenizer_are_refused(
    pretrain: Callable[..., Any], llmkit_run: Callable[..., Any]
) -> None:
    llmkit_run("pack", "-t", "tok", "text.txt", "--seq-len", 16, "-o", "shards")
    shutil.copytree("tok", "tok2")
    content = json.loads(Path("tok/tokenizer.json").read_text())
    content["model"]["vocab"]["!"] = 99
    Path("tok2/tokenizer.json").write_text(json.dumps(content))
    done = pretrain("-t", "tok2", data=("shards",))
    assert done.status == 3
    assert "packed with another tokenizer" in done.err


def test_documents_need_a_tokenizer_and_shards_do_not(llmkit_run: Callable[..., Any]) -> None:
    base = ["pretrain", *SMALL, "--steps", 2, "-o", "run"]
    done = llmkit_run(*base, "--data", "text.txt")
    assert (done.status, "need a tokenizer" in done.err) == (2, True)
    llmkit_run("pack", "-t", "tok", "text.txt", "--seq-len", 16, "-o", "shards")
    assert llmkit_run(*base, "--data", "shards").status == 0
    assert not Path("run/tokenizer.json").exists()


def test_too_little_disk_or_memory_is_found_before_the_start(
    pretrain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.workflows.run import plan as run_plan

    for name, message in (("free_bytes", "checkpoints"), ("available_memory_bytes", "memory")):
        with monkeypatch.context() as patch:
            patch.setattr(run_plan, name, lambda place: 1000)
            done = pretrain()
        assert (done.status, message in done.err) == (5, True)
    assert not Path("run/metrics.jsonl").exists()


def test_time_over_is_resumable(pretrain: Callable[..., Any]) -> None:
    done = pretrain("--max-time", "0.001s")
    assert done.status == 75
    assert "run the same line again" in done.err
    assert records()[-1]["reason"] == "max_time"
    assert pretrain().status == 0
    assert [line["step"] for line in steps_of()] == [1, 2, 3, 4, 5, 6]


def test_a_line_that_would_start_over_is_not_the_one_that_goes_on(pretrain: Callable[..., Any]) -> None:
    done = pretrain("--max-time", "0.001s", "--resume", "never")
    assert done.status == 75
    assert "hint: run the same line without --resume never to go on\n" in done.err
    (stopped,) = steps_of()
    assert pretrain("--max-time", "0.001s").status == 75
    assert steps_of()[0] == stopped and len(steps_of()) == 2


def test_attention_across_documents_is_another_run(pretrain: Callable[..., Any]) -> None:
    lines = [json.dumps({"text": TEXT[start : start + 7]}) for start in range(0, 2000, 7)]
    Path("short.jsonl").write_text("\n".join(lines) + "\n")
    for out, flag in (("a", "--document-mask"), ("b", "--no-document-mask")):
        assert pretrain("-o", out, flag, data=("short.jsonl",)).status == 0
    a, b = steps_of("a"), steps_of("b")
    assert a[0]["tokens"] < b[0]["tokens"]  # the first token of a document is no target within its own
    assert a[0]["loss"] != b[0]["loss"]


def test_a_micro_batch_changes_nothing_but_the_last_bits(pretrain: Callable[..., Any]) -> None:
    pretrain()
    pretrain("-o", "run2", "--micro-batch-rows", 1)
    for one, other in zip(steps_of(), steps_of("run2"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("preset", "flag", "value"),
    [
        ("tiny-moe", "--router-aux-loss-coef", 1.0),
        ("tiny-moe", "--router-z-loss-coef", 1.0),
        ("tiny-moe-free", "--router-bias-update", 0.5),
    ],
)
def test_each_setting_of_routers_changes_a_mixture_and_nothing_else_has_it(
    pretrain: Callable[..., Any], preset: str, flag: str, value: float
) -> None:
    mixture = ("--preset", preset, "--num-hidden-layers", 2)
    assert pretrain(*mixture).status == 0
    assert pretrain("-o", "run2", *mixture, flag, value).status == 0
    assert [line["loss"] for line in steps_of()] != [line["loss"] for line in steps_of("run2")]
    done = pretrain("-o", "run3", flag, value)
    assert (done.status, "the model has no experts" in done.err) == (2, True)
    assert (pretrain("-o", "run4", *mixture, flag, -1).status, Path("run4").exists()) == (2, False)


def test_the_experts_of_a_mixture_can_be_more_fewer_or_narrower(pretrain: Callable[..., Any]) -> None:
    flags = ("--num-experts", 5, "--num-experts-per-tok", 3, "--moe-intermediate-size", 8)
    assert pretrain("--preset", "tiny-moe", *flags).status == 0
    config = json.loads(Path("run/config.json").read_text())
    assert (config["num_experts"], config["num_experts_per_tok"]) == (5, 3)
    assert config["moe_intermediate_size"] == 8
    assert len(steps_of()[0]["expert_loads"][0]) == 5
    done = pretrain("-o", "run2", *flags)
    assert (done.status, "the model has no experts" in done.err) == (2, True)
    done = pretrain("-o", "run3", "--model", "run", "--num-experts", 6)
    assert (done.status, "would change the weights of run (found 5)" in done.err) == (2, True)
    assert pretrain("-o", "run3", "--model", "run", *flags).status == 0


def test_the_bias_is_refused_where_no_router_has_one(pretrain: Callable[..., Any]) -> None:
    done = pretrain("--preset", "tiny-moe", "--router-bias-update", 0.1)
    assert (done.status, "have no selection bias" in done.err) == (2, True)


@pytest.mark.parametrize("preset", ["tiny-moe", "tiny-moe-free"])
def test_a_mixture_is_a_model_that_transformers_opens_and_says_how_its_experts_are_used(
    pretrain: Callable[..., Any], llmkit_run: Callable[..., Any], preset: str
) -> None:
    import transformers

    from llmkit.model.load import load_model

    mixture = ("--preset", preset, "--num-hidden-layers", 2, "--router-aux-loss-coef", 0.01)
    mixture += ("--router-z-loss-coef", 0.002)
    assert pretrain(*mixture, steps=3).status == 0
    done = pretrain(*mixture, "--max-time", "0.000001s", "-o", "part", steps=3)  # stops after a step
    assert done.status == 75
    assert pretrain(*mixture, "-o", "part", steps=3).status == 0
    assert Path("part/model.safetensors").read_bytes() == Path("run/model.safetensors").read_bytes()
    last = steps_of()[-1]
    layers, k = (2, 2) if preset == "tiny-moe" else (1, 2)  # the first of the other is dense
    assert [len(layer) for layer in last["expert_loads"]] == [8] * layers
    assert last["expert_load_max"] == pytest.approx(max(map(max, last["expert_loads"])), abs=0.01)
    assert all(sum(layer) == pytest.approx(8, abs=0.05) for layer in last["expert_loads"])
    assert k * 0.9 < last["balance_loss"] < 8 and 0 < last["router_z_loss"] < 100
    for folder in ("run", "part"):
        keys = json.loads(Path(folder, "config.json").read_text())
        assert (keys["router_aux_loss_coef"], keys["router_z_loss_coef"]) == (0.01, 0.002)
    ids = torch.arange(12)[None]
    theirs = transformers.AutoModelForCausalLM.from_pretrained("run")
    assert theirs.config.router_aux_loss_coef == 0.01
    assert (theirs(ids).logits - load_model(Path("run"))(ids)).abs().max() < 1e-4
    shown = llmkit_run("show", "run")
    assert (shown.status, "train loss" in shown.text) == (0, True)


def test_checkpoints_at_a_multiple_stay_beside_the_last_one(pretrain: Callable[..., Any]) -> None:
    assert pretrain("--checkpoint-every", 3, "--keep", 1, "--keep-every", 2).status == 0
    assert [folder.name[-1] for folder in list_checkpoints(Path("run"))[0]] == ["2", "4", "6"]
    plan = json.loads(pretrain("-o", "run2", "--keep", 1, "--keep-every", 2, "--dry-run", "--json").out)
    assert plan["disk_bytes"] == 5 * plan["checkpoint_bytes"]  # the last, three for good, one being written


def test_a_ramp_begins_with_few_rows_and_is_counted_in_plan_and_metrics(pretrain: Callable[..., Any]) -> None:
    plan = json.loads(pretrain("--batch-ramp", "1:3", "--dry-run", "--json").out)
    assert (plan["total_tokens"], plan["batch_tokens"]) == ((1 + 2 + 3 + 4 + 4 + 4) * 16, 4 * 16)
    assert plan["total_seconds"] == pytest.approx(plan["step_seconds"] * 18 / 4)
    report = json.loads(pretrain("--batch-ramp", "1:3", "--json").out)
    assert report["tokens"] == steps_of()[-1]["tokens"]
    rows = [after["tokens"] - before["tokens"] for before, after in pairwise([{"tokens": 0}, *steps_of()])]
    assert rows[0] < rows[1] < rows[2] < rows[3] == rows[5]
    refused = pretrain("-o", "run2", "--batch-ramp", "3:3")
    assert (refused.status, "no whole number of 3 rows" in refused.err) == (2, True)
    other = pretrain()
    assert (other.status, "batch_ramp 1:3 there, None here" in other.err) == (2, True)


def test_a_z_loss_is_told_apart_and_changes_the_weights(pretrain: Callable[..., Any]) -> None:
    pretrain()
    pretrain("-o", "run2", "--z-loss", 0.5)
    assert steps_of("run2")[0]["loss"] == pytest.approx(steps_of()[0]["loss"], rel=1e-6)
    assert steps_of("run2")[0]["z_loss"] > 0 and "z_loss" not in steps_of()[0]
    assert Path("run/model.safetensors").read_bytes() != Path("run2/model.safetensors").read_bytes()


def test_products_in_float8_are_learnt_with_and_are_part_of_the_recipe(pretrain: Callable[..., Any]) -> None:
    for name, more in (("run", ()), ("run2", ("--fp8",))):
        assert pretrain("-o", name, "--dtype", "bfloat16", *more).status == 0
    losses = [[line["loss"] for line in steps_of(name)] for name in ("run", "run2")]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.02)
    again = pretrain("-o", "run2", "--dtype", "bfloat16")
    assert (again.status, "fp8 True there, False here" in again.err) == (2, True)


def test_norms_of_queries_and_softcaps_are_there_where_the_family_has_them(
    pretrain: Callable[..., Any],
) -> None:
    refused = pretrain("--qk-norm", "none")
    assert (refused.status, "a qwen3 model has qk_norm head (found none)" in refused.err) == (2, True)
    assert pretrain("--model-type", "llama", "--qk-norm", "none").status == 0
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"num_key_value_heads": 1, "head_dim": 8, "query_pre_attn_scalar": 8, "vocab_size": 64}
    Path("gemma").mkdir()
    Path("gemma/config.json").write_text(json.dumps({"model_type": "gemma2", **sizes, **more}))
    base = ("--model", "gemma", "--max-position-embeddings", 16)
    assert pretrain("-o", "g30", *base).status == 0
    assert pretrain("-o", "g2", *base, "--final-logit-softcapping", 2).status == 0
    caps = [
        json.loads(Path(run, "config.json").read_text())["final_logit_softcapping"] for run in ("g30", "g2")
    ]
    assert caps == [30.0, 2.0]
    assert steps_of("g30")[0]["loss"] != steps_of("g2")[0]["loss"]


def test_a_run_goes_back_from_a_spike_as_often_as_it_may(
    pretrain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = []

    def judge(guard: Guard, loss: float, grad_norm: float) -> str | None:
        judged.append(loss)
        return "spike" if len(judged) in (4, 6) else None

    monkeypatch.setattr(Guard, "judge", judge)
    flags = ("--checkpoint-every", 2, "--on-spike", "rewind", "--max-rewinds")
    assert pretrain(*flags, 2).status == 0
    (first, second) = (record for record in records() if record.get("event") == "rewind")
    assert (first["step"], first["spike_step"], second["step"], second["spike_step"]) == (2, 4, 2, 4)
    assert [line["step"] for line in steps_of()] == [1, 2, 3, 4, 5, 6]  # each once
    assert [one["step"] for told in (first, second) for one in told["undone"]] == [3, 3]
    judged.clear()
    done = pretrain("-o", "run2", *flags, 1)
    assert done.status == 1
    assert "step 4: the loss or its gradient is a spike" in done.err
    assert "after 1 that the run went back from" in done.err
    refused = pretrain("-o", "run3", "--max-rewinds", 1)
    assert (refused.status, "--on-spike rewind" in refused.err) == (2, True)


def test_a_profile_norms_and_event_files_are_left_beside_the_metrics(pretrain: Callable[..., Any]) -> None:
    done = pretrain("--profile", "2:2", "--log-norms", 3, "--tensorboard", "events")
    assert done.status == 0
    trace = json.loads(gzip.decompress(Path("run/profile/steps-3-4.trace.json.gz").read_bytes()))
    assert any(one.get("name") == "aten::mm" for one in trace["traceEvents"])
    (profile,) = (record for record in records() if record.get("event") == "profile")
    assert (profile["first_step"], profile["step"]) == (3, 4)
    norms = [record for record in records() if record.get("event") == "norms"]
    assert [record["step"] for record in norms] == [3, 6]
    assert [layer["name"] for layer in norms[0]["layers"]] == ["embed_tokens", "layers.0", "norm"]
    assert all(line["loader_seconds"] >= 0 for line in steps_of())
    (events,) = Path("events").iterdir()
    assert events.read_bytes().count(b"train/loss") == 6


def test_a_profile_that_is_no_window_and_norms_of_a_compiled_model_are_refused(
    pretrain: Callable[..., Any],
) -> None:
    assert "--profile soon: not WAIT or WAIT:COUNT" in pretrain("--profile", "soon").err
    assert "--log-norms looks at each layer" in pretrain("--log-norms", 2, "--compile").err
    assert not Path("run").exists()


def test_calibrate_times_a_plans_steps(pretrain: Callable[..., Any]) -> None:
    plan = json.loads(pretrain("--dry-run", "--calibrate", "--json").out)
    assert plan["time_source"].startswith("median of ")
    assert plan["tokens_per_second"] == pytest.approx(plan["batch_tokens"] / plan["step_seconds"])
    assert pretrain("--calibrate").status == 2


def test_a_plan_of_several_processes_starts_none_and_tells_what_each_takes_and_sends(
    pretrain: Callable[..., Any],
) -> None:
    alone, both, pieces, rows = (
        json.loads(pretrain("--dry-run", "--json", *flags).out)
        for flags in ((), ("--nproc", 2), ("--nproc", 4, "--fsdp", 2, "--tp", 1), ("--nproc", 2, "--cp", 2))
    )
    assert (alone["processes"], alone["all_memory_bytes"], alone["sent_bytes"]) == (1, None, {})
    assert (both["processes"], both["division"]) == (2, "dp 2")
    assert both["all_memory_bytes"] == 2 * both["memory_bytes"] > 2 * alone["memory_bytes"]
    assert both["sent_bytes"] == {"gradients": 4 * both["parameters"]}
    assert (pieces["processes"], pieces["division"]) == (4, "dp 2 x fsdp 2")
    assert [*pieces["sent_bytes"]] == ["gradients", "weights"]
    assert [*rows["sent_bytes"]] == ["gradients", "activations"]
    for plan in (both, pieces, rows):
        assert plan["time_source"] == "estimated at 40% of the peak"
    assert not Path("run").exists()
    text = pretrain("--dry-run", "--nproc", 2).text
    assert "2 (dp 2)" in text and "a step by each process (gradients" in text
    assert "--tp 3" in pretrain("--dry-run", "--nproc", 2, "--tp", 3).err
    refused = pretrain("--dry-run", "--nproc", 2, "--cp", 2, "--seq-len", 18)
    assert (refused.status, "--cp 2: rows of 18 tokens" in refused.err) == (2, True)


def test_calibrate_times_the_steps_of_several_processes_that_it_starts(
    llmkit_run: Callable[..., Any], forked_python: Path
) -> None:
    line = ["pretrain", "--data", "text.txt", "-t", "tok", "--seq-len", 16, *SMALL, "--steps", 6, "-o", "run"]
    line += ["--nproc", "2", "--cp", "2", "--dry-run", "--json"]
    command = [forked_python, "-m", "llmkit", *map(str, line), "--calibrate"]
    done = run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)  # of the first process alone
    assert (plan["processes"], plan["division"]) == (2, "cp 2")
    assert plan["time_source"].startswith("median of ") and not Path("run").exists()
    assert plan["sent_bytes"] == json.loads(llmkit_run(*line).out)["sent_bytes"]


KILLED = """
import os, signal
if os.environ["RANK"] == "1":
    from llmkit.train.trainer import Trainer
    learn = Trainer.train_step
    def train_step(self):
        if self.step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return learn(self)
    Trainer.train_step = train_step
from llmkit.cli import main
main()
"""
BY_ANOTHER_PROGRAM = """
from llmkit.cli import main
from llmkit.workflows.run import launch
launch.MODULE = "killed"
main()
"""


def test_rows_in_pieces_are_learnt_by_two_processes_and_after_a_kill_gone_on_with_by_one(
    llmkit_run: Callable[..., Any], forked_python: Path
) -> None:
    line = ["pretrain", "--data", "text.txt", "-t", "tok", "--seq-len", 16, *SMALL, "--steps", 6]
    line += ["--valid", "valid.txt", "--dtype", "float32", "--checkpoint-every", 2]
    assert llmkit_run(*line, "-o", "alone").status == 0
    Path("killed.py").write_text(KILLED)
    command = [
        forked_python,
        "-c",
        BY_ANOTHER_PROGRAM,
        *map(str, line),
        "-o",
        "run",
        "--nproc",
        "2",
        "--cp",
        "2",
    ]
    killed = run(command, capture_output=True, text=True)
    assert killed.returncode == 75 and "process 1 of 2 was ended by SIGKILL" in killed.stderr
    assert [one.name for one in list_checkpoints(Path("run"))[0]] == ["step-00000002", "step-00000004"]
    assert llmkit_run(*line, "-o", "run").status == 0
    starts = [one["division"] for one in records() if one.get("event") == "start"]
    assert starts == ["cp 2", "one process"]
    both = [
        [one["loss"] for one in steps_of(name)]
        + [one["valid_loss"] for one in records(name) if one.get("event") == "eval"]
        for name in ("alone", "run")
    ]
    assert both[1] == pytest.approx(both[0], rel=1e-5) and len(both[0]) == 12


def test_a_plan_predicts_the_memory_of_a_process_of_its_own(llmkit_run: Callable[..., Any]) -> None:
    """Within 20 %: 741 thousand parameters, 2048 tokens at a time; most of it is PyTorch itself."""
    line = ["pretrain", "--data", "text.txt", "-t", "tok", "--seq-len", "64", "--steps", "2", "--json", "-q"]
    line += ["-o", "own", "--dtype", "float32", "--threads", "1"]
    plan = json.loads(llmkit_run(*line, "--dry-run").out)
    done = json.loads(run([sys.executable, "-m", "llmkit", *line], capture_output=True).stdout)
    assert plan["memory_bytes"] == pytest.approx(done["memory_bytes"], rel=0.2)


def test_checkpoints_written_beside_are_those_that_the_run_stands_still_for(
    pretrain: Callable[..., Any],
) -> None:
    plain = json.loads(pretrain("--checkpoint-every", 2, "--dry-run", "--json").out)
    beside = json.loads(pretrain("--async-checkpoint", "--dry-run", "--json").out)
    assert beside["memory_bytes"] - plain["memory_bytes"] == plain["checkpoint_bytes"]
    pretrain("--checkpoint-every", 2)
    assert pretrain("-o", "run2", "--checkpoint-every", 2, "--async-checkpoint").status == 0
    told = [record["step"] for record in records("run2") if record.get("event") == "checkpoint"]
    assert told == [2, 4, 6] and records("run2")[-1]["event"] == "stop"
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        one, other = (Path(run, "checkpoints/step-00000006", name) for run in ("run", "run2"))
        assert one.read_bytes() == other.read_bytes(), name
    assert pretrain("-o", "run2", "--async-checkpoint").status == 0  # nothing to do


def test_the_rate_of_a_base_width_is_the_default_of_a_wider_model(pretrain: Callable[..., Any]) -> None:
    apart = ("--no-tie-word-embeddings", "--dry-run", "--json")
    assert json.loads(pretrain(*apart).out)["lr"] == 0.00849  # 3e-3 * sqrt(128 / 16)
    assert json.loads(pretrain("--mup-base-width", 8, *apart).out)["lr"] == 0.012
    refused = pretrain("--mup-base-width", 8)
    assert (refused.status, "--no-tie-word-embeddings" in refused.err) == (2, True)
    pretrain("--no-tie-word-embeddings", "--lr", 0.01)
    pretrain("-o", "run2", "--no-tie-word-embeddings", "--lr", 0.01, "--mup-base-width", 8)
    assert (
        Path("run/config.json").read_bytes() == Path("run2/config.json").read_bytes()
    )  # a model like any other
    assert Path("run/model.safetensors").read_bytes() != Path("run2/model.safetensors").read_bytes()


def test_layers_that_are_computed_again_end_with_the_same_weights(
    pretrain: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    again = []
    plain = recompute.checkpoint
    monkeypatch.setattr(
        recompute, "checkpoint", lambda *given, **how: again.append(1) or plain(*given, **how)
    )
    assert pretrain("-o", "plain").status == 0
    assert again == []
    assert pretrain("--activation-checkpointing", "full").status == 0
    assert again
    weights = [Path(run, "model.safetensors").read_bytes() for run in ("plain", "run")]
    assert weights[0] == weights[1]
