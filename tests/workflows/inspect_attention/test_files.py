"""Edges and matrices on disk, read back by other readers and held against transformers' weights."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from worded_models import VOCAB, report_of, with_words

from llmkit.probe.attention.capture import capture
from llmkit.probe.attention.region import Region
from llmkit.probe.attention.rows import attention_rows
from llmkit.workflows.inspect_attention.config import InspectText
from llmkit.workflows.inspect_attention.files import save_maps, write_edges
from llmkit.workflows.inspect_attention.open import Inspected, InspectOptions, open_inspected
from llmkit.workflows.inspect_attention.text import Reading, read_text


@pytest.fixture
def opened(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Inspected:
    return open_inspected(InspectOptions(model=with_words(tiny_model(vocab_size=VOCAB), byte_level_dir)))


@pytest.fixture
def reading(opened: Inspected) -> Reading:
    return read_text(opened, InspectText(given="the Licence and the Licence of the Work"))


def test_edges_are_the_largest_weights_of_each_query_within_the_region(
    opened: Inspected, reading: Reading
) -> None:
    (layer,) = capture(opened.model, reading.ids, [1])
    stream = io.BytesIO()
    write_edges(stream, layer, [0], Region((4, 6), (0, 5)), reading.tokens, 3)
    edges = [json.loads(line) for line in stream.getvalue().splitlines()]
    weights = attention_rows(layer, 0)
    expected = []
    for query in (4, 5):
        best = weights[query, : query + 1].topk(3)
        expected += [(query, key) for key in best.indices.tolist() if key < 5]
    assert [(one["query"], one["key"]) for one in edges] == expected
    first = edges[0]
    assert first["weight"] == pytest.approx(float(weights[4].max()), abs=1e-6)
    assert (first["layer"], first["head"], first["query_text"]) == (1, 0, reading.tokens[4].text)
    assert first["key_text"] == reading.tokens[first["key"]].text


@pytest.mark.parametrize("before", [False, True])
def test_matrices_are_transformers_own_and_the_tokens_are_in_the_metadata(
    opened: Inspected, reading: Reading, tmp_path: Path, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr("llmkit.workflows.inspect_attention.files._PART_NUMBERS", 40)  # some rows at a time
    file, region = tmp_path / "maps.safetensors", Region((3, 12), (2, 10))
    report = report_of([], tokens=reading.tokens, before_softmax=before)
    save_maps(file, opened, reading, {0: [1], 1: [0, 1]}, region, report)
    model = AutoModelForCausalLM.from_pretrained(opened.job.files.model, attn_implementation="eager")
    with torch.no_grad():
        attentions = model(reading.ids[None], output_attentions=True).attentions
    with safe_open(file, framework="pt") as opened_file:
        assert list(opened_file.keys()) == ["layers.0.heads.1", "layers.1.heads.0", "layers.1.heads.1"]
        found = opened_file.get_tensor("layers.1.heads.0")
        told = opened_file.metadata()
    expected = attentions[1][0, 0]
    if before:  # the softmax of the whole row is lost by the cut: differences of scores are what is left
        rows = expected[3:12, 2:10].log()
        pairs = rows[:, :1] - rows
        seen = found.isfinite()
        torch.testing.assert_close((found[:, :1] - found)[seen], pairs[seen], atol=1e-3, rtol=1e-3)
        assert found[0, 2:].isneginf().all()  # query 3 does not see key 4
    else:
        torch.testing.assert_close(found, expected[3:12, 2:10], atol=1e-5, rtol=0)
    assert told["schema"] == "llmkit.attention-maps/1"
    assert told["values"] == ("scores" if before else "weights")
    assert json.loads(told["tokens"]) == [one.text for one in reading.tokens]
    assert json.loads(told["ids"]) == reading.ids.tolist()
    assert (json.loads(told["queries"]), json.loads(told["keys"])) == ([3, 12], [2, 10])
