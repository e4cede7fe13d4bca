"""--template: the tokenizer's own, ChatML, or a file."""

from pathlib import Path

import pytest
import tokenizers

from llmkit.errors import ConfigError, DataError, MissingError, UsageError
from llmkit.tokens.chat import render_chat
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.templates import has_generation_markers
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.finetune.template import template_of


def test_a_template_takes_the_place_of_the_tokenizers_own(byte_level_dir: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(byte_level_dir)
    assert template_of(None, tokenizer) is tokenizer
    (tmp_path / "t.jinja").write_text("{{ messages[0].content }}!\n\n", encoding="utf-8")
    changed = template_of(str(tmp_path / "t.jinja"), tokenizer)
    assert render_chat(changed, [{"role": "user", "content": "é"}]) == "é!\n"
    assert changed.sha256 == tokenizer.sha256
    assert tokenizer.chat_template != changed.chat_template
    changed.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").chat_template == changed.chat_template


def test_chatml_has_markers_and_needs_its_tokens(byte_level_dir: Path) -> None:
    changed = template_of("chatml", load_tokenizer(byte_level_dir))
    assert has_generation_markers(changed.chat_template or "")
    rendered = render_chat(changed, [{"role": "user", "content": "a"}])
    assert rendered == "<|im_start|>user\na<|im_end|>\n"  # bos and eos are one token: none is put before
    bare = Tokenizer(tokenizers.Tokenizer(tokenizers.models.BPE()))
    with pytest.raises(UsageError, match=r"needs <.im_end.> and <.im_start.>"):
        template_of("chatml", bare)


def test_a_template_that_is_not_there_is_missing(byte_level_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none.jinja"):
        template_of(str(tmp_path / "none.jinja"), load_tokenizer(byte_level_dir))


def test_a_template_that_cannot_be_read_is_named(byte_level_dir: Path, tmp_path: Path) -> None:
    tokenizer, path = load_tokenizer(byte_level_dir), tmp_path / "t.jinja"
    path.write_bytes(b"{{ messages }}\xff")
    with pytest.raises(DataError, match=r"t\.jinja: not UTF-8 \(found byte 0xff at offset 14\)"):
        template_of(str(path), tokenizer)
    path.write_text("a\n{% for m in messages %}")
    with pytest.raises(ConfigError, match=r"t\.jinja: line 2: Unexpected end of template") as error:
        template_of(str(path), tokenizer)
    assert error.value.hint == f"mend {path}"
