"""--dry-run beside what then happens."""

import random
from pathlib import Path

import pytest

from llmkit.errors import UsageError
from llmkit.text.minhash import found_probability
from llmkit.workflows.dedup.options import DedupConfig, DedupSources
from llmkit.workflows.dedup.plan import plan_dedup
from tests.text.duplicates import random_text
from tests.workflows.deduping import dedup, write_rows


def test_a_plan_counts_documents_by_the_beginning_and_writes_nothing(tmp_path: Path) -> None:
    rng = random.Random(0)
    text = random_text(rng, 400)
    rows = [{"id": str(n), "text": text[: rng.randrange(500, 2000)]} for n in range(2500)]
    path = write_rows(tmp_path / "in.jsonl", rows)
    plan = plan_dedup(DedupSources(inputs=[path], out=tmp_path / "out"), DedupConfig())
    assert plan.about_documents == pytest.approx(2500, rel=0.1)
    assert plan.found_at["0.8"] == round(float(found_probability(0.8, 14, 8)), 4)
    assert sorted(tmp_path.iterdir()) == [path]
    exact = plan_dedup(DedupSources(inputs=[path]), DedupConfig(by="exact"))
    assert exact.about_disk_bytes == 0 and exact.bands is None and exact.out == "-"
    assert plan.about_memory_bytes and exact.about_memory_bytes and plan.about_disk_bytes


def test_a_plan_of_stdin_leaves_out_what_cannot_be_known_and_checks_the_rest(tmp_path: Path) -> None:
    assert plan_dedup(DedupSources(inputs=[Path("-")]), DedupConfig(by="line")).about_documents is None
    path = write_rows(tmp_path / "in.jsonl", [{"text": "a"}])
    with pytest.raises(UsageError, match="also an input"):
        plan_dedup(DedupSources(inputs=[path], out=path), DedupConfig())


def test_memory_is_bounded_by_what_was_allowed(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "in.jsonl", [{"text": f"text {n}"} for n in range(3000)])
    small, large = (
        plan_dedup(DedupSources(inputs=[path], memory_bytes=memory), DedupConfig()).about_memory_bytes
        for memory in (1000, 1 << 30)
    )
    assert small is not None and large is not None and large - small == 3000 * 60 - 1000
    assert len(dedup(tmp_path / "out", [path], memory_bytes=1000).kept) == 3000


def test_a_plan_by_substring_counts_windows(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": " ".join(f"w{n}-{word}" for word in range(60))} for n in range(100)]
    path = write_rows(tmp_path / "in.jsonl", rows)
    plan = plan_dedup(DedupSources(inputs=[path]), DedupConfig(by="substring", span=51))
    assert plan.about_disk_bytes == 100 * 10 * 9 + 100 * 4  # ten windows a document, nine bytes each
