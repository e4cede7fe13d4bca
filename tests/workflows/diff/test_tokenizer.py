"""Two tokenizers with planted differences, and two forms of one tokenizer."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.workflows.diff.tokenizer import FirstMerge, MovedToken, SpecialIds, diff_tokenizers

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def edited(byte_level_dir: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the byte-level tokenizer with one of its files changed."""

    def make(change: Change, file: str = "tokenizer.json") -> Path:
        folder = tmp_path / "edited"
        shutil.copytree(byte_level_dir, folder)
        content = json.loads((folder / file).read_text())
        change(content)
        (folder / file).write_text(json.dumps(content))
        return folder

    return make


def test_a_copy_is_the_same(byte_level_dir: Path, edited: Callable[..., Path]) -> None:
    found = diff_tokenizers(byte_level_dir, edited(lambda content: None))
    assert found.same and found.vocab_size_a == found.vocab_size_b == 600
    assert found.sha256_a != found.sha256_b  # written otherwise, and yet the same


def test_tokens_that_are_missing_new_or_moved_are_named_with_their_ids(
    byte_level_dir: Path, edited: Callable[..., Path]
) -> None:
    def change(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        used = {piece for merge in content["model"]["merges"] for piece in merge}
        first, second, gone = [
            piece for piece in vocabulary if vocabulary[piece] > 300 and piece not in used
        ][:3]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
        vocabulary["brand new"] = vocabulary.pop(gone)
        content["model"]["merges"] = [merge for merge in content["model"]["merges"] if "".join(merge) != gone]

    original = json.loads((byte_level_dir / "tokenizer.json").read_text())["model"]["vocab"]
    folder = edited(change)
    changed = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    found = diff_tokenizers(byte_level_dir, folder)
    assert not found.same
    (gone,) = set(original) - set(changed)
    assert found.only_a == [MovedToken(piece=gone, a=original[gone], b=None)]
    assert found.only_b == [MovedToken(piece="brand new", a=None, b=changed["brand new"])]
    wanted = sorted(
        (original[piece], piece, changed[piece])
        for piece in set(original) & set(changed)
        if original[piece] != changed[piece]
    )
    assert len(wanted) == 2
    assert [(one.a, one.piece, one.b) for one in found.moved] == wanted


def test_the_first_merge_that_differs_is_told(byte_level_dir: Path, edited: Callable[..., Path]) -> None:
    original = json.loads((byte_level_dir / "tokenizer.json").read_text())["model"]["merges"]

    def swap(content: dict[str, Any]) -> None:
        merges = content["model"]["merges"]
        merges[10], merges[11] = merges[11], merges[10]

    found = diff_tokenizers(byte_level_dir, edited(swap))
    assert found.first_merge == FirstMerge(number=10, a=original[10], b=original[11])
    assert found.merges_a == found.merges_b == len(original) and not found.same


def test_a_shorter_list_of_merges_ends_first(byte_level_dir: Path, edited: Callable[..., Path]) -> None:
    original = json.loads((byte_level_dir / "tokenizer.json").read_text())["model"]["merges"]
    found = diff_tokenizers(byte_level_dir, edited(lambda content: content["model"]["merges"].pop()))
    assert found.first_merge == FirstMerge(number=len(original) - 1, a=original[-1], b=None)


def test_steps_and_flags_of_added_tokens_are_compared(
    byte_level_dir: Path, edited: Callable[..., Path]
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["normalizer"] = {"type": "NFC"}
        content["pre_tokenizer"]["add_prefix_space"] = True
        content["added_tokens"][1]["lstrip"] = True

    found = diff_tokenizers(byte_level_dir, edited(change))
    told = {one.key: (one.a, one.b) for one in found.settings if one.only is None}
    assert told == {
        "pre_tokenizer.add_prefix_space": (False, True),
        "added_tokens.<|im_start|>.lstrip": (False, True),
    }
    assert {one.key for one in found.settings} - set(told) == {"normalizer", "normalizer.type"}


def test_special_ids_and_template_come_from_the_config(
    byte_level_dir: Path, edited: Callable[..., Path]
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["eos_token"] = {"content": "<|im_end|>", "lstrip": False}
        content["chat_template"] += "\n{# end #}"

    found = diff_tokenizers(byte_level_dir, edited(change, "tokenizer_config.json"))
    assert found.special_ids == [SpecialIds(role="eos", a=0, b=2)]
    assert found.chat_template[-1] == "+{# end #}" and not found.same
    assert [one.key for one in found.settings] == ["eos_token"]


def test_a_special_token_as_text_or_as_an_object_and_the_class_do_not_count(
    byte_level_dir: Path, edited: Callable[..., Path]
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["eos_token"] = {"content": "<|endoftext|>", "lstrip": False}
        content["tokenizer_class"] = "GPT2Tokenizer"

    found = diff_tokenizers(byte_level_dir, edited(change, "tokenizer_config.json"))
    assert found.same and [one.key for one in found.remarks] == ["tokenizer_class"]


def test_texts_count_too(byte_level_dir: Path, tmp_path: Path, edited: Callable[..., Path]) -> None:
    (tmp_path / "text.txt").write_text("License, license.")
    other = edited(lambda content: content["model"].update(merges=[]))
    found = diff_tokenizers(byte_level_dir, other, (tmp_path / "text.txt",))
    assert found.encodings is not None and found.encodings.differing == 1
    assert found.encodings.tokens_b == len("License, license.")  # bytes, without merges
    again = diff_tokenizers(byte_level_dir, byte_level_dir, (tmp_path / "text.txt",))
    assert again.same and again.encodings is not None


def test_gpt2_is_one_tokenizer_in_both_of_its_forms(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "tokenizers" / "gpt2"
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copyfile(source / name, tmp_path / name)
    found = diff_tokenizers(source, tmp_path)
    assert (found.only_a, found.only_b, found.moved, found.first_merge) == ([], [], [], None)
    assert (found.merges_a, found.special_ids, found.scores) == (50_000, [], 0)


def test_unigram_scores_are_compared(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "tokenizers" / "t5-small"
    shutil.copytree(source, tmp_path / "t5")
    file = tmp_path / "t5" / "tokenizer.json"
    file.chmod(0o644)
    content = json.loads(file.read_text())
    content["model"]["vocab"][500][1] -= 0.5
    content["model"]["vocab"][501][1] -= 0.5
    file.write_text(json.dumps(content))
    found = diff_tokenizers(source, tmp_path / "t5")
    assert found.scores == 2 and found.moved == [] and not found.same
    assert found.merges_a is None and found.first_merge is None


def test_a_named_template_that_only_one_has_is_a_difference(
    byte_level_dir: Path, edited: Callable[..., Path]
) -> None:
    folder = edited(lambda content: None)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
    found = diff_tokenizers(byte_level_dir, folder)
    assert not found.same and found.chat_template[-2:] == ["+{# tool_use #}", "+tools"]
