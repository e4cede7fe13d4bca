"""Each question that kv-estimate answers, on the command line: text, JSON, its gate, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.probe import machine_speed

Run = Callable[..., Any]
LLAMA = ("kv-estimate", "--preset", "llama-2-7b")


def test_the_unknown_is_a_sentence_or_json(llmkit_run: Run) -> None:
    line = (*LLAMA, "--memory", "24GiB", "--solve", "context")
    assert llmkit_run(*line).text.startswith(
        "llama-2-7b: 1 sequence of up to 23,446 tokens in 24.0 GiB; the model"
    )
    report = json.loads(llmkit_run(*line, "--json").out)
    assert (report["schema"], report["context"]) == ("llmkit.kv-estimate.solution/1", 23_446)
    none = llmkit_run(*LLAMA, "--memory", "1GiB", "--solve", "batch")
    assert none.status == 1 and "no batch fits 1,073,741,824 bytes" in none.err


def test_every_format_is_a_row_and_the_answer_is_in_the_sentence(llmkit_run: Run) -> None:
    text = llmkit_run(*LLAMA, "--fit", "6GiB", "-c", "4k", "--solve", "quant").text
    assert text.startswith("llama-2-7b: q4_k_m is the widest format that fits")
    assert [line.split()[-1] for line in text.splitlines()[3:]] == ["fits", *["no"] * 5, *["yes"] * 3]


def test_training_says_each_part(llmkit_run: Run) -> None:
    line = (*LLAMA, "--train", "-c", "1k", "--precision", "mixed16", "--zero", 3, "--dp", 8)
    done = llmkit_run(*line)
    assert done.status == 0 and "gathered" in done.text and "ZeRO 3" in done.text
    report = json.loads(llmkit_run(*line, "--json").out)
    assert report["weights_bytes"] == 2 * 6_738_415_616 // 8
    assert llmkit_run(*line, "--memory", "1GiB").status == 1
    adapters = json.loads(llmkit_run(*LLAMA, "--train", "--lora-rank", 8, "--qlora", "--json").out)
    assert adapters["weights_bytes"] < 6_738_415_616 and adapters["trained_parameters"] < 30_000_000


def test_training_names_every_way_in_which_it_is_split(llmkit_run: Run) -> None:
    line = (*LLAMA, "--train", "-c", 256, "--zero", 1, "--dp", 2, "--tp", 4, "--pp", 2, "--micro-batches", 3)
    title = " ".join(llmkit_run(*line, "--sequence-parallel").text.partition("\n\n")[0].split())
    said = "data parallel 2, ZeRO 1, tensor parallel 4, pipeline 2, micro-batches 3, sequence parallel"
    assert title.endswith(said)
    assert "parallel" not in llmkit_run(*LLAMA, "--train", "-c", 256).text


def test_flags_of_training_change_what_they_name(llmkit_run: Run) -> None:
    def memory(*flags: object) -> dict[str, int]:
        report: dict[str, int] = json.loads(llmkit_run(*LLAMA, "--train", "-c", 256, *flags, "--json").out)
        return report

    plain = memory()
    assert memory("--optimizer", "sgd-momentum")["optimizer_bytes"] == plain["optimizer_bytes"] // 2
    assert memory("--recompute", "full")["activations_bytes"] < plain["activations_bytes"]
    assert memory("--recompute", "none")["activations_bytes"] > plain["activations_bytes"]
    staged = memory("--pipeline-parallel", 4, "--micro-batches", 8)
    assert staged["weights_bytes"] < plain["weights_bytes"] // 3
    assert staged == memory("--pp", 4, "--micro-batches", 8)
    assert memory("--data-parallel", 2, "--zero", 3)["weights_bytes"] == plain["weights_bytes"] // 2


def test_this_machine_is_measured_and_a_bench_says_how_much_of_it_is_reached(
    llmkit_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llmkit.workflows.bench.model  # noqa: F401 (names the real class in its annotations, so comes first)

    probe = machine_speed.SpeedProbe
    monkeypatch.setattr(machine_speed, "SpeedProbe", lambda: probe(stream_bytes=1 << 16, sides=(8,)))
    line = ("kv-estimate", "--preset", "tiny", "--measure", "--json")
    bound = json.loads(llmkit_run(*line).out)["speed"]
    assert (bound["device"], bound["mbu"], bound["efficiency_source"]) == ("this machine", 1.0, "bound")
    bench = llmkit_run(
        "bench", "decode", "--preset", "tiny", "--tokens", 2, "--rounds", 1, "--format", "json"
    )
    report = json.loads(bench.out)
    (row,) = report["rows"]
    report["rows"] = [row | {"mbu": 0.25, "mfu": 0.01}, row | {"mbu": 0.1, "mfu": 0.5}]
    path = tmp_path / "run.json"
    path.write_text(json.dumps(report))
    reached = json.loads(llmkit_run(*line, "--calibrate", path).out)["speed"]
    assert (reached["mfu"], reached["mbu"], reached["efficiency_source"]) == (0.5, 0.25, "calibrated")
    own = json.loads(llmkit_run(*line, "--calibrate", path, "--mbu", 0.75).out)["speed"]
    assert (own["mfu"], own["mbu"]) == (0.5, 0.75)


def test_a_device_gives_speed_cost_and_fleet(llmkit_run: Run) -> None:
    line = (*LLAMA, "--device", "H100", "--price-per-hour", 2.5, "--users", "1k", "--rate", 20)
    text = llmkit_run(*line).text
    for word in ("H100 SXM", "first token", "bandwidth binds", "a million output tokens", "replicas on"):
        assert word in " ".join(text.split()), word
    report = json.loads(llmkit_run(*line, "--json").out)
    assert report["speed"]["mfu"] == report["speed"]["mbu"] == 1.0
    assert report["fleet"]["replicas"] >= 1 and report["cost"]["price_per_hour"] == 2.5
    tight = llmkit_run("kv-estimate", "--preset", "llama-2-7b", "--device", "rtx4090", "-b", 32)
    assert tight.status == 1 and "does not fit 21,600,000,000 bytes" in tight.err


def test_several_models_on_a_device_have_a_column_of_speed(llmkit_run: Run) -> None:
    text = llmkit_run("kv-estimate", "--preset", "tiny", "--preset", "gpt2", "--device", "l4").text
    assert text.splitlines()[0].endswith("device L4") and "tokens/s" in text.splitlines()[2]


def test_formulas_have_their_numbers_and_sources(llmkit_run: Run) -> None:
    line = ("kv-estimate", "--preset", "llama-3.2-1b", "-c", "8k", "--explain")
    text = " ".join(llmkit_run(*line).text.split())
    assert "16 layers x 2 x 8 heads x 64 x 2 B x 8,000 tokens = 262,144,000" in text
    assert "attention: q_proj: tensors x shape = 16 x 2,048 x 2,048 = 67,108,864" in text
    assert "arXiv:2211.05102" in text
    report = json.loads(llmkit_run(*line, "--json").out)
    assert sum(row["result"] for row in report["parameters"]) == 1_235_814_400


def test_a_plot_has_the_limit_in_it_and_no_escapes(llmkit_run: Run) -> None:
    text = llmkit_run(*LLAMA, "--plot", "-c", "32k", "--memory", "24GiB").text
    assert "limit 24 GiB" in text and "\x1b" not in text and "32k" in text
    assert max(map(len, text.splitlines())) <= 80
    cache = llmkit_run("kv-estimate", "--layers", 2, "--kv-heads", 1, "--head-dim", 8, "--plot").text
    assert cache.startswith("KV cache: KV cache against context")


def test_a_window_can_be_kept_whole(llmkit_run: Run, shared_data: Path) -> None:
    line = ("kv-estimate", shared_data / "configs" / "gemma-2-9b-it", "-c", "32Ki", "--json")
    assert json.loads(llmkit_run(*line).out)["kv_bytes"] == 6_341_787_648
    assert json.loads(llmkit_run(*line, "--no-window").out)["kv_bytes"] == 11_274_289_152


def test_pages_ranks_prefixes_and_activations_are_counted(llmkit_run: Run) -> None:
    shape = ("--layers", 32, "--kv-heads", 8, "--head-dim", 128)

    def cache(*flags: object) -> int:
        return json.loads(llmkit_run("kv-estimate", *shape, "-c", 8193, *flags, "--json").out)["kv_bytes"]

    assert cache("--block-size", 16) == 1_075_838_976
    assert cache("--tp", 8) == cache() // 8
    assert cache("--tp", 16) == cache("--tp", 8)  # one head at least on each
    assert cache("-b", 3, "--shared-prefix", 8193) == cache()
    report = json.loads(llmkit_run(*LLAMA, "--prefill-chunk", 512, "--json").out)
    assert report["activations_bytes"] == 512 * 2 * (2 * 4096 + 2 * 11_008) + 4 * 32_000
    assert report["total_bytes"] == sum(report[f"{part}_bytes"] for part in ("weights", "kv", "activations"))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--solve", "batch", "--train"], "--solve and --train are two questions"),
        (["--plot", "--json"], "a plot is no JSON"),
        (["--zero", "2"], "--zero says nothing without --train"),
        (["--qlora"], "--qlora says nothing without --train"),
        (["--price-per-hour", "2"], "--price-per-hour says nothing without --device"),
        (["--device", "h100", "--rate", "3"], "--rate is each user's"),
        (["--device", "h1000"], "no device named 'h1000'"),
        (["--device", "h100", "--mfu", "2"], "mfu is not above 0 and at most 1"),
        (["--solve", "quant"], "needs to know the memory"),
        (["--kv-dtype", "q9_9"], "--kv-dtype"),
        (["--dtype", "q4_k_x"], "did you mean"),
    ],
)
def test_flags_that_ask_for_nothing_are_refused(llmkit_run: Run, flags: list[str], says: str) -> None:
    done = llmkit_run(*LLAMA, *flags)
    assert (done.status, done.out) == (2, b"")
    assert says in done.err and len(done.err.splitlines()) == 2


@pytest.mark.parametrize("question", ["--explain", "--plot"])
def test_formulas_and_charts_have_the_gate_too(llmkit_run: Run, question: str) -> None:
    done = llmkit_run(*LLAMA, question, "--memory", "1GiB")
    assert done.status == 1 and done.out and "does not fit 1,073,741,824 bytes" in done.err
    assert llmkit_run(*LLAMA, question, "--memory", "24GiB").status == 0


def test_a_chart_starts_inside_a_shared_prefix(llmkit_run: Run) -> None:
    assert llmkit_run(*LLAMA, "--plot", "-c", "4k", "--shared-prefix", "3k").status == 0
