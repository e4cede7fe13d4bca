"""The embedding table as people read it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

STORIES = "models/stories260K"


def test_the_table_its_neighbours_and_its_unused_tokens_are_shown(
    llmkit_run: Callable[..., Any], shared_data: Path
) -> None:
    done = llmkit_run("show", shared_data / STORIES, "--embeddings", "--token", "the", "--top", 3)
    assert (done.status, done.err) == (0, "")
    lines = done.text.splitlines()
    assert "512 of 64 numbers, float32, and of the head" in done.text
    assert "unreachable" in done.text and "more; --json has all" in done.text
    start = lines.index("  near ' the' (id 265)")
    assert lines[start + 2].split() == ["'", "The'", "291", "0.571", "1.83"]
    assert lines[start + 5] == ""  # three rows
    report = json.loads(
        llmkit_run("show", shared_data / STORIES, "--embeddings", "--json", "--token", "the").out
    )
    assert report["schema"] == "llmkit.show-embeddings/1" and len(report["neighbours"]) == 10


def test_flags_that_do_nothing_alone_are_refused(llmkit_run: Callable[..., Any], shared_data: Path) -> None:
    for flags in (["--token", "the"], ["--top", "3"]):
        done = llmkit_run("show", shared_data / STORIES, *flags)
        assert done.status == 2 and "need --embeddings" in done.err
    done = llmkit_run("show", shared_data / STORIES, "--embeddings", "--tensors")
    assert done.status == 2 and "exclude each other" in done.err
    done = llmkit_run(
        "show", shared_data / STORIES, "--embeddings", "-t", shared_data / STORIES, "--token", "id:9"
    )
    assert done.status == 0
