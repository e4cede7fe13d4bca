"""llama.cpp as a peer: the model computes there what it computes here, from the same place in every run."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from llmkit.errors import MissingError, ResourceError
from llmkit.model.transformer import Transformer
from llmkit.workflows.bench import llama as bench_llama
from llmkit.workflows.bench.llama import LlamaPeer, find_library
from llmkit.workflows.bench.llama_gguf import write_peer_gguf
from llmkit.workflows.bench.source import open_source

needs_llama = pytest.mark.skipif(find_spec("xllamacpp") is None, reason="no llama.cpp here")


def spread_model() -> Transformer:
    """Scores far enough apart that a float16 cache and 8 bits of activations move no best one."""
    model = open_source(None, "tiny").load("float32", 0)
    with torch.no_grad():
        for one in model.parameters():
            if one.dim() > 1:
                one.normal_(0, 0.1, generator=torch.Generator().manual_seed(one.numel()))
    return model


@needs_llama
@pytest.mark.parametrize("weights", ["stored", "int8"])
def test_it_finds_the_best_tokens_of_every_text_after_what_is_held_in_every_run(weights: str) -> None:
    model = spread_model()
    random = torch.Generator().manual_seed(1)
    held = torch.randint(model.config.vocab_size, (3, 5), generator=random)
    steps = torch.randint(model.config.vocab_size, (4, 3), generator=random)
    peer = LlamaPeer(find_library(None), model, weights)
    try:
        texts = peer.context(held.tolist(), 9, 1)
        alone = peer.context(held[:1].tolist(), 9, 2)
        for _ in range(2):
            with torch.inference_mode():
                scores = model(torch.cat((held, steps.T), 1))[:, -1]
                best = peer.decode(texts, steps.tolist()).best
                assert [row[one] for row, one in zip(scores, best, strict=True)] == pytest.approx(
                    scores.max(1).values.tolist(), abs=0.05 * float(scores.std())
                )
                run = peer.prefill(alone, steps[:, 0].tolist())
                assert float(scores[0, run.best[0]]) == pytest.approx(
                    float(scores[0].max()), abs=0.05 * float(scores.std())
                )
            assert 0 < run.seconds < 60 and run.cpu_seconds >= 0 and peer.memory_bytes > 1 << 20
        assert "F16C" in peer.system or "NEON" in peer.system
        folder = Path(peer._folder.name)
        assert (folder / "model.gguf").stat().st_size == peer.file_bytes
    finally:
        peer.close()
    assert not folder.exists()


@needs_llama
def test_a_gguf_file_is_read_where_it_lies_and_stays_there(tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    write_peer_gguf(spread_model(), "int4", file)
    peer = LlamaPeer(find_library(None), file, "stored")
    try:
        assert peer.file_bytes == file.stat().st_size
        assert 0 <= peer.prefill(peer.context([[]], 4, 1), [1, 2]).best[0] < spread_model().config.vocab_size
        assert list(Path(peer._folder.name).glob("*.gguf")) == []
    finally:
        peer.close()
    assert file.exists()


@needs_llama
def test_where_it_ends_its_last_words_are_told() -> None:
    peer = LlamaPeer(find_library(None), spread_model(), "stored")
    try:
        texts = peer.context([[1]], 4, 1)
        with pytest.raises(ResourceError, match=r"status 1: llama.cpp: llama.cpp does not read the ids"):
            peer.decode(texts, [[1 << 30]])
    finally:
        peer.close()


def test_a_file_that_does_not_fit_is_refused_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_llama, "free_bytes", lambda _: 1000)
    with pytest.raises(ResourceError, match=r"as a GGUF file \(found 1,000 free\)"):
        LlamaPeer(Path("none"), spread_model(), "stored")


def test_the_library_is_the_packages_or_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("libllama.so", "llama-bench", "libggml.so"):
        (folder / name).touch()
    for given in ("", "libllama.so", "llama-bench"):
        assert find_library(str(folder / given)) == folder / "libllama.so"
    with pytest.raises(MissingError, match="nowhere: no libllama there"):
        find_library(str(tmp_path / "nowhere"))
    monkeypatch.setattr(bench_llama, "find_spec", lambda _: None)
    with pytest.raises(MissingError, match="the package xllamacpp is not installed") as caught:
        find_library(None)
    assert caught.value.hint is not None and "pip install 'llmkit[bench]'" in caught.value.hint
