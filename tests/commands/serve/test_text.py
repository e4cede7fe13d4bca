"""What people read of a plan and of usage."""

from types import SimpleNamespace

from llmkit.commands.serve.text import describe_plan, usage_table


def test_a_plan_without_keys_says_that_everybody_is_answered() -> None:
    plan = SimpleNamespace(
        model="run",
        name="small",
        parameters=260_032,
        listens="http://127.0.0.1:8000",
        keys=None,
        device="cpu",
        kernels="native",
        dtype="float32",
        processes=1,
        threads=1,
        context=512,
        texts_at_once=16,
        cache_positions=8192,
        weight_bytes=1 << 20,
        memory_bytes=1 << 28,
        memory_available_bytes=1 << 34,
        notes=("a note",),
        tools=(),
        retrieve=None,
    )
    text = describe_plan(plan)
    assert "whoever reaches it is answered" in text and "16 texts, 8,192 tokens of cache" in text
    assert "a note" in text and "256.0 MiB of 16.0 GiB available" in text
    assert "cpu, float32, 1 thread, native kernels\n" in text
    plan.keys, plan.processes, plan.threads = 3, 2, 4
    text = describe_plan(plan)
    assert "whoever" not in text and "cpu, float32, 2 processes of 4 threads" in text


def test_usage_is_a_table_with_numbers_to_the_right() -> None:
    rows = [
        {"day": "2026-01-01", "key": "alice", "model": "m", "requests": 1200, "prompt_tokens": 5},
        {"day": "2026-01-02", "key": "b", "model": "m", "requests": 7, "prompt_tokens": 123_456},
    ]
    assert usage_table(rows).splitlines() == [
        "day         key    model  requests  prompt_tokens",
        "2026-01-01  alice  m         1,200              5",
        "2026-01-02  b      m             7        123,456",
    ]
    assert usage_table([]) == "nothing was counted yet"
