"""Perplexity beside a plain transformers loop, and beside llama-perplexity's definition written out."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.engine.config import Kernels
from llmkit.errors import DataError, StoppedResumable, UsageError
from llmkit.kernels.library import available
from llmkit.probe.evaluate.config import PplConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.eval.ppl import PplReport, eval_ppl
from llmkit.workflows.eval.scorer import ModelOptions, Scorer

Make = Callable[..., Path]
LICENSE = (Path(__file__).parents[3] / "LICENSE").read_text()[:3000]


def _transformers(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def _guides_loop(model: Any, ids: list[int], window: int, stride: int) -> tuple[float, int]:
    """transformers' docs, perplexity.md, with the sum over tokens that its last edition has."""
    nll, count, before = 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        input_ids = torch.tensor([ids[begin:end]])
        labels = input_ids.clone()
        labels[:, : -(end - before)] = -100
        valid = int((labels[:, 1:] != -100).sum())
        if valid:
            with torch.no_grad():
                nll += float(model(input_ids, labels=labels).loss) * valid
            count += valid
        before = end
        if end == len(ids):
            break
    return nll, count


def _ppl(folder: Path, *inputs: Path, per_record: Path | None = None, **config: Any) -> PplReport:
    return eval_ppl(ModelOptions(model=folder), inputs, PplConfig(**config), per_record=per_record)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(LICENSE)
    return path


@pytest.mark.parametrize(("window", "stride"), [(64, 32), (64, 64), (48, 7), (None, None)])
def test_a_long_text_has_the_perplexity_of_the_guides_loop(
    spelled_model: Make, text: Path, window: int | None, stride: int | None
) -> None:
    folder = spelled_model()
    ids = load_tokenizer(folder).encode(LICENSE)[:300]
    text.write_text(load_tokenizer(folder).decode(ids))
    found = _ppl(folder, text, window=window, stride=stride)
    nll, count = _guides_loop(_transformers(folder), ids, window or 64, stride or 32)
    assert (found.tokens, found.scored_tokens) == (len(ids), count)
    assert found.nll == pytest.approx(nll / count, rel=1e-4)
    assert found.perplexity == pytest.approx(math.exp(nll / count), rel=1e-4)
    if found.stride < found.window:  # without bos the first token is scored by nothing
        size = len(text.read_bytes()) - len(load_tokenizer(folder).token_bytes(ids[0]))
        assert found.bytes == size
        assert found.bits_per_byte == pytest.approx(nll / math.log(2) / size, rel=1e-4)


def test_where_angles_depend_on_length_windows_have_the_perplexity_of_one_pass_over_each(
    stretched: Path, kernels: Kernels, tmp_path: Path
) -> None:
    encode, docs = load_tokenizer(stretched).encode, tmp_path / "docs.jsonl"
    texts = [LICENSE[n : n + 60 * n // 100 + 20] for n in range(0, 240, 40)]
    lengths = [len(encode(one)) for one in texts]
    assert min(lengths) < 16 < 32 < max(lengths) <= 64
    docs.write_text("".join(json.dumps({"text": one}) + "\n" for one in texts))
    found = eval_ppl(ModelOptions(model=stretched, kernels=kernels), [docs], PplConfig(window=64, stride=64))
    # a model for each: transformers' dynamic scaling remembers the longest text
    sums = [_guides_loop(_transformers(stretched), encode(one), 64, 64) for one in texts]
    total, count = sum(nll for nll, _ in sums), sum(count for _, count in sums)
    assert (found.scored_tokens, found.nll) == (count, pytest.approx(total / count, rel=1e-5))


def test_a_real_model_agrees_too_and_scores_the_first_word_after_bos(shared_data: Path, text: Path) -> None:
    folder = shared_data / "models" / "stories260K"
    text.write_text("Once upon a time there was a dog. " * 40)
    found = _ppl(folder, text, window=128)
    ids = load_tokenizer(folder).encode(text.read_text(), special_tokens=True)
    assert ids[0] == 1 and ids[-1] != 2
    nll, count = _guides_loop(_transformers(folder), ids, 128, 64)
    assert found.scored_tokens == count == len(ids) - 1
    assert found.nll == pytest.approx(nll / count, abs=1e-4)


def test_documents_are_scored_by_themselves_and_records_say_how(spelled_model: Make, tmp_path: Path) -> None:
    folder, docs = spelled_model(), tmp_path / "docs.jsonl"
    texts = [LICENSE[:400], LICENSE[400:430], "a", LICENSE[430:1000]]
    docs.write_text("".join(json.dumps({"id": f"d{n}", "text": one}) + "\n" for n, one in enumerate(texts)))
    found = _ppl(folder, docs, per_record=tmp_path / "r.jsonl")
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    model, tokenizer = _transformers(folder), load_tokenizer(folder)
    sums = [_guides_loop(model, tokenizer.encode(one), 64, 32) for one in texts]
    assert [(one["id"], one["index"], one["scored_tokens"]) for one in records] == [
        (f"d{n}", n, count) for n, (_, count) in enumerate(sums)
    ]
    for record, (nll, _) in zip(records, sums, strict=True):
        assert record["nll"] == pytest.approx(nll, rel=1e-4, abs=1e-9)
    assert records[2]["perplexity"] is None and "less than two tokens" in found.notes[0]
    total, count = sum(nll for nll, _ in sums), sum(count for _, count in sums)
    assert found.nll == pytest.approx(total / count, rel=1e-4) and found.headline.value == found.perplexity


@pytest.mark.parametrize("window", [32, 33])
def test_like_llama_cpp_is_its_second_halves_with_bos_in_front(
    shared_data: Path, text: Path, window: int
) -> None:
    folder = shared_data / "models" / "stories260K"
    text.write_text("Once upon a time there was a dog. She was big. " * 20)
    found = _ppl(folder, text, window=window, like="llama.cpp")
    ids = load_tokenizer(folder).encode(text.read_text(), special_tokens=True)
    model, values = _transformers(folder), []
    for chunk in range(len(ids) // window):  # perplexity.cpp: n_chunk_max, first, process_logits
        row = ids[chunk * window : (chunk + 1) * window]
        with torch.no_grad():
            logprobs = model(torch.tensor([[1, *row[1:]]])).logits[0].double().log_softmax(-1)
        first = window // 2
        values += [-float(logprobs[place, row[place + 1]]) for place in range(first, window - 1)]
    mean = sum(values) / len(values)
    spread = sum(one * one for one in values) / len(values) - mean * mean
    assert found.scored_tokens == len(values) and found.records == len(ids) // window
    assert found.perplexity == pytest.approx(math.exp(mean), rel=1e-5)
    error = math.sqrt(spread / (len(values) - 1)) * math.exp(mean)
    assert found.perplexity_error == pytest.approx(error, rel=1e-4)


def test_a_tokenizer_without_bos_leaves_chunks_as_they_are(spelled_model: Make, text: Path) -> None:
    folder = spelled_model()
    ids = load_tokenizer(folder).encode(LICENSE)
    found = _ppl(folder, text, window=40, like="llama.cpp", max_tokens=1)
    with torch.no_grad():
        logprobs = _transformers(folder)(torch.tensor([ids[:40]])).logits[0].log_softmax(-1)
    nll = [-float(logprobs[place, ids[place + 1]]) for place in range(20, 39)]
    assert found.records == 1 and found.nll == pytest.approx(sum(nll) / 19, rel=1e-4)


def test_a_run_that_was_stopped_gives_the_same_report(
    spelled_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, docs = spelled_model(), tmp_path / "docs.jsonl"
    docs.write_text("".join(json.dumps({"text": LICENSE[n : n + 300]}) + "\n" for n in range(0, 1500, 300)))
    whole = _ppl(folder, docs, per_record=tmp_path / "whole")
    score, asked = Scorer.score, []

    def stopping(self: Scorer, ids: Any, **settings: Any) -> Any:
        for count, one in enumerate(score(self, (asked.append(one) or one for one in ids), **settings)):  # type: ignore[func-returns-value]
            if count == 8 and not resumed:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(Scorer, "score", stopping)
    resumed = False
    with pytest.raises(StoppedResumable):
        _ppl(folder, docs, per_record=tmp_path / "parts")
    before, resumed = len(asked), True
    again = _ppl(folder, docs, per_record=tmp_path / "parts")
    assert len(asked) - before < before  # what is done is not scored again
    if available():  # whose results depend on no neighbour in a pass; torch's do in the last digits
        assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    rows = [
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ("parts", "whole")
    ]
    assert [row["id"] for row in rows[0]] == [row["id"] for row in rows[1]]
    assert [row["nll"] for row in rows[0]] == pytest.approx([row["nll"] for row in rows[1]], rel=1e-6)
    assert again.nll == pytest.approx(whole.nll, rel=1e-6) and "goes on after" in again.notes[0]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"window": 65}, "context of 64"),
        ({"like": "llama.cpp", "stride": 8}, "side by side"),
        ({"stride": 65}, "--stride 65: a stride is from 1 to the window of 64"),
        ({"stride": 0}, "--stride 0"),
        ({"window": 0}, "--window 0: nothing is scored"),
        ({"window": 1}, "--window 1: nothing is scored"),
        ({"window": 3, "like": "llama.cpp"}, "--window 3: nothing to score in its second half"),
    ],
)
def test_windows_that_cannot_be_are_refused_first(
    spelled_model: Make, text: Path, config: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        _ppl(spelled_model(), text, **config)


def test_llama_cpp_reads_one_text(spelled_model: Make, text: Path) -> None:
    with pytest.raises(DataError, match="a second text"):
        _ppl(spelled_model(), text, text, like="llama.cpp", window=32)


def test_an_empty_text_is_refused(spelled_model: Make, text: Path) -> None:
    text.write_text("")
    with pytest.raises(DataError, match=r"text.*: no token was scored \(found 1 text\)"):
        _ppl(spelled_model(), text)
    with pytest.raises(DataError, match=r"text.*: 1 token, and two chunks of 32 are the least"):
        _ppl(spelled_model("other"), text, like="llama.cpp", window=32)


def test_records_of_another_text_of_as_many_tokens_are_not_gone_on_with(
    spelled_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = spelled_model()

    def read(*texts: str, end: str = "") -> PplReport:
        lines = "".join(json.dumps({"id": n, "text": one}) + "\n" for n, one in enumerate(texts)) + end
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(lines.encode()))))
        options = ModelOptions(model=folder, batch=1)
        return eval_ppl(options, [Path("-")], PplConfig(), per_record=tmp_path / "r")

    with pytest.raises(DataError, match="stdin:4"):
        read("zq" * 9, "qz" * 9, "zz" * 9, end="{broken\n")
    with pytest.raises(DataError, match=r"the text of record 0 \('0'\) is another"):
        read("qz" * 9, "zq" * 9, "zz" * 9)
    with pytest.raises(DataError, match="the input ends after 1 record,"):
        read("zq" * 9)
    assert read("zq" * 9, "qz" * 9, "zz" * 9).records == 3


def test_bits_per_byte_counts_the_bytes_of_the_documents(shared_data: Path, tmp_path: Path) -> None:
    words, docs = ["cat", "dog", "big", " sun", "red", "two  blanks", "she\n", "a"], tmp_path / "docs.jsonl"
    docs.write_text("".join(json.dumps({"text": one}) + "\n" for one in words))
    found = _ppl(shared_data / "models" / "stories260K", docs)
    assert found.bytes == sum(len(one.encode()) for one in words)
    assert found.bits_per_byte == pytest.approx(
        found.bits_per_token * found.scored_tokens / found.bytes, rel=1e-12
    )
