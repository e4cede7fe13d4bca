"""The plan of generate as a table: what is set is shown, what changes nothing is not."""

from dataclasses import asdict, replace

from llmkit.commands.generate_text import describe_plan
from llmkit.engine.config import SamplingConfig
from llmkit.workflows.generate import GeneratePlan

PLAN = GeneratePlan(
    model="run",
    parameters=1_262_976,
    dtype="float32",
    device="cpu",
    threads=1,
    context=512,
    tokenizer_sha256="0" * 64,
    weight_bytes=5_051_904,
    kv_bytes=1 << 20,
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
        "runs on   cpu, float32, 1 thread",
        "prompts   1 prompt, 5 tokens at most",
        "context   512 tokens",
        "sampling  max-tokens 256, temperature 0.8, seed 0",
        "weights   4.8 MiB",
        "cache     1.0 MiB",
        "memory    244.2 MiB of 8.0 GiB available",
        "writes    stdout",
    ]


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


def test_what_only_a_pipe_knows_is_said_to_be_there() -> None:
    piped = replace(PLAN, rows=None, prompt_tokens=None, memory_available_bytes=None, out="texts.jsonl")
    text = describe_plan(piped)
    assert "prompts   rows of a pipe" in text and "memory    244.2 MiB\n" in text
    assert text.endswith("writes    texts.jsonl")
