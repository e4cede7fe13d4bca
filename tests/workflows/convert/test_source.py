"""What may be converted: folders, GGUF files, llama2.c's; heads tied and not; tokenizers that fit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.tokens.load import load_tokenizer
from llmkit.workflows.convert.options import ConvertConfig
from llmkit.workflows.convert.source import open_convert_source


def test_untying_copies_the_embedding_and_tying_drops_the_copy(tiny_model: Callable[..., Path]) -> None:
    folder = tiny_model()
    untied = open_convert_source(folder, ConvertConfig(tie=False)).load()
    state = untied.state_dict()
    assert not untied.config.tie_word_embeddings
    assert torch.equal(state["lm_head.weight"], state["model.embed_tokens.weight"])
    ids = torch.tensor([[1, 5, 7]])
    with torch.no_grad():
        assert torch.equal(untied(ids), open_convert_source(folder, ConvertConfig()).load()(ids))
    other = tiny_model("other", tie_word_embeddings=False)
    with pytest.raises(DataError, match=r"the head is not the embedding .they differ by up to"):
        open_convert_source(other, ConvertConfig(tie=True)).load()


def test_pickles_and_other_files_are_refused(tmp_path: Path) -> None:
    for name, head in (("ckpt.pt", b"PK\x03\x04data"), ("old.pt", b"\x80\x02data")):
        (tmp_path / name).write_bytes(head)
        with pytest.raises(DataError, match="never read: it can run code"):
            open_convert_source(tmp_path / name, ConvertConfig())
    (tmp_path / "a.bin").write_bytes(b"\x00" * 64)
    with pytest.raises(UsageError, match=r"neither a GGUF file nor a model of llama2\.c"):
        open_convert_source(tmp_path / "a.bin", ConvertConfig())
    with pytest.raises(MissingError, match="no such model"):
        open_convert_source(tmp_path / "none", ConvertConfig())


def test_a_tokenizer_with_more_ids_than_embeddings_is_refused(
    tiny_model: Callable[..., Path], byte_level_dir: Path
) -> None:
    config = ConvertConfig(tokenizer=byte_level_dir)
    with pytest.raises(DataError, match="600 ids, but"):
        open_convert_source(tiny_model(), config)
    fits = open_convert_source(tiny_model("wide", vocab_size=640), config)
    assert fits.tokenizer is not None and fits.tokenizer.vocab_size == 600


def test_a_folders_tokenizer_is_copied_byte_for_byte(
    tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path
) -> None:
    source = open_convert_source(tiny_model(vocab_size=600), ConvertConfig(tokenizer=byte_level_dir))
    (tmp_path / "to").mkdir()
    source.copy_tokenizer(tmp_path / "to")
    for file in byte_level_dir.iterdir():
        assert (tmp_path / "to" / file.name).read_bytes() == file.read_bytes()


def test_a_folders_named_templates_are_copied(
    tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(byte_level_dir, tmp_path / "from")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
    source = open_convert_source(tiny_model(vocab_size=600), ConvertConfig(tokenizer=folder))
    (tmp_path / "to").mkdir()
    source.copy_tokenizer(tmp_path / "to")
    assert load_tokenizer(tmp_path / "to").named_templates == {"tool_use": "tools"}


def test_a_tokenizer_in_place_of_the_models_own_brings_the_token_that_ends_its_turns(
    spelled_model: Callable[..., Path], byte_level_dir: Path
) -> None:
    folder = spelled_model(eos_token_id=0)
    end = load_tokenizer(byte_level_dir).id_of("<|im_end|>")
    named = open_convert_source(folder, ConvertConfig(tokenizer=byte_level_dir))
    assert named.own_generation == {"eos_token_id": [0, end]}
    assert open_convert_source(folder, ConvertConfig()).own_generation == {}
