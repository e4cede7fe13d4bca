"""The embeddings of real models: neighbours by plain arithmetic, and tokens known never to be trained."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.show.embeddings import show_embeddings


def test_neighbours_lengths_and_shape_are_those_of_the_stored_table(shared_data: Path) -> None:
    folder = shared_data / "models" / "stories260K"
    report = show_embeddings(folder, "the", None, top=4)
    table = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    the = load_tokenizer(folder).encode("the")[0]
    assert report.token is not None and report.token.id == the and report.token.text == " the"
    cosines = torch.cosine_similarity(table, table[the][None])
    best = cosines.argsort(descending=True)[1:5].tolist()
    assert [one.id for one in report.neighbours] == best and report.neighbours[0].text == " The"
    assert (report.vocab_size, report.hidden_size, report.tied) == (*table.shape, True)
    assert report.length_max == report.longest[0].length == table.norm(dim=1).max()
    assert len(report.longest) == len(report.shortest) == 4
    assert report.shortest[0].length == report.length_min <= report.length_median


def test_tokens_that_simple_english_stories_lack_look_unused_and_common_ones_do_not(
    shared_data: Path,
) -> None:
    folder = shared_data / "models" / "stories260K"
    report = show_embeddings(folder, None, None, top=1)
    found = {one.text: one.sign for one in report.unused}
    assert {"<0xFF>", "<unk>", "™", "~"} <= found.keys()  # its training text is ASCII but for quotes
    assert not {" the", " a", ".", " was", "e", "“"} & found.keys()
    assert report.unused_by_sign == {"unreachable": len(report.unused)} and report.neighbours == []


def test_without_a_tokenizer_ids_are_names_and_one_can_be_lent(
    tiny_model: Callable[..., Path], shared_data: Path
) -> None:
    folder = tiny_model(vocab_size=600)
    report = show_embeddings(folder, "id:7", None, top=2)
    assert report.token is not None and report.token.text == "id:7" and report.unused == []
    lent = show_embeddings(folder, "the", shared_data / "models" / "stories260K", top=2)
    assert lent.token is not None and lent.token.text == " the"
    assert lent.unused_by_sign == {"no token": 88}  # 600 rows, 512 tokens
