"""A run that is stopped and goes on writes what one that was never stopped does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llmkit.errors import StoppedResumable
from llmkit.formats.provenance import Invocation
from llmkit.formats.resumable import partial_path
from llmkit.model.save import save_model
from llmkit.quant.ggml_grids import GGML_GRIDS
from llmkit.quant.model import Rounded
from llmkit.quant.moments import Moments
from llmkit.quant.rounding import round_matrix
from llmkit.workflows.quantize.job import QuantizeJob, open_quantize
from llmkit.workflows.quantize.options import QuantizeConfig
from llmkit.workflows.quantize.parts import KeptParts, job_key, parts_of
from llmkit.workflows.quantize.quantize import quantize
from tests.quant.small_models import experts, model

TEXT = (Path(__file__).parents[3] / "LICENSE").read_text()


class Stopping:
    """A listener that is interrupted, or ended as by SIGTERM, when a share of all numbers is rounded."""

    def __init__(self, share: float, by: type[BaseException] = KeyboardInterrupt) -> None:
        self.share = share
        self.by = by

    def update(self, done: float, total: float | None = None, **fields: float | str) -> None:
        assert total is not None
        if done > self.share * total:
            raise self.by

    def note(self, message: str) -> None:
        """Not interested."""


@pytest.fixture
def job(tmp_path: Path, byte_level_dir: Path) -> Callable[..., QuantizeJob]:
    place = tmp_path / "in"
    place.mkdir()
    changes = {"num_hidden_layers": 3, "model_type": "qwen3_moe", "qk_norm": "head", "experts": experts()}
    save_model(model(vocab_size=600, **changes), place)
    for file in byte_level_dir.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    (tmp_path / "text.txt").write_text(TEXT)

    def build(out: str, **settings: object) -> QuantizeJob:
        fields = {
            "type": "Q4_K_M",
            "seq_len": 32,
            "calibration_tokens": 512,
            "score_tokens": 128,
            "resume": True,
        }
        config = QuantizeConfig(calibration=(tmp_path / "text.txt",), **(fields | settings))  # type: ignore[arg-type]
        return open_quantize(
            place, tmp_path / out, config, force=False, invocation=Invocation("quantize", {}, ("in",))
        )

    return build


@pytest.mark.parametrize("scale", [False, True])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    job: Callable[..., QuantizeJob], tmp_path: Path, scale: bool
) -> None:
    quantize(job("whole.gguf", resume=False, scale=scale))
    for share, by in ((0.02, KeyboardInterrupt), (0.4, SystemExit), (0.7, KeyboardInterrupt)):
        with pytest.raises(StoppedResumable):
            quantize(job("parts.gguf", scale=scale), progress=Stopping(share, by))
    kept = partial_path(tmp_path / "parts.gguf")
    assert {"embedding.safetensors", "layer-0.safetensors", "layer-1.safetensors"} <= {
        file.name for file in kept.iterdir()
    }
    report = quantize(job("parts.gguf", scale=scale))
    assert (tmp_path / "parts.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()
    assert report.quality is not None and not kept.exists()


def test_without_resume_an_interrupt_keeps_nothing(job: Callable[..., QuantizeJob], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        quantize(job("q.gguf", resume=False), progress=Stopping(0.2))
    assert not partial_path(tmp_path / "q.gguf").exists()


def test_parts_of_another_job_are_forgotten(job: Callable[..., QuantizeJob], tmp_path: Path) -> None:
    with pytest.raises(StoppedResumable):
        quantize(job("q.gguf"), progress=Stopping(0.2))
    same, other = job("q.gguf"), job("q.gguf", method="nearest")
    with parts_of(same) as kept:
        assert kept is not None and kept.find("embedding") is not None
    with parts_of(other) as kept:
        assert kept is not None and kept.find("embedding") is None


def test_whatever_decides_a_matrix_is_in_the_key(job: Callable[..., QuantizeJob]) -> None:
    first = job("q.gguf")
    assert first.calibration is not None
    others = [
        replace(first, config=replace(first.config, method="nearest")),
        replace(first, config=replace(first.config, scale=True)),
        replace(first, given={"lm_head.weight": Moments.of_squares(torch.ones(4), 1)}),
        replace(first, calibration=first.calibration.flip(0)),
        replace(first, calibration=None),
        job("q.gguf", type="Q5_K_M"),
        job("q.gguf", overrides=(("ffn_down", "F16"),)),
        job("q.gguf", overrides=(("ffn_down", "BF16"),)),
    ]
    keys = [job_key(one) for one in (first, *others)]
    assert len(set(keys)) == len(keys)
    assert job_key(replace(first, scored=None, out=None)) == keys[0]


def test_the_order_of_columns_comes_back_with_a_matrix(tmp_path: Path) -> None:
    order, grid = torch.arange(256).view(8, 32).flip(0).flatten(), GGML_GRIDS["Q4_K"]
    weight = torch.randn(6, 256, generator=torch.Generator().manual_seed(1))
    matrix = replace(round_matrix(weight[:, order], grid, None), order=order)
    kept = KeptParts(tmp_path, {"a": grid, "b": grid})
    kept.keep(Rounded(0, {"a": matrix, "b": replace(matrix, order=None)}))
    found = kept.find("layer-0")
    assert found is not None and found.matrices["b"].order is None
    assert torch.equal(found.matrices["a"].values(), matrix.values())
    assert not torch.equal(found.matrices["b"].values(), matrix.values())


def test_a_part_comes_back_as_it_was(job: Callable[..., QuantizeJob], tmp_path: Path) -> None:
    from llmkit.progress import SILENT
    from llmkit.workflows.quantize.quantize import round_model

    one = job("q.gguf")
    kept = KeptParts(tmp_path, one.plan.grids)
    rounded = round_model(one, SILENT, kept).matrices
    parts = [kept.find(part) for part in ("embedding", "layer-0", "layer-2")]
    found = {name: matrix for part in parts if part is not None for name, matrix in part.matrices.items()}
    assert found and all(torch.equal(found[name].values(), rounded[name].values()) for name in found)
    assert all(
        (found[name].noise, found[name].output_noise) == (rounded[name].noise, rounded[name].output_noise)
        for name in found
    )
