"""llmkit kv-estimate on the command line: text, JSON, flags, the gate, and what it loads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_config_is_text_for_people_and_json_for_programs(
    llmkit_run: Run, tiny_model: Callable[..., Path]
) -> None:
    folder = tiny_model("model")
    text = llmkit_run("kv-estimate", folder, "--context", "4k", "--batch", "8")
    assert (text.status, text.err) == (0, "")
    assert "8 sequences of 4,000 tokens in float32" in text.text
    report = json.loads(llmkit_run("kv-estimate", folder, "-c", "4Ki", "-b", 8, "--json").out)
    assert report["schema"] == "llmkit.kv-estimate/1"
    # 2 layers, 1 key/value head of 4, float32
    assert (report["kv_bytes_per_token"], report["kv_bytes"]) == (64, 64 * 4096 * 8)
    assert report["total_bytes"] == report["kv_bytes"] + report["weights_bytes"]
    assert (report["context"], report["batch"], report["fits"]) == (4096, 8, None)


def test_stdin_gives_what_config_json_gives(
    llmkit_run: Run, tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model("model")
    monkeypatch.chdir(folder)
    named = llmkit_run("kv-estimate", "config.json", "--json")
    content = (folder / "config.json").read_bytes()
    assert named.status == 0
    assert llmkit_run("kv-estimate", "-", "--json", stdin=content).out == named.out
    assert llmkit_run("kv-estimate", "--json", stdin=content).out == named.out


@pytest.mark.parametrize(
    "flags",
    [
        ("--layers", 32, "--kv-heads", 8, "--head-dim", 128),
        ("--num-hidden-layers", 32, "--num-key-value-heads", 8, "--head-dim", 128),
        ("--layers", 32, "--heads", 32, "--kv-heads", 8, "--hidden-size", 4096),
    ],
)
def test_flags_alone_are_a_cache_and_stdin_is_left_alone(llmkit_run: Run, flags: tuple[object, ...]) -> None:
    done = llmkit_run("kv-estimate", *flags, "--json", stdin=b"no config at all")
    assert done.status == 0, done.err
    report = json.loads(done.out)
    assert report["kv_bytes_per_token"] == 131_072
    assert report["weights_bytes"] is report["total_bytes"] is report["parameters"] is None


def test_every_size_by_flag_is_a_model(llmkit_run: Run) -> None:
    shape = ("--layers", 32, "--heads", 32, "--kv-heads", 8, "--hidden-size", 4096)
    rest = ("--intermediate-size", 14336, "--vocab-size", 128256)
    report = json.loads(llmkit_run("kv-estimate", *shape, *rest, "--json").out)
    assert (report["parameters"], report["model_type"]) == (8_030_261_248, "llama")
    tied = json.loads(llmkit_run("kv-estimate", *shape, *rest, "--tie-word-embeddings", "--json").out)
    assert tied["parameters"] == 8_030_261_248 - 128_256 * 4096


def test_flags_change_a_preset(llmkit_run: Run) -> None:
    def layers(*flags: object) -> int:
        return json.loads(llmkit_run("kv-estimate", "--preset", "tiny", *flags, "--json").out)[
            "kv_bytes_per_token"
        ]

    assert layers("--layers", 8) == 2 * layers() and layers("--kv-heads", 4) == 2 * layers()
    assert layers("--head-dim", 64) == 2 * layers() and layers("--kv-dtype", "bfloat16") == layers() // 2


def test_a_tied_preset_gets_a_head_of_its_own(llmkit_run: Run) -> None:
    line = ("kv-estimate", "--preset", "llama-3.2-1b", "--json")
    tied, untied = (json.loads(llmkit_run(*line, *more).out) for more in ((), ("--no-tie-word-embeddings",)))
    assert untied["parameters"] - tied["parameters"] == 128_256 * 2048


def test_too_little_memory_is_exit_1_after_the_report(llmkit_run: Run) -> None:
    line = ("kv-estimate", "--preset", "llama-2-7b", "--context", "4k", "--batch", 32, "--memory", "24GiB")
    done = llmkit_run(*line)
    assert done.status == 1 and "51.1 GiB more than 24.0 GiB" in done.text
    first, second = done.err.splitlines()
    assert first == ("llmkit: error: llama-2-7b: does not fit 25,769,803,776 bytes (found 80,585,695,232)")
    assert second == "  hint: --batch 5 fits, or --context 732 fits"
    assert json.loads(llmkit_run(*line, "--json").out)["fits"] is False
    for words in (("--batch", 5), ("--context", 732)):  # the last of a flag counts
        assert llmkit_run(*line, *words).status == 0


def test_several_models_are_a_table_or_json_lines(llmkit_run: Run, tiny_model: Callable[..., Path]) -> None:
    line = ("kv-estimate", tiny_model("a"), tiny_model("b"), "--preset", "tiny", "--preset", "gpt2")
    table = llmkit_run(*line).text.splitlines()
    assert table[2].split()[0] == "model" and len(table[3:7]) == 4
    reports = [json.loads(row) for row in llmkit_run(*line, "--json").out.splitlines()]
    assert [Path(one["model"]).name for one in reports] == ["a", "b", "tiny", "gpt2"]


@pytest.mark.parametrize(
    ("flags", "status", "says"),
    [
        (["nowhere"], 4, "nowhere: no such file"),
        (["--preset", "lama-2-7b"], 2, "no preset named 'lama-2-7b'"),
        (["--preset", "tiny", "--batch", "0"], 2, "batch is not at least 1"),
        (["--preset", "tiny", "--layers", "0"], 2, "--layers"),
        (["--layers", "3"], 2, "--num-key-value-heads, --head-dim"),
        (["--preset", "tiny", "--dtype", "int3"], 2, "--dtype"),
        (["--preset", "tiny", "--memory", "much"], 2, "'much' is not a number"),
        (["--preset", "gpt2", "--kv-heads", "4"], 2, "num_key_value_heads 12 (found 4)"),
        (["--preset", "tiny", "nowhere"], 4, "nowhere"),
    ],
)
def test_wrong_use_has_its_status_and_two_lines(
    llmkit_run: Run, flags: list[str], status: int, says: str
) -> None:
    done = llmkit_run("kv-estimate", *flags)
    assert (done.status, done.out) == (status, b"")
    first, second = done.err.splitlines()
    assert first.startswith("llmkit: error: ") and says in first and second.startswith("  hint: ")


@pytest.mark.parametrize(("content", "status"), [(b"{", 3), (b"[]", 3), (b"{}", 2), (b"", 3)])
def test_stdin_that_is_no_config_is_said_so(llmkit_run: Run, content: bytes, status: int) -> None:
    done = llmkit_run("kv-estimate", "-", stdin=content)
    assert done.status == status and done.err.startswith("llmkit: error: stdin: ")


def test_real_configs_have_their_published_counts(llmkit_run: Run, shared_data: Path) -> None:
    expected = json.loads((shared_data / "configs" / "expected.json").read_text())
    assert len(expected) > 10
    for name, row in expected.items():
        report = json.loads(llmkit_run("kv-estimate", shared_data / "configs" / name, "--json").out)
        assert report["parameters"] == row["parameters"], name
        assert report["kv_bytes_per_token"] == row["kv_bytes_per_token_16bit"], name
        assert sum(report["parameters_by_part"].values()) == row["parameters"], name


def test_an_unknown_architecture_or_key_is_an_error_that_names_it(
    llmkit_run: Run, tiny_model: Callable[..., Path]
) -> None:
    config = json.loads((tiny_model() / "config.json").read_text())
    for change, says in (
        ({"model_type": "qwen9"}, "'qwen9'"),
        ({"num_shared_layers": 3}, "num_shared_layers"),
        ({"state_dim": 3}, "state_dim"),
    ):
        done = llmkit_run("kv-estimate", stdin=json.dumps(config | change).encode())
        assert (done.status, done.out) == (2, b"")
        assert says in done.err.splitlines()[0] and len(done.err.splitlines()) == 2


def test_nothing_is_wider_than_80_columns_off_a_terminal(llmkit_run: Run, shared_data: Path) -> None:
    models = sorted((shared_data / "models").iterdir())
    lines = llmkit_run("kv-estimate", *models, "--memory", "1MiB", "-c", "128k").text.splitlines()
    assert len(lines) > len(models) and max(map(len, lines)) <= 80


def test_neither_torch_nor_numpy_is_imported(
    shell: Callable[..., Any], tiny_model: Callable[..., Path]
) -> None:
    line = (
        "python -c \"import sys; from llmkit.cli import run; status = run(['kv-estimate', sys.argv[1]]);"
        " heavy = {'torch', 'numpy', 'tokenizers', 'rich', 'transformers', 'safetensors'} & {*sys.modules};"
        ' print(heavy, status, file=sys.stderr)"'
    )
    assert shell(f"{line} {tiny_model()}").err.strip() == "set() 0"


def test_the_report_is_whole_before_the_gate_speaks(shell: Callable[..., Any]) -> None:
    done = shell("llmkit kv-estimate --preset llama-2-7b --memory 1GiB --json | cat")
    assert done.status == 1 and json.loads(done.out)["fits"] is False
    assert len(done.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--train", "--dtype", "nf4"), "--dtype says nothing to --train"),
        (("--train", "--no-window"), "--no-window says nothing to --train"),
        (("--train", "--kv-dtype", "fp8"), "--kv-dtype says nothing to --train"),
        (("--explain", "--prefill-chunk", 64), "--prefill-chunk says nothing to --explain"),
        (("--train", "--qlora"), "--qlora says nothing without --lora-rank"),
        (("--train", "--zero", 3), "--zero says nothing without --data-parallel"),
        (("--train", "--micro-batches", 3), "--micro-batches says nothing without --pipeline-parallel"),
        (("--train", "--sequence-parallel"), "--sequence-parallel says nothing without --tensor-parallel"),
        (("--devices", "none.toml"), "--devices says nothing without --device"),
        (("--device", "h100", "--utilisation", 2), "--utilisation says nothing without"),
        (("--device", "h100", "--concurrency", 0.5), "--concurrency says nothing without --users"),
        (("--device", "h100", "--price-per-hour", 2, "--prices", "x"), "both say a price"),
    ],
)
def test_a_flag_that_would_change_nothing_is_refused(
    llmkit_run: Run, flags: tuple[object, ...], says: str
) -> None:
    done = llmkit_run("kv-estimate", "--preset", "llama-2-7b", *flags)
    assert (done.status, done.out, len(done.err.splitlines())) == (2, b"", 2)
    assert says in done.err


def test_no_sequence_parallel_on_the_line_wins_over_a_settings_file(llmkit_run: Run, tmp_path: Path) -> None:
    (tmp_path / "split.toml").write_text("sequence-parallel = true\n")
    line = ("kv-estimate", "--preset", "llama-2-7b", "--train", "--tensor-parallel", 8, "--json")
    plain = json.loads(llmkit_run(*line).out)
    split = json.loads(llmkit_run(*line, "--config", tmp_path / "split.toml").out)
    again = json.loads(llmkit_run(*line, "--config", tmp_path / "split.toml", "--no-sequence-parallel").out)
    # 4,096 tokens of 4,096 numbers in 2 bytes: in and out of two norms in 32 layers, and of the last norm
    between = 4096 * 4096 * 2 * (4 * 32 + 2)
    assert plain["activations_bytes"] - split["activations_bytes"] == between * 7 // 8
    assert again == plain


def test_prices_come_from_stdin_too(llmkit_run, tmp_path: Path) -> None:
    content = b"h100 = 2.5\na100-80 = 2.4\n"
    (tmp_path / "p.toml").write_bytes(content)
    for device in ((), ("--device", "h100")):
        line = ("kv-estimate", "--preset", "llama-2-7b", "--json", *device, "--prices")
        piped = llmkit_run(*line, "-", stdin=content)
        assert piped.status == 0 and piped.out == llmkit_run(*line, tmp_path / "p.toml").out


def test_prices_alone_ask_for_the_device_whose_tokens_cost_least_of_those_that_hold_the_model(
    llmkit_run: Run, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("h100 = 2.5\nl4 = 0.01\na100-80 = 2.4\n")
    line = ("kv-estimate", "--preset", "llama-2-7b", "-c", "2k", "--json", "--prices", prices)

    def of(device: str, *flags: object) -> dict[str, Any]:
        return dict(json.loads(llmkit_run(*line, "--device", device, *flags).out))

    cheapest = json.loads(llmkit_run(*line).out)
    assert cheapest == of("l4") and cheapest["fits"]
    assert (
        cheapest["usd_per_mtok"]
        == cheapest["cost"]["output_price_per_million_tokens"]
        < of("h100")["usd_per_mtok"]
    )
    wide = json.loads(llmkit_run(*line, "-b", 32).out)  # beyond an l4
    dear, other = of("h100", "-b", 32), of("a100-80", "-b", 32)
    assert wide == min(dear, other, key=lambda one: one["usd_per_mtok"]) and not of("l4", "-b", 32)["fits"]
    none = llmkit_run(*line, "-b", 512)
    assert none.status == 1 and json.loads(none.out)["memory_bytes"] == dear["memory_bytes"]


@pytest.mark.parametrize(
    ("content", "flags", "says"),
    [
        ("", (), "no prices"),
        ("h1000 = 2", (), "h1000"),
        ("h100 = 2", ("--solve", "context", "--memory", "24GiB"), "--solve and --prices are two questions"),
    ],
)
def test_prices_of_nothing_are_refused(
    llmkit_run: Run, tmp_path: Path, content: str, flags: tuple[str, ...], says: str
) -> None:
    (tmp_path / "p.toml").write_text(content)
    done = llmkit_run("kv-estimate", "--preset", "llama-2-7b", "--prices", tmp_path / "p.toml", *flags)
    assert done.status == 2 and says in done.err
