"""Two models in lock-step, beside transformers' logits and the formula of the KL divergence."""

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.errors import DataError, StoppedResumable, UsageError
from llmkit.probe.evaluate.config import KlConfig
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.eval import kl as module
from llmkit.workflows.eval.kl import KlReport, eval_kl
from llmkit.workflows.eval.scorer import ModelOptions

Make = Callable[..., Path]
LICENSE = (Path(__file__).parents[3] / "LICENSE").read_text()[:2500]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(LICENSE)
    return path


@pytest.fixture
def pair(spelled_model: Make) -> tuple[Path, Path]:
    """A model, and one whose weights are a little off."""
    from safetensors.torch import load_file, save_file

    original, other = spelled_model("original"), spelled_model("other")
    noise = torch.Generator().manual_seed(3)
    weights = load_file(other / "model.safetensors")
    changed = {
        name: one + 0.05 * torch.randn(one.shape, generator=noise) if one.ndim == 2 else one
        for name, one in weights.items()
    }
    save_file(changed, other / "model.safetensors", metadata={"format": "pt"})
    return original, other


def _kl(
    model: Path, reference: Path, text: Path, *, per_record: Path | None = None, **config: Any
) -> KlReport:
    options = ModelOptions(model=model)
    return eval_kl(options, reference, [text], KlConfig(**config), per_record=per_record)


def _logprobs(folder: Path, ids: list[int]) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].double().log_softmax(-1)


@pytest.mark.parametrize("whole", [False, True])
def test_every_figure_is_that_of_two_transformers_models(
    pair: tuple[Path, Path], text: Path, whole: bool
) -> None:
    original, other = pair
    found = _kl(other, original, text, window=40, max_chunks=3, whole=whole)
    ids = load_tokenizer(original).encode(LICENSE)
    klds, same, deltas, base, own = [], [], [], [], []
    for begin in range(0, 120, 40):
        row = ids[begin : begin + 40]
        p, q = _logprobs(original, row), _logprobs(other, row)
        for place in range(0 if whole else 20, 39):
            klds.append(float((p[place].exp() * (p[place] - q[place])).sum()))
            same.append(int(p[place].argmax() == q[place].argmax()))
            base.append(-float(p[place, row[place + 1]]))
            own.append(-float(q[place, row[place + 1]]))
            deltas.append(math.exp(-own[-1]) - math.exp(-base[-1]))
    count = len(klds)
    assert (found.chunks, found.quality.positions, found.window) == (3, count, 40)
    assert found.quality.kld == pytest.approx(sum(klds) / count, rel=1e-3)
    assert found.quality.kld_max == pytest.approx(max(klds), rel=1e-3)
    assert found.quality.same_top == pytest.approx(sum(same) / count)
    assert found.quality.delta_p_rms == pytest.approx(
        math.sqrt(sum(one * one for one in deltas) / count), rel=1e-3
    )
    assert found.quality.perplexity_base == pytest.approx(math.exp(sum(base) / count), rel=1e-4)
    assert found.quality.ratio == pytest.approx(math.exp((sum(own) - sum(base)) / count), rel=1e-4)
    assert found.headline.value == found.kl == found.quality.kld
    assert (found.ppl, found.top1_agree) == (found.quality.perplexity, found.quality.same_top)
    bits_per_token = sum(own) / count / math.log(2)
    assert found.bpb == pytest.approx(bits_per_token * len(ids) / len(LICENSE.encode()), rel=1e-4)
    assert found.size_bytes == sum(
        (other / name).stat().st_size for name in ("config.json", "model.safetensors")
    )


def test_a_model_is_no_way_from_itself_and_a_rounded_cache_is_some(
    pair: tuple[Path, Path], text: Path
) -> None:
    original, _ = pair
    same = _kl(original, original, text, max_chunks=2)
    assert same.quality.kld == 0 and same.quality.same_top == 1 and same.window == 64
    cached = eval_kl(
        ModelOptions(model=original, kv_dtype="bfloat16"), original, [text], KlConfig(max_chunks=2)
    )
    assert 0 < cached.quality.kld < 0.1


def test_the_reference_is_part_of_the_work_by_its_content(
    pair: tuple[Path, Path], text: Path, tmp_path: Path
) -> None:
    original, other = pair
    work = _kl(other, original, text, max_chunks=1).work
    shutil.copytree(original, tmp_path / "copy")
    assert _kl(original, tmp_path / "copy", text, max_chunks=1).work == work
    beside_another = _kl(original, other, text, max_chunks=1).work
    assert {key for key in work if work[key] != beside_another[key]} == {"reference_sha256"}


def test_bos_stands_in_front_of_each_chunk_where_the_tokenizer_puts_one(
    shared_data: Path, text: Path
) -> None:
    models = shared_data / "models"
    text.write_text("Once upon a time there was a dog. " * 10)
    found = _kl(models / "stories-292K-early", models / "stories260K", text, window=32)
    ids = load_tokenizer(models / "stories260K").encode(text.read_text(), special_tokens=True)
    rows = [[1, *ids[begin + 1 : begin + 32]] for begin in range(0, len(ids) - 31, 32)]
    klds = []
    for row in rows:
        p, q = _logprobs(models / "stories260K", row), _logprobs(models / "stories-292K-early", row)
        klds += (p.exp() * (p - q)).sum(-1)[16:31].tolist()
    assert found.quality.kld == pytest.approx(sum(klds) / len(klds), rel=1e-3)


def test_records_have_every_position_and_a_stopped_run_gives_the_same_report(
    pair: tuple[Path, Path], text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, other = pair
    whole = _kl(other, original, text, window=40, max_chunks=4, per_record=tmp_path / "whole")
    compared, calls = module._compared, []

    def stopping(*given: Any, **settings: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compared(*given, **settings)

    monkeypatch.setattr(module, "_compared", stopping)
    with pytest.raises(StoppedResumable):
        _kl(other, original, text, window=40, max_chunks=4, per_record=tmp_path / "parts")
    again = _kl(other, original, text, window=40, max_chunks=4, per_record=tmp_path / "parts")
    assert len(calls) == 5  # two, the one that was stopped, and the two that were missing
    assert again.quality == whole.quality
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    records = [json.loads(line) for line in (tmp_path / "whole").read_text().splitlines()]
    values = [value for one in records for value in one["positions"]["kld"]]
    assert sum(values) / len(values) == pytest.approx(whole.quality.kld, rel=1e-12)
    assert records[1]["id"] == "chunk 1" and len(records[1]["positions"]["same_top"]) == 19


def test_a_text_shorter_than_a_chunk_is_one_and_one_of_nothing_is_refused(
    pair: tuple[Path, Path], text: Path
) -> None:
    original, other = pair
    text.write_text(LICENSE[:60])
    count = len(load_tokenizer(original).encode(LICENSE[:60]))
    assert _kl(other, original, text, whole=True).quality.positions == count - 1
    text.write_text("a")
    with pytest.raises(DataError, match=rf"{text}: less than four tokens \(found 1\)"):
        _kl(other, original, text)


def test_models_of_other_tokens_are_refused(pair: tuple[Path, Path], text: Path, spelled_model: Make) -> None:
    original, other = pair
    wide = spelled_model("wide", vocab_size=640)
    with pytest.raises(DataError, match="scores 640 tokens"):
        _kl(wide, original, text)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:50]
    shutil.copy(other / "tokenizer.json", other / "old.json")
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(DataError, match="other tokens"):
        _kl(other, original, text)


def test_a_window_beyond_the_context_is_refused(pair: tuple[Path, Path], text: Path) -> None:
    with pytest.raises(UsageError, match="shorter context is 64"):
        _kl(*pair, text, window=65)
    with pytest.raises(UsageError, match="next to nothing"):
        _kl(*pair, text, window=3)


def test_records_of_another_text_are_not_gone_on_with(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, other = pair

    def read(text: str) -> KlReport:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode()))))
        return _kl(other, original, Path("-"), window=40, whole=True, per_record=tmp_path / "r")

    lines = "".join(json.dumps({"text": LICENSE[n : n + 600]}) + "\n" for n in range(0, 1800, 600))
    with pytest.raises(DataError, match="stdin:4"):
        read(lines + "{broken\n")
    with pytest.raises(DataError, match="chunk 0 is another than in the interrupted run"):
        read(lines.replace("a", "e"))
    first = json.dumps({"text": LICENSE[:600]}) + "\n"
    with pytest.raises(DataError, match="the input ends after"):
        read(first)
    assert read(lines).notes
