"""--dry-run of pack: near the truth, and nothing written."""

from pathlib import Path

import pytest
import zstandard

from llmkit.errors import UsageError
from llmkit.formats.jsonl import encode_line
from llmkit.formats.provenance import Invocation
from llmkit.progress import SILENT
from llmkit.tokens.config import PackConfig
from llmkit.workflows.pack.pack import PackSources, pack_files
from llmkit.workflows.pack.plan import plan_pack

CONFIG = PackConfig(seq_len=127)
TEXT = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")


def write(path: Path, times: int) -> Path:
    content = b"".join(encode_line({"id": str(n), "text": f"{n} {TEXT}"}) for n in range(times))
    packed = path.suffix == ".zst"
    path.write_bytes(zstandard.ZstdCompressor(level=3).compress(content) if packed else content)
    return path


@pytest.mark.parametrize(("name", "times"), [("in.jsonl", 5), ("in.jsonl", 150), ("in.jsonl.zst", 5)])
def test_what_is_foreseen_is_near_what_comes(
    tmp_path: Path, byte_level_dir: Path, name: str, times: int
) -> None:
    sources = PackSources(
        inputs=[write(tmp_path / name, times)], out=tmp_path / "out", tokenizer=byte_level_dir
    )
    plan = plan_pack(sources, CONFIG)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    report = pack_files(sources, CONFIG, invocation=Invocation("pack"), progress=SILENT)
    assert plan.about_tokens is not None and plan.about_rows is not None
    assert plan.about_tokens == pytest.approx(report.tokens, rel=0.05)
    assert plan.about_rows == pytest.approx(report.rows, rel=0.1)
    assert plan.boundary == report.boundary == "both"
    assert plan.about_output_bytes is not None and plan.about_output_bytes > 0


def test_the_same_is_refused_as_when_it_runs(tmp_path: Path, byte_level_dir: Path) -> None:
    path = write(tmp_path / "in.jsonl", 1)
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="already exists"):
        plan_pack(PackSources(inputs=[path], out=tmp_path / "out", tokenizer=byte_level_dir), CONFIG)
    with pytest.raises(UsageError, match="text needs a tokenizer"):
        plan_pack(PackSources(inputs=[path], out=tmp_path / "out2"), CONFIG)


def test_of_stdin_nothing_is_foreseen_and_nothing_read(tmp_path: Path, byte_level_dir: Path) -> None:
    plan = plan_pack(PackSources(inputs=[Path("-")], out=tmp_path / "out", tokenizer=byte_level_dir), CONFIG)
    assert plan.input_bytes is plan.about_tokens is plan.about_seconds is plan.disk_bytes is None
    assert plan.disk_free_bytes > 0
