"""The plan of generate as a table: what is set is shown, what changes nothing is not."""

import json
from dataclasses import asdict, replace

import pytest

from llmkit.commands.console import Console
from llmkit.commands.generate.text import describe_plan, describe_stats, print_stats
from llmkit.engine.adapters.use import AdapterUse
from llmkit.engine.config import SamplingConfig
from llmkit.engine.speculation_report import SpeculationReport
from llmkit.workflows.generate.generate import GeneratePlan
from llmkit.workflows.generate.stats import GenerateStats

PLAN = GeneratePlan(
    model="run",
    parameters=1_262_976,
    dtype="float32",
    device="cpu",
    kernels="native",
    processes=1,
    threads=1,
    context=512,
    tokenizer_sha256="0" * 64,
    weight_bytes=5_051_904,
    kv_bytes=1 << 20,
    draft_bytes=0,
    adapter_bytes=0,
    memory_bytes=256_100_480,
    memory_available_bytes=8 << 30,
    rows=1,
    prompt_tokens=5,
    texts_at_once=1,
    sampling=asdict(SamplingConfig()),
    out=None,
    notes=(),
)


def test_a_plan_is_a_table_of_facts() -> None:
    assert describe_plan(PLAN).splitlines() == [
        "model     run  (1.26M parameters)",
        "runs on   cpu, float32, 1 thread, native kernels",
        "prompts   1 prompt, 5 tokens at most",
        "context   512 tokens",
        "sampling  max-tokens 256, temperature 0.8, seed 0",
        "weights   4.8 MiB",
        "cache     1.0 MiB",
        "memory    244.2 MiB of 8.0 GiB available",
        "writes    stdout",
    ]


def test_a_plan_says_when_torch_computes() -> None:
    assert "1 thread, torch\n" in describe_plan(replace(PLAN, kernels="torch"))


def test_settings_that_change_something_are_shown_as_they_would_be_typed() -> None:
    sampling = SamplingConfig(top_p=0.9, stop=("\n", "E"), ignore_eos=True, logprobs=2)
    (line,) = (
        line
        for line in describe_plan(replace(PLAN, sampling=asdict(sampling))).splitlines()
        if "top-p" in line
    )
    assert line == (
        "sampling  max-tokens 256, temperature 0.8, top-p 0.9, stop '\\n' 'E', ignore-eos, seed 0, logprobs 2"
    )


def test_adapters_are_shown_with_their_memory() -> None:
    assert "adapters  4.0 KiB" in describe_plan(replace(PLAN, adapter_bytes=4096)).splitlines()
    adapted = replace(STATS, kernels="torch", adapters=(AdapterUse("sql", 4096, 2),))
    assert "adapter sql  4.0 KiB, 2 texts, torch kernels" in describe_stats(adapted).splitlines()


def test_what_only_a_pipe_knows_is_said_to_be_there() -> None:
    piped = replace(PLAN, rows=None, prompt_tokens=None, memory_available_bytes=None, out="texts.jsonl")
    text = describe_plan(piped)
    assert "prompts   rows of a pipe" in text and "memory    244.2 MiB\n" in text
    assert text.endswith("writes    texts.jsonl")


STATS = GenerateStats(
    texts=1, prompt_tokens=40, cached_tokens=16, completion_tokens=9, first_token_seconds=0.25,
    longest_first_token_seconds=0.25, prefill_tokens_per_second=96.0, decode_tokens_per_second=32.04,
    load_seconds=1.5, seconds=0.5, restarts=0, peak_memory_bytes=1 << 30, speculation=None,
    kernels="native", adapters=(),
)  # fmt: skip


def test_the_figures_of_a_run_are_a_table() -> None:
    assert describe_stats(STATS).splitlines() == [
        "prompts      40 tokens, 16 of them from the cache",
        "written      9 tokens, 0.50 s",
        "first token  after 0.250 s",
        "prefill      96.0 tokens a second",
        "decode       32.0 tokens a second",
        "computed by  native kernels",
        "loading      1.50 s",
        "memory       1.0 GiB at most",
    ]
    report = SpeculationReport(
        proposed_tokens=8, accepted_tokens=6, acceptance_rate=0.75, verifications=4,
        tokens_per_verification=2.5, speedup=1.8, is_off=True, times_off=1,
    )  # fmt: skip
    told = replace(STATS, texts=2, restarts=3, speculation=report, prefill_tokens_per_second=None)
    text = describe_stats(told)
    assert "9 tokens in 2 texts" in text and "0.250 s at most" in text and "prefill" not in text
    assert "started over  3 times" in text
    assert text.endswith("6 of 8 right (75%), 2.50 tokens a pass, 1.80 times the speed, off: they lost")


def test_beside_records_they_are_a_line_of_json_and_quiet_is_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_stats(STATS, Console(), as_json=True)
    print_stats(STATS, Console(quiet=True), as_json=True)
    out, err = capsys.readouterr()
    assert out == "" and json.loads(err)["decode_tokens_per_second"] == 32.04 and err.count("\n") == 1
