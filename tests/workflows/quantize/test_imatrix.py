from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGUFReader

from llmkit.errors import UsageError
from llmkit.formats.provenance import Invocation
from llmkit.workflows.quantize.imatrix import save_imatrix
from llmkit.workflows.quantize.job import QuantizeJob, open_quantize
from llmkit.workflows.quantize.options import QuantizeConfig


@pytest.fixture
def job(tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path) -> Callable[..., QuantizeJob]:
    folder = tiny_model(vocab_size=600, hidden_size=32, intermediate_size=64, num_hidden_layers=1)
    for file in byte_level_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (tmp_path / "text.txt").write_text("The quick brown fox. " * 200)

    def build(**settings: object) -> QuantizeJob:
        config = QuantizeConfig(type="int4-g32", seq_len=16, calibration_tokens=64, **settings)  # type: ignore[arg-type]
        return open_quantize(folder, None, config, force=False, invocation=Invocation("quantize", {}, ()))

    return build


def test_the_file_says_of_every_matrix_what_text_it_is_of(
    job: Callable[..., QuantizeJob], tmp_path: Path
) -> None:
    out = tmp_path / "imatrix.gguf"
    report = save_imatrix(job(calibration=(tmp_path / "text.txt",)), out, force=False)
    assert report.size_bytes == out.stat().st_size
    reader = GGUFReader(out)
    assert reader.fields["imatrix.datasets"].contents() == ["text.txt"]
    assert reader.fields["imatrix.chunk_count"].contents() == 2
    assert reader.fields["imatrix.chunk_size"].contents() == 16
    names = {tensor.name for tensor in reader.tensors}
    kinds = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    matrices = [*(f"blk.0.{kind}.weight" for kind in kinds), "output.weight"]
    assert names == {f"{name}.{what}" for name in matrices for what in ("in_sum2", "counts")}


def test_without_text_and_over_a_file_that_is_there_it_is_refused(
    job: Callable[..., QuantizeJob], tmp_path: Path
) -> None:
    out, text = tmp_path / "imatrix.gguf", (tmp_path / "text.txt",)
    with pytest.raises(UsageError, match="says what a text puts in"):
        save_imatrix(job(), out, force=False)
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        save_imatrix(job(calibration=text), out, force=False)
    save_imatrix(job(calibration=text), out, force=True)
    with pytest.raises(UsageError):
        save_imatrix(job(calibration=text), text[0], force=True)
