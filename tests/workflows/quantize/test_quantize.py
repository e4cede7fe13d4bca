"""Rounded models as files: what others read of them is what was rounded, and nothing is lost on the way."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llama_cpp import llama_cpp_logits
from safetensors.torch import load_file, save_file

from llmkit.errors import DataError, UsageError
from llmkit.formats.gguf.data import GgufData
from llmkit.formats.provenance import Invocation, read_provenance
from llmkit.model.load import load_model
from llmkit.model.save import save_model
from llmkit.progress import SILENT
from llmkit.quant.plan_gguf import FILE_TYPES
from llmkit.workflows.quantize.container import measured
from llmkit.workflows.quantize.imatrix import save_imatrix
from llmkit.workflows.quantize.job import QuantizeJob, open_quantize
from llmkit.workflows.quantize.options import QuantizeConfig
from llmkit.workflows.quantize.quantize import (
    RoundedModel,
    missed_gate,
    plan_quantize,
    quantize,
    round_model,
    sweep,
)
from tests.quant.small_models import DELTA, experts, model
from tests.quant.test_scaling import planted

INVOCATION = Invocation("quantize", {"seed": 0}, ("in", "out"))
TEXT = (Path(__file__).parents[3] / "LICENSE").read_text()
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"num_hidden_layers": 2, "vocab_size": 600},
    "tied": {"num_hidden_layers": 2, "vocab_size": 600, "tie_word_embeddings": True},
    "experts": {
        **{"num_hidden_layers": 2, "vocab_size": 600, "model_type": "qwen3_moe", "qk_norm": "head"},
        "experts": replace(experts(), layers=(0, 1)),
    },
    "delta": {"num_hidden_layers": 2, "vocab_size": 600, **DELTA},
}


@pytest.fixture
def folder(tmp_path: Path, byte_level_dir: Path) -> Callable[..., Path]:
    """Write a model that has rows of 256, with a tokenizer."""

    def build(kind: str = "llama", **changes: Any) -> Path:
        place = tmp_path / "in"
        place.mkdir()
        save_model(model(**(KINDS[kind] | changes)), place)
        for file in byte_level_dir.iterdir():
            (place / file.name).write_bytes(file.read_bytes())
        return place

    return build


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def opened(place: Path, out: Path | None, text: Path, **settings: Any) -> QuantizeJob:
    fields = {
        "seq_len": 32,
        "calibration_tokens": 512,
        "score_tokens": 256,
        "calibration": (text,),
    } | settings
    return open_quantize(place, out, QuantizeConfig(**fields), force=False, invocation=INVOCATION)


@pytest.mark.parametrize(("kind", "scale"), [(kind, kind in ("llama", "experts")) for kind in KINDS])
@pytest.mark.parametrize("out", ["q.gguf", "q"])
def test_what_is_written_opens_as_the_model_that_was_scored(
    folder: Callable[..., Path],
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    scale: bool,
    out: str,
) -> None:
    kept: list[RoundedModel] = []

    def rounded_once(*given: Any) -> RoundedModel:
        kept.append(round_model(*given))
        return kept[-1]

    monkeypatch.setattr("llmkit.workflows.quantize.quantize.round_model", rounded_once)
    place = folder(kind)
    if scale:
        save_model(planted(**KINDS[kind]), place)
    job = opened(
        place, tmp_path / out, text, scale=scale, **({} if out == "q.gguf" else {"type": "int4-g32"})
    )
    report = quantize(job)
    (done,) = kept
    assert bool(done.plain) == scale and report.method == ("feedback, scaled" if scale else "feedback")
    whole = load_model(place, dtype=torch.float32)
    whole.load_state_dict(done.plain, strict=False)
    for name, matrix in done.matrices.items():
        stem, _, index = name.partition("[")
        parameter = whole.get_parameter(stem).data
        (parameter[int(index[:-1])] if index else parameter).copy_(matrix.values())
    again = load_model(tmp_path / out, dtype=torch.float32)
    ids = job.scored
    assert ids is not None and report.quality is not None
    with torch.inference_mode():
        assert torch.allclose(again(ids), whole(ids), atol=2e-3 if out == "q.gguf" else 1e-4)
    assert 0 < report.quality.kld < 1


@pytest.mark.parametrize("kind", ["llama", "delta"])
def test_llama_cpp_computes_the_same_from_the_file(
    kind: str, folder: Callable[..., Path], text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "q.gguf"
    quantize(opened(folder(kind), out, text, type="Q8_0"))
    ids = [5, 17, 300, 42, 7, 8]
    with torch.inference_mode():
        ours = load_model(out, dtype=torch.float32)(torch.tensor([ids]))[0].numpy()
    theirs = np.array(llama_cpp_logits(out, ids))
    gap = np.square(ours - theirs).mean() / ours.var()
    assert gap < 0.03**2  # it rounds activations to 8 bits, too


@pytest.mark.parametrize("out", ["q.gguf", "q"])
def test_the_plan_is_the_size_of_the_files_to_the_byte(
    folder: Callable[..., Path], text: Path, tmp_path: Path, out: str
) -> None:
    job = opened(folder(), tmp_path / out, text)
    planned = plan_quantize(job)
    done = quantize(job)
    path = tmp_path / out
    written = path if path.is_file() else path / "model.safetensors"
    assert planned.size_bytes == done.size_bytes == written.stat().st_size
    assert (planned.written, done.written) == (False, True)


def test_a_quantised_model_is_cut_into_files_that_are_the_whole_again(
    folder: Callable[..., Path], text: Path, tmp_path: Path
) -> None:
    place = folder()
    quantize(opened(place, tmp_path / "whole.gguf", text))
    job = opened(place, tmp_path / "q.gguf", text, max_shard_bytes=100_000)
    planned = plan_quantize(job)
    done = quantize(job)
    files = sorted(tmp_path.glob("q-*.gguf"))
    assert len(files) > 1 and not (tmp_path / "q.gguf").exists()
    assert planned.out == done.out == str(files[0])
    assert planned.size_bytes == done.size_bytes == sum(file.stat().st_size for file in files)
    whole, cut = GgufData(tmp_path / "whole.gguf"), GgufData(files[0])
    assert list(whole.tensors) == list(cut.tensors)
    assert all(np.array_equal(whole.raw(name), cut.raw(name)) for name in whole.tensors)
    ids = [5, 17, 300, 42]
    assert llama_cpp_logits(files[0], ids) == llama_cpp_logits(tmp_path / "whole.gguf", ids)
    with pytest.raises(UsageError, match=r"q-00001-of-.* already exists"):
        opened(place, tmp_path / "q.gguf", text, max_shard_bytes=200_000)


def test_a_folder_is_cut_as_it_is_asked_to_be(
    folder: Callable[..., Path], text: Path, tmp_path: Path
) -> None:
    quantize(opened(folder(), tmp_path / "q", text, max_shard_bytes=100_000))
    assert len(list((tmp_path / "q").glob("model-*.safetensors"))) > 1
    assert load_model(tmp_path / "q") is not None


def test_the_same_settings_give_the_same_bytes_whatever_the_threads(
    folder: Callable[..., Path], text: Path, tmp_path: Path
) -> None:
    place, kept = folder(), torch.get_num_threads()
    for threads in (1, 3):
        quantize(opened(place, tmp_path / f"{threads}.gguf", text, threads=threads, budget_bpw=5.0))
    assert len({(tmp_path / f"{threads}.gguf").read_bytes() for threads in (1, 3)}) == 1
    assert torch.get_num_threads() == kept


def test_a_folder_says_what_made_it(folder: Callable[..., Path], text: Path, tmp_path: Path) -> None:
    quantize(opened(folder(), tmp_path / "q", text))
    provenance = read_provenance(tmp_path / "q")
    assert provenance is not None and provenance["command_line"] == "llmkit quantize in out"
    assert (tmp_path / "q" / "tokenizer.json").exists()
    config = json.loads((tmp_path / "q" / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"


def test_feedback_leaves_the_model_nearer_than_rounding_to_the_nearest(
    folder: Callable[..., Path], text: Path
) -> None:
    place, found = folder(), {}
    for method in ("nearest", "feedback"):
        job = opened(place, None, text, method=method, container="gguf", type="Q3_K_S", score=(text,))
        report = quantize(job)
        assert report.quality is not None and not report.written
        found[method] = report.quality.kld
    assert found["feedback"] < found["nearest"]


def test_a_missed_gate_writes_nothing_and_leaves_what_was_there(
    folder: Callable[..., Path], text: Path, tmp_path: Path
) -> None:
    job = opened(folder(), tmp_path / "q.gguf", text, max_kl=1e-9)
    report = quantize(job)
    assert not report.written and not (tmp_path / "q.gguf").exists()
    assert "more than --max-kl 1e-09" in str(missed_gate(job, report.quality))
    other = replace(job, config=replace(job.config, max_kl=None, max_ppl_increase=-0.999))
    assert "perplexity grew by" in str(missed_gate(other, report.quality))
    assert missed_gate(replace(job, config=QuantizeConfig()), report.quality) is None


def test_a_budget_is_kept_to_two_hundredths_of_a_bit_and_loses_less_than_one_type(
    folder: Callable[..., Path], text: Path
) -> None:
    place = folder()
    uniform = opened(place, None, text, container="gguf", type="Q4_K_S", score=(text,))
    size = uniform.plan.bits_per_weight
    bought = quantize(replace(uniform, config=replace(uniform.config, budget_bpw=size)))
    assert size - 0.02 <= bought.bits_per_weight <= size
    plain = quantize(uniform)
    assert bought.quality is not None and plain.quality is not None
    assert bought.quality.kld <= plain.quality.kld
    fitted = quantize(replace(uniform, config=replace(uniform.config, fit_bytes=uniform.plan.nbytes)))
    assert fitted.size_bytes <= uniform.plan.nbytes
    assert measured(uniform.source, "gguf", uniform.plan).nbytes == uniform.plan.nbytes


def test_a_sweep_has_a_row_for_each_type_and_more_bits_lose_less(
    folder: Callable[..., Path], text: Path, tmp_path: Path
) -> None:
    place = folder()
    jobs = [opened(place, None, text, container="gguf", bits=bits) for bits in (8, 4, 2)]
    rows = list(sweep(jobs))
    assert [row.type for row in rows] == ["Q8_0", "Q4_K_M", "Q2_K"]
    losses = [row.quality.kld for row in rows if row.quality]
    assert losses == sorted(losses) and len(losses) == 3
    assert not list(tmp_path.glob("*.gguf"))


def test_a_weight_that_is_no_number_is_refused_and_nothing_is_written(
    folder: Callable[..., Path], text: Path, tmp_path: Path
) -> None:
    place = folder()
    tensors = load_file(place / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"layers\.1\.mlp\.up_proj\.weight.*not a finite number"):
        quantize(opened(place, tmp_path / "q.gguf", text))
    assert not (tmp_path / "q.gguf").exists()


@pytest.mark.parametrize(
    "name", ["model.layers.0.input_layernorm.weight", "model.norm.weight", "model.embed_tokens.weight"]
)
def test_a_tensor_that_stays_plain_is_refused_too_where_it_has_no_number(
    folder: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    place = folder(num_hidden_layers=1)
    tensors = load_file(place / "model.safetensors")
    tensors[name].view(-1)[3] = float("inf")
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    config = QuantizeConfig(type="int4-g32")
    job = open_quantize(place, tmp_path / "q", config, force=False, invocation=INVOCATION)
    with pytest.raises(DataError, match=f"{name}: a weight is not a finite number"):
        quantize(job)
    assert not (tmp_path / "q").exists()


def test_rows_that_are_no_whole_number_of_blocks_fall_back_and_the_report_says_so(
    folder: Callable[..., Path], text: Path, tmp_path: Path
) -> None:
    place = folder(hidden_size=128, intermediate_size=256, num_attention_heads=4)
    report = quantize(opened(place, tmp_path / "q.gguf", text))
    stored = {unit.name: (unit.stored_as, unit.reason) for unit in report.units}
    kind, reason = stored["model.layers.0.self_attn.q_proj.weight"]
    assert kind == "Q5_0" and "128 is no whole number of blocks of 256" in reason
    assert stored["model.layers.0.mlp.down_proj.weight"][0] in ("Q4_K", "Q6_K")


@pytest.mark.parametrize("container", ["gguf", "compressed-tensors"])
def test_an_importance_matrix_stands_for_the_text_that_it_was_made_of(
    folder: Callable[..., Path], text: Path, tmp_path: Path, container: str
) -> None:
    place, saved = folder(num_hidden_layers=1), tmp_path / "imatrix.gguf"
    kind = {"container": container, "type": "Q4_K_M" if container == "gguf" else "int4-g32", "score": (text,)}
    report = save_imatrix(opened(place, None, text), saved, force=False)
    assert (report.calibration_tokens, report.matrices) == (512, 8)
    by_text = opened(place, None, text, method="nearest", **kind)
    by_matrix = opened(place, None, text, calibration=(), imatrix=saved, **kind)
    done, wanted = round_model(by_matrix, SILENT), round_model(by_text, SILENT)
    first = "model.layers.0.self_attn.q_proj.weight"
    # exact inputs there, those of the rounded embedding here: the same but for a few codes
    same = (done.matrices[first].codes == wanted.matrices[first].codes).float().mean()
    plain = round_model(opened(place, None, text, calibration=(), **kind), SILENT)
    alike = (done.matrices[first].codes == plain.matrices[first].codes).float().mean()
    assert same > 0.95 and same > alike
    assert quantize(by_matrix).method == "nearest"
    scaled = quantize(replace(by_matrix, config=replace(by_matrix.config, scale=True)))
    assert scaled.quality is not None and any(note.startswith("scaled: ") for note in scaled.notes)


def test_a_model_that_is_quantised_already_is_refused(
    folder: Callable[..., Path], text: Path, tmp_path: Path
) -> None:
    quantize(opened(folder(), tmp_path / "q.gguf", text))
    with pytest.raises(UsageError, match="quantised already") as caught:
        opened(tmp_path / "q.gguf", tmp_path / "again.gguf", text)
    assert caught.value.hint.endswith(f"llmkit convert {tmp_path / 'q.gguf'} plain --dequantize")


def test_every_file_type_has_its_number_in_the_file() -> None:
    gguf = pytest.importorskip("gguf")
    for name, number in FILE_TYPES.items():
        theirs = {"F32": "ALL_F32"}.get(name, f"MOSTLY_{name}")
        assert getattr(gguf.LlamaFileType, theirs) == number
