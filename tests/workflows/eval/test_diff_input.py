"""The sides of a comparison: read from a pipe, and records paired with those of the same text only."""

import json
import os
import threading
from pathlib import Path

import pytest

from llmkit.errors import DataError
from llmkit.workflows.eval.diff_input import Records, by_name, check_pair, read_result
from llmkit.workflows.eval.gates import Earlier

HEADLINE = {"name": "perplexity", "value": 2.0, "error": 0.1, "better": "lower"}


@pytest.mark.parametrize(
    ("told", "kind"),
    [({"schema": "llmkit.eval.ppl/1", "headline": HEADLINE}, Earlier), ({"id": "a", "nll": 1.0}, Records)],
)
def test_what_can_be_read_once_only_is_read_once(
    tmp_path: Path, told: dict[str, object], kind: type[object]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(json.dumps(told) + "\n",))
    writer.start()
    found = read_result(pipe)
    writer.join()
    assert isinstance(found, kind)
    assert (found.report if isinstance(found, Earlier) else found.records[0]) == told


def test_records_without_ids_of_their_own_are_named_by_their_place() -> None:
    assert list(by_name(Records("a", [{"id": "x"}, {"id": 7}]))) == ["x", "7"]
    assert list(by_name(Records("a", [{"id": "x"}, {"id": "x"}]))) == ["#0", "#1"]


def test_samples_of_one_task_go_together_by_its_id_or_where_two_share_one_by_its_place() -> None:
    def units(*pairs: tuple[str, int]) -> dict[str, int]:
        rows = [{"id": name, "task": task, "sample": n} for n, (name, task) in enumerate(pairs)]
        return {name: len(found) for name, found in by_name(Records("a", rows)).items()}

    assert units(("x", 0), ("x", 0), ("y", 1)) == {"x": 2, "y": 1}
    assert units(("x", 0), ("x", 0), ("x", 1)) == {"#0": 2, "#1": 1}
    assert units(("x", 0), ("y", 1)) == {"x": 1, "y": 1}


def test_a_pair_of_other_texts_is_refused_and_of_prompts_made_to_measure_is_not() -> None:
    ours, theirs = {"id": "0", "prompt_sha256": "a"}, {"id": "0", "prompt_sha256": "b"}
    with pytest.raises(DataError, match=r"a and b: record 0 is of other texts"):
        check_pair("0", ours, theirs, "a and b")
    with pytest.raises(DataError, match="text_sha256"):
        check_pair("0", {"id": "0", "text_sha256": "a"}, {"id": "0", "text_sha256": "b"}, "a and b")
    check_pair("0", ours, ours, "a and b")
    check_pair("0", ours, {"id": "0"}, "a and b")  # of a time before digests
    check_pair("#0", {"prompt_sha256": "a"}, {"prompt_sha256": "b"}, "a and b")
