"""The whole of it over files: what is written, what is refused, what belongs together."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from worded_models import VOCAB, with_words

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.workflows.inspect_attention.config import InspectFiles, InspectText, InspectViews
from llmkit.workflows.inspect_attention.inspect_attention import Inspection, find_query, inspect_attention
from llmkit.workflows.inspect_attention.open import InspectOptions
from llmkit.workflows.inspect_attention.report import InspectReport, TokenRow

WORDS = "the Licence and the Licence of the Work"


@pytest.fixture
def folder(tiny_model: Callable[..., Path], byte_level_dir: Path) -> Path:
    return with_words(tiny_model(vocab_size=VOCAB), byte_level_dir)


def run(folder: Path, text: str = WORDS, files: InspectFiles | None = None, **views: Any) -> InspectReport:
    return inspect_attention(
        Inspection(
            options=InspectOptions(model=folder),
            text=InspectText(given=text),
            views=InspectViews(**views),
            files=files or InspectFiles(),
            map_cells=(8, 8),
        )
    )


def test_every_file_is_written_and_named_and_only_the_heads_asked_for_are_in_it(
    folder: Path, tmp_path: Path
) -> None:
    files = InspectFiles(
        **{name: tmp_path / f"out.{name}" for name in ("edges", "save", "html", "svg", "png")}, top_k=1
    )
    report = run(folder, files=files, heads=((1, 0),))
    assert sorted(report.files) == sorted(str(path) for path in files.named)
    assert all(path.stat().st_size for path in files.named)
    assert (tmp_path / "out.edges").read_text().count("\n") == len(report.tokens)  # one key a query
    assert report.heads is not None and [(one.layer, one.head) for one in report.heads] == [(1, 0)]
    with pytest.raises(UsageError, match="already exists"):
        run(folder, files=files)
    run(folder, files=replace(files, force=True))


def test_a_page_of_a_model_whose_name_is_no_utf_8_spells_it_out(folder: Path, tmp_path: Path) -> None:
    named = folder.rename(tmp_path / os.fsdecode(b"m\xff"))
    run(named, files=InspectFiles(html=tmp_path / "page.html"))
    assert r"m\xff" in (tmp_path / "page.html").read_text()


def test_an_output_that_is_an_input_is_refused_even_when_forced(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(WORDS)
    for path in (text, folder / "model.safetensors"):
        with pytest.raises(UsageError, match="also an input"):
            run(folder, str(text), InspectFiles(save=path, force=True))
    with pytest.raises(MissingError, match="nowhere"):
        run(tmp_path / "nowhere")


def test_a_page_never_takes_the_place_of_what_the_model_is_held_beside(
    folder: Path, tiny_model: Callable[..., Path], tiny_adapter: Callable[..., Path]
) -> None:
    model, adapter = tiny_model("other", vocab_size=VOCAB), tiny_adapter()
    for other, name in ((model, "model.safetensors"), (adapter, "adapter_model.safetensors")):
        before = (other / name).read_bytes()
        with pytest.raises(UsageError, match="is there already, in the input"):
            run(folder, files=InspectFiles(html=other / name, force=True), diff=other)
        assert (other / name).read_bytes() == before


@pytest.mark.parametrize("name", ["save", "html", "svg", "png"])
def test_stdout_is_for_edges_alone(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="needs a name"):
        run(folder, files=InspectFiles(**{name: Path("-")}))


def test_views_are_what_was_asked_for_and_nothing_else(folder: Path) -> None:
    table = run(folder)
    assert table.heads is not None and len(table.heads) == 4 and table.maps is None
    drawn = run(folder, map=True, rows=(2, 6), cols=(0, 4), before_softmax=True, layers=(1,))
    assert drawn.heads is None and drawn.maps is not None
    assert [(one.layer, one.head) for one in drawn.maps] == [(1, 0), (1, 1)]
    assert (drawn.maps[0].rows, drawn.maps[0].cols) == ([2, 3, 4, 5, 6], [0, 1, 2, 3, 4])
    assert drawn.maps[0].values[0][3] is None  # the query does not see it
    weights = run(folder, map=True, rows=(2, 6), cols=(0, 4), layers=(1,)).maps
    assert weights is not None and weights[0].values != drawn.maps[0].values
    row = run(folder, query="Work")
    assert row.query is not None and len(row.query) == 4 and row.query[0].query.text == " Work"
    assert run(folder, query="2", lens=True).query is None
    seen = run(folder, expect=("sink:0", "sink:1")).expected
    assert seen is not None and len(seen[0].heads) == 4 and seen[1].heads == []


def test_a_model_beside_itself_has_not_moved_and_an_adapter_has(
    folder: Path, tiny_adapter: Callable[..., Path]
) -> None:
    same = run(folder, diff=folder).difference
    assert same is not None and max(one.js_nats for one in same.heads) < 1e-7
    adapter = tiny_adapter()
    _train(adapter)
    moved = run(folder, diff=adapter).difference
    assert moved is not None and moved.other == str(adapter)
    assert min(one.js_nats for one in moved.heads) > 1e-4


def test_a_model_without_a_tokenizer_is_held_beside_by_the_first_ones(
    folder: Path, tiny_model: Callable[..., Path]
) -> None:
    bare = tiny_model("bare", vocab_size=VOCAB)
    same = run(folder, diff=bare).difference
    assert same is not None and max(one.js_nats for one in same.heads) < 1e-7
    with pytest.raises(MissingError, match="nowhere"):
        run(folder, diff=bare.parent / "nowhere")


def test_models_that_do_not_belong_side_by_side_are_refused(
    folder: Path, tiny_model: Callable[..., Path], byte_level_dir: Path, shared_data: Path
) -> None:
    deep = with_words(tiny_model("deep", vocab_size=VOCAB, num_hidden_layers=3), byte_level_dir)
    with pytest.raises(DataError, match="3 layers of 2 heads, against 2 layers of 2"):
        run(folder, diff=deep)
    other = with_words(tiny_model("other", vocab_size=VOCAB), shared_data / "models" / "stories260K")
    with_words(tiny_model("again", vocab_size=VOCAB), byte_level_dir)
    (other / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (other / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(DataError, match="its token 335 is"):
        run(folder, diff=other)


def test_too_many_maps_are_refused(tiny_model: Callable[..., Path], byte_level_dir: Path) -> None:
    many = with_words(tiny_model(vocab_size=VOCAB, num_hidden_layers=7), byte_level_dir)
    with pytest.raises(UsageError, match="would draw 14 heads"):
        run(many, map=True)


def test_a_query_is_a_place_or_the_last_token_of_that_text() -> None:
    tokens = [TokenRow(position=n, id=9, text=text) for n, text in enumerate([" the", " cat", " the", "7"])]
    assert find_query(tokens, None) == 3 and find_query(tokens, "-2") == 2 and find_query(tokens, "1") == 1
    assert find_query(tokens, "the") == 2 and find_query(tokens, " cat") == 1
    with pytest.raises(UsageError, match="no such position"):
        find_query(tokens, "4")
    with pytest.raises(UsageError, match="'dog': no token of the text"):
        find_query(tokens, "dog")


def _train(adapter: Path) -> None:
    """Numbers in place of the zeros that an adapter begins with."""
    import torch
    from safetensors.torch import load_file, save_file

    file = adapter / "adapter_model.safetensors"
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(one.shape, generator=generator) for name, one in load_file(file).items()}
    save_file(tensors, file)
